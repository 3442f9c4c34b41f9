package changes

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/scan"
)

// width is how many places on the streams a window has.
func width(w scan.Window) (n int64) {
	for p, at := range w.Until {
		n += max(0, at.Next-w.From[p].Next)
	}
	return n
}

// maxPlaces bounds how many places of rows are held while a window is shortened.
const maxPlaces = 1 << 22

// shorten makes the window end so early that there are limit rows in it that the caller is given,
// if there are more, and reports whether it did. The rows are taken partition after partition, each
// in the order of the stream, and counted by reading the columns of their places alone, in files
// that reach into the window. So which rows a batch has depends on the caller's rows only: places
// are of all tenants' events, and where a window was cut by them would tell how many those are.
func (f *Feed) shorten(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config, limit int64) (more bool, err error) {
	w := cfg.Within
	if limit <= 0 || width(*w) <= limit || rowsOf(read, files) <= limit {
		return false, nil
	}
	if err := f.learn(ctx, read, files, cfg); err != nil {
		return false, err
	}
	short := make(cardlake.Positions, len(w.Until))
	for p := range w.Until {
		short[p] = cardlake.Offset{Next: w.From[p].Next}
	}
	maps.Copy(short, w.From) // none that was read before is forgotten
	for _, p := range slices.SortedFunc(maps.Keys(w.Until), func(a, b cardlake.StreamPartition) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Partition, b.Partition))
	}) {
		at, rows, err := f.behind(ctx, read, files, cfg, p, limit)
		if err != nil {
			return false, err
		}
		short[p] = cardlake.Offset{Next: at}
		if at < w.Until[p].Next {
			w.Until = short
			return true, nil
		}
		limit -= rows
	}
	return false, nil
}

// behind returns the place of the row of the partition before which the window has limit rows, or
// the window's end and how many it has if they are not more. It looks at as many places as rows
// are wanted, and then at ever more at a time.
func (f *Feed) behind(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config, p cardlake.StreamPartition, limit int64) (at, rows int64, err error) {
	from, until := cfg.Within.From[p].Next, cfg.Within.Until[p].Next
	for step := min(limit+1, maxPlaces); from < until; {
		to := min(from+step, until)
		part := scan.Window{From: cardlake.Positions{p: {Next: from}}, Until: cardlake.Positions{p: {Next: to}}}
		cfg.Within = &part
		var found []int64
		n := int64(0)
		err := f.places(ctx, read, f.spans.reaching(files, part), cfg, func(_ string, at cardlake.Position) {
			if n++; n <= maxPlaces {
				found = append(found, at.Offset)
			}
		}, func() {})
		switch {
		case err != nil:
			return 0, 0, err
		case n > maxPlaces: // so many more rows than before: fewer places at a time
			step = max((to-from)/2, 1)
		case rows+n > limit:
			slices.Sort(found)
			return found[limit-rows], limit, nil
		default:
			rows, from, step = rows+n, to, 2*step
		}
	}
	return until, rows, nil
}

// rowsOf is how many rows the files have at most that the caller is given.
func rowsOf(read queries.Read, files []cardlake.DataFile) (n int64) {
	for _, d := range files {
		if read.Decision.Scope(d.Tenant) != nil {
			n += d.Rows
		}
	}
	return n
}

// learn looks once where the rows of files lie. A file of which the caller is not given all rows
// is looked at again each time.
func (f *Feed) learn(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config) error {
	unknown := f.spans.unknown(files)
	rowsIn := make(map[string]int64, len(unknown))
	for _, d := range unknown {
		rowsIn[d.Name] = d.Rows
	}
	cfg.Within = &scan.Window{Until: cfg.Snapshot.Positions} // all rows there are
	of, seen := span{}, int64(0)
	return f.places(ctx, read, unknown, cfg, func(file string, at cardlake.Position) {
		of.extend(at)
		seen++
		if seen == rowsIn[file] {
			f.spans.add(file, of)
		}
	}, func() { of, seen = span{}, 0 })
}

// places calls row with the place of each row that Config keeps, and begin before those of
// another file.
func (f *Feed) places(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config, row func(file string, at cardlake.Position), begin func()) (err error) {
	cfg.Columns = []string{}
	rows, err := scan.Open(ctx, f.store, read, files, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	name := ""
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch err := rows.Next(nil); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if file := rows.File(); file != name {
			name = file
			begin()
		}
		row(name, rows.Position())
	}
}
