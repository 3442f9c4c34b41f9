package render

import (
	"bufio"
	"context"
	"io"
	"strings"

	"github.com/cardlake/cardlake/queries"
)

// CSV writes RFC 4180: a header line, CRLF after every line, and quotes where a field has a
// comma, a quote or a line break. NULL is an empty field, the empty string a quoted one.
func CSV(ctx context.Context, w io.Writer, rows queries.Rows) error {
	out := bufio.NewWriterSize(w, 64<<10)
	columns := rows.Columns()
	var line []byte
	for i, c := range columns {
		if i > 0 {
			line = append(line, ',')
		}
		line = appendField(line, c.Name)
	}
	if _, err := out.Write(append(line, "\r\n"...)); err != nil {
		return err
	}
	var text []byte
	err := each(ctx, rows, func(row []any) error {
		line = line[:0]
		for i, v := range row {
			if i > 0 {
				line = append(line, ',')
			}
			if v != nil {
				text = appendText(text[:0], columns[i].Type, v)
				line = appendField(line, string(text))
			}
		}
		_, err := out.Write(append(line, "\r\n"...))
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func appendField(b []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(s, `"`, `""`)...)
	return append(b, '"')
}
