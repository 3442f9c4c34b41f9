package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/cardlake/cardlake/queries"
)

const (
	// meterAfter is how long a command is silent, and meterEvery how often it then says
	// how far it is.
	meterAfter = time.Second
	meterEvery = 500 * time.Millisecond
	// eraseLine takes back what was said on a terminal's line (ECMA-48: CR and EL).
	eraseLine = "\r\x1b[K"
)

// isTerminal reports whether w is one: a device of characters, and not the null device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// meter says on a terminal's line how far a command is that takes long.
type meter struct {
	w     io.Writer
	start time.Time
	stop  chan struct{}
	done  sync.WaitGroup

	mu    sync.Mutex
	phase string
	rows  int64 // -1 before there are any
	shown bool
}

// startMeter begins to say how far a command is, which began at start; nothing if w is nil.
// The caller ends it.
func startMeter(w io.Writer, start time.Time, phase string) *meter {
	p := &meter{w: w, start: start, phase: phase, rows: -1, stop: make(chan struct{})}
	if w == nil {
		return p
	}
	p.done.Go(func() {
		wait := time.NewTimer(meterAfter)
		defer wait.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-wait.C:
				p.show()
				wait.Reset(meterEvery)
			}
		}
	})
	return p
}

// is says what the command does now.
func (p *meter) is(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
}

func (p *meter) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = true
	fmt.Fprint(p.w, eraseLine, p.line(time.Since(p.start)))
}

// line is what is said. The caller holds the lock.
func (p *meter) line(elapsed time.Duration) string {
	text := fmt.Sprintf("%s, %.1f s", p.phase, elapsed.Seconds())
	if p.rows >= 0 {
		text += fmt.Sprintf(", %d rows", p.rows)
	}
	return text + " (Ctrl-C cancels)"
}

// end takes back what was said. It may be called again.
func (p *meter) end() {
	p.mu.Lock()
	select {
	case <-p.stop:
		p.mu.Unlock()
		return
	default:
		close(p.stop)
	}
	p.mu.Unlock()
	p.done.Wait()
	if p.shown {
		fmt.Fprint(p.w, eraseLine)
	}
}

// counted are rows whose number a meter tells.
type counted struct {
	queries.Rows
	p *meter
	// first is called before the first row is passed on.
	first func()
}

// Next implements queries.Rows.
func (c *counted) Next(row []any) error {
	err := c.Rows.Next(row)
	c.p.mu.Lock()
	isFirst := c.p.rows < 0
	if err == nil {
		c.p.rows = max(c.p.rows, 0) + 1
	}
	c.p.mu.Unlock()
	if isFirst {
		c.first()
	}
	return err
}
