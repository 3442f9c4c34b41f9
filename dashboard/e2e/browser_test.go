package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long anything on a page may take until it counts as never: the machine may be
// busy with other tests.
const patience = time.Minute

// missing skips the test for want of something that not every machine has, or fails it where all
// of it is to be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CARDLAKE_REAL") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// chromium is the path of a browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "there is no chromium, chromium-browser or google-chrome: install Debian's package chromium")
	return ""
}

// openBrowser starts a browser, which ends with the test. Its profile is its own.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options, chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1440, 900),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("disable-gpu", true), chromedp.Flag("hide-scrollbars", true))
	if os.Geteuid() == 0 { // Chromium's sandbox refuses to be started by root
		options = append(options, chromedp.NoSandbox)
	}
	allocator, stopAllocator := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // a browser that is gone needs no end
		stop()
		stopAllocator()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start browser: %v", err)
	}
	return ctx
}

// tab is one visitor: a tab with cookies and storage of its own.
type tab struct {
	t        *testing.T
	ctx      context.Context
	base     string // the site's address
	faults   *faults
	traffic  *traffic
	download string // the folder that downloads go to
	width    int64
}

// tab opens a tab that ends with the test, which fails if the browser complains.
func (w *world) tab(t *testing.T) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(w.browser, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx, base: w.site.url, faults: &faults{}, traffic: newTraffic(), download: t.TempDir()}
	t.Cleanup(func() {
		stop()
		b.faults.report(t)
	})
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, log.Enable, cdp.Empty{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, target, audits.Enable, cdp.Empty{}); err != nil {
			return err
		}
		if _, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, performance.Enable, performance.EnableParams{})
		return err
	}))
	if err := chromedp.Listen(ctx, func(e any) {
		b.faults.hear(e)
		b.traffic.hear(e)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, BrowserContextID: chromedp.FromContext(ctx).BrowserContextID, DownloadPath: b.download,
	}); err != nil {
		t.Fatal(err)
	}
	b.size(1440, 900)
	return b
}

// do runs steps, all of which have patience together.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx); err != nil { // the first run makes the tab, and must not end it
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\nat %s\n%s", err, b.location(), b.faults)
	}
}

// eval is the value of a JavaScript expression; a promise is waited for.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until a JavaScript expression is truthy. The page's own policy forbids what
// chromedp's poll does in the page, so it is asked from outside.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(end) || b.ctx.Err() != nil {
			b.shoot("failed")
			b.t.Fatalf("never: %s (%v)\nat %s\n%s\n%s", what, err, b.location(), b.visible(), b.faults)
		}
	}
}

// quote is a text as JavaScript has it.
func quote(text string) string { return fmt.Sprintf("%q", text) }

// see waits until the text is on the page, where people can see it.
func (b *tab) see(text string) {
	b.t.Helper()
	b.until("the text "+text, "document.body?.innerText.includes("+quote(text)+")")
}

// seeIn waits until the text is in the element.
func (b *tab) seeIn(selector, text string) {
	b.t.Helper()
	b.until("the text "+text+" in "+selector, "document.querySelector("+quote(selector)+")?.innerText.includes("+quote(text)+")")
}

// find waits for an element that can be seen.
func (b *tab) find(selector string) {
	b.t.Helper()
	b.until("element "+selector, "document.querySelector("+quote(selector)+")?.checkVisibility()")
}

// click clicks an element with the mouse, when it is there.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.hit("element "+selector, "document.querySelector("+quote(selector)+")")
}

// press clicks the button, link, tab or menu item of the name, behind which a count may stand.
func (b *tab) press(name string) {
	b.t.Helper()
	b.hit("something to press named "+name, `(() => {
		const named = (e) => [e.getAttribute("aria-label"), e.innerText].some((s) => s?.trim().replace(/\s+/g, " ").replace(/\s?\d+$/, "") === `+quote(name)+`);
		const all = [...document.querySelectorAll("button, a, summary, [role=tab], [role=menuitem], [role=menuitemradio], label")];
		return all.find((e) => named(e) && e.checkVisibility() && !e.disabled && !e.closest("[inert]"));
	})()`)
}

// hit moves the mouse to the middle of the element that an expression gives, and clicks, once
// nothing lies over it. It is looked for anew until then: a page may be drawn again meanwhile.
func (b *tab) hit(what, expression string) {
	b.t.Helper()
	const find = `(() => {
		const e = %s;
		if (!e?.checkVisibility() || e.disabled) return [];
		e.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
		const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
		const top = document.elementFromPoint(x, y);
		return top && (e === top || e.contains(top)) ? [x, y] : [];
	})()`
	for end := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		at, err := chromedp.Run(ctx, chromedp.Evaluate[[]float64](fmt.Sprintf(find, expression)))
		if err == nil && len(at) == 2 {
			err = chromedp.Do(ctx, chromedp.MouseClickXY(at[0], at[1]))
		}
		cancel()
		if err == nil && len(at) == 2 {
			return
		}
		if time.Now().After(end) || b.ctx.Err() != nil {
			b.shoot("failed")
			b.t.Fatalf("never: %s (%v)\nat %s\n%s\n%s", what, err, b.location(), b.visible(), b.faults)
		}
	}
}

// fill types a text into a field, in place of what it has.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.find(selector)
	b.do(chromedp.Focus(chromedp.CSS(selector)))
	eval[bool](b, "(document.querySelector("+quote(selector)+").select?.(), true)")
	b.key(kb.Delete)
	b.do(chromedp.KeyEvent(text))
}

// choose sets a select, a date or another field whose value is not typed.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.find(selector)
	eval[bool](b, `(() => {
		const e = document.querySelector(`+quote(selector)+`);
		e.value = `+quote(value)+`;
		e.dispatchEvent(new Event("input", {bubbles: true}));
		e.dispatchEvent(new Event("change", {bubbles: true}));
		return e.value === `+quote(value)+`;
	})()`)
}

// key presses a key.
func (b *tab) key(key string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(key, chromedp.KeyModifiers(modifiers...)))
}

// navigate goes to an address.
func (b *tab) navigate(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// open goes to a path of the site and waits until its page is there.
func (b *tab) open(path string) {
	b.t.Helper()
	b.navigate(b.base + path)
	b.settled()
}

// settled waits until the page has a heading and nothing is loading any more.
func (b *tab) settled() {
	b.t.Helper()
	b.until("a page with a heading", `document.querySelector("main h1, main .empty-title")?.innerText.trim() && document.readyState === "complete"`)
	b.until("a page that has loaded", `!document.querySelector("main [aria-busy=true]")`)
}

func (b *tab) location() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	at, _ := chromedp.Run(ctx, chromedp.Location())
	return at
}

// text is all that is on the page, also what cannot be seen.
func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.documentElement.outerHTML`))
	return text
}

// visible is what can be read on the page, or the beginning of it.
func (b *tab) visible() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`(document.querySelector("dialog[open]") ?? document.querySelector("main") ?? document.body).innerText.slice(0, 1500)`))
	return text
}

// size makes the window so large: phones have 390 CSS pixels, laptops 1440.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.width = width
	b.do(chromedp.EmulateViewport(width, height))
}

// scheme makes the system prefer dark or light, and waits until the page follows.
func (b *tab) scheme(name string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	}))
	b.until("the theme", `(document.documentElement.dataset.theme ?? `+quote(name)+`) === `+quote(name))
	eval[bool](b, `new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(true), 150)))`) // colours may pass over
}

// shoot makes a picture of the whole page, if pictures are wanted.
func (b *tab) shoot(name string) {
	b.t.Helper()
	folder := os.Getenv("CARDLAKE_SCREENSHOTS")
	if folder == "" {
		return
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, _ = chromedp.Run(ctx, chromedp.Evaluate[bool](`(scrollTo(0, 0), true)`)) // else what sticks to the top is in the middle
	beyond := true
	picture, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d.png", strings.ReplaceAll(name, "/", "-"), b.width)), picture.Data, 0o644)
	}
	if err != nil {
		b.t.Fatalf("picture %s: %v", name, err)
	}
}

// shootAll makes pictures in both themes, of a laptop and a phone.
func (b *tab) shootAll(name string) {
	b.t.Helper()
	if os.Getenv("CARDLAKE_SCREENSHOTS") == "" {
		return
	}
	for _, size := range []struct{ width, height int64 }{{1440, 900}, {390, 844}} {
		b.size(size.width, size.height)
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.settled()
			time.Sleep(300 * time.Millisecond) // what is drawn on canvas follows the size
			b.shoot(name + "-" + scheme)
		}
	}
	b.size(1440, 900)
	b.scheme("light")
}
