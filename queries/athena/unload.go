package athena

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake/queries"
)

// unload runs the statement as UNLOAD and returns the rows of the files that Athena wrote.
func (a *answer) unload(ctx context.Context, s queries.Statement, sql string) (queries.Rows, error) {
	u := &unloaded{answer: a}
	x, err := a.execute(ctx, s, false, func(token string) string {
		u.prefixes = append(u.prefixes, a.place.prefix+"unload/"+token+"/")
		return unloadSQL(sql, a.columns, "s3://"+a.place.bucket+"/"+u.prefixes[len(u.prefixes)-1])
	})
	if err != nil {
		return nil, errors.Join(err, u.sweep(ctx))
	}
	u.execution = x
	if u.files, err = a.engine.list(ctx, a.place.bucket, u.prefixes[len(u.prefixes)-1]); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return u, nil
}

// unloadSQL writes the answer below the place ("UNLOAD", Amazon Athena User Guide). Columns are
// numbered, for their names may be empty or twice the same.
func unloadSQL(sql string, columns []column, place string) string {
	var names, list []string
	for i, c := range columns {
		name := "c" + strconv.Itoa(i)
		names = append(names, name)
		if c.fromParquet == nil {
			name = "CAST(" + name + " AS VARCHAR) AS " + name
		}
		list = append(list, name)
	}
	return "UNLOAD (SELECT " + strings.Join(list, ", ") + " FROM (\n" + sql + "\n) AS answer (" + strings.Join(names, ", ") + "))\nTO '" + place +
		"'\nWITH (format = 'PARQUET', compression = 'SNAPPY')"
}

// unloaded implements queries.Rows over the files of an UNLOAD.
type unloaded struct {
	*answer
	execution *execution
	prefixes  []string // of every try
	files     []file   // that are to be read yet

	groups   []parquet.RowGroup // of the open file that are to be read yet
	rows     parquet.Rows       // of the open group
	batch    []parquet.Row      // read from it
	at, n    int                // the next of them, and how many there are
	isClosed bool
}

// batchRows is how many rows are taken from a row group at once.
const batchRows = 256

// Next implements queries.Rows.
func (u *unloaded) Next(row []any) error {
	if u.isClosed {
		return io.EOF
	}
	for u.at == u.n {
		if err := u.more(); err != nil {
			return err
		}
	}
	clear(row)
	for _, v := range u.batch[u.at] {
		i := v.Column()
		if v.IsNull() {
			continue
		}
		value, err := u.columns[i].value(v)
		if err != nil {
			return u.fault(i, err)
		}
		row[i] = value
	}
	u.at++
	return nil
}

// value converts what the file has, which open found to be of the right kind.
func (c *column) value(v parquet.Value) (any, error) {
	if c.fromParquet == nil {
		return c.fromText(string(v.ByteArray()))
	}
	return c.fromParquet(v)
}

// more reads the next rows, of the next group or file if need be.
func (u *unloaded) more() error {
	for u.rows == nil {
		for len(u.groups) == 0 {
			if len(u.files) == 0 {
				return io.EOF
			}
			if err := u.open(u.files[0]); err != nil {
				return fmt.Errorf("read what Athena unloaded: %w", err)
			}
			u.files = u.files[1:]
		}
		u.rows = u.groups[0].Rows()
		u.groups = u.groups[1:]
	}
	if u.batch == nil {
		u.batch = make([]parquet.Row, batchRows)
	}
	n, err := u.rows.ReadRows(u.batch)
	u.at, u.n = 0, n
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if err != nil {
		closed := u.rows.Close()
		u.rows = nil
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("read what Athena unloaded: %w", err)
		}
		if closed != nil {
			return fmt.Errorf("read what Athena unloaded: %w", closed)
		}
	}
	return nil
}

// open opens a file, which must have the columns that were unloaded and nothing else.
func (u *unloaded) open(f file) error {
	opened, err := parquet.OpenFile(u.engine.reader(u.place, f), f.size,
		parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(1<<20))
	if err != nil {
		return err
	}
	leaves := opened.Schema().Columns()
	if len(leaves) != len(u.columns) {
		return errors.New("a file has another number of columns")
	}
	for i, path := range leaves {
		leaf, ok := opened.Schema().Lookup(path...)
		if !ok || len(path) != 1 || path[0] != "c"+strconv.Itoa(i) || leaf.Node.Repeated() {
			return fmt.Errorf("column %d of a file is not what was unloaded", i)
		}
		kind := leaf.Node.Type().Kind()
		switch want := u.columns[i].kind; {
		case u.columns[i].fromParquet == nil && kind != parquet.ByteArray,
			u.columns[i].fromParquet != nil && want != anyKind && kind != want:
			return fmt.Errorf("column %d of a file is of another type than was unloaded", i)
		}
	}
	u.groups = opened.RowGroups()
	return nil
}

// Close implements queries.Rows: it deletes the files.
func (u *unloaded) Close() error {
	if u.isClosed {
		return nil
	}
	u.isClosed = true
	var err error
	if u.rows != nil {
		err = u.rows.Close()
	}
	u.batch, u.groups, u.files = nil, nil, nil
	u.discard(context.Background(), u.execution)
	return errors.Join(err, u.sweep(context.Background()))
}

// sweep deletes all that any try wrote. That it can't be is an error, for whole answers would
// stay.
func (u *unloaded) sweep(ctx context.Context) error {
	ctx, cancel := u.beyond(ctx)
	defer cancel()
	for _, prefix := range u.prefixes {
		files, err := u.engine.list(ctx, u.place.bucket, prefix)
		if err != nil {
			return err
		}
		keys := make([]string, len(files))
		for i, f := range files {
			keys[i] = f.key
		}
		if err := u.engine.delete(ctx, u.place.bucket, keys); err != nil {
			return err
		}
	}
	return nil
}
