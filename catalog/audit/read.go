package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Filter selects entries. Zero fields select all.
type Filter struct {
	Since, Until time.Time // Since inclusive, Until not
	Actor        string
	Action       string // the action, or with a dot at its end all that begin with it
	Resource     string
	Outcome      Outcome
	Request      string
}

// Matches reports whether the filter selects the entry.
func (f Filter) Matches(e *Entry) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	action := is(f.Action, e.Action) || strings.HasSuffix(f.Action, ".") && strings.HasPrefix(e.Action, f.Action)
	return action && is(f.Actor, e.Actor) && is(f.Resource, e.Resource) && is(f.Request, e.Request) && is(string(f.Outcome), string(e.Outcome)) &&
		(f.Since.IsZero() || !e.Time.Before(f.Since)) && (f.Until.IsZero() || e.Time.Before(f.Until))
}

// Read yields the entries that the filter selects, the oldest first. It does not verify: a
// line that can't be read ends it with an error. An unfinished line at the end is left out.
// Segments that ended before the filter's Since are not read.
func Read(ctx context.Context, dir string, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if _, err := read(ctx, dir, f, position{}, func(e Entry) bool { return yield(e, nil) }); err != nil {
			yield(Entry{}, err)
		}
	}
}

// Newest yields the newest last entries that the filter selects, the oldest first, as Read
// does.
func Newest(ctx context.Context, dir string, f Filter, last int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		kept, _, err := newest(ctx, dir, f, last)
		for _, e := range kept {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(Entry{}, err)
		}
	}
}

// newest reads a log and keeps its last entries, of which there are never twice as many.
func newest(ctx context.Context, dir string, f Filter, last int) (kept []Entry, end position, err error) {
	end, err = read(ctx, dir, f, position{}, func(e Entry) bool {
		if kept = append(kept, e); len(kept) > 2*last {
			kept = append(kept[:0], kept[len(kept)-last:]...)
		}
		return true
	})
	return kept[max(0, len(kept)-last):], end, err
}

// LogOf returns the id that the oldest segment states, empty if there is no line. A log whose
// first line states none gives ErrBreak.
func LogOf(ctx context.Context, from Segments) (string, error) {
	numbers, err := from.Numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return "", err
	}
	f, err := from.Open(ctx, numbers[0])
	if err != nil {
		return "", fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	line, err := newLineReader(f).next()
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	if err == nil {
		var p parsed
		if p, err = parseLine(line); err == nil && p.entry.Segment != nil {
			return p.entry.Segment.Log, nil
		}
		err = errLine
	}
	if errors.Is(err, errLine) {
		err = fmt.Errorf("%w: its first line is not a segment's", ErrBreak)
	}
	return "", err
}

// followPoll is how often Follow looks for new lines.
const followPoll = 250 * time.Millisecond

// Follow yields the newest last entries that the filter selects and then those that are
// added, until ctx ends, which is no error.
func Follow(ctx context.Context, dir string, f Filter, last int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		kept, at, err := newest(ctx, dir, f, last)
		more := true
		for _, e := range kept {
			if more = more && yield(e, nil); !more {
				return
			}
		}
		for err == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(followPoll):
			}
			at, err = read(ctx, dir, f, at, func(e Entry) bool {
				more = yield(e, nil)
				return more
			})
			if !more {
				return
			}
		}
		if ctx.Err() == nil {
			yield(Entry{}, err)
		}
	}
}

// position is how far a log was read.
type position struct {
	segment int
	offset  int64
}

var errEnough = errors.New("enough")

// read gives the entries behind a position to take until it returns false, and returns the
// position behind the last whole line.
func read(ctx context.Context, dir string, f Filter, at position, take func(Entry) bool) (position, error) {
	numbers, err := segmentsIn(dir)
	if err != nil {
		return at, err
	}
	for i, number := range numbers {
		if number < at.segment {
			continue
		}
		if !f.Since.IsZero() && i+1 < len(numbers) {
			ended, err := startOf(dir, numbers[i+1])
			if err != nil {
				return at, err
			}
			if ended.Before(f.Since) && !ended.IsZero() {
				continue
			}
		}
		if number > at.segment {
			at = position{segment: number}
		}
		at.offset, err = readSegment(ctx, dir, at, f, take)
		if errors.Is(err, errEnough) {
			return at, nil
		}
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

// startOf is the time of a segment's first line, zero if it is not written yet.
func startOf(dir string, number int) (time.Time, error) {
	in, err := openLines(dir, number)
	if err != nil {
		return time.Time{}, err
	}
	defer in.close()
	line, err := in.next()
	if errors.Is(err, io.EOF) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	p, err := parseLine(line)
	if err != nil {
		return time.Time{}, fmt.Errorf("audit log: %s, line 1: %w", segmentName(number), err)
	}
	return p.entry.Time, nil
}

func readSegment(ctx context.Context, dir string, at position, f Filter, take func(Entry) bool) (int64, error) {
	in, err := openLines(dir, at.segment)
	if err != nil {
		return at.offset, err
	}
	defer in.close()
	if _, err := in.file.Seek(at.offset, io.SeekStart); err != nil {
		return at.offset, fmt.Errorf("audit log: %w", err)
	}
	in.end = at.offset
	for {
		if err := ctx.Err(); err != nil {
			return in.end, fmt.Errorf("read audit log: %w", err)
		}
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return in.end, nil
		}
		if err != nil {
			return in.end, err
		}
		p, err := parseLine(line)
		if err != nil {
			return in.end, fmt.Errorf("audit log: %s, byte %d: %w", segmentName(at.segment), in.end-int64(len(line))-1, err)
		}
		if f.Matches(&p.entry) && !take(p.entry) {
			return in.end, errEnough
		}
	}
}
