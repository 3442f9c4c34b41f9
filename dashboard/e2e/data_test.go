package e2e

import (
	"encoding/csv"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// downloaded waits for a file of the name's ending, and returns its path.
func (b *tab) downloaded(ending string) string {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		files, err := os.ReadDir(b.download)
		check(b.t, err)
		for _, f := range files {
			if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ending) && info.Size() > 0 {
				return filepath.Join(b.download, f.Name())
			}
		}
		if time.Now().After(end) {
			b.shoot("failed")
			b.t.Fatalf("no file %s is downloaded: %v", ending, files)
		}
	}
}

// testExport makes exports, watches them, and opens what is downloaded with others' readers.
func testExport(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	for _, format := range []string{"csv", "parquet"} {
		b.open("/data?tab=exports&tenant=" + tenantA)
		b.press("New export")
		b.find("dialog[open] form")
		b.choose(`dialog[open] select[name="table"]`, "cards.transactions")
		b.choose(`dialog[open] input[name="from"]`, time.Now().UTC().AddDate(0, 0, -20).Format(time.DateOnly))
		b.press(map[string]string{"csv": "CSV", "parquet": "Parquet"}[format])
		b.until("the format", `document.querySelector("dialog[open] input[type=radio][value=`+format+`]").checked`)
		b.shoot("export-new-" + format)
		b.press("Start")
		b.until("the export to be done", `document.querySelector('main a[download$=".`+format+`"]')`)
		b.shoot("export-done-" + format)
		b.click(`main a[download$=".` + format + `"]`)
		path := b.downloaded("." + format)
		var tenants []string
		switch format {
		case "csv":
			tenants = csvColumn(t, path, "tenant")
		default:
			tenants = parquetColumn(t, path, "tenant")
		}
		slices.Sort(tenants)
		rows := len(tenants)
		if got := slices.Compact(tenants); rows < 100 || len(got) != 1 || got[0] != tenantA {
			t.Errorf("%s has %d rows of %v", format, rows, got)
		}
	}
	b.click(`main [aria-label="Actions"]`)
	b.press("Manifest")
	b.seeIn("dialog[open]", tenantA)
	b.until("the hash of a file", `/\b[0-9a-f]{64}\b/.test(document.querySelector("dialog[open]").innerText)`)
	b.shoot("export-manifest")
}

// csvColumn reads a column with encoding/csv.
func csvColumn(t *testing.T, path, name string) (out []string) {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	check(t, err)
	at := slices.Index(rows[0], name)
	if at < 0 {
		t.Fatalf("there is no column %s in %v", name, rows[0])
	}
	for _, row := range rows[1:] {
		out = append(out, row[at])
	}
	return out
}

// parquetColumn reads a column with parquet-go.
func parquetColumn(t *testing.T, path, name string) (out []string) {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	info, err := f.Stat()
	check(t, err)
	file, err := parquet.OpenFile(f, info.Size())
	check(t, err)
	leaf, ok := file.Schema().Lookup(name)
	if !ok {
		t.Fatalf("there is no column %s", name)
	}
	for _, group := range file.RowGroups() {
		pages := group.ColumnChunks()[leaf.ColumnIndex].Pages()
		for {
			page, err := pages.ReadPage()
			if errors.Is(err, io.EOF) {
				break
			}
			check(t, err)
			values := make([]parquet.Value, page.NumValues())
			n, err := page.Values().ReadValues(values)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			for _, v := range values[:n] {
				out = append(out, v.String())
			}
		}
		check(t, pages.Close())
	}
	return out
}

// testSQL runs statements: a right one, one with a fault, and takes an answer away.
func testSQL(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open("/sql")
	b.fill(".editor-text", "SELECT count(*) AS n, sum(amount) AS total, 9007199254740993 AS wide FROM cards.transactions")
	b.key(kb.Enter, chromedp.ModifierCtrl)
	b.find(".sql-answer table")
	b.seeIn(".sql-answer", "9007199254740993")
	if total := eval[string](b, `document.querySelector(".sql-answer td").innerText`); !strings.Contains(total, ".") || strings.HasSuffix(total, ".") {
		t.Errorf("the sum is %q: its decimals are lost", total)
	}
	b.fill(".editor-text", "SELECT tenant,\n  'ñandú 🐟' AS fish, merchnt_name\nFROM cards.transactions")
	b.faults.expect("422 POST")
	b.press("Run")
	b.find(".sql-fault")
	b.seeIn(".sql-fault", "Line 2, column 23")
	if word := eval[string](b, `document.querySelector(".sql-frame mark").innerText`); word != "merchnt_name" {
		t.Errorf("the fault is marked at %q", word)
	}
	b.shoot("sql-fault")
	b.press("Go there")
	if at := eval[string](b, `(() => { const a = document.querySelector(".editor-text"); return a.value.slice(a.selectionStart, a.selectionEnd); })()`); at != "merchnt_name" {
		t.Errorf("the fault is selected as %q", at)
	}
	// What a word could become is offered, and taken by the keyboard.
	b.fill(".editor-text", "SELECT n FROM views.approvals_by_h")
	b.until("an offer", `document.querySelector(".editor-list [role=option]")?.checkVisibility()`)
	b.shoot("sql-completion")
	b.key(kb.Tab)
	if text := eval[string](b, `document.querySelector(".editor-text").value`); text != "SELECT n FROM views.approvals_by_hour" {
		t.Errorf("completed to %q", text)
	}
	b.fill(".editor-text", "SELECT event_id, merchant_name FROM cards.transactions ORDER BY event_id LIMIT 450")
	b.press("Run")
	b.seeIn(".sql-answer", "Rows 1 to 200")
	b.press("Next page")
	b.seeIn(".sql-answer", "Rows 201 to 400")
	b.shoot("sql-answer")
	b.press("Download")
	b.press("CSV, whole answer")
	if n := len(csvColumn(t, b.downloaded(".csv"), "event_id")); n != 450 {
		t.Errorf("the file has %d rows, want 450", n)
	}
	if strings.Contains(b.location(), "SELECT") {
		t.Error("the statement is in the address")
	}
	b.press("History")
	b.seeIn(".sql-history", "merchnt_name")
}

// testSubscription asks for a product as one, and approves it as another.
func testSubscription(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open("/data?tab=products&name=approvals")
	b.find("dialog[open] textarea")
	b.fill("dialog[open] textarea", "análise trimestral de disputas")
	b.shoot("subscribe")
	b.press("Ask for access")
	b.see("waiting for a decision")
	o := w.tab(t)
	o.signIn(w, roles["operator"])
	o.open("/access?tab=requests")
	o.see("análise trimestral de disputas")
	o.shoot("access-requests")
	o.press("Approve")
	o.until("nobody who waits", `!document.querySelector("main blockquote")`)
	b.open("/data?tab=products")
	b.seeIn("main", "approved")
}

// testKeys makes an API key, uses it, and revokes it.
func testKeys(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open("/data?tab=keys")
	b.press("New key")
	b.fill(`dialog[open] input[name="name"]`, "nightly-report")
	b.press("Make the key")
	b.until("the secret", `document.querySelector("dialog[open] pre")?.innerText.startsWith("clk_")`)
	secret := strings.TrimSpace(eval[string](b, `document.querySelector("dialog[open] pre").innerText`))
	b.press("I have kept it")
	b.until("no secret on the page", `!document.documentElement.outerHTML.includes("clk_") && !JSON.stringify([{...localStorage}, {...sessionStorage}]).includes("clk_")`)
	b.shoot("keys")
	ask := func() int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/v1/me", nil)
		check(t, err)
		request.Header.Set("Authorization", "Bearer "+secret)
		answer, err := http.DefaultClient.Do(request)
		check(t, err)
		check(t, answer.Body.Close())
		return answer.StatusCode
	}
	if status := ask(); status != http.StatusOK {
		t.Errorf("the key is answered with %d", status)
	}
	b.press("Revoke")
	b.find("dialog[open]")
	b.click("dialog[open] .button-danger")
	b.see("revoked")
	if status := ask(); status != http.StatusUnauthorized {
		t.Errorf("the revoked key is answered with %d", status)
	}
}

// testConfirmAlert confirms an alert, and finds it confirmed after a reload.
func testConfirmAlert(t *testing.T, w *world) {
	b := w.tab(t)
	b.signIn(w, roles["analyst"])
	b.open(path("analyst", "anomalies"))
	b.press("Confirm fraud")
	b.see("Confirmed as fraud")
	b.do(chromedp.Reload())
	b.settled()
	b.seeIn("main", "1 confirmed")
	b.open(path("analyst", "anomalies") + "&status=confirmed")
	b.seeIn("main", "1 confirmed")
	b.shoot("alert-confirmed")
	if eval[int](b, `fetch("/v1/figures/alerts?status=confirmed&tenant=`+tenantA+`&from=`+time.Now().UTC().AddDate(0, 0, -30).Format(time.DateOnly)+`&to=`+time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)+`").then((r) => r.json()).then((a) => a.rows.length)`) != 1 {
		t.Error("there is not one confirmed alert")
	}
}
