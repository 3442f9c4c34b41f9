package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/metrics"
	"slices"
	"sync"
	"time"
)

// guard ends statements when DuckDB takes much more memory than it was given. DuckDB counts
// what it buffers against its limit, but not the text and lists that it works on, nor the rows
// of a sample; so the process is looked at as a whole. What one statement takes cannot be told
// from what another does: the one that began last ends, and when that does not help, the one
// before it. So nobody ends everybody's by a statement that takes too much.
type guard struct {
	mu      sync.Mutex
	running []*watched // in the order in which they began
	allowed int64      // of all that run
	base    int64      // what there was before the first of them
	ended   time.Time  // when the last was ended for it
	taken   func() int64
}

// watched is a statement that runs.
type watched struct {
	end     func()
	isEnded bool
}

const (
	// lookAtMemory is how often.
	lookAtMemory = 5 * time.Millisecond
	// spareMemory may be taken over twice of what DuckDB was given.
	spareMemory = 256 << 20
	// freeingTime is how long a statement that was ended has to give back what it took before
	// the next is ended.
	freeingTime = 50 * time.Millisecond
)

// errMemory ends a statement.
var errMemory = errors.New("the memory is used up")

// watch returns a context that ends with errMemory when too much memory is taken, until stop is
// called.
func (g *guard) watch(ctx context.Context, memory int64) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watched{end: func() { cancel(errMemory) }}
	g.mu.Lock()
	if g.taken == nil {
		g.taken = takenByDuckDB
	}
	if len(g.running) == 0 {
		g.base = g.taken()
	}
	g.running = append(g.running, w)
	g.allowed += 2 * memory
	g.mu.Unlock()

	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lookAtMemory)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				g.look(time.Now())
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running = slices.DeleteFunc(g.running, func(o *watched) bool { return o == w })
		g.allowed -= 2 * memory
	}
}

// look ends the youngest statement that runs if too much is taken.
func (g *guard) look(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken() <= g.base+g.allowed+spareMemory || now.Sub(g.ended) < freeingTime {
		return
	}
	for _, w := range slices.Backward(g.running) {
		if !w.isEnded {
			w.isEnded, g.ended = true, now
			w.end()
			return
		}
	}
}

// takenByDuckDB is the process's memory that is neither a file's, such as a memory file, nor
// Go's; 0 where the system does not tell.
func takenByDuckDB() int64 {
	text, err := os.ReadFile("/proc/self/statm") // proc(5): pages; the third are of files and shared
	if err != nil {
		return 0
	}
	var size, resident, shared int64
	if n, _ := fmt.Sscan(string(text), &size, &resident, &shared); n != 3 {
		return 0
	}
	own := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(own)
	if own[0].Value.Kind() != metrics.KindUint64 || own[1].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return (resident-shared)*int64(os.Getpagesize()) - int64(own[0].Value.Uint64()-own[1].Value.Uint64())
}
