// Package ship takes an audit log off the machine that writes it, while it is written: its
// lines become rows of audit.events within seconds, and its closed segments and checkpoints
// become objects that nobody replaces (PCI DSS 4.0.1 requirements 10.3.3 and 10.3.4). Only
// what holds together is shipped: a log that does not stops the shipper with an error that
// matches [audit.ErrBreak].
//
// # Exactly once
//
// A log is a stream of one partition, named by [Stream], whose offsets are the numbers of the
// lines. Rows and position are one commit, so that a shipper that dies, or two that run at
// once, put each line into the table once. The position's mark is the hash of the last line:
// a log that was written anew does not go on where the table ends.
//
// # Objects
//
// A closed segment is the object audit/<log>/audit-<number>.jsonl, byte for byte; a checkpoint
// is audit/<log>/checkpoints/<number of its line in letters>.json. [Copy] reads the segments
// back for [audit.VerifySegments]. In AWS they go to a bucket of their own with Object Lock in
// compliance mode (Amazon S3 User Guide, "Locking objects with Object Lock"), where nobody,
// the account's root user included, replaces or deletes them before their time. PCI DSS 4.0.1
// requirement 10.5.1 wants twelve months of them.
package ship

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Table is audit.events; *iceberg.Table is one.
type Table interface {
	Positions(ctx context.Context) (cardlake.Positions, error)
	Append(ctx context.Context, a catalog.Append) (catalog.Snapshot, error)
}

// Config tunes a Shipper. Zero fields are their defaults.
type Config struct {
	// Archive is where closed segments and checkpoints are put; nil ships rows only. In AWS it
	// is a store of a bucket of its own that locks what is put (s3.Config.Lock).
	Archive objects.Store
	// Every is the time between looks at the log. Default 5 s.
	Every time.Duration
	// HeadEvery is the least time between two checkpoints that are put. Default 5 minutes.
	HeadEvery time.Duration
	// MaxLines is how many lines a commit takes at most, and what bounds memory with the
	// largest segment. Default 20,000.
	MaxLines int
	Now      func() time.Time // default time.Now
	Log      *slog.Logger     // default slog.Default()
	// Metrics registers the shipper's metrics; nil registers none.
	Metrics prometheus.Registerer
}

func (c Config) withDefaults() Config {
	if c.Every == 0 {
		c.Every = 5 * time.Second
	}
	if c.HeadEvery == 0 {
		c.HeadEvery = 5 * time.Minute
	}
	if c.MaxLines <= 0 {
		c.MaxLines = 20_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Shipper ships one log. It is not safe for concurrent use; several processes may ship the
// same log at once.
type Shipper struct {
	dir     string
	store   objects.Store // of the table's data files
	table   Table
	verify  audit.VerifyConfig
	cfg     Config
	metrics *metrics

	rows *rows
	tail *audit.Tail // nil before the table's position was asked for
	at   cardlake.Offset
	log  string

	// Of the archive.
	isListed bool
	through  int // the newest segment in it
	prev     string
	head     *audit.SignedHead // the newest checkpoint that is not in it yet
	headAt   time.Time         // when the last one was put
}

// New returns the shipper of the log in the folder dir. Data files go to store, and lines are
// verified with verify, whose Anchor, Known and First are not used.
func New(dir string, store objects.Store, table Table, verify audit.VerifyConfig, cfg Config) (*Shipper, error) {
	verify.Anchor, verify.Known, verify.First = audit.Head{}, nil, 0
	s := &Shipper{dir: dir, store: store, table: table, verify: verify, cfg: cfg.withDefaults(), rows: newRows()}
	var err error
	if s.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("ship audit log: %w", err)
	}
	return s, nil
}

// Report is what one look at the log shipped.
type Report struct {
	Log      string `json:"log"`
	Lines    int    `json:"lines"`
	Segments int    `json:"segments"`
	Heads    int    `json:"checkpoints"`
	Seq      uint64 `json:"seq"` // number of the last line in the table
}

// Run ships what is new until ctx ends, which is no error. A log that does not hold together
// ends it with an error that matches audit.ErrBreak; any other failure is logged, counted and
// tried again.
func (s *Shipper) Run(ctx context.Context) error {
	defer s.Close()
	for {
		_, err := s.Once(ctx)
		switch {
		case errors.Is(err, audit.ErrBreak):
			s.cfg.Log.Error("the audit log is broken and is not shipped any more", "log", s.dir, "error", err)
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.cfg.Log.Warn("the audit log is not shipped", "log", s.dir, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.cfg.Every):
		}
	}
}

// Close forgets the log's keys. A later Once begins anew.
func (s *Shipper) Close() {
	if s.tail != nil {
		s.tail.Close()
		s.tail = nil
	}
}

// Once ships what the log has now. After an error it can be called again.
func (s *Shipper) Once(ctx context.Context) (Report, error) {
	var r Report
	err := s.once(ctx, &r)
	r.Log, r.Seq = s.log, uint64(max(s.at.Next-1, 0))
	s.metrics.done(r, err, s.cfg.Now())
	if err != nil {
		s.Close() // what the table has now is to be asked
		s.isListed = false
		return r, fmt.Errorf("ship audit log %s: %w", s.dir, err)
	}
	return r, nil
}

func (s *Shipper) once(ctx context.Context, r *Report) error {
	if s.tail == nil {
		if err := s.begin(ctx); err != nil || s.tail == nil {
			return err
		}
	}
	for {
		n, err := s.lines(ctx)
		r.Lines += n
		if err != nil {
			return err
		}
		if n < s.cfg.MaxLines {
			break
		}
	}
	if s.cfg.Archive == nil {
		return nil
	}
	if err := s.segments(ctx, r); err != nil {
		return err
	}
	return s.checkpoint(ctx, r)
}

// Stream is the name by which the table knows the positions of a log.
func Stream(log string) string { return "audit/" + log }

func (s *Shipper) partition() cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: Stream(s.log)}
}

// begin asks the table where it ends and puts the tail there. A log without a line has none.
func (s *Shipper) begin(ctx context.Context) error {
	s.log, s.at = "", cardlake.Offset{}
	first, err := audit.LogOf(ctx, audit.Dir(s.dir))
	if err != nil || first == "" {
		return err
	}
	positions, err := s.table.Positions(ctx)
	if err != nil {
		return err
	}
	s.log = first
	s.at = positions[s.partition()]
	verify := s.verify
	if s.at.Next > 1 {
		if verify.First, err = audit.Locate(ctx, audit.Dir(s.dir), uint64(s.at.Next-1)); err != nil {
			return err
		}
	}
	s.tail = audit.TailOf(audit.Dir(s.dir), verify)
	return nil
}

// lines commits the next lines, at most MaxLines, and returns how many.
func (s *Shipper) lines(ctx context.Context) (int, error) {
	s.rows.reset()
	from, to := s.at, s.at
	var bad error
	fail := func(what string) bool { bad = fmt.Errorf("%w: %s", audit.ErrBreak, what); return false }
	err := s.tail.Each(ctx, func(l audit.Line) bool {
		if l.Log != s.log {
			return fail("its segments are of several logs")
		}
		due := uint64(max(to.Next, 1))
		switch {
		case l.Seq+1 == due && l.Hash != to.Mark:
			return fail(fmt.Sprintf("line %d is not the one that was shipped: the log was written anew", l.Seq))
		case l.Seq < due:
			return true
		case l.Seq > due:
			return fail(fmt.Sprintf("line %d was not shipped and is gone: the log goes on with %d", due, l.Seq))
		case due > 1 && l.Prev != to.Mark:
			return fail(fmt.Sprintf("line %d does not follow the one that was shipped: the log was written anew", l.Seq))
		}
		if bad = s.rows.add(&l); bad != nil {
			return false
		}
		to = cardlake.Offset{Next: int64(l.Seq) + 1, Mark: l.Hash}
		if head, ok := l.SignedHead(l.Log); ok {
			s.head = &head
		}
		return s.rows.n < s.cfg.MaxLines
	})
	if bad != nil {
		return 0, bad
	}
	// What holds together before a break is shipped all the same.
	if s.rows.n > 0 {
		if e := s.commit(ctx, from, to); e != nil {
			return 0, e
		}
		s.at = to
	}
	return s.rows.n, err
}

func (s *Shipper) commit(ctx context.Context, from, to cardlake.Offset) error {
	sp := s.partition()
	a := catalog.Append{From: cardlake.Positions{sp: from}, To: cardlake.Positions{sp: to}}
	if from == (cardlake.Offset{}) {
		a.From = nil
	}
	var err error
	if a.Files, err = s.rows.put(ctx, s.store, s.log, from, to); err != nil {
		return err
	}
	_, err = s.table.Append(ctx, a)
	return err
}

// folder is where a log's objects are.
func folder(log string) string { return "audit/" + log }

// segments puts the closed segments that are not in the archive yet, each as the bytes that
// were verified.
func (s *Shipper) segments(ctx context.Context, r *Report) error {
	copied := Copy(s.cfg.Archive, s.log)
	if !s.isListed {
		if err := s.list(ctx, copied); err != nil {
			return err
		}
	}
	numbers, err := audit.Dir(s.dir).Numbers(ctx)
	if err != nil {
		return err
	}
	for _, n := range numbers[:max(len(numbers)-1, 0)] {
		if n <= s.through {
			continue
		}
		if n != s.through+1 {
			return fmt.Errorf("%w: %s is neither here nor in the archive", audit.ErrBreak, audit.SegmentName(s.through+1))
		}
		body, err := os.ReadFile(filepath.Join(s.dir, audit.SegmentName(n)))
		if err != nil {
			return err
		}
		prev, head, err := s.check(ctx, n, body)
		if err != nil {
			return err
		}
		if s.through > 0 && prev != s.prev {
			return fmt.Errorf("%w: %s does not follow the segment before it in the archive", audit.ErrBreak, audit.SegmentName(n))
		}
		if head.Seq >= uint64(s.at.Next) {
			return nil // not in the table yet
		}
		if err := s.put(ctx, path.Join(folder(s.log), audit.SegmentName(n)), body); err != nil {
			return err
		}
		s.through, s.prev = n, head.Hash
		r.Segments++
	}
	return nil
}

// list finds the newest segment in the archive. It is read and verified, because the next one
// is to follow it.
func (s *Shipper) list(ctx context.Context, copied audit.Segments) error {
	s.through, s.prev = 0, ""
	numbers, err := copied.Numbers(ctx)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n != s.through+1 {
			return fmt.Errorf("%w: %s is not in the archive any more", audit.ErrBreak, audit.SegmentName(s.through+1))
		}
		s.through = n
	}
	if s.through > 0 {
		f, err := copied.Open(ctx, s.through)
		if err != nil {
			return err
		}
		defer f.Close()
		body, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		_, head, err := s.check(ctx, s.through, body)
		if err != nil {
			return fmt.Errorf("in the archive: %w", err)
		}
		s.prev = head.Hash
	}
	s.isListed = true
	return nil
}

// check verifies the bytes of one segment and returns the hash that it follows, and its end.
func (s *Shipper) check(ctx context.Context, number int, body []byte) (prev string, head audit.Head, err error) {
	verify := s.verify
	verify.First = number
	t := audit.TailOf(one{number, body}, verify)
	defer t.Close()
	err = t.Each(ctx, func(l audit.Line) bool {
		if l.Entry.Segment != nil {
			prev = l.Prev
		}
		return true
	})
	r := t.Report()
	switch {
	case err != nil:
		return "", head, err
	case r.Torn > 0 || r.Lines == 0 || r.Log != s.log:
		return "", head, fmt.Errorf("%w: %s is cut off, empty or another log's", audit.ErrBreak, audit.SegmentName(number))
	}
	return prev, r.Head, nil
}

// put puts an object. One that is there already must be the same.
func (s *Shipper) put(ctx context.Context, name string, body []byte) error {
	err := s.cfg.Archive.Put(ctx, name, keys.Lake, body)
	if !errors.Is(err, objects.ErrExists) {
		return err
	}
	there, err := objects.ReadAll(ctx, s.cfg.Archive, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, body) {
		return fmt.Errorf("%w: the archive has another %s", audit.ErrBreak, path.Base(name))
	}
	return nil
}

// checkpoint puts the newest checkpoint that the table has, from time to time.
func (s *Shipper) checkpoint(ctx context.Context, r *Report) error {
	now := s.cfg.Now()
	if s.head == nil || !s.headAt.IsZero() && now.Sub(s.headAt) < s.cfg.HeadEvery {
		return nil
	}
	body, err := json.Marshal(s.head)
	if err != nil {
		return err
	}
	if err := s.put(ctx, headName(s.log, s.head.Seq), append(body, '\n')); err != nil {
		return err
	}
	s.head, s.headAt = nil, now
	r.Heads++
	return nil
}

// headName spells the number in letters, in which no digits can be taken for a card number.
// Names sort as numbers do.
func headName(log string, seq uint64) string {
	letters := cardlake.AppendLetters(nil, binary.BigEndian.AppendUint64(nil, seq))
	return path.Join(folder(log), headFolder, string(letters)+headSuffix)
}
