package processor

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cardlake/cardlake/processor/iso8583"
)

// session is one connection. Its serve goroutine reads and closes the connection; each
// message is worked on in a goroutine of its own; one goroutine writes.
//
// A message takes a slot when it is read and gives it back when its answer is written or
// given up. There are as many places in out as slots, so handing over an answer never
// blocks, and a peer that reads no answers stops being read itself.
type session struct {
	s        *Server
	conn     net.Conn
	log      *slog.Logger
	slots    chan struct{}
	out      chan []byte
	stopping atomic.Bool
}

func newSession(s *Server, conn net.Conn) *session {
	return &session{
		s: s, conn: conn, log: s.cfg.Logger.With("peer", conn.RemoteAddr().String()),
		slots: make(chan struct{}, s.cfg.MaxInFlight),
		out:   make(chan []byte, s.cfg.MaxInFlight),
	}
}

// stopReading makes the reader end after what it has already received.
func (c *session) stopReading() {
	// The order matters: the reader sets its deadline and then looks at stopping. Whichever
	// of the two comes second leaves the deadline in the past.
	c.stopping.Store(true)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

// abort gives the connection up with all answers that are not written yet.
func (c *session) abort() { c.conn.Close() }

func (c *session) serve(ctx context.Context) {
	defer c.conn.Close()
	if t, ok := c.conn.(*tls.Conn); ok {
		hctx, cancel := context.WithTimeout(ctx, c.s.cfg.WriteTimeout)
		err := t.HandshakeContext(hctx)
		cancel()
		if err != nil {
			c.log.Warn("TLS handshake failed", "error", err)
			return
		}
	}
	c.log.Info("connected")
	var working, writing sync.WaitGroup
	writing.Go(c.write)
	reason := c.read(ctx, &working)
	working.Wait()
	close(c.out)
	writing.Wait()
	c.log.Info("disconnected", "reason", reason)
}

// read reads messages until the peer ends, is silent or breaks the framing, or stopReading.
func (c *session) read(ctx context.Context, working *sync.WaitGroup) (reason string) {
	r := &wipingReader{r: c.conn}
	defer r.wipe()
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(c.s.cfg.IdleTimeout))
		if c.stopping.Load() {
			_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		}
		j := c.s.jobs.Get().(*job)
		msg, err := iso8583.ReadFrame(r, j.buf[:0])
		if err != nil {
			c.s.jobs.Put(j)
			return c.readError(err)
		}
		j.buf, j.received = msg, time.Now()
		c.s.stats.received.Add(1)
		c.slots <- struct{}{}
		working.Go(func() { c.work(ctx, j) })
	}
}

func (c *session) readError(err error) string {
	switch {
	case c.stopping.Load():
		return "stopped"
	case errors.Is(err, io.EOF):
		return "closed by peer"
	case errors.Is(err, iso8583.ErrFrameSize), errors.Is(err, iso8583.ErrFrameTruncated):
		c.s.stats.badFrames.Add(1)
		return err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.s.stats.idle.Add(1)
		return "silent for too long"
	}
	return "connection lost"
}

// work handles one message and hands its answer over.
func (c *session) work(ctx context.Context, j *job) {
	answer, ok := c.handle(ctx, j)
	if !ok {
		c.stopReading()
	}
	if len(answer) == 0 {
		<-c.slots
		return
	}
	c.out <- answer
}

// handle returns the framed answer, and false if the connection must not be read further.
// The message's bytes are overwritten when it returns.
func (c *session) handle(ctx context.Context, j *job) (answer []byte, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, c.s.cfg.DecideTimeout)
	defer cancel()
	defer func() {
		j.wipe()
		c.s.jobs.Put(j)
	}()
	defer func() {
		// The panic's value is not logged: it may quote the message.
		if recover() != nil {
			c.s.stats.panics.Add(1)
			c.log.Error("fault while handling a message", "stack", string(debug.Stack()))
			answer, ok = nil, false
		}
	}()
	return j.handle(ctx, c.log)
}

// write writes answers, several at once when they are waiting, until out is closed. After a
// failure it goes on taking answers, so that nobody waits for a peer that is gone.
func (c *session) write() {
	const most = 64 << 10
	var buf []byte
	for broken := false; ; {
		answer, ok := <-c.out
		if !ok {
			return
		}
		<-c.slots
		buf = append(buf[:0], answer...)
	more:
		for len(buf) < most {
			select {
			case answer, ok := <-c.out:
				if !ok {
					break more
				}
				<-c.slots
				buf = append(buf, answer...)
			default:
				break more
			}
		}
		if broken {
			continue
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(c.s.cfg.WriteTimeout))
		if _, err := c.conn.Write(buf); err != nil {
			broken = true
			c.s.stats.writeErrors.Add(1)
			c.stopReading()
		}
	}
}

// wipingReader buffers reads and overwrites what it has handed on, so that no track data
// stays behind in a buffer nobody looks at.
type wipingReader struct {
	r    io.Reader
	buf  [16 << 10]byte
	from int
	to   int
}

func (w *wipingReader) Read(p []byte) (int, error) {
	if w.from == w.to {
		n, err := w.r.Read(w.buf[:])
		w.from, w.to = 0, n
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, w.buf[w.from:w.to])
	clear(w.buf[w.from : w.from+n])
	w.from += n
	return n, nil
}

func (w *wipingReader) wipe() { clear(w.buf[:]) }
