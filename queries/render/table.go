package render

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake/queries"
)

// measured is how many rows decide the widths of a table's columns. A wider value further
// down pushes its line to the right.
const measured = 1000

// null stands for NULL in a table.
const null = "∅"

// Table writes aligned columns, numbers to the right, with two spaces between. NULL is ∅.
// Control characters are written as escapes, so that data cannot drive a terminal.
func Table(ctx context.Context, w io.Writer, rows queries.Rows) error {
	columns := rows.Columns()
	t := &table{out: bufio.NewWriterSize(w, 64<<10), width: make([]int, len(columns)), right: make([]bool, len(columns))}
	header, rule := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		header[i] = printable(c.Name)
		t.right[i] = isNumber(c.Type)
	}
	t.hold(header)
	t.hold(rule)
	err := each(ctx, rows, func(row []any) error {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = null
			if v != nil {
				cells[i] = printable(string(appendText(nil, columns[i].Type, v)))
			}
		}
		if t.measured {
			return t.line(cells)
		}
		t.hold(cells)
		if len(t.held) < measured {
			return nil
		}
		return t.release()
	})
	if err != nil {
		return err
	}
	if err := t.release(); err != nil {
		return err
	}
	return t.out.Flush()
}

type table struct {
	out      *bufio.Writer
	width    []int
	right    []bool
	held     [][]string // header, rule and the rows so far
	measured bool
}

func (t *table) hold(cells []string) {
	t.held = append(t.held, cells)
	for i, c := range cells {
		t.width[i] = max(t.width[i], utf8.RuneCountInString(c))
	}
}

// release writes the held lines, in the widths that they have together.
func (t *table) release() error {
	for i, cells := range t.held {
		if i == 1 {
			for j, width := range t.width {
				cells[j] = strings.Repeat("─", max(width, 1))
			}
		}
		if err := t.line(cells); err != nil {
			return err
		}
	}
	t.held, t.measured = nil, true
	return nil
}

func (t *table) line(cells []string) error {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", max(t.width[i]-utf8.RuneCountInString(c), 0))
		switch {
		case t.right[i]:
			b.WriteString(pad + c)
		case i == len(cells)-1:
			b.WriteString(c)
		default:
			b.WriteString(c + pad)
		}
	}
	_, err := t.out.WriteString(b.String() + "\n")
	return err
}

func isNumber(t arrow.DataType) bool {
	return arrow.IsInteger(t.ID()) || arrow.IsFloating(t.ID()) || arrow.IsDecimal(t.ID())
}

// printable replaces what a terminal would act on.
func printable(s string) string {
	if strings.IndexFunc(s, acts) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case acts(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// acts reports control characters, and the format characters that turn text around.
func acts(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError
}
