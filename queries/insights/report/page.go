package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// HTML writes the card as one page that needs nothing else: no script, no request, figures
// inside, light or dark as its reader's screen is, and light on paper. Its content security
// policy allows nothing but its own style sheet, by hash. It fails on a card that is not valid.
func HTML(w io.Writer, c Card) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	parts, err := page()
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	s := view(c)
	p := sheet{statement: s, Policy: parts.policy, Style: parts.style}
	for _, f := range c.Figures {
		d, err := lay(f, false)
		if err != nil {
			return fmt.Errorf("write page: %w", err)
		}
		var drawn bytes.Buffer
		vector(&drawn, f, d)
		svg := drawn.String()
		if f.Kind == Calibration {
			svg = strings.Replace(svg, "<svg ", `<svg class="square" `, 1)
		}
		// Every text of the drawing went through escape, and nothing else in it is from the card.
		p.Figures = append(p.Figures, picture{f.Name, clean(f.Title), clean(f.Caption), template.HTML(svg)})
	}
	var out bytes.Buffer
	if err := parts.template.Execute(&out, p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if _, err := out.WriteTo(w); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// sheet is what the page's template shows.
type sheet struct {
	statement
	Policy  string
	Style   template.HTML
	Figures []picture
}

type picture struct {
	Name, Title, Caption string
	SVG                  template.HTML
}

// Tone is how a mark is coloured; marks say the same in words.
func (sheet) Tone(mark any) string {
	switch fmt.Sprint(mark) {
	case better, string(None):
		return "good"
	case worse, string(Major):
		return "bad"
	}
	return ""
}

type pageParts struct {
	template *template.Template
	style    template.HTML
	policy   string
}

var page = sync.OnceValues(func() (pageParts, error) {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return pageParts{}, err
	}
	css := strings.Replace(pageCSS, "/*figures*/\n", darkFigures(), 1)
	hash := sha256.Sum256([]byte(css))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"
	return pageParts{t, template.HTML("<style>" + css + "</style>"), policy}, nil
})

// darkFigures are the rules that give the figures' inks other colours on dark paper.
func darkFigures() string {
	inks := []ink{
		rgb("paper", 0x161d25), rgb("text", 0xe6ebf0), rgb("muted", 0x9fadba), rgb("grid", 0x2b3540),
		rgb("axis", 0x6b7885), rgb("base", 0x93a0ac),
		rgb("s1", 0x3ea2dd), rgb("s2", 0xf0813a), rgb("s3", 0x2fc495), rgb("s4", 0xdd94bb),
		rgb("s5", 0xf0b429), rgb("s6", 0x86ccf3), rgb("s7", 0xc4ccd4),
		rgb("w1", 0x6cb8ea), rgb("w2", 0xff9d5c), rgb("w3", 0x52d6ab), rgb("w4", 0xe8a9ca),
		rgb("w5", 0xf5c451), rgb("w6", 0x9ad7f7), rgb("w7", 0xd5dbe1),
	}
	var b strings.Builder
	for _, i := range inks {
		c := i.color
		fmt.Fprintf(&b, ".fill-%[1]s{fill:#%02[2]x%02[3]x%02[4]x}.stroke-%[1]s{stroke:#%02[2]x%02[3]x%02[4]x}\n", i.class, c.R, c.G, c.B)
	}
	return b.String()
}
