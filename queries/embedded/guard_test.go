package embedded

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Whoever takes too much ends the youngest statement, and one after the other as long as that
// does not help; not everybody's at once.
func TestGuardEndsTheYoungest(t *testing.T) {
	g := guard{taken: func() int64 { return 0 }}
	var running []context.Context
	for range 3 {
		ctx, stop := g.watch(t.Context(), 1)
		defer stop()
		running = append(running, ctx)
	}
	now := time.Now().Add(time.Hour)
	g.mu.Lock()
	g.taken = func() int64 { return 1 << 40 }
	g.ended = now.Add(-freeingTime) // those that look by themselves do nothing for an hour
	g.mu.Unlock()
	ended := func() (n int) {
		for _, ctx := range running {
			if errors.Is(context.Cause(ctx), errMemory) {
				n++
			}
		}
		return n
	}
	g.look(now)
	if n := ended(); n != 1 || context.Cause(running[2]) == nil {
		t.Fatalf("%d statements ended, the youngest: %v", n, context.Cause(running[2]))
	}
	g.look(now.Add(freeingTime / 2))
	if n := ended(); n != 1 {
		t.Fatalf("%d ended before the first has given back what it took", n)
	}
	g.look(now.Add(freeingTime))
	if n := ended(); n != 2 || context.Cause(running[0]) != nil {
		t.Fatalf("%d statements ended", n)
	}
}
