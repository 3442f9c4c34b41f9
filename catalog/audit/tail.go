package audit

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// Segments is where a log's segments lie: its folder, or wherever they were copied to.
type Segments interface {
	// Numbers lists the segments in order; a log that is not there has none.
	Numbers(ctx context.Context) ([]int, error)
	// Open opens a segment for reading from its beginning. The error of one that was removed
	// since it was listed matches fs.ErrNotExist.
	Open(ctx context.Context, number int) (io.ReadSeekCloser, error)
}

// Dir is the folder of a log.
type Dir string

// Numbers implements Segments.
func (d Dir) Numbers(context.Context) ([]int, error) { return segmentsIn(string(d)) }

// Open implements Segments.
func (d Dir) Open(_ context.Context, number int) (io.ReadSeekCloser, error) {
	return os.Open(filepath.Join(string(d), segmentName(number)))
}

// SegmentName is the name of a segment's file.
func SegmentName(number int) string { return segmentName(number) }

// Line is a line of a log that was verified, as far as the log goes up to it.
type Line struct {
	Entry
	Log     string
	Hash    string
	Segment int // in which it is
	// Statement is what the line signs, if it is a checkpoint and its signature was checked.
	Statement *SignedHead
}

// Head is the line's.
func (l *Line) Head() Head { return Head{Log: l.Log, Seq: l.Seq, Hash: l.Hash} }

// Tail follows a log and gives the lines that hold together with all before them. It keeps
// nothing of what it read but the last hash and the segment's key. It is not safe for
// concurrent use.
type Tail struct {
	from   Segments
	cfg    VerifyConfig
	report Report
	due    int   // number of the segment that is read
	offset int64 // of the next line in it
	line   int   // how many lines of it were read
	key    keys.Key
	known  map[uint64]string // heads that the log must have: number to hash

	// What was before the oldest segment, until a line says that it was pruned.
	missing Head
	// pruned is what the newest line of ActionPrune says.
	pruned   Head
	prunedTo int
	first    int
	// unsigned is for how long the log was written since the last checkpoint, if hasUnsigned.
	unsigned    time.Duration
	hasUnsigned bool
}

// TailOf returns a tail that begins with the oldest segment, or with cfg.First.
func TailOf(from Segments, cfg VerifyConfig) *Tail {
	if cfg.MaxUnsigned == 0 {
		cfg.MaxUnsigned = 5 * time.Minute
	}
	t := &Tail{from: from, cfg: cfg, report: Report{IsSealed: cfg.Keys != nil}, known: map[uint64]string{}}
	for _, h := range append([]Head{cfg.Anchor}, cfg.Known...) {
		if h.Seq > 0 {
			t.known[h.Seq] = h.Hash
		}
	}
	return t
}

// Close forgets the segment's key.
func (t *Tail) Close() { t.key.Destroy() }

// Report returns what was found so far.
func (t *Tail) Report() Report { return t.report }

// Each gives the lines that follow those it gave before to take, until take returns false or
// the log has no more of them for now. A log that does not hold together gives an error that
// matches ErrBreak, from then on; Report has the place.
func (t *Tail) Each(ctx context.Context, take func(Line) bool) error {
	for t.report.Break == nil {
		numbers, err := t.from.Numbers(ctx)
		if err != nil || len(numbers) == 0 {
			return err
		}
		if t.due == 0 {
			t.begin(numbers)
		}
		last := numbers[len(numbers)-1]
		if t.due > last {
			return nil
		}
		isMore, err := t.segment(ctx, last, take)
		if errors.Is(err, fs.ErrNotExist) {
			t.broken(t.due, t.line+1, "the segment is missing")
			break
		}
		if err != nil || !isMore && t.report.Break == nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrBreak, t.report.Break)
}

// begin chooses the first segment.
func (t *Tail) begin(numbers []int) {
	t.due = t.cfg.First
	if t.due == 0 {
		t.due = numbers[0]
	}
	t.first = t.due
}

func (t *Tail) broken(segment, line int, what string) {
	t.report.Break = &Break{Segment: segmentName(segment), Line: line, Seq: t.report.Head.Seq + 1, What: what}
}

// segment reads on in the segment that is due, and reports whether the next one is to be read.
func (t *Tail) segment(ctx context.Context, last int, take func(Line) bool) (isMore bool, err error) {
	file, err := t.from.Open(ctx, t.due)
	if err != nil {
		return false, fmt.Errorf("audit log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(t.offset, io.SeekStart); err != nil {
		return false, fmt.Errorf("audit log: %w", err)
	}
	in := newLineReader(file)
	isLast := t.due == last
	for {
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("verify audit log: %w", err)
		}
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			t.report.Torn = int64(len(line))
			switch {
			case isLast:
				return false, nil
			case len(line) > 0:
				t.broken(t.due, t.line+1, "the line is cut off")
			case t.line == 0:
				t.broken(t.due, 1, "the segment is empty")
			default:
				t.report.Segments++
				t.due, t.offset, t.line = t.due+1, 0, 0
				return true, nil
			}
			return false, nil
		case errors.Is(err, errLine):
			t.broken(t.due, t.line+1, "the line is too long")
			return false, nil
		case err != nil:
			return false, err
		}
		p, statement, what, err := t.check(ctx, line)
		if err != nil {
			return false, err
		}
		if what != "" {
			t.broken(t.due, t.line+1, what)
			return false, nil
		}
		t.offset += int64(len(line)) + 1
		t.line++
		if !take(Line{Entry: p.entry, Log: t.report.Log, Hash: p.hash, Segment: t.due, Statement: statement}) {
			return false, nil
		}
	}
}

// check checks one line and says what is wrong with it.
func (t *Tail) check(ctx context.Context, line []byte) (p parsed, statement *SignedHead, what string, err error) {
	wrong := func(what string) (parsed, *SignedHead, string, error) { return p, nil, what, nil }
	p, err = parseLine(line)
	if err != nil {
		return wrong("it is not a line of an audit log")
	}
	r := &t.report
	e := &p.entry
	isFirst := t.line == 0
	isOldest := r.Lines == 0 && t.due > 1
	switch {
	case hashOf(p.body) != p.hash:
		return wrong("its hash is not that of its content")
	case isFirst != (e.Segment != nil):
		return wrong("a segment's own line is missing or out of place")
	case isOldest:
		// What was before it, a line of the log must tell: see End.
	case e.Prev != r.Head.Hash:
		return wrong("the line before it is not the one that it names: lines were taken out, put in or moved")
	case e.Seq != r.Head.Seq+1:
		return wrong("its number does not follow that of the line before")
	}
	if s := e.Segment; s != nil {
		if s.Number != t.due || r.Log != "" && s.Log != r.Log {
			return wrong("the segment belongs elsewhere")
		}
		if t.cfg.Keys != nil {
			if what, err := t.unwrap(ctx, s.Key); what != "" || err != nil {
				return p, nil, what, err
			}
		}
		if isOldest {
			t.missing = Head{Log: s.Log, Seq: e.Seq - 1, Hash: e.Prev}
		}
		r.Log = s.Log
	}
	if t.cfg.Keys != nil && !hmac.Equal([]byte(sealOf(t.key, p.hash)), []byte(p.seal)) {
		return wrong("its seal is not genuine")
	}
	head := Head{Log: r.Log, Seq: e.Seq, Hash: p.hash}
	if hash, ok := t.known[e.Seq]; ok && hash != p.hash {
		return wrong("it is not the line of its number that the anchor or a known head names: the log was written anew")
	}
	if len(t.cfg.Public) > 0 {
		if statement, what = t.signed(e); what != "" {
			return wrong(what)
		}
	}
	if e.Action == ActionPrune && e.Outcome == Allowed {
		t.prunedTo, t.pruned = int(e.Numbers[pruneSegment]), Head{Log: r.Log, Seq: uint64(e.Numbers[pruneSeq]), Hash: e.Detail[pruneHash]}
	}
	delete(t.known, e.Seq)
	if r.Lines == 0 {
		r.From = e.Time
	}
	r.Lines++
	r.To = e.Time
	r.Head = head
	return p, statement, "", nil
}

// maxPause is what of a pause between two lines counts as time without a checkpoint.
const maxPause = 2 * time.Minute

// signed checks a checkpoint, and how long ago the last one was.
func (t *Tail) signed(e *Entry) (*SignedHead, string) {
	r := &t.report
	s, ok := e.SignedHead(r.Log)
	if !ok {
		if e.Action == ActionCheckpoint {
			return nil, "it is a checkpoint without a signature"
		}
		// A writer that died signs no more, and one that was stopped for a while signs with its
		// next line: neither the time between segments counts nor long pauses.
		if t.hasUnsigned && e.Segment == nil {
			t.unsigned += min(max(e.Time.Sub(r.To), 0), maxPause)
		}
		t.hasUnsigned = true
		if t.unsigned > t.cfg.MaxUnsigned {
			return nil, "no checkpoint has signed the lines before it for " + t.cfg.MaxUnsigned.String()
		}
		r.Unsigned++
		return nil, ""
	}
	if s.Verify(t.cfg.Public...) != nil {
		return nil, "its signature is not of the public keys that are trusted"
	}
	t.hasUnsigned, t.unsigned, r.Unsigned = false, 0, 0
	r.Checkpoints++
	return &s, ""
}

func (t *Tail) unwrap(ctx context.Context, spelled string) (what string, err error) {
	wrapped, err := letters(spelled)
	if err != nil {
		return "the segment's key is not readable", nil
	}
	key, err := t.cfg.Keys.UnwrapDataKey(ctx, scope, wrapped)
	switch {
	case errors.Is(err, keys.ErrUnwrap):
		return "the segment's key is not genuine", nil
	case err != nil:
		return "", fmt.Errorf("verify audit log: key of a segment: %w", err)
	}
	t.key.Destroy()
	t.key = key
	return "", nil
}

// End reports the log as it is now, whole: what only the absence of more lines shows is a
// break too.
func (t *Tail) End() Report {
	r := t.report
	if r.Break != nil {
		return r
	}
	defer func() { t.report.Break = nil }()
	t.end()
	r = t.report
	if t.line > 0 {
		r.Segments++
	}
	return r
}

func (t *Tail) end() {
	h := t.report.Head
	if t.first > 1 && t.cfg.First == 0 {
		if t.prunedTo < t.first-1 || t.prunedTo == t.first-1 && t.pruned != t.missing {
			t.report.Head = Head{}
			t.broken(1, 1, fmt.Sprintf("the segment is missing, with all before %s, and the log does not say that they were pruned", segmentName(t.first)))
			t.report.Head = h
			return
		}
		t.report.Pruned = t.first - 1
	}
	before := uint64(0) // lines that are not here to be compared
	if t.first > 1 {
		before = t.missing.Seq
	}
	for seq := range t.known {
		if seq <= before {
			continue
		}
		t.broken(max(t.due, 1), 0, "lines at the end are missing: the anchor or a known head names line "+strconv.FormatUint(seq, 10))
		return
	}
	for _, a := range append([]Head{t.cfg.Anchor}, t.cfg.Known...) {
		if a.Seq > 0 && a.Log != t.report.Log {
			t.broken(max(t.due, 1), 0, "the anchor or a known head is another log's")
			return
		}
	}
}
