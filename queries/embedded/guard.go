package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/metrics"
	"sync"
	"time"
)

// guard ends statements when DuckDB takes much more memory than it was given. DuckDB counts
// what it buffers against its limit, but not the text and lists that it works on, nor the rows
// of a sample; so the process is looked at as a whole. What one statement takes cannot be told
// from what another does: all that run end.
type guard struct {
	mu      sync.Mutex
	running int
	allowed int64 // of all that run
	base    int64 // what there was before the first of them
}

const (
	// lookAtMemory is how often.
	lookAtMemory = 5 * time.Millisecond
	// spareMemory may be taken over twice of what DuckDB was given.
	spareMemory = 256 << 20
)

// errMemory ends a statement.
var errMemory = errors.New("the memory is used up")

// watch returns a context that ends with errMemory when too much memory is taken, until stop is
// called.
func (g *guard) watch(ctx context.Context, memory int64) (_ context.Context, stop func()) {
	g.mu.Lock()
	if g.running == 0 {
		g.base = takenByDuckDB()
	}
	g.running++
	g.allowed += 2 * memory
	g.mu.Unlock()

	ctx, cancel := context.WithCancelCause(ctx)
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
				if g.isExceeded() {
					cancel(errMemory)
				}
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running--
		g.allowed -= 2 * memory
	}
}

func (g *guard) isExceeded() bool {
	taken := takenByDuckDB()
	g.mu.Lock()
	defer g.mu.Unlock()
	return taken > g.base+g.allowed+spareMemory
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
