package report

import (
	"fmt"
	"io"
	"strings"
)

// Markdown writes the card as CommonMark with tables. Its pictures are the files NAME.svg beside
// it. It fails on a card that is not valid.
func Markdown(w io.Writer, c Card) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("write markdown: %w", err)
	}
	s := view(c)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s for %s\n\n%s, version %s\n", plainly(s.Card.Job), plainly(s.Card.Tenant), plainly(s.Card.Method), plainly(s.Card.Version))
	if s.Card.Summary != "" {
		fmt.Fprintf(&b, "\n%s\n", plainly(s.Card.Summary))
	}
	row := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	b.WriteString("\n| | |\n| --- | ---: |\n")
	for _, f := range s.Facts {
		row(plainly(f.Name), plainly(f.Value))
	}
	for _, text := range s.Warnings {
		fmt.Fprintf(&b, "\n> **Warning** %s\n", plainly(text))
	}
	if len(s.Metrics) > 0 {
		b.WriteString("\n## How good it is\n\n")
		if s.Card.Evaluation != "" {
			fmt.Fprintf(&b, "%s\n\n", plainly(s.Card.Evaluation))
		}
		b.WriteString("| Metric | Value | | Simple methods on the same data | |\n| --- | ---: | --- | --- | --- |\n")
		for _, m := range s.Metrics {
			var bases []string
			for _, base := range m.Baselines {
				bases = append(bases, plainly(base.Value+" "+base.Name))
			}
			row(plainly(m.Name), plainly(strings.TrimSpace(m.Value+" "+m.Interval)), m.Verdict, strings.Join(bases, ", "), plainly(m.Doc))
		}
	}
	for i, f := range c.Figures {
		if i == 0 {
			b.WriteString("\n## Figures\n")
		}
		fmt.Fprintf(&b, "\n![%s](%s.svg)\n\n%s\n", plainly(clean(f.Title)), f.Name, plainly(clean(f.Caption)))
	}
	if len(s.Drift) > 0 {
		fmt.Fprintf(&b, "\n## Drift since run %s\n\n| What | Measure | Value | Level |\n| --- | --- | ---: | --- |\n", plainly(s.Card.Previous))
		for _, d := range s.Drift {
			row(plainly(d.Name), plainly(d.Measure), plainly(d.Value), string(d.Level))
		}
	}
	for i, n := range s.Notes {
		if i == 0 {
			b.WriteString("\n## Limits and notes\n\n")
		}
		lead := ""
		if n.Kind == Limit {
			lead = "**Limit** "
		}
		fmt.Fprintf(&b, "- %s%s\n", lead, plainly(n.Text))
	}
	for i, p := range s.Card.Parameters {
		if i == 0 {
			b.WriteString("\n## Parameters\n\n| Name | Value |\n| --- | --- |\n")
		}
		row(plainly(p.Name), plainly(p.Value))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write markdown: %w", err)
	}
	return nil
}

// plainly is a text that Markdown shows as it is: the punctuation that could mean something is
// escaped (CommonMark 0.31, 2.4), characters of HTML are entities, and so are those by which some
// dialects tell a bare address.
func plainly(s string) string { return markdownEscapes.Replace(s) }

var markdownEscapes = func() *strings.Replacer {
	pairs := []string{"&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "&#64;", "://", "&#58;//", "www.", "www&#46;"}
	for _, r := range "\\`*_{}[]#+!|~^=$" {
		pairs = append(pairs, string(r), `\`+string(r))
	}
	return strings.NewReplacer(pairs...)
}()
