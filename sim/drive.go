package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrUnreachable says that not even a first connection to the processor could be made.
var ErrUnreachable = errors.New("the processor cannot be reached")

// ClientConfig says how to reach the processor.
type ClientConfig struct {
	Addr        string        // host and port
	TLS         *tls.Config   // nil for plain TCP, on loopback only
	Connections int           // 0 means 2
	Timeout     time.Duration // without an answer for so long, a message is sent again; 0 means 10 s
	Window      int           // most messages without an answer; 0 means 20,000
	Idle        time.Duration // of silence before an echo test; 0 means 30 s
	Connect     time.Duration // longest wait for the first connection; 0 means 30 s
}

func (c ClientConfig) withDefaults() ClientConfig {
	if c.Connections == 0 {
		c.Connections = 2
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Window == 0 {
		c.Window = 20_000
	}
	if c.Idle == 0 {
		c.Idle = 30 * time.Second
	}
	if c.Connect == 0 {
		c.Connect = 30 * time.Second
	}
	return c
}

// Validate reports every setting that makes no sense.
func (c ClientConfig) Validate() error {
	var errs []error
	if c.Addr == "" {
		errs = append(errs, errors.New("address: is empty"))
	}
	if c.Connections < 0 || c.Window < 0 || c.Timeout < 0 || c.Idle < 0 || c.Connect < 0 {
		errs = append(errs, errors.New("connections, window and durations: must not be negative"))
	}
	return errors.Join(errs...)
}

// Summary is the outcome of a Drive.
type Summary struct {
	Progress
	Elapsed time.Duration // since the first connection stood
}

// Drive sends messages at their due times until total distinct events of the run, those of
// earlier Drives included, have an answer. First it asks again about events that were sent
// earlier and have none, even if that makes more than total.
//
// A message without an answer is sent again as a repeat, after the time-out or when its
// connection is made anew, until there is an answer; so is one that the processor answers
// with a malfunction of its own (DE 39 = 96 or 91). Trouble never makes an event of its own.
//
// When ctx ends, Drive stops sending, keeps what it knows and returns ctx's error; the run
// can be driven on. It returns an error if no connection can be made at first, or if the
// journal cannot be written. Only one Drive may run at a time.
func (r *Run) Drive(ctx context.Context, cfg ClientConfig, total uint64) (Summary, error) {
	if err := cfg.Validate(); err != nil {
		return Summary{}, fmt.Errorf("drive: %w", err)
	}
	cfg = cfg.withDefaults()
	if !r.driving.CompareAndSwap(false, true) {
		return Summary{}, errors.New("drive: the run is being driven already")
	}
	defer r.driving.Store(false)
	r.target.Store(total)

	again := r.unanswered()
	if r.Sent() >= total && len(again) == 0 {
		return Summary{Progress: r.Progress()}, nil
	}
	d := &driver{r: r, cfg: cfg, window: make(chan struct{}, cfg.Window), up: make(chan struct{})}
	inner, stop := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	for range cfg.Connections {
		l := newLink(d)
		d.links = append(d.links, l)
		work.Go(func() { l.run(inner) })
	}
	var keeper sync.WaitGroup
	keeper.Go(func() { d.keep(inner, stop) })

	err := d.connected(inner)
	begun := time.Now()
	if err == nil {
		err = d.send(inner, again, total)
	}
	if err != nil && inner.Err() != nil {
		err = context.Cause(inner) // what ended the work, such as a full disk
	}
	stop(nil)
	work.Wait()
	keeper.Wait()
	if rerr := r.reserve(r.sentBelow()); err == nil {
		err = rerr // numbers that were reserved in vain are free for the next segment
	}
	if ferr := r.flush(); err == nil {
		err = ferr
	}
	if serr := r.journal.sync(); err == nil {
		err = serr
	}
	if err != nil {
		err = fmt.Errorf("drive: %w", err)
	}
	return Summary{Progress: r.Progress(), Elapsed: time.Since(begun)}, err
}

func (r *Run) sentBelow() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// driver is what one Drive shares with its links.
type driver struct {
	r      *Run
	cfg    ClientConfig
	links  []*link
	window chan struct{} // one token for each message in flight

	once sync.Once
	up   chan struct{} // closed when the first connection stands

	mu      sync.Mutex
	lastErr error // why the latest attempt to connect failed
}

// connected waits for the first connection.
func (d *driver) connected(ctx context.Context) error {
	timer := time.NewTimer(d.cfg.Connect)
	defer timer.Stop()
	select {
	case <-d.up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lastErr == nil {
		d.lastErr = errors.New("still connecting")
	}
	return fmt.Errorf("%w within %s: %w", ErrUnreachable, d.cfg.Connect, d.lastErr)
}

// keep writes the journal and the labels ten times a second and syncs once a second.
func (d *driver) keep(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := d.r.flush()
		if err == nil && n%10 == 0 {
			err = d.r.journal.sync()
		}
		if err != nil {
			stop(err)
			return
		}
	}
}

// send sends what is to be asked again, then new messages until total, and waits for the
// answers.
func (d *driver) send(ctx context.Context, again []uint64, total uint64) error {
	r := d.r
	line, err := r.begin(len(again))
	if err != nil {
		return err
	}
	t := NewTraffic(r.p, line)
	seg := line[len(line)-1]
	p := &pacer{seg: seg, anchor: time.Now()}
	var m Message
	for _, i := range again {
		t.Message(i, &m)
		if err := d.one(ctx, p, &m, true); err != nil {
			return err
		}
	}
	// A quarter of a second's messages are reserved at a time: few writes, and few messages
	// that keep an old DE 7 if the process dies before it sends them.
	chunk := min(max(seg.messages(.25), 1), 4096)
	next, distinct := r.sentBelow(), r.Sent()
	for distinct < total {
		end := next
		for ; end < next+chunk && distinct < total; end++ {
			if t.Distinct(end) {
				distinct++
			}
		}
		if err := r.reserve(end); err != nil {
			return err
		}
		for ; next < end; next++ {
			t.Message(next, &m)
			if err := d.one(ctx, p, &m, false); err != nil {
				return err
			}
		}
	}
	for range cap(d.window) { // all tokens back: all answered
		select {
		case d.window <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// one sends a message when it is due and the window has room.
func (d *driver) one(ctx context.Context, p *pacer, m *Message, again bool) error {
	due, err := p.wait(ctx)
	if err != nil {
		return err
	}
	select {
	case d.window <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !again {
		d.r.sent(m)
	}
	if again || !m.Distinct {
		d.r.repeats.Add(1)
	}
	// A card's messages share a connection, so that a reversal comes after its original.
	var sum uint64
	for _, c := range m.PAN.Digits() {
		sum = sum*31 + uint64(c)
	}
	return d.links[mix(sum)%uint64(len(d.links))].send(m, due, again)
}

// pacer gives the due times, whatever happened to the messages before: open loop.
type pacer struct {
	seg    Segment
	anchor time.Time
	n      uint64
}

func (p *pacer) wait(ctx context.Context) (due time.Time, err error) {
	due = p.anchor.Add(p.seg.wait(p.n))
	p.n++
	left := time.Until(due)
	if left <= 0 {
		return due, nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return due, nil
	case <-ctx.Done():
		return due, ctx.Err()
	}
}
