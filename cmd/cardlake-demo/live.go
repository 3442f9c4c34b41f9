package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake/sim"
)

// live is the line that tells how the run goes: rewritten in place on a terminal, a line
// every few seconds elsewhere. Log lines written through it do not mix with it.
type live struct {
	calendar func() time.Time // of the run, if it is not the wall clock
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	shown    bool
}

func newLive(out io.Writer) *live {
	l := &live{out: out}
	if f, ok := out.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		l.terminal = err == nil
	}
	return l
}

// Write passes log output through.
func (l *live) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	return l.out.Write(p)
}

func (l *live) erase() {
	if l.shown {
		_, _ = io.WriteString(l.out, "\r\x1b[K")
		l.shown = false
	}
}

func (l *live) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
}

func (l *live) show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	if l.terminal {
		b.WriteString("\r\x1b[K" + text)
	} else {
		b.WriteString(text + "\n")
	}
	_, _ = l.out.Write(b.Bytes())
	l.shown = l.terminal
}

// every is how often the line is shown.
func (l *live) every() time.Duration {
	if l.terminal {
		return 500 * time.Millisecond
	}
	return 5 * time.Second
}

// follow shows the run until ctx ends.
func (l *live) follow(ctx context.Context, h *host, traffic *sim.Run) {
	tick := time.NewTicker(l.every())
	defer tick.Stop()
	start, last := time.Now(), traffic.Progress()
	lastAt := start
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p := traffic.Progress()
			rate := float64(p.Answered-last.Answered) / now.Sub(lastAt).Seconds()
			last, lastAt = p, now
			lag, err := h.lag(ctx)
			if err != nil {
				continue
			}
			snapshot, err := h.table.Current(ctx)
			if err != nil {
				continue
			}
			fresh := "no row yet"
			if w := h.worker.Stats().Watermark; l.calendar != nil {
				fresh = "calendar " + l.calendar().UTC().Format(time.DateOnly)
			} else if !w.IsZero() {
				fresh = fmt.Sprintf("newest row %.1f s old", now.Sub(w).Seconds())
			}
			l.show(fmt.Sprintf("%5.1f s  %6.0f tx/s  answered %d  approved %.1f %%  p99 %.1f ms  lag %d  %s  lake %d rows, %d files",
				now.Sub(start).Seconds(), rate, p.Answered, share(p.Approved, p.Answered), float64(p.P99.Microseconds())/1000,
				lag, fresh, snapshot.Rows, snapshot.Files))
		}
	}
}

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
