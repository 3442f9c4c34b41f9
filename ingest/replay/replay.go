// Package replay gives the rows of cards.transactions_rejected back to a worker, after what
// made it reject them was put right: a tenant registered, a key restored, a schema known.
//
// The rejected table is read as one more stream, [Stream], with a partition for each reason
// and the rows of that reason in the order of their commits. So a replay is exactly as
// consistent as any other ingestion: the transactions table holds how far it got, in the same
// snapshot as the rows, whatever kills it whenever. A record that is rejected again becomes a
// new row of the rejected table, behind the end of this replay; its position leads back to
// the row it came from.
package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Stream is the name under which replayed rows have their positions.
const Stream = "cards.transactions_rejected"

// Partition is the part of Stream that has the rows rejected for the reason.
func Partition(reason string) (cardlake.StreamPartition, error) {
	if i := slices.Index(ingest.Reasons(), reason); i >= 0 {
		return cardlake.StreamPartition{Stream: Stream, Partition: int32(i)}, nil
	}
	return cardlake.StreamPartition{}, fmt.Errorf("there is no reason %q: want %s", reason, strings.Join(ingest.Reasons(), ", "))
}

// ErrGone says that rows which were replayed last, and with them the place to go on from, are
// no longer in the rejected table.
var ErrGone = errors.New("the file that the last replay ended in is gone from cards.transactions_rejected")

// Deps are what a Source reads from.
type Deps struct {
	Rejected ingest.Files
	Store    objects.Store
	Keys     keys.Provider // opens payloads: purpose Seal, owner Lake
}

// Config says what is replayed.
type Config struct {
	Reasons []string // all if empty
	// MaxRecords bounds one Poll; default 1,000.
	MaxRecords int
}

// Source implements ingest.Source over the rows that are in the rejected table when Run is
// called. One at a time works on a lake: a second is fenced by the first's commits.
type Source struct {
	deps  Deps
	cfg   Config
	opens *keys.Envelopes

	ready chan struct{} // closed when at is set
	mu    sync.Mutex
	files []cardlake.DataFile
	at    map[cardlake.StreamPartition]*cursor
	ends  cardlake.Positions
}

// cursor is how far a partition has been handed out.
type cursor struct {
	reason string
	next   int64
	file   int // index into files
	row    int // in the file, counted over all reasons
}

// New returns a source; Run reads the list of files.
func New(deps Deps, cfg Config) (*Source, error) {
	if len(cfg.Reasons) == 0 {
		cfg.Reasons = ingest.Reasons()
	}
	for _, reason := range cfg.Reasons {
		if _, err := Partition(reason); err != nil {
			return nil, err
		}
	}
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = 1000
	}
	return &Source{
		deps: deps, cfg: cfg, ready: make(chan struct{}),
		opens: keys.NewEnvelopes(deps.Keys, keys.Seal, keys.EnvelopeConfig{}),
	}, nil
}

// Run implements ingest.Source.
func (s *Source) Run(ctx context.Context, a ingest.Assignee) error {
	files, err := s.deps.Rejected.Files(ctx, 0)
	if err != nil {
		return fmt.Errorf("replay: list rejected records: %w", err)
	}
	slices.SortFunc(files, func(a, b cardlake.DataFile) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), strings.Compare(a.Name, b.Name))
	})
	var parts []cardlake.StreamPartition
	for _, reason := range s.cfg.Reasons {
		p, _ := Partition(reason)
		parts = append(parts, p)
	}
	begin, err := a.Assigned(parts)
	if err != nil {
		return err
	}
	at, ends := map[cardlake.StreamPartition]*cursor{}, cardlake.Positions{}
	for i, p := range parts {
		c := &cursor{reason: s.cfg.Reasons[i], next: begin[p].Next}
		if c.file, c.row, err = find(files, begin[p].Mark); err != nil {
			return err
		}
		at[p] = c
	}
	for p, c := range at {
		n := c.next
		for i := c.file; i < len(files); i++ {
			skip := 0
			if i == c.file {
				skip = c.row
			}
			rows, err := read(ctx, s.deps.Store, files[i], c.reason, skip)
			if err != nil {
				return err
			}
			n += int64(len(rows))
		}
		ends[p] = cardlake.Offset{Next: n}
	}
	s.mu.Lock()
	s.files, s.at, s.ends = files, at, ends
	s.mu.Unlock()
	close(s.ready)
	<-ctx.Done()
	a.Revoked(parts, false)
	return nil
}

// find returns where the row after the mark is.
func find(files []cardlake.DataFile, mark string) (file, row int, err error) {
	if mark == "" {
		return 0, 0, nil
	}
	name, number, ok := strings.Cut(mark, "#")
	row, err = strconv.Atoi(number)
	if !ok || err != nil || row < 0 {
		return 0, 0, errors.New("replay: the table's position has a mark that is no file and row")
	}
	i := slices.IndexFunc(files, func(f cardlake.DataFile) bool { return f.Name == name })
	if i < 0 {
		return 0, 0, fmt.Errorf("replay: %w (%s)", ErrGone, name)
	}
	return i, row + 1, nil
}

// Ends says how many records of each partition were there when Run began, those replayed
// before included. It waits until that is known.
func (s *Source) Ends(ctx context.Context) (cardlake.Positions, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ends), nil
}

// Poll implements ingest.Source.
func (s *Source) Poll(ctx context.Context) ([]ingest.Record, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, nil
	}
	records, err := s.next(ctx)
	if len(records) == 0 && err == nil {
		<-ctx.Done()
	}
	return records, err
}

// next returns the next records of the first partition that has any, and none at the end.
func (s *Source) next(ctx context.Context) ([]ingest.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	byNumber := func(a, b cardlake.StreamPartition) int { return cmp.Compare(a.Partition, b.Partition) }
	for _, p := range slices.SortedFunc(maps.Keys(s.at), byNumber) {
		for c := s.at[p]; c.file < len(s.files); {
			records, err := s.records(ctx, p, c)
			if err != nil || len(records) > 0 {
				return records, err
			}
		}
	}
	return nil, nil
}

// records takes the next ones of the cursor's file, and moves to the next file when it has
// no more.
func (s *Source) records(ctx context.Context, p cardlake.StreamPartition, c *cursor) ([]ingest.Record, error) {
	f := s.files[c.file]
	rows, err := read(ctx, s.deps.Store, f, c.reason, c.row)
	if err != nil {
		return nil, err
	}
	isLast := len(rows) <= s.cfg.MaxRecords
	rows = rows[:min(len(rows), s.cfg.MaxRecords)]
	out := make([]ingest.Record, 0, len(rows))
	for _, r := range rows {
		key, value, err := r.open(ctx, s.opens)
		if err != nil {
			return nil, fmt.Errorf("replay: row %d of %s: %w", r.number, f.Name, err)
		}
		out = append(out, ingest.Record{
			Position: cardlake.Position{StreamPartition: p, Offset: c.next}, Mark: f.Name + "#" + strconv.Itoa(r.number),
			Time: r.time, Key: key, Value: value,
		})
		c.next, c.row = c.next+1, r.number+1
	}
	if isLast {
		c.file, c.row = c.file+1, 0
	}
	return out, nil
}

// Seek implements ingest.Source.
func (s *Source) Seek(to cardlake.Positions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, offset := range to {
		c := s.at[p]
		if c == nil {
			continue
		}
		file, row, err := find(s.files, offset.Mark)
		if err != nil { // another replay moved the table behind this one's files
			file, row = len(s.files), 0
		}
		c.next, c.file, c.row = offset.Next, file, row
	}
}

// Commit implements ingest.Source: nobody else watches.
func (s *Source) Commit(context.Context, cardlake.Positions) error { return nil }

var _ ingest.Source = (*Source)(nil)
