package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

// TestSharesAreEvenedOut lets workers come and go: shards move one way, in good order, and
// nothing is lost, doubled or out of order.
func TestSharesAreEvenedOut(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 8, kinesistest.Config{})
		start := func(name string) *member {
			cfg := w.config(name)
			cfg.Mode = mode
			return w.start(cfg)
		}
		a := start("a")
		w.until("a reads all", func() bool { return len(a.shards()) == 8 })
		w.put(300, 40)
		b := start("b")
		w.put(300, 40)
		w.until("a and b share", func() bool { return len(a.shards()) == 4 && len(b.shards()) == 4 })
		w.put(300, 40)
		c := start("c")
		w.until("the three share", func() bool {
			counts := []int{len(a.shards()), len(b.shards()), len(c.shards())}
			slices.Sort(counts)
			return slices.Equal(counts, []int{2, 3, 3}) && !w.leases.isWanted()
		})
		w.put(300, 40)
		moved := len(slices.Concat(a.events, b.events, c.events))
		time.Sleep(5 * time.Minute)
		if now := len(slices.Concat(a.events, b.events, c.events)); now != moved {
			t.Errorf("%d shards moved between workers with even shares: %v %v %v", now-moved, a.events, b.events, c.events)
		}
		a.leave()
		w.put(300, 40)
		// What a worker gives back is free at once; it need not expire.
		began := time.Now()
		w.until("b and c share", func() bool { return len(b.shards()) == 4 && len(c.shards()) == 4 })
		if took := time.Since(began); took >= 10*time.Second {
			t.Errorf("taking over what was given back took %v", took)
		}
		w.until("all are there", w.drained)
		b.leave()
		c.leave()
		w.check()
		for _, e := range slices.Concat(a.events, b.events, c.events) {
			if strings.HasPrefix(e, "!") {
				t.Errorf("shard %s was lost, want it handed over", e[1:])
			}
		}
		if w.table.fenced > 0 {
			t.Errorf("the table refused %d records", w.table.fenced)
		}
	})
}

// TestDeadWorkersShardsAreTakenOver cuts a worker off: after the lease's duration, and not
// before, the other has its shards; the dead one stops by itself no later than that.
func TestDeadWorkersShardsAreTakenOver(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 4, kinesistest.Config{})
		cfg := w.config("a")
		cfg.Mode = mode
		a, network := w.startCut(cfg)
		b := w.start(cfg)
		w.until("both share", func() bool { return len(a.shards()) == 2 && len(b.shards()) == 2 })
		w.put(300, 20)
		w.until("all are there", w.drained)
		heal := network.isolate()
		began := time.Now()
		w.put(300, 20)
		w.until("b reads all", func() bool { return len(b.shards()) == 4 })
		if took := time.Since(began); took < 7*time.Second || took > 16*time.Second {
			t.Errorf("taking over took %v of a lease of 10 s", took)
		}
		if own := a.shards(); len(own) > 0 {
			t.Errorf("a still reads %v when b does", own)
		}
		w.until("all are there", w.drained)
		heal()
		w.until("both share again", func() bool { return len(a.shards()) == 2 && len(b.shards()) == 2 })
		w.put(300, 20)
		w.until("all are there", w.drained)
		a.leave()
		b.leave()
		w.check()
	})
}

// TestZombieIsFenced pauses a worker with records in hand until another has taken them, and
// lets it go on: the table refuses it, and it finds its place again.
func TestZombieIsFenced(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 2, kinesistest.Config{})
		cfg := w.config("a")
		cfg.Mode = mode
		a, network := w.startCut(cfg)
		w.until("a reads", func() bool { return len(a.shards()) == 2 })
		release := a.hold()
		w.put(200, 10)
		time.Sleep(2 * time.Second) // a has polled some, and stands still
		heal := network.isolate()
		b := w.start(cfg)
		w.until("b has all", w.drained)
		heal()
		release()
		w.put(200, 10)
		w.until("all are there", w.drained)
		w.until("both share", func() bool { return len(a.shards()) == 1 && len(b.shards()) == 1 })
		w.put(200, 10)
		w.until("all are there", w.drained)
		a.leave()
		b.leave()
		w.check()
		if w.table.fenced == 0 {
			t.Error("the zombie was never refused: the test proves nothing")
		}
		if !slices.ContainsFunc(a.events, func(e string) bool { return strings.HasPrefix(e, "!") }) {
			t.Errorf("the zombie was told %v, want that it lost its shards", a.events)
		}
	})
}

// TestRevocationWaitsForTheRecords holds a worker with records in hand while another asks for
// half of its shards: they move only when it polls again (Revoked looks at that).
func TestRevocationWaitsForTheRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, kinesistest.Config{})
		a := w.start(w.config("a"))
		w.until("a reads", func() bool { return len(a.shards()) == 4 })
		release := a.hold()
		w.put(100, 10)
		b := w.start(w.config("b"))
		time.Sleep(5 * time.Minute)
		if len(a.shards()) != 4 || len(b.shards()) != 0 {
			t.Errorf("a reads %v and b %v while a works on records", a.shards(), b.shards())
		}
		release()
		w.until("both share", func() bool { return len(a.shards()) == 2 && len(b.shards()) == 2 })
		w.until("all are there", w.drained)
		a.leave()
		b.leave()
		w.check()
	})
}

// flaky are leases of which every third change happens and fails, every third fails, and the
// list fails now and then.
type flaky struct {
	kinesis.Leases
	n atomic.Int64
}

var errAway = errors.New("the leases are away")

func (f *flaky) List(ctx context.Context) ([]kinesis.Lease, error) {
	if f.n.Add(1)%5 == 0 {
		return nil, errAway
	}
	return f.Leases.List(ctx)
}

func (f *flaky) Swap(ctx context.Context, was, now kinesis.Lease) (bool, error) {
	switch f.n.Add(1) % 3 {
	case 0:
		return false, errAway
	case 1:
		_, _ = f.Leases.Swap(ctx, was, now)
		return false, errAway
	}
	return f.Leases.Swap(ctx, was, now)
}

func TestFlakyLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4, kinesistest.Config{})
		a := w.startWith(w.config("a"), w.client, &flaky{Leases: w.leases})
		b := w.startWith(w.config("b"), w.client, &flaky{Leases: w.leases})
		for range 10 {
			w.put(50, 10)
			time.Sleep(20 * time.Second)
		}
		w.split("shardId-000000000001")
		w.put(50, 10)
		w.until("all are there", w.drained)
		a.leave()
		b.leave()
		w.check()
		w.leases.away.Store(true)
		c := w.start(w.config("c"))
		w.until("the worker sees it", func() bool { return len(c.errors()) > 0 })
		if err := c.errors()[0]; !errors.Is(err, errAway) {
			t.Errorf("the worker saw %v, want that the leases are away", err)
		}
		c.leave()
	})
}

// TestRefusedAssignment is about an Assignee whose first assignments fail.
func TestRefusedAssignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, kinesistest.Config{})
		w.put(20, 5)
		m := &member{w: w}
		m.refuse.Store(3)
		w.run(m, w.config("a"), w.client, w.leases)
		w.until("all are there", w.drained)
		m.leave()
		w.check()
		if errs := fmt.Sprint(m.errors()); !strings.Contains(errs, errRefused.Error()) {
			t.Errorf("errors %v, want the refusal", errs)
		}
	})
}
