package report

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"
)

// textWidth is where sentences of the terminal form end their lines.
const textWidth = 96

// Text writes the card for a terminal: facts, metrics beside their baselines with a mark, drift,
// warnings, notes, and what the figures show. It fails on a card that is not valid.
func Text(w io.Writer, c Card) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	s := view(c)
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %s\n%s, version %s\n", s.Card.Job, s.Card.Tenant, s.Card.Method, s.Card.Version)
	if s.Card.Summary != "" {
		b.WriteString("\n")
		paragraph(&b, "", s.Card.Summary)
	}
	b.WriteString("\n")
	var rows [][]string
	for _, f := range s.Facts {
		rows = append(rows, []string{f.Name, f.Value})
	}
	table(&b, rows)
	for _, text := range s.Warnings {
		b.WriteString("\n")
		paragraph(&b, "Warning: ", text)
	}
	if len(s.Metrics) > 0 {
		b.WriteString("\nMETRICS\n")
		if s.Card.Evaluation != "" {
			paragraph(&b, "  ", s.Card.Evaluation)
		}
		rows = [][]string{{"metric", ">value", "", "", ">simple method", ""}}
		for _, m := range s.Metrics {
			rows = append(rows, []string{m.Name, ">" + m.Value, m.Interval, m.Verdict, "", ""})
			for i, base := range m.Baselines {
				if i > 0 {
					rows = append(rows, make([]string, 6))
				}
				last := rows[len(rows)-1]
				last[4], last[5] = ">"+base.Value, base.Name
			}
		}
		table(&b, rows)
	}
	if len(s.Drift) > 0 {
		fmt.Fprintf(&b, "\nDRIFT since run %s\n", s.Card.Previous)
		rows = nil
		for _, d := range s.Drift {
			rows = append(rows, []string{d.Name, d.Measure, ">" + d.Value, string(d.Level)})
		}
		table(&b, rows)
	}
	if len(s.Notes) > 0 {
		b.WriteString("\nNOTES\n")
		for _, n := range s.Notes {
			lead := "  - "
			if n.Kind == Limit {
				lead = "  - Limit: "
			}
			paragraph(&b, lead, n.Text)
		}
	}
	if len(s.Card.Parameters) > 0 {
		b.WriteString("\nPARAMETERS\n")
		rows = nil
		for _, p := range s.Card.Parameters {
			name := p.Name
			if p.Value == "" {
				rows = append(rows, []string{name, "-"})
			}
			for line := range pieces(p.Value) {
				rows = append(rows, []string{name, line})
				name = ""
			}
		}
		table(&b, rows)
	}
	if len(c.Figures) > 0 {
		b.WriteString("\nFIGURES\n")
		for _, f := range c.Figures {
			paragraph(&b, "  "+f.Name+": ", clean(f.Caption))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write text: %w", err)
	}
	return nil
}

// pieces cuts a long value after commas, so that lists of codes do not run off the screen.
func pieces(value string) iter.Seq[string] {
	return func(yield func(string) bool) {
		line := ""
		for part := range strings.SplitAfterSeq(value, ",") {
			if line != "" && utf8.RuneCountInString(line)+utf8.RuneCountInString(part) > 72 {
				if !yield(line) {
					return
				}
				line = ""
			}
			line += part
		}
		yield(line)
	}
}

// table writes rows in columns two spaces apart; a cell that starts with ">" is set to the right.
func table(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(strings.TrimPrefix(cell, ">")))
		}
	}
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			text, isRight := strings.CutPrefix(cell, ">")
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			switch {
			case widths[i] == 0:
			case isRight:
				line += " " + space + text + " "
			default:
				line += " " + text + space + " "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// paragraph writes a text in lines of at most textWidth, those after the first as far in as lead
// is long.
func paragraph(b *strings.Builder, lead, text string) {
	line, room := lead, textWidth
	indent := strings.Repeat(" ", min(utf8.RuneCountInString(lead), 11))
	isEmpty := true
	for word := range strings.FieldsSeq(text) {
		if !isEmpty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room {
			b.WriteString(line + "\n")
			line, isEmpty = indent, true
		}
		if !isEmpty {
			line += " "
		}
		line += word
		isEmpty = false
	}
	b.WriteString(line + "\n")
}
