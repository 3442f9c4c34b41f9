package render

import (
	"bufio"
	"context"
	"io"

	"github.com/cardlake/cardlake/queries"
)

// JSON writes one array with one object per row, a row per line, keys in the order of the
// columns. Columns of the same name get _2, _3 … appended.
func JSON(ctx context.Context, w io.Writer, rows queries.Rows) error {
	out := bufio.NewWriterSize(w, 64<<10)
	columns := rows.Columns()
	var keys [][]byte
	for _, name := range uniqueNames(columns) {
		keys = append(keys, append(appendString(nil, name), ':'))
	}
	line := []byte("[")
	first := true
	err := each(ctx, rows, func(row []any) error {
		if !first {
			line = append(line, ',')
		}
		first = false
		line = append(line, "\n{"...)
		for i, v := range row {
			if i > 0 {
				line = append(line, ',')
			}
			line = append(line, keys[i]...)
			line = appendJSON(line, columns[i].Type, v)
		}
		line = append(line, '}')
		_, err := out.Write(line)
		line = line[:0]
		return err
	})
	if err != nil {
		return err
	}
	if !first {
		line = append(line, '\n')
	}
	if _, err := out.Write(append(line, "]\n"...)); err != nil {
		return err
	}
	return out.Flush()
}
