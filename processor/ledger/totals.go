package ledger

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/processor/outbox"
)

// Control totals. A decision's batch holds one small entry that counts it, under its minute
// and its event's sequence in the outbox. Closing a minute sums its entries, and in one batch
// puts the totals into the outbox and deletes the entries.
//
// A decision may come while its minute is being closed. Its entry must not be deleted
// uncounted: closing looks at sequences only that the outbox has seen released, whose batches
// are visible, and deletes no others.

// totals is what the ledger keeps in memory for its control totals.
type totals struct {
	processor string     // this ledger's id in totals
	closing   sync.Mutex // one CloseTotals at a time
}

const processorSize = 16

// openTotals draws the ledger's id when it is opened for the first time.
func (l *Ledger) openTotals() error {
	v, err := l.get([]byte(processorKey))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		var id [processorSize / 2]byte
		rand.Read(id[:])
		v = cardlake.AppendLetters(nil, id[:])
		err = l.db.Set([]byte(processorKey), v, pebble.Sync)
	case err == nil && len(v) != processorSize:
		err = errRecord
	}
	l.totals.processor = string(v)
	return err
}

// count adds the entry of the decision whose event has the sequence.
func (t *txn) count(seq uint64, approved bool) error {
	value := make([]byte, 1, 1+binary.MaxVarintLen64+3+len(t.card.Tenant))
	if approved {
		value[0] = 1
	}
	value = binary.AppendVarint(value, t.counted.Minor)
	value = append(append(value, byte(len(t.counted.Currency))), t.counted.Currency...)
	return t.b.Set(countKey(minuteOf(t.at), seq), append(value, t.card.Tenant...), nil)
}

func countKey(minute uint32, seq uint64) []byte {
	key := make([]byte, 0, countKeySize)
	key = binary.BigEndian.AppendUint32(append(key, countPrefix), minute)
	return binary.BigEndian.AppendUint64(key, seq)
}

const countKeySize = 1 + 4 + 8

// minuteOf counts UTC minutes since the epoch; instants out of range are at its ends.
func minuteOf(t time.Time) uint32 {
	return uint32(min(max(0, floorDiv(t.Unix(), 60)), math.MaxUint32))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// EmitTotal makes the record that announces a control total; it sets what the ledger does
// not know, the region. The ledger copies the value before it calls EmitTotal again.
type EmitTotal func(*cardlake.ControlTotal) ([]byte, error)

// CloseTotals puts the control totals of every minute that has been over for the grace period
// at now into the outbox, and returns how many. A negative grace closes all minutes, now's and
// later ones included. A decision of a closed minute that comes later makes a further total
// of it. After an error totals that were not emitted are still open.
func (l *Ledger) CloseTotals(now time.Time, grace time.Duration, emit EmitTotal) (n int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("close control totals: %w", err)
		}
	}()
	l.totals.closing.Lock()
	defer l.totals.closing.Unlock()
	upper := []byte{countPrefix + 1}
	if grace >= 0 {
		upper = countKey(minuteOf(now.Add(-grace)), 0)
	}
	released := l.outbox.Released()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{countPrefix}, UpperBound: upper})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	c := closing{l: l, at: now, released: released}
	for ok := it.First(); ok; {
		if ok, err = c.read(it); err != nil {
			return n, err
		}
		if len(c.totals) < maxTotals && ok {
			continue
		}
		if err := c.write(emit); err != nil {
			return n, err
		}
		n += len(c.totals)
		c = closing{l: l, at: now, released: released}
	}
	return n, it.Error()
}

// closing is one batch of totals on their way to the outbox.
type closing struct {
	l        *Ledger
	at       time.Time
	released uint64 // the first sequence that is not looked at
	minutes  []uint32
	totals   []cardlake.ControlTotal
}

// maxTotals is how many totals a batch has before it takes no further minute, so that a
// backlog of days does not have to fit into memory.
const maxTotals = 1000

// read sums one minute, whose first entry the iterator is at, and moves to the next one's;
// false if there is none.
func (c *closing) read(it *pebble.Iterator) (ok bool, err error) {
	if len(it.Key()) != countKeySize {
		return false, errRecord
	}
	minute := binary.BigEndian.Uint32(it.Key()[1:])
	type account struct {
		tenant   cardlake.Tenant
		currency cardlake.Currency
	}
	open := map[account]*cardlake.ControlTotal{}
	sums := []*cardlake.ControlTotal{}
	for ok = true; ok; ok = it.Next() {
		key := it.Key()
		if len(key) != countKeySize {
			return false, errRecord
		}
		if binary.BigEndian.Uint32(key[1:]) != minute || binary.BigEndian.Uint64(key[5:]) >= c.released {
			break
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return false, err
		}
		e, err := decodeCount(v)
		if err != nil {
			return false, err
		}
		t := open[account{cardlake.Tenant(e.tenant), cardlake.Currency(e.currency)}]
		if t == nil || !canAdd(t.Amount, e.amount) {
			at := account{cardlake.Tenant(e.tenant), cardlake.Currency(e.currency)}
			t = &cardlake.ControlTotal{
				Tenant: at.tenant, Minute: int64(minute) * time.Minute.Microseconds(),
				Amount: cardlake.Money{Currency: at.currency}, ApprovedAmount: cardlake.Money{Currency: at.currency},
			}
			open[at], sums = t, append(sums, t)
		}
		t.Events++
		t.Amount.Minor += e.amount
		if e.approved {
			t.Approved++
			t.ApprovedAmount.Minor += e.amount
		}
	}
	if len(sums) > 0 {
		slices.SortStableFunc(sums, func(a, b *cardlake.ControlTotal) int {
			return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Amount.Currency, b.Amount.Currency))
		})
		c.minutes = append(c.minutes, minute)
		for _, t := range sums {
			c.totals = append(c.totals, *t)
		}
	}
	if ok && binary.BigEndian.Uint32(it.Key()[1:]) == minute {
		ok = it.SeekGE(countKey(minute, math.MaxUint64))
	}
	return ok, it.Error()
}

// counted is the entry of one decision; its texts share the store's memory.
type counted struct {
	approved         bool
	amount           int64
	currency, tenant []byte
}

func decodeCount(v []byte) (counted, error) {
	if len(v) == 0 || v[0] > 1 {
		return counted{}, errRecord
	}
	e := counted{approved: v[0] == 1}
	amount, n := binary.Varint(v[1:])
	if n <= 0 {
		return counted{}, errRecord
	}
	v = v[1+n:]
	if len(v) == 0 || len(v) <= 1+int(v[0]) {
		return counted{}, errRecord
	}
	e.amount, e.currency, e.tenant = amount, v[1:1+v[0]], v[1+v[0]:]
	return e, nil
}

// canAdd reports whether the sum still fits the lake's decimal(18,4); a sum that does not goes
// on in a further total.
func canAdd(m cardlake.Money, amount int64) bool {
	m.Minor = max(m.Minor, -m.Minor) + max(amount, -amount)
	_, ok := m.Scale4()
	return ok && m.Minor >= 0
}

// write numbers the totals and makes them and the deletion of what they count durable.
func (c *closing) write(emit EmitTotal) (err error) {
	l := c.l
	b := l.db.NewBatch()
	defer func() { err = errors.Join(err, b.Close()) }()
	sequences := map[cardlake.Tenant]int64{} // last one given out
	values := make([][]byte, len(c.totals))
	for i := range c.totals {
		t := &c.totals[i]
		last, ok := sequences[t.Tenant]
		if !ok {
			if last, err = l.sequence(t.Tenant); err != nil {
				return err
			}
		}
		t.Processor, t.EmittedAt = l.totals.processor, c.at.UnixMicro()
		t.FirstSequence, t.LastSequence = last+1, last+t.Events
		sequences[t.Tenant] = t.LastSequence
		v, err := emit(t)
		if err != nil {
			return fmt.Errorf("total: %w", err)
		}
		values[i] = append([]byte(nil), v...)
	}
	for tenant, last := range sequences {
		if err := b.Set(sequenceKey(tenant), binary.BigEndian.AppendUint64(nil, uint64(last)), nil); err != nil {
			return err
		}
	}
	for _, minute := range c.minutes {
		if err := b.DeleteRange(countKey(minute, 0), countKey(minute, c.released), nil); err != nil {
			return err
		}
	}
	// What is reserved in the outbox holds up all behind it: nothing slow from here on.
	kept, seqs := false, make([]uint64, 0, len(values))
	defer func() {
		for _, seq := range seqs {
			l.outbox.Release(seq, kept)
		}
	}()
	for i, v := range values {
		seq, err := l.outbox.Add(b, outbox.Record{Key: []byte(c.totals[i].Tenant), Value: v, Time: c.at})
		if err != nil {
			return err
		}
		seqs = append(seqs, seq)
	}
	if err := l.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		l.cfg.Fatal(fmt.Errorf("write the log: %w", err))
	}
	kept = true
	return nil
}

// sequence returns the last number given to a decision of the tenant, 0 if there is none.
func (l *Ledger) sequence(tenant cardlake.Tenant) (int64, error) {
	v, err := l.get(sequenceKey(tenant))
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case len(v) != 8:
		return 0, errRecord
	}
	return int64(binary.BigEndian.Uint64(v)), nil
}

func sequenceKey(tenant cardlake.Tenant) []byte { return append([]byte{sequencePrefix}, tenant...) }
