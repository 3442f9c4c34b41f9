// Package outbox keeps events between the decision that caused them and the stream: ordered
// entries in the ledger's own Pebble store, written in the decision's batch, so that a
// decision without its event, or an event without its decision, cannot exist. A relay reads
// them in order, produces them and deletes what the stream has acknowledged: at least once.
// While the stream is down, entries cost disk and nothing else.
//
// Entries hold sealed events: nothing here can read a card number.
package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Prefix and MetaKey are the part of the store's key space that belongs to the outbox:
// entries under Prefix and eight bytes of sequence, the first unrelayed sequence at MetaKey.
const (
	Prefix  = 'o'
	MetaKey = "m/outbox"
)

// Record is one event for the stream.
type Record struct {
	Key   []byte // the card's look-up key: events of a card keep their order
	Value []byte
	Time  time.Time // of the decision, to the microsecond
}

// Producer hands records to a stream. Produce blocks until all of them are acknowledged; it
// keeps the order of records with equal keys. After an error any of them may have arrived:
// the relay produces them again. It must not keep the records.
type Producer interface {
	Produce(ctx context.Context, records []Record) error
}

// Config tunes the relay.
type Config struct {
	BatchRecords int           // most records in one Produce; 1000 if zero
	BatchBytes   int           // most value bytes in one Produce, but for a single larger one; 1 MiB if zero
	MaxBackoff   time.Duration // longest pause between attempts while the stream is down; 5 s if zero
	// Linger is the least time between the beginnings of two Produces, unless BatchRecords
	// wait already. A lone event goes out at once; many share what a Produce costs, which is
	// a sync for each partition if the broker syncs what it is sent. 50 ms if zero, none if
	// negative.
	Linger time.Duration
	Logger *slog.Logger // discards if nil
}

func (c *Config) defaults() {
	if c.BatchRecords == 0 {
		c.BatchRecords = 1000
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = 1 << 20
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 5 * time.Second
	}
	if c.Linger == 0 {
		c.Linger = 50 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Stats is the state of the outbox.
type Stats struct {
	Depth    int64     // entries not yet acknowledged by the stream
	Oldest   time.Time // decision time of the first of them; zero if there is none
	Relayed  int64     // records acknowledged since Open
	Failures int64     // calls of Produce that returned an error since Open
}

// Outbox is the queue. It is safe for concurrent use.
type Outbox struct {
	db   *pebble.DB
	cfg  Config
	wake chan struct{}

	depth, relayed, failures atomic.Int64

	mu sync.Mutex
	// slots are the sequences from base on that were reserved, in order; true once released.
	// The relay reads below base only: above it a batch may still be on its way to the disk.
	slots []bool
	base  uint64
	// cursor is the first sequence that the relay has not finished.
	cursor uint64
}

// Open finds the entries that an earlier process left in db. It is the creator of db who
// closes it, after Run has returned.
func Open(db *pebble.DB, cfg Config) (*Outbox, error) {
	cfg.defaults()
	o := &Outbox{db: db, cfg: cfg, wake: make(chan struct{}, 1)}
	switch v, closer, err := db.Get([]byte(MetaKey)); {
	case err == nil:
		if len(v) != 8 {
			closer.Close()
			return nil, errors.New("open outbox: position is damaged")
		}
		o.cursor = binary.BigEndian.Uint64(v)
		closer.Close()
	case !errors.Is(err, pebble.ErrNotFound):
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	o.base = o.cursor
	it, err := o.entries(o.cursor, ^uint64(0))
	if err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		o.depth.Add(1)
		o.base = sequence(it.Key()) + 1
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	return o, nil
}

func (o *Outbox) entries(from, to uint64) (*pebble.Iterator, error) {
	return o.db.NewIter(&pebble.IterOptions{LowerBound: key(from), UpperBound: key(to)})
}

func key(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{Prefix}, seq) }

func sequence(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:]) }

// Add puts the record into the batch under the next sequence and returns it. The caller
// must call Release with it, whatever becomes of the batch, and apply batches whose records
// have equal keys in the order of their sequences.
func (o *Outbox) Add(b *pebble.Batch, r Record) (uint64, error) {
	o.mu.Lock()
	seq := o.base + uint64(len(o.slots))
	o.slots = append(o.slots, false)
	o.mu.Unlock()
	value := make([]byte, 0, 9+len(r.Key)+len(r.Value))
	value = binary.BigEndian.AppendUint64(value, uint64(r.Time.UnixMicro()))
	value = append(value, byte(len(r.Key)))
	value = append(value, r.Key...)
	value = append(value, r.Value...)
	o.depth.Add(1)
	if err := b.Set(key(seq), value, nil); err != nil {
		o.Release(seq, false)
		return 0, fmt.Errorf("outbox: %w", err)
	}
	return seq, nil
}

// Release says that the batch of the sequence is durable, or (kept false) that it was
// dropped. Only now may the relay show the record to the world: were it to run ahead of the
// disk, a crash could leave an event on the stream whose decision nobody remembers.
func (o *Outbox) Release(seq uint64, kept bool) {
	if !kept {
		o.depth.Add(-1)
	}
	o.mu.Lock()
	o.slots[seq-o.base] = true
	n := 0
	for n < len(o.slots) && o.slots[n] {
		n++
	}
	o.base += uint64(n)
	o.slots = append(o.slots[:0], o.slots[n:]...)
	o.mu.Unlock()
	if n > 0 {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

// Released returns the first sequence that was not released yet. The batches of all before it
// are durable or were dropped.
func (o *Outbox) Released() uint64 {
	_, to := o.window()
	return to
}

// Stats returns the state now. It must not be called once the store is closed.
func (o *Outbox) Stats() Stats {
	s := Stats{Depth: o.depth.Load(), Relayed: o.relayed.Load(), Failures: o.failures.Load()}
	if s.Depth == 0 {
		return s
	}
	from, to := o.window()
	if it, err := o.entries(from, to); err == nil {
		if it.First() {
			if r, err := decode(it.Value()); err == nil {
				s.Oldest = r.Time
			}
		}
		_ = it.Close()
	}
	return s
}

func (o *Outbox) window() (from, to uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cursor, o.base
}

// Run relays until ctx ends, and then returns nil: what is left stays for the next run. It
// returns an error only when the store cannot be read or written. One Run at a time.
func (o *Outbox) Run(ctx context.Context, p Producer) error {
	var last time.Time // when the latest Produce began
	for {
		from, to := o.window()
		if from == to {
			select {
			case <-ctx.Done():
				return nil
			case <-o.wake:
				continue
			}
		}
		if to-from < uint64(o.cfg.BatchRecords) {
			if !sleep(ctx, o.cfg.Linger-time.Since(last)) {
				return nil
			}
			from, to = o.window() // more may have come meanwhile
		}
		last = time.Now()
		records, next, err := o.read(from, to)
		if err != nil {
			return fmt.Errorf("relay: %w", err)
		}
		if len(records) > 0 && !o.produce(ctx, p, records) {
			return nil
		}
		if err := o.finish(from, next, int64(len(records))); err != nil {
			return fmt.Errorf("relay: %w", err)
		}
	}
}

// read returns the records from sequence from on, as many as one Produce may have, and the
// sequence behind them.
func (o *Outbox) read(from, to uint64) ([]Record, uint64, error) {
	it, err := o.entries(from, to)
	if err != nil {
		return nil, 0, err
	}
	defer it.Close()
	var records []Record
	next, size := to, 0
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, err
		}
		if len(records) == o.cfg.BatchRecords || len(records) > 0 && size+len(value) > o.cfg.BatchBytes {
			next = sequence(it.Key())
			break
		}
		r, err := decode(append([]byte(nil), value...))
		if err != nil {
			return nil, 0, err
		}
		size += len(value)
		records = append(records, r)
	}
	return records, next, it.Error()
}

func decode(value []byte) (Record, error) {
	if len(value) < 9 || len(value) < 9+int(value[8]) {
		return Record{}, errors.New("outbox entry is damaged")
	}
	n := 9 + int(value[8])
	return Record{
		Time: time.UnixMicro(int64(binary.BigEndian.Uint64(value))),
		Key:  value[9:n:n], Value: value[n:],
	}, nil
}

// produce tries until the stream has acknowledged the records; false if ctx ended first.
func (o *Outbox) produce(ctx context.Context, p Producer, records []Record) bool {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, o.cfg.MaxBackoff) {
		err := p.Produce(ctx, records)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		o.failures.Add(1)
		o.cfg.Logger.Warn("stream does not take events; they wait in the outbox", "error", err, "depth", o.depth.Load())
		if !sleep(ctx, pause) {
			return false
		}
	}
}

// sleep waits for d, not at all if that is not positive; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// finish deletes the entries of [from, next). Nothing waits for the disk here: if the
// deletion is lost in a crash, the records are produced once more.
func (o *Outbox) finish(from, next uint64, records int64) error {
	b := o.db.NewBatch()
	defer b.Close()
	for seq := from; seq < next; seq++ {
		// An entry is set exactly once, so the cheaper tombstone may be used.
		if err := b.SingleDelete(key(seq), nil); err != nil {
			return err
		}
	}
	if err := b.Set([]byte(MetaKey), binary.BigEndian.AppendUint64(nil, next), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return err
	}
	o.mu.Lock()
	o.cursor = next
	o.mu.Unlock()
	o.depth.Add(-records)
	o.relayed.Add(records)
	return nil
}
