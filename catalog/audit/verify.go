package audit

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// Unwrapper opens the keys of segments. A keys.Provider is one.
type Unwrapper interface {
	// UnwrapDataKey opens what was wrapped under the scope.
	UnwrapDataKey(ctx context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error)
}

// VerifyConfig says against what a log is held.
type VerifyConfig struct {
	// Keys opens the segments' keys. Without it the seals are not checked, and whoever can
	// write the files could have written all of them.
	Keys Unwrapper
	// Anchor is what the log's anchor keeps. Without it an end that is missing is not found.
	Anchor Head
	// First is the number of the oldest segment that must be there, when retention has taken
	// older ones away. Default 1.
	First int
}

// Report is what Verify found.
type Report struct {
	Log      string    `json:"log"`
	Segments int       `json:"segments"`
	Lines    uint64    `json:"lines"` // that hold together, up to the break if there is one
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Head     Head      `json:"head"`
	IsSealed bool      `json:"is_sealed"` // every seal was checked
	Torn     int64     `json:"torn"`      // bytes of an unfinished line at the end: being written, or its writer died
	Break    *Break    `json:"break,omitempty"`
}

// Break is the first place at which a log does not hold together.
type Break struct {
	Segment string `json:"segment"` // file
	Line    int    `json:"line"`    // in the file, counted from 1
	Seq     uint64 `json:"seq"`     // number of the line that was due
	What    string `json:"what"`
}

func (b Break) String() string {
	return fmt.Sprintf("%s, line %d (number %d): %s", b.Segment, b.Line, b.Seq, b.What)
}

// Verify reads the whole log and reports whether it holds together, and if not, where it
// first does not. The error says that it could not be read, or that a key could not be asked
// for. It may run beside the log's writer.
func Verify(ctx context.Context, dir string, cfg VerifyConfig) (Report, error) {
	v := &verifier{cfg: cfg, report: Report{IsSealed: cfg.Keys != nil}}
	numbers, err := segmentsIn(dir)
	if err != nil {
		return v.report, err
	}
	v.due = max(cfg.First, 1)
	for i, number := range numbers {
		if number < v.due {
			continue // taken away by retention, as far as the caller cares
		}
		if number != v.due {
			v.broken(segmentName(v.due), 1, "the segment is missing")
			break
		}
		if err := v.segment(ctx, dir, number, i == len(numbers)-1); err != nil {
			return v.report, err
		}
		if v.report.Break != nil {
			break
		}
		v.report.Segments++
		v.due++
	}
	v.key.Destroy()
	if v.report.Break == nil {
		v.anchor()
	}
	return v.report, nil
}

type verifier struct {
	cfg    VerifyConfig
	report Report
	due    int // segment
	key    keys.Key
	isSame bool // the anchor's line was met
}

func (v *verifier) broken(segment string, line int, what string) {
	v.report.Break = &Break{Segment: segment, Line: line, Seq: v.report.Head.Seq + 1, What: what}
}

func (v *verifier) anchor() {
	if a := v.cfg.Anchor; a.Seq > 0 && !v.isSame {
		what := "lines at the end are missing: the anchor knows of line " + fmt.Sprint(a.Seq)
		if v.report.Head.Seq >= a.Seq {
			what = "the log does not have the anchor's line " + fmt.Sprint(a.Seq)
		}
		v.broken(segmentName(max(v.due-1, 1)), 0, what)
	}
}

func (v *verifier) segment(ctx context.Context, dir string, number int, isLast bool) error {
	in, err := openLines(dir, number)
	if err != nil {
		return err
	}
	defer in.close()
	name := segmentName(number)
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("verify audit log: %w", err)
		}
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			v.report.Torn = int64(len(line))
			switch {
			case len(line) > 0 && !isLast:
				v.broken(name, n, "the line is cut off")
			case n == 1 && !isLast:
				v.broken(name, n, "the segment is empty")
			}
			return nil
		case errors.Is(err, errLine):
			v.broken(name, n, "the line is too long")
			return nil
		case err != nil:
			return err
		}
		what, err := v.line(ctx, line, number, n == 1)
		if err != nil {
			return err
		}
		if what != "" {
			v.broken(name, n, what)
			return nil
		}
	}
}

// line checks one line and says what is wrong with it.
func (v *verifier) line(ctx context.Context, line []byte, number int, isFirst bool) (what string, err error) {
	p, err := parseLine(line)
	if err != nil {
		return "it is not a line of an audit log", nil
	}
	r := &v.report
	e := &p.entry
	switch {
	case hashOf(p.body) != p.hash:
		return "its hash is not that of its content", nil
	case isFirst != (e.Segment != nil):
		return "a segment's own line is missing or out of place", nil
	case r.Head.Seq == 0 && number > 1:
		// The oldest segment that is left: what was before it can't be known.
	case e.Prev != r.Head.Hash:
		return "the line before it is not the one that it names: lines were taken out, put in or moved", nil
	case e.Seq != r.Head.Seq+1:
		return "its number does not follow that of the line before", nil
	}
	if s := e.Segment; s != nil {
		if s.Number != number || r.Log != "" && s.Log != r.Log {
			return "the segment belongs elsewhere", nil
		}
		r.Log = s.Log
		if v.cfg.Keys != nil {
			if what, err := v.unwrap(ctx, s.Key); what != "" || err != nil {
				return what, err
			}
		}
	}
	if v.cfg.Keys != nil && !hmac.Equal([]byte(sealOf(v.key, p.hash)), []byte(p.seal)) {
		return "its seal is not genuine", nil
	}
	if r.Lines == 0 {
		r.From = e.Time
	}
	r.Lines++
	r.To = e.Time
	r.Head = Head{Log: r.Log, Seq: e.Seq, Hash: p.hash}
	if r.Head == v.cfg.Anchor {
		v.isSame = true
	}
	return "", nil
}

func (v *verifier) unwrap(ctx context.Context, spelled string) (what string, err error) {
	wrapped, err := letters(spelled)
	if err != nil {
		return "the segment's key is not readable", nil
	}
	key, err := v.cfg.Keys.UnwrapDataKey(ctx, scope, wrapped)
	switch {
	case errors.Is(err, keys.ErrUnwrap):
		return "the segment's key is not genuine", nil
	case err != nil:
		return "", fmt.Errorf("verify audit log: key of a segment: %w", err)
	}
	v.key.Destroy()
	v.key = key
	return "", nil
}
