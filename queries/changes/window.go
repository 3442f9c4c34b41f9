package changes

import (
	"context"
	"errors"
	"io"

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

// parts is how finely a window is cut.
const parts = 1 << 16

// cut returns where the first part ends of those that a window is cut into, each as long as the
// others in each partition, but for one place.
func cut(w scan.Window, part int64) cardlake.Positions {
	out := make(cardlake.Positions, len(w.Until))
	for p, at := range w.Until {
		from := w.From[p].Next
		out[p] = cardlake.Offset{Next: boundary(from, at.Next, part)}
	}
	for p, at := range w.From { // none that was read before is forgotten
		if _, ok := out[p]; !ok {
			out[p] = cardlake.Offset{Next: at.Next}
		}
	}
	return out
}

// boundary is where part of the span from from to until begins.
func boundary(from, until, part int64) int64 {
	span := max(0, until-from)
	return from + span/parts*part + span%parts*part/parts
}

// partOf is the part that an offset lies in.
func partOf(from, until, offset int64) int64 {
	low, high := int64(0), int64(parts) // boundary(low) <= offset < boundary(high)
	for high-low > 1 {
		if middle := (low + high) / 2; boundary(from, until, middle) <= offset {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// shorten makes the window end so early that there are at most limit rows in it that the caller
// is given, and reports whether it did. A place has one row at most, so it begins with as many
// places as rows are wanted, and takes more as long as few of them have one. It counts rows by
// reading the columns of their places alone, in files that reach into the window.
func (f *Feed) shorten(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config, limit int64) (more bool, err error) {
	w := cfg.Within
	if limit <= 0 || width(*w) <= limit || rowsOf(read, files) <= limit {
		return false, nil
	}
	if err := f.learn(ctx, read, files, cfg); err != nil {
		return false, err
	}
	whole := *w
	for part := max(1, int64(float64(limit)/float64(width(whole))*parts)); ; part = min(parts, 2*part) {
		w.Until = cut(whole, part)
		counts, total, err := f.count(ctx, read, files, cfg)
		switch {
		case err != nil:
			return false, err
		case total > limit:
			return true, f.shrink(ctx, read, files, cfg, limit, counts)
		case part == parts:
			return false, nil
		case 2*total >= limit:
			return true, nil
		}
	}
}

// shrink takes as many parts of a window that has too many rows as have no more than limit. If the
// first has more, that is the window that is cut.
func (f *Feed) shrink(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config, limit int64, counts []int64) error {
	w := cfg.Within
	for {
		rows, part := int64(0), int64(0)
		for part < parts && rows+counts[part] <= limit {
			rows += counts[part]
			part++
		}
		before := width(*w)
		w.Until = cut(*w, max(1, part))
		switch {
		case part > 0, width(*w) <= limit:
			return nil
		case width(*w) >= before:
			return errors.New("changes: a window cannot be cut")
		}
		var err error
		if counts, _, err = f.count(ctx, read, files, cfg); err != nil {
			return err
		}
	}
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

// count counts the rows in each part of the window, and all of them.
func (f *Feed) count(ctx context.Context, read queries.Read, files []cardlake.DataFile, cfg scan.Config) (counts []int64, total int64, err error) {
	w := *cfg.Within
	counts = make([]int64, parts)
	err = f.places(ctx, read, f.spans.reaching(files, w), cfg, func(_ string, at cardlake.Position) {
		counts[partOf(w.From[at.StreamPartition].Next, w.Until[at.StreamPartition].Next, at.Offset)]++
		total++
	}, func() {})
	return counts, total, err
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
