package sim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake"
)

// RunConfig says how a run's messages follow one another.
type RunConfig struct {
	// Start is the calendar's first instant. If zero, the calendar follows the wall clock: it
	// begins now, and after a pause it goes on at the present. Otherwise it goes on where it
	// stopped. It counts when the run's folder is new, not when it is opened again.
	Start time.Time
	Rate  float64 // messages a second; 0 means 600
	Speed float64 // simulated seconds for a real one; 0 means 1
}

func (c RunConfig) withDefaults() RunConfig {
	if c.Rate == 0 {
		c.Rate = 600
	}
	if c.Speed == 0 {
		c.Speed = 1
	}
	return c
}

// Run is the traffic of one folder over all processes that worked on it: what was sent, what
// was answered. Its methods are safe for concurrent use, but for Close.
type Run struct {
	p       *Population
	cfg     RunConfig
	latency Histogram

	driving     atomic.Bool
	target      atomic.Uint64
	repeats     atomic.Uint64
	reconnects  atomic.Uint64
	conflicting atomic.Uint64
	strays      atomic.Uint64

	mu       sync.Mutex
	journal  *journal
	labels   *labels
	header   header
	line     Timeline
	next     uint64 // messages below may have been sent
	latest   uint64 // of the messages answered, by number
	reserved uint64 // the journal allows messages below to be sent; at least next
	answers  answers
	count    struct{ sent, answered, approved uint64 } // distinct events
}

// Open opens the run kept in the folder dir, or begins it there. It returns an error that
// names what differs, and wraps ErrJournal, if the folder belongs to another population; and
// one if another process has the folder open.
func Open(dir string, p *Population, cfg RunConfig) (*Run, error) {
	cfg = cfg.withDefaults()
	start := cfg.Start
	if start.IsZero() {
		start = time.Now()
	}
	seg, err := NewSegment(0, start, cfg.Rate, cfg.Speed)
	if err != nil {
		return nil, fmt.Errorf("open run: %w", err)
	}
	r := &Run{p: p, cfg: cfg}
	if r.journal, err = openJournal(dir, r.replay); err != nil {
		return nil, err
	}
	if len(r.line) == 0 {
		r.header = header{Config: p.cfg, follows: cfg.Start.IsZero()}
		r.line = Timeline{seg}
		r.journal.add(record{kind: 'H', header: r.header})
		r.journal.add(record{kind: 'S', segment: seg})
		err = r.journal.flush()
	}
	r.next = r.reserved
	if err == nil {
		t := NewTraffic(p, r.line)
		for i := range r.next {
			if t.Distinct(i) {
				r.count.sent++
			}
		}
		r.labels, err = openLabels(dir, t, r.next)
	}
	if err != nil {
		return nil, errors.Join(err, r.journal.close())
	}
	return r, nil
}

func (r *Run) replay(rec record) error {
	switch rec.kind {
	case 'H':
		r.header = rec.header
		have, want := rec.header.Config, r.p.cfg
		var errs []error
		for _, x := range [...]struct {
			name       string
			have, want uint64
		}{
			{"seed", have.Seed, want.Seed},
			{"tenants", uint64(have.Tenants), uint64(want.Tenants)},
			{"cards", uint64(have.CardsTotal), uint64(want.CardsTotal)},
		} {
			if x.have != x.want {
				errs = append(errs, fmt.Errorf("%s was %d and is now %d", x.name, x.have, x.want))
			}
		}
		if len(errs) > 0 {
			return fmt.Errorf("%w: the folder holds a run of another population: %w", ErrJournal, errors.Join(errs...))
		}
	case 'S':
		if n := len(r.line); n > 0 && r.line[n-1].First == rec.segment.First {
			r.line = r.line[:n-1]
		}
		r.line = append(r.line, rec.segment)
	case 'R':
		r.reserved = rec.number
	case 'A':
		if rec.number >= r.reserved {
			return fmt.Errorf("%w: message %d is answered but was never sent", ErrJournal, rec.number)
		}
		r.tally(rec.number, rec.code)
	}
	return nil
}

// tally keeps an answer; false if it is not the first.
func (r *Run) tally(number uint64, code [2]byte) bool {
	if _, ok := r.answers.of(number); ok {
		return false
	}
	r.answers.set(number, code)
	r.latest = max(r.latest, number)
	r.count.answered++
	if code == [2]byte{'0', '0'} {
		r.count.approved++
	}
	return true
}

// record keeps the answer to an event, in the journal too. An answer to a repeat must be the
// same as the first one.
func (r *Run) record(number uint64, code [2]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tally(number, code) {
		r.journal.add(record{kind: 'A', number: number, code: code})
	} else if first, _ := r.answers.of(number); first != code {
		r.conflicting.Add(1)
	}
}

// begin starts a segment at the first message that was never sent and returns the timeline
// with it. The backlog messages that go before it take their time.
func (r *Run) begin(backlog int) (Timeline, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.line[len(r.line)-1]
	seg, err := NewSegment(r.next, time.Unix(0, last.at(r.next)), r.cfg.Rate, r.cfg.Speed)
	if err != nil {
		return nil, err
	}
	if now := time.Now().Add(seg.wait(uint64(backlog))).UnixNano(); r.header.follows && now > seg.Start {
		seg.Start = now
	}
	if last.First == r.next {
		r.line = slices.Clone(r.line[:len(r.line)-1])
	}
	r.line = append(slices.Clone(r.line), seg)
	r.journal.add(record{kind: 'S', segment: seg})
	return r.line, r.journal.flush()
}

// reserve writes to the journal that messages below number may be sent.
func (r *Run) reserve(number uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number == r.reserved {
		return r.journal.failed
	}
	r.reserved = number
	r.journal.add(record{kind: 'R', number: number})
	return r.journal.flush()
}

// sent counts message number as sent.
func (r *Run) sent(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = m.Number + 1
	if m.Distinct {
		r.count.sent++
	}
	r.labels.add(m)
}

// unanswered returns the distinct messages that may have been sent and have no answer.
func (r *Run) unanswered() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := NewTraffic(r.p, r.line)
	var out []uint64
	for i := range r.next {
		if _, ok := r.answers.of(i); !ok && t.Distinct(i) {
			out = append(out, i)
		}
	}
	return out
}

// traffic plans the messages of the current timeline.
func (r *Run) traffic() *Traffic {
	r.mu.Lock()
	defer r.mu.Unlock()
	return NewTraffic(r.p, r.line)
}

func (r *Run) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.journal.flush(); err != nil {
		return err
	}
	return r.labels.flush()
}

// Target returns how many distinct events the current Drive, or the last one, is to reach.
func (r *Run) Target() uint64 { return r.target.Load() }

// Sent returns how many distinct events may have been sent, those of earlier runs included.
func (r *Run) Sent() uint64 { return r.Progress().Sent }

// Answered returns how many distinct events have an answer, those of earlier runs included.
func (r *Run) Answered() uint64 { return r.Progress().Answered }

// Progress is how far a run is. Sent, Answered, Approved and Declined count distinct events
// of all processes that worked on the folder; the rest counts since Open.
type Progress struct {
	Target, Sent, Answered, Approved, Declined uint64

	Repeats     uint64 // messages sent as repeats: planned ones, and after time-outs and lost connections
	Reconnects  uint64 // connections lost and made anew
	Conflicting uint64 // answers to a repeat that differ from the first answer: the processor is at fault
	Strays      uint64 // answers that belong to nothing that was asked

	// Latencies of first answers, from the instant at which the message was due, so that a
	// processor that holds up the sender shows.
	P50, P99, Max time.Duration
}

// Progress returns how far the run is.
func (r *Run) Progress() Progress {
	r.mu.Lock()
	c := r.count
	r.mu.Unlock()
	return Progress{
		Target: r.target.Load(), Sent: c.sent, Answered: c.answered, Approved: c.approved, Declined: c.answered - c.approved,
		Repeats: r.repeats.Load(), Reconnects: r.reconnects.Load(), Conflicting: r.conflicting.Load(), Strays: r.strays.Load(),
		P50: r.latency.Quantile(.5), P99: r.latency.Quantile(.99), Max: r.latency.Max(),
	}
}

// Calendar returns the instant, on the run's calendar, that the processor has come to: when the
// latest of the messages that were answered was due. What has been sent may be far ahead of it.
func (r *Run) Calendar() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Unix(0, r.line.of(r.latest).at(r.latest))
}

// Event is one distinct event that a processor has, or may have, been asked about.
type Event struct {
	Number       uint64
	ID           cardlake.EventID
	Tenant       cardlake.Tenant
	MTI          string
	Amount       cardlake.Money // that is asked for, or given back by a reversal
	ResponseCode string         // DE 39; empty without an answer
}

// Expected yields every distinct event that may have been sent so far, in order: what the
// lake must hold. An event without an answer may or may not have reached the processor.
func (r *Run) Expected(yield func(Event) bool) {
	r.mu.Lock()
	next, t := r.next, NewTraffic(r.p, r.line)
	r.mu.Unlock()
	var m Message
	for i := range next {
		if t.Message(i, &m); !m.Distinct {
			continue
		}
		e := Event{Number: i, ID: m.EventID(), Tenant: m.Tenant, MTI: m.MTI, Amount: m.Amount}
		e.Amount.Minor -= m.keepOf // a partial reversal leaves the rest
		r.mu.Lock()
		if code, ok := r.answers.of(i); ok {
			e.ResponseCode = string(code[:])
		}
		r.mu.Unlock()
		if !yield(e) {
			return
		}
	}
}

// Close writes the rest of the journal and the labels and releases the folder. No Drive may
// be running.
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.journal.close(), r.labels.close())
}

// answers keeps DE 39 by message number in a byte each.
type answers struct {
	codes  [][2]byte
	chunks []*[1 << 16]uint8 // 1 + index into codes, 0 for no answer
}

func (a *answers) of(number uint64) ([2]byte, bool) {
	c := number >> 16
	if c >= uint64(len(a.chunks)) || a.chunks[c] == nil {
		return [2]byte{}, false
	}
	k := a.chunks[c][number&0xffff]
	if k == 0 {
		return [2]byte{}, false
	}
	return a.codes[k-1], true
}

func (a *answers) set(number uint64, code [2]byte) {
	for c := number >> 16; uint64(len(a.chunks)) <= c; {
		a.chunks = append(a.chunks, nil)
	}
	if a.chunks[number>>16] == nil {
		a.chunks[number>>16] = new([1 << 16]uint8)
	}
	k := slices.Index(a.codes, code)
	if k < 0 {
		if len(a.codes) == math.MaxUint8 {
			k = len(a.codes) - 1 // no processor has so many; the last one stands for the rest
		} else {
			k = len(a.codes)
			a.codes = append(a.codes, code)
		}
	}
	a.chunks[number>>16][number&0xffff] = uint8(k + 1)
}
