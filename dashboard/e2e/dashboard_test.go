package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// world is a site, and a browser to look at it with.
type world struct {
	site    *site
	browser context.Context
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 17)) }

// isShort reports whether the tests are to be quick.
func isShort() bool { return os.Getenv("CARDLAKE_REAL") != "1" }

func format(x float64) string { return fmt.Sprintf("%.0f", x) }

// who they are, by what they are called here.
var roles = map[string]string{
	"analyst": "tenant_analyst/analyst@" + tenantA, "other": "tenant_analyst/analyst@" + tenantB,
	"operator": "operator/local", "auditor": "auditor/local", "scientist": "data_scientist/local",
}

var business = []string{"overview", "transactions", "declines", "cards", "merchants", "anomalies", "segments", "predictions", "recommendations"}

// pagesOf are the pages that each has something on.
var pagesOf = map[string][]string{
	"analyst": append(slices.Clone(business), "data", "sql", "access"), "other": append(slices.Clone(business), "data", "sql", "access"),
	"operator": {"health", "access", "data", "sql"}, "auditor": {"access", "data", "sql"},
	"scientist": append(slices.Clone(business), "data", "sql", "access"),
}

// path of a page as the role sees it: of the tenant that it looks at.
func path(role, name string) string {
	switch role {
	case "operator", "auditor":
		return "/" + name
	case "other":
		return "/" + name + "?tenant=" + tenantB + "&range=30d"
	}
	return "/" + name + "?tenant=" + tenantA + "&range=30d"
}

// TestDashboard uses the dashboard. Its parts share a site and a browser, and each has a tab.
func TestDashboard(t *testing.T) {
	chromium(t) // before the lake is made for nothing
	w := &world{site: newSite(t)}
	w.browser = openBrowser(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"Complaints", testComplaints}, {"Pages", testPages}, {"Export", testExport}, {"ConfirmAlert", testConfirmAlert}, {"LanguageAndTheme", testLanguageAndTheme},
		{"AnothersLink", testAnothersLink}, {"Expired", testExpired}, {"SignOut", testSignOut}, {"History", testHistory}, {"Keyboard", testKeyboard}, {"Live", testLive},
		{"SQL", testSQL}, {"Hostile", testHostile}, {"CardNumbers", testCardNumbers}, {"Subscription", testSubscription}, {"Keys", testKeys},
		{"Budgets", testBudgets}, {"Axe", testAxe},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, w) })
	}
}

// testPages opens every page as everybody.
func testPages(t *testing.T, w *world) {
	for role, pages := range pagesOf {
		t.Run(role, func(t *testing.T) {
			b := w.tab(t)
			b.signIn(w, roles[role])
			offered := eval[[]string](b, `fetch("/v1/me").then((r) => r.json()).then((me) => me.pages)`)
			for _, name := range pages {
				if !slices.Contains(offered, name) && name != "access" { // one's own rights may be told elsewhere
					t.Errorf("there is no page %s for %s", name, role)
				}
			}
			for _, name := range offered {
				if !slices.Contains(pages, name) {
					t.Errorf("there is a page %s for %s", name, role)
				}
			}
			if isShort() && (role == "other" || role == "scientist") {
				pages = []string{"overview", "transactions", "predictions", "data"} // the others are alike
			}
			for _, name := range pages {
				b.open(path(role, name))
				if failed := eval[string](b, `[...document.querySelectorAll("main .failure")].map((e) => e.innerText).join("; ")`); failed != "" {
					t.Errorf("%s shows a failure: %s", name, failed)
				}
				if keys := eval[[]string](b, `[...document.body.innerText.matchAll(/\b(?:app|sql|data|access|health|overview|transactions|declines|cards|merchants|anomalies|segments|predictions|recommendations|figure|chart|terms)\.[a-zA-Z]+(?:\.[a-zA-Z]+)*\b/g)].map((m) => m[0]).filter((k) => !/^(cards|views)\./.test(k))`); len(keys) > 0 {
					t.Errorf("%s shows keys in place of words: %v", name, keys)
				}
				if wide := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
					t.Errorf("%s is %d px wider than the window", name, wide)
				}
				b.shows(role, name)
				b.shootAll(role + "-" + name)
			}
		})
	}
}

// shows fails the test if anything of a tenant is on the page that is not to be there.
func (b *tab) shows(role, name string) {
	b.t.Helper()
	text := b.text()
	foreign := map[string][]string{"analyst": {tenantB, markB}, "other": {tenantA, markA, "<img src=x"}, "auditor": {markA + "-", markB + "-"}}[role]
	for _, one := range foreign {
		if i := strings.Index(strings.ToLower(text), one); i >= 0 {
			b.t.Errorf("%s, as %s, has %q: …%s…", name, role, one, text[max(0, i-100):min(len(text), i+100)])
		}
	}
}

func testLanguageAndTheme(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.scheme("light")
	b.open(path("analyst", "declines"))
	was := eval[string](b, `document.querySelector("main h1").innerText`)
	b.click(`[data-e2e="language"], .topbar button[aria-label*="anguage"]`)
	b.press("Português")
	b.until("Portuguese", `document.documentElement.lang === "pt-BR"`)
	b.settled()
	if now := eval[string](b, `document.querySelector("main h1").innerText`); now == was {
		t.Errorf("the heading is %q in both languages", now)
	}
	if number := eval[string](b, `document.querySelector("main").innerText.match(/\d[.,]\d{3}\b/)?.[0] ?? ""`); strings.Contains(number, ",") {
		t.Errorf("a number is written %s in Portuguese", number)
	}
	b.click(`.topbar button[aria-label*="ema"]`)
	if eval[bool](b, `!!document.querySelector("[role=menuitemradio]")?.checkVisibility()`) {
		b.press("Escuro")
	}
	b.until("a dark page", `document.documentElement.dataset.theme === "dark"`)
	b.open(path("analyst", "merchants"))
	b.until("language and theme after a load", `document.documentElement.lang === "pt-BR" && document.documentElement.dataset.theme === "dark"`)
}

// testAnothersLink opens a link that somebody of another tenant shared.
func testAnothersLink(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.faults.expect("403 GET")
	for _, name := range []string{"overview", "transactions", "anomalies", "predictions"} {
		b.open("/" + name + "?tenant=" + tenantB)
		b.until("a page that says that it is not theirs", `!document.querySelector("main canvas, main table") && document.querySelector("main .empty")`)
		if strings.Contains(b.text(), markB) {
			t.Errorf("%s shows rows of the other tenant", name)
		}
	}
	b.shoot("another-tenants-link")
	for _, ask := range []string{
		"/v1/figures/totals?tenant=" + tenantB + "&from=2026-01-01&to=2026-12-31", "/v1/state?tenant=" + tenantB, "/v1/live?tenant=" + tenantB, "/v1/audit", "/v1/health", "/v1/grants/policies",
	} {
		b.faults.expect("403 GET " + b.base + ask)
		if status := eval[int](b, `fetch(`+quote(ask)+`).then((r) => r.status)`); status != 403 {
			t.Errorf("%s answers %d, want 403", ask, status)
		}
	}
	b.faults.expect("403 POST", "401 POST")
	if status := eval[int](b, `fetch("/v1/query", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({sql: "SELECT 1"})}).then((r) => r.status)`); status != 401 && status != 403 {
		t.Errorf("a POST without the token against forgery answers %d", status)
	}
}

func testExpired(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open(path("analyst", "sql"))
	b.fill(".editor-text", "SELECT 41 + 1 AS answer")
	if _, err := chromedp.Call(b.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	b.faults.expect("401 ")
	b.key(kb.Enter, chromedp.ModifierCtrl)
	b.until("a dialog", `document.querySelector("dialog[open]")?.getAttribute("role") === "alertdialog"`)
	b.shoot("expired")
	if text := eval[string](b, `document.querySelector(".editor-text").value`); text != "SELECT 41 + 1 AS answer" {
		t.Errorf("the statement is %q after the session expired", text)
	}
}

func testSignOut(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open(path("analyst", "data"))
	token := eval[string](b, `fetch("/auth/session").then((r) => r.json()).then((s) => s.csrf)`)
	b.faults.expect("401 ", "403 POST "+b.base+"/auth/sign-out")
	out := func(csrf string) int {
		return eval[int](b, `fetch("/auth/sign-out", {method: "POST", headers: {"X-CSRF-Token": `+quote(csrf)+`}}).then((r) => r.status)`)
	}
	if status := out("forged"); status != 403 {
		t.Errorf("signing out with a forged token answers %d, want 403", status)
	}
	if status := out(token); status >= 300 {
		t.Errorf("signing out answers %d", status)
	}
	if status := eval[int](b, `fetch("/v1/me").then((r) => r.status)`); status != 401 {
		t.Errorf("after signing out the API answers %d, want 401", status)
	}
	b.do(chromedp.Reload())
	b.until("the page to sign in on", `document.querySelector(".sign-in, a[href*='/auth/sign-in'], form[action*='/auth/sign-in']")`)
}

func testHistory(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open(path("analyst", "declines"))
	heading := func() string { return eval[string](b, `document.querySelector("main h1").innerText`) }
	first := heading()
	b.click(`.nav-link[href*="/merchants"]`)
	b.until("merchants", `location.pathname.endsWith("/merchants")`)
	b.settled()
	second := heading()
	b.click(`.nav-link[href*="/data"]`)
	b.until("data", `location.pathname.endsWith("/data")`)
	b.settled()
	for _, step := range []struct{ go_, path, heading string }{
		{"history.back()", "/merchants", second}, {"history.back()", "/declines", first}, {"history.forward()", "/merchants", second},
	} {
		eval[bool](b, "("+step.go_+", true)")
		b.until(step.path, `location.pathname.endsWith(`+quote(step.path)+`) && document.querySelector("main h1")?.innerText === `+quote(step.heading))
		b.settled()
	}
	if !strings.Contains(b.location(), "range=30d") || !strings.Contains(b.location(), "tenant="+tenantA) {
		t.Errorf("tenant and range are lost on the way: %s", b.location())
	}
}

// testKeyboard walks without a mouse.
func testKeyboard(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open(path("analyst", "transactions"))
	eval[bool](b, `(document.activeElement.blur(), true)`)
	b.key(kb.Tab)
	if !eval[bool](b, `document.activeElement.matches(".skip") && document.activeElement.getBoundingClientRect().top >= 0`) {
		t.Errorf("the first stop is %s, not the link that skips the menu", eval[string](b, `document.activeElement.outerHTML.slice(0, 200)`))
	}
	b.key(kb.Enter)
	b.until("the focus in the page", `document.activeElement.closest("main")`)
	seen := map[string]bool{}
	for range 60 {
		b.key(kb.Tab)
		at := eval[string](b, `(() => { const e = document.activeElement; if (!e || e === document.body) return "body"; const s = getComputedStyle(e); const named = e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.innerText?.trim() || e.labels?.length || e.title || e.placeholder || e.closest("label, [role=region]"); return (named ? "" : "UNNAMED ") + (e.checkVisibility() ? "" : "HIDDEN ") + e.tagName + (e.closest("table") ? " in table" : "") + (e.closest("[tabindex='0'][role=region]") ? " region" : "") + " " + e.outerHTML.slice(0, 120); })()`)
		if strings.Contains(at, "UNNAMED") || strings.Contains(at, "HIDDEN") {
			t.Errorf("a stop of the Tab key: %s", at)
		}
		if strings.Contains(at, " region") || strings.Contains(at, " in table") {
			seen["table"] = true
		}
		if at == "body" {
			break
		}
	}
	if !seen["table"] {
		t.Error("the Tab key does not reach the table")
	}
	// A menu opens by Enter, is walked by arrows, and gives the focus back.
	opener := `.topbar [aria-haspopup="menu"]`
	eval[bool](b, `(document.querySelector(`+quote(opener)+`).focus(), true)`)
	b.key(kb.Enter)
	b.until("an open menu with the focus in it", `document.activeElement.closest("[role=menu]")?.matches(":popover-open")`)
	first := eval[string](b, `document.activeElement.innerText`)
	b.key(kb.ArrowDown)
	if eval[string](b, `document.activeElement.innerText`) == first && eval[int](b, `document.activeElement.closest("[role=menu]").querySelectorAll("[role^=menuitem]").length`) > 1 {
		t.Error("an arrow key does not move in the menu")
	}
	b.key(kb.Escape)
	b.until("the focus back", `document.activeElement === document.querySelector(`+quote(opener)+`)`)
}

func testLive(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open("/overview?tenant=" + tenantA)
	b.find(".live, [data-live], .kpi-live")
	before := eval[string](b, `[...document.querySelectorAll(".live, [data-live], .kpi-live")].map((e) => e.innerText).join("|")`)
	for range 3 {
		w.site.tail.add(40, tenantA)
	}
	b.until("live figures that move", `[...document.querySelectorAll(".live, [data-live], .kpi-live")].map((e) => e.innerText).join("|") !== `+quote(before))
	b.shoot("live")
}

// testHostile looks at a merchant whose name would do harm if it were taken for markup.
func testHostile(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	for _, name := range []string{"merchants", "transactions", "overview", "anomalies", "recommendations"} {
		b.open(path("analyst", name))
		if eval[bool](b, `!!document.querySelector("main img[src=x], main script")`) {
			t.Errorf("%s takes a merchant's name for markup", name)
		}
	}
	b.open(path("analyst", "merchants"))
	b.see(hostile)
	b.shoot("hostile-merchant")
	b.open(path("analyst", "sql"))
	b.fill(".editor-text", "SELECT merchant_name AS \"<b>x</b>\", count(*) AS n FROM cards.transactions WHERE merchant_name LIKE '<img%' GROUP BY 1")
	b.key(kb.Enter, chromedp.ModifierCtrl)
	b.seeIn(".sql-answer", hostile)
	if eval[bool](b, `!!document.querySelector("main img[src=x], main script, .sql-answer b")`) {
		t.Error("the SQL page takes text for markup")
	}
}

// numbers are what could be a card's: 12 to 19 digits, perhaps in groups.
var numbers = regexp.MustCompile(`(?:\d[ -]?){12,19}`)

// testCardNumbers looks for what could be a card number, or the end of one, where it must not be.
func testCardNumbers(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	for _, name := range []string{"overview", "transactions", "cards", "anomalies", "sql"} {
		b.open(path("analyst", name))
	}
	b.fill(".editor-text", "SELECT card_token, bin, last4 FROM cards.transactions LIMIT 5")
	b.key(kb.Enter, chromedp.ModifierCtrl)
	b.find(".sql-answer table")
	stored := eval[string](b, `JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state])`)
	if !strings.Contains(stored, `""`) {
		t.Errorf("a script can read cookies: %s", stored)
	}
	urls, console := b.faults.seen()
	for what, texts := range map[string][]string{"storage": {stored}, "an address": urls, "the console": console} {
		for _, text := range texts {
			if what == "an address" {
				text = assetHash.ReplaceAllString(text, "")
			}
			for _, found := range numbers.FindAllString(text, -1) {
				t.Errorf("%s holds a number that could be a card's: %d digits in %s", what, len(found), text)
			}
			for _, word := range []string{"SELECT", "last4=", "bin=", "whsec_", "clk_"} {
				if strings.Contains(text, word) {
					t.Errorf("%s holds %s: %s", what, word, text)
				}
			}
		}
	}
}

// assetHash is in the paths of scripts.
var assetHash = regexp.MustCompile(`/assets/[^/]+/`)
