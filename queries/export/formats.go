package export

import (
	"bytes"
	"context"
	"io"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// formatOf returns how the format writes one file. What it keeps before it writes is told in size.
func formatOf(f Format, size *int64) render.Format {
	switch f {
	case Parquet:
		return func(ctx context.Context, w io.Writer, rows queries.Rows) error { return columnar(ctx, w, rows, size) }
	case CSV:
		return csvLines
	case JSONL:
		return jsonLines
	}
	return xlsx
}

// nestedLines writes one object a line, spelled as in render.JSON, which writes a row a line too: only
// the marks of its array are taken away.
func nestedLines(ctx context.Context, w io.Writer, rows queries.Rows) error {
	l := &lines{w: w}
	if err := render.JSON(ctx, l, rows); err != nil {
		return err
	}
	return l.end()
}

// lines takes the marks of an array away that has an element a line: "[", "]", and the commas
// at the ends of lines. A line break within a text is never there: JSON escapes it.
type lines struct {
	w    io.Writer
	out  []byte
	held []byte // the beginning of a line
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	l.out = l.out[:0]
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			break
		}
		line := p[:end]
		if len(l.held) > 0 {
			l.held = append(l.held, line...)
			line = l.held
		}
		l.add(line)
		l.held = l.held[:0]
		p = p[end+1:]
	}
	l.held = append(l.held, p...)
	if _, err := l.w.Write(l.out); err != nil {
		return 0, err
	}
	return n, nil
}

func (l *lines) add(line []byte) {
	line = bytes.TrimSuffix(line, []byte(","))
	if len(line) > 0 && line[0] == '{' {
		l.out = append(append(l.out, line...), '\n')
	}
}

func (l *lines) end() error {
	l.out = l.out[:0]
	l.add(l.held)
	_, err := l.w.Write(l.out)
	return err
}
