package sim

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake/processor/iso8583"
)

// key is what tells to which message an answer belongs.
type key struct {
	reversal bool
	stan     uint32
	rrn      [12]byte
}

// flight is one event that waits for an answer on a link.
type flight struct {
	number   uint64 // the event's, not the repeat's
	due      time.Time
	sentAt   time.Time
	sent     bool // at least once, on this or an earlier connection
	again    bool // an earlier process may have sent it
	waiting  int  // answers still to come
	answered bool
}

// deadline is when to look at a flight again.
type deadline struct {
	key    key
	sentAt time.Time
}

// link is one connection to the processor, made anew whenever it is lost. The driver calls
// send; run's goroutine writes, and one for each connection reads.
type link struct {
	d        *driver
	heard    atomic.Int64 // when bytes came last, nanoseconds since the epoch
	wake     chan struct{}
	networks uint32 // STAN of network management messages; run's goroutine only

	mu      sync.Mutex
	up      bool
	flights map[key]*flight
	clock   []deadline // in order of sentAt
	out     []byte     // framed messages to write
	packer  Packer
	traffic *Traffic // for messages that are sent again; made when needed
	fault   error    // a message could not be packed
}

func newLink(d *driver) *link {
	return &link{d: d, wake: make(chan struct{}, 1), flights: map[key]*flight{}}
}

// send takes a message, with the driver's window token for it.
func (l *link) send(m *Message, due time.Time, again bool) error {
	l.mu.Lock()
	k := m.key()
	f := l.flights[k]
	if f == nil {
		f = &flight{number: m.Number, due: due, again: again || !m.Distinct}
		if !m.Distinct {
			f.number = m.Original
		}
		l.flights[k] = f
	} else {
		<-l.d.window // a repeat joins its original, which has a token
	}
	if l.up {
		l.write(k, f, m, again)
		f.waiting++
	}
	err := l.fault
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return err
}

// write packs a message into out. The caller holds mu.
func (l *link) write(k key, f *flight, m *Message, again bool) {
	head := len(l.out)
	l.out = append(l.out, 0, 0)
	var err error
	if l.out, err = l.packer.Append(l.out, m, again); err != nil {
		l.out, l.fault = l.out[:head], err
		return
	}
	n := len(l.out) - head - 2
	l.out[head], l.out[head+1] = byte(n>>8), byte(n)
	f.sent, f.sentAt = true, time.Now()
	l.clock = append(l.clock, deadline{k, f.sentAt})
}

// rewrite sends a flight's message, as a repeat unless it was never sent. The caller holds
// mu.
func (l *link) rewrite(k key, f *flight) {
	if l.traffic == nil {
		l.traffic = l.d.r.traffic()
	}
	var m Message
	l.traffic.Message(f.number, &m)
	repeat := f.sent || f.again
	if repeat {
		l.d.r.repeats.Add(1)
	}
	l.write(k, f, &m, repeat)
	f.waiting++
}

// drop ends a flight. The caller holds mu.
func (l *link) drop(k key) {
	delete(l.flights, k)
	<-l.d.window
}

// run keeps the connection until ctx ends.
func (l *link) run(ctx context.Context) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	pause := least
	for ctx.Err() == nil {
		begun := time.Now().UnixNano()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.d.mu.Lock()
		l.d.lastErr = err
		l.d.mu.Unlock()
		if pause = min(2*pause, most); l.heard.Load() > begun {
			pause = least // it was of use
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
	}
}

// session makes one connection and works on it until it fails or ctx ends.
func (l *link) session(ctx context.Context) error {
	cfg := &l.d.cfg
	dctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	var conn net.Conn
	var err error
	if cfg.TLS != nil {
		conn, err = (&tls.Dialer{Config: cfg.TLS}).DialContext(dctx, "tcp", cfg.Addr)
	} else {
		conn, err = (&net.Dialer{}).DialContext(dctx, "tcp", cfg.Addr)
	}
	if err != nil {
		return fmt.Errorf("connect to the processor: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in := bufio.NewReaderSize(conn, 1<<16)
	if err := l.signOn(conn, in); err != nil {
		return fmt.Errorf("sign on to the processor: %w", err)
	}
	l.raise()
	l.d.once.Do(func() { close(l.d.up) })

	failed := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { failed <- l.read(in) })
	err = l.work(ctx, conn, failed)
	conn.Close()
	reading.Wait()
	l.lower()
	if ctx.Err() == nil {
		l.d.r.reconnects.Add(1)
	}
	return err
}

// signOn sends 0800 with DE 70 = 001 and wants it approved.
func (l *link) signOn(conn net.Conn, in *bufio.Reader) error {
	if err := conn.SetDeadline(time.Now().Add(l.d.cfg.Timeout)); err != nil {
		return err
	}
	frame, err := l.management(nil, iso8583.SignOn)
	if err != nil {
		return err
	}
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	msg, err := iso8583.ReadFrame(in, nil)
	if err != nil {
		return err
	}
	var v iso8583.View
	if err := v.Parse(msg); err != nil {
		return err
	}
	if v.MTI() != iso8583.NetworkManagementResponse || v.Text(39) != iso8583.Approved {
		return errors.New("refused")
	}
	return conn.SetDeadline(time.Time{})
}

// management appends a framed network management message.
func (l *link) management(dst []byte, code string) ([]byte, error) {
	l.networks++
	var b iso8583.Builder
	b.SetText(0, iso8583.NetworkManagementRequest)
	b.Set(7, appendTransmission(nil, time.Now().UTC()))
	b.Set(11, appendDigits(nil, uint64(l.networks), 6))
	b.SetText(70, code)
	msg, err := b.Append(nil)
	if err != nil {
		return dst, err
	}
	return iso8583.AppendFrame(dst, msg)
}

// raise opens the link for send, and first sends all that waits.
func (l *link) raise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.out, l.clock = true, l.out[:0], l.clock[:0]
	keys := make([]key, 0, len(l.flights))
	for k := range l.flights {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(l.flights[a].number, l.flights[b].number) })
	for _, k := range keys {
		if f := l.flights[k]; f.answered {
			l.drop(k) // what is still to come was lost with the connection
		} else {
			f.waiting = 0
			l.rewrite(k, f)
		}
	}
}

func (l *link) lower() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = false
}

// work writes what is to be written until the connection fails.
func (l *link) work(ctx context.Context, conn net.Conn, failed <-chan error) error {
	tick := time.NewTicker(min(50*time.Millisecond, l.d.cfg.Timeout/4))
	defer tick.Stop()
	var spare []byte
	wrote := time.Now()
	var asked time.Time // when something was first written after the processor was last heard
	for {
		l.mu.Lock()
		spare, l.out = l.out, spare[:0]
		l.mu.Unlock()
		if len(spare) == 0 && time.Since(wrote) > l.d.cfg.Idle {
			var err error
			if spare, err = l.management(spare, iso8583.EchoTest); err != nil {
				return err
			}
		}
		if len(spare) > 0 {
			wrote = time.Now()
			if asked.IsZero() || l.heard.Load() >= asked.UnixNano() {
				asked = wrote
			}
			if err := conn.SetWriteDeadline(wrote.Add(l.d.cfg.Timeout)); err != nil {
				return err
			}
			if _, err := conn.Write(spare); err != nil {
				return fmt.Errorf("write to the processor: %w", err)
			}
			clear(spare)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-l.wake:
		case now := <-tick.C:
			if !asked.IsZero() && l.heard.Load() < asked.UnixNano() && now.Sub(asked) > 2*l.d.cfg.Timeout {
				return errors.New("the processor is silent")
			}
			l.expire(now)
		}
	}
}

// expire sends again what has been waiting for longer than the time-out.
func (l *link) expire(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for ; n < len(l.clock) && now.Sub(l.clock[n].sentAt) >= l.d.cfg.Timeout; n++ {
		c := l.clock[n]
		f := l.flights[c.key]
		switch {
		case f == nil || f.sentAt != c.sentAt: // answered, or sent again since
		case f.answered:
			l.drop(c.key) // the answer to a repeat is not coming
		default:
			l.rewrite(c.key, f)
		}
	}
	l.clock = l.clock[n:]
}

// read takes answers until the connection fails.
func (l *link) read(in *bufio.Reader) error {
	var v iso8583.View
	var buf []byte
	for {
		msg, err := iso8583.ReadFrame(in, buf)
		if err != nil {
			return fmt.Errorf("read from the processor: %w", err)
		}
		buf = msg
		now := time.Now()
		l.heard.Store(now.UnixNano())
		if err := v.Parse(msg); err != nil {
			return fmt.Errorf("read from the processor: %w", err)
		}
		if v.MTI() != iso8583.NetworkManagementResponse {
			l.take(&v, now)
		}
	}
}

// take is an answer.
func (l *link) take(v *iso8583.View, now time.Time) {
	mti, stan, rrn, code := v.Bytes(0), v.Bytes(11), v.Bytes(37), v.Bytes(39)
	r := l.d.r
	if len(stan) != 6 || len(rrn) != 12 || len(code) != 2 {
		r.strays.Add(1)
		return
	}
	n, _ := strconv.ParseUint(string(stan), 10, 32)
	k := key{reversal: mti[1] == '4', stan: uint32(n), rrn: [12]byte(rrn)}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.flights[k]
	if f == nil {
		r.strays.Add(1)
		return
	}
	f.waiting--
	if s := string(code); s != iso8583.SystemMalfunction && s != issuerInoperative {
		if !f.answered {
			f.answered = true
			r.latency.Add(now.Sub(f.due))
		}
		r.record(f.number, [2]byte(code))
	} // else there is no decision, and the time-out asks again
	if f.answered && f.waiting <= 0 {
		l.drop(k)
	}
}

const issuerInoperative = "91" // DE 39: the decision cannot be had now
