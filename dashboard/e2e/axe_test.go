package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// axe is the source of axe-core (Deque Systems, MPL-2.0), which is not part of this module.
func axe(t *testing.T) string {
	t.Helper()
	path := os.Getenv("CARDLAKE_AXE")
	if path == "" {
		missing(t, "CARDLAKE_AXE does not name axe.js of axe-core: make e2e fetches it")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("axe-core: %v", err)
	}
	return string(text)
}

// violation is a rule of axe that a page breaks.
type violation struct {
	ID     string `json:"id"`
	Impact string `json:"impact"` // minor, moderate, serious or critical
	Help   string `json:"help"`
	Nodes  []struct {
		Target  []any  `json:"target"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// violations are what axe finds on the page as it is.
func (b *tab) violations(source string) (out []violation) {
	b.t.Helper()
	eval[bool](b, source+"\n;true")
	text := eval[string](b, `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then((r) => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// still lets nothing move on the page: a colour that is on its way to another has the contrast of
// neither. The page's policy lets no style in but one that is made so.
func (b *tab) still() {
	b.t.Helper()
	eval[bool](b, `(() => {
		const sheet = new CSSStyleSheet();
		sheet.replaceSync("*, *::before, *::after { transition: none !important; animation: none !important; }");
		document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
		return true;
	})()`)
}

// String says what is broken, and where.
func (v violation) String() string {
	var where []string
	for i, n := range v.Nodes {
		if i == 4 {
			where = append(where, fmt.Sprintf("and %d more", len(v.Nodes)-i))
			break
		}
		where = append(where, fmt.Sprint(n.Target...)+": "+strings.ReplaceAll(n.Summary, "\n", " "))
	}
	return fmt.Sprintf("%s (%s): %s\n\t%s", v.ID, v.Impact, v.Help, strings.Join(where, "\n\t"))
}

// testAxe looks for serious faults on every page, in both themes, on a laptop and a phone.
func testAxe(t *testing.T, w *world) {
	source := axe(t)
	for role, pages := range pagesOf {
		t.Run(role, func(t *testing.T) {
			b := w.tab(t)
			b.signIn(w, roles[role])
			for _, name := range pages {
				b.open(path(role, name))
				b.still()
				for _, scheme := range []string{"light", "dark"} {
					b.scheme(scheme)
					b.size(1440, 900)
					for _, v := range b.violations(source) {
						switch {
						case v.Impact == "serious" || v.Impact == "critical":
							t.Errorf("%s, %s: %s", name, scheme, v)
						case scheme == "light":
							t.Logf("%s: %s", name, v)
						}
					}
				}
				b.size(390, 844)
				for _, v := range b.violations(source) {
					if v.Impact == "serious" || v.Impact == "critical" {
						t.Errorf("%s, phone: %s", name, v)
					}
				}
				b.size(1440, 900)
			}
		})
	}
}
