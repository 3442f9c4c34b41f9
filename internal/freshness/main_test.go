package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
)

// TestMain lets the test's binary be the processes that the program starts as itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{roleStream, roleWorker}, os.Args[1]) {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestMeasure: every event is seen, both ways. How soon is not asserted.
func TestMeasure(t *testing.T) {
	r, err := measure(t.Context(), measureOptions{
		common:  common{tps: 300, tenants: 2, partitions: 2, dir: t.TempDir()},
		seconds: 2, windows: durations{time.Second}, every: 100 * time.Millisecond,
	}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r.print(t.Output())
	w := r.Windows[0]
	if w.Events < 100 || w.Commits < 2 || w.Visible.P50 <= 0 || w.Visible.Max < w.Visible.P99 || w.Committed.P50 <= 0 {
		t.Errorf("%+v", w)
	}
}

// TestConsistency is the short form of the command.
func TestConsistency(t *testing.T) {
	r, err := consistency(t.Context(), consistencyOptions{
		common:  common{tps: 100, tenants: 1, partitions: 4, dir: t.TempDir()},
		queries: 200, kills: 3, askers: 3, steps: 2, window: time.Second, kill: 1500 * time.Millisecond, absence: 200 * time.Millisecond,
		seed: uint64(time.Now().UnixNano()),
	}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r.print(t.Output())
	if r.Queries < 200 || r.Kills < 3 || r.Tailed == 0 || r.Commits < 2 || r.Events == 0 {
		t.Errorf("%+v", r)
	}
}

// TestFaults: each way in which an answer can be wrong is found.
func TestFaults(t *testing.T) {
	a, b := partition(0), partition(1)
	at := func(n, m int64) cardlake.Positions { return cardlake.Positions{a: {Next: n}, b: {Next: m}} }
	before := seen{read: at(15, 8), committed: at(10, 8)}
	for _, c := range []struct {
		name   string
		answer answer
		faults []string // what each begins with or holds
	}{
		{"whole", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(20), b: wholeTo(9)}, read: at(20, 9)}, nil},
		{"twice", answer{found: map[cardlake.StreamPartition]counts{a: {21, 20, 20, 0, 19}, b: wholeTo(9)}, read: at(20, 9)}, []string{"exactly the events before 20"}},
		{"the same event at two offsets", answer{found: map[cardlake.StreamPartition]counts{a: {20, 19, 20, 0, 19}, b: wholeTo(9)}, read: at(20, 9)}, []string{"exactly the events before 20"}},
		{"one gone, one twice", answer{found: map[cardlake.StreamPartition]counts{a: {20, 19, 19, 0, 19}, b: wholeTo(9)}, read: at(20, 9)}, []string{"exactly the events before 20"}},
		{"gap", answer{found: map[cardlake.StreamPartition]counts{a: {20, 20, 20, 0, 20}, b: wholeTo(9)}, read: at(20, 9)}, []string{"exactly the events before 20"}},
		{"too many", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(20), b: wholeTo(10)}, read: at(20, 9)}, []string{"exactly the events before 9"}},
		{"a partition that was not read", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(20), b: wholeTo(9), partition(2): wholeTo(1)}, read: at(20, 9)}, []string{"nothing of it was read"}},
		{"none", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(20)}, read: at(20, 9)}, []string{"exactly the events before 9"}},
		{"gone, and said so", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(12), b: wholeTo(9)}, read: at(12, 9), lacking: []cardlake.StreamPartition{a}}, nil},
		{"gone without a word", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(14), b: wholeTo(9)}, read: at(14, 9)}, []string{"no word of a tail"}},
		{"gone, and said so of another", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(14), b: wholeTo(8)}, read: at(14, 8), lacking: []cardlake.StreamPartition{b}}, []string{"no word of a tail"}},
		{"lacking and beyond the snapshot", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(11), b: wholeTo(9)}, read: at(11, 9), lacking: []cardlake.StreamPartition{a}}, []string{"its tail is lacking"}},
		{"no tail at all", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(12), b: wholeTo(8)}, read: at(12, 8), lacking: []cardlake.StreamPartition{a, b}, tailError: errors.New("away")}, nil},
		{"no tail, said of one", answer{found: map[cardlake.StreamPartition]counts{a: wholeTo(12), b: wholeTo(8)}, read: at(12, 8), lacking: []cardlake.StreamPartition{a}, tailError: errors.New("away")}, []string{"1 of 2 partitions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.answer.snapshot = catalog.Snapshot{Positions: at(12, 8)}
			match(t, c.answer.faults(before), c.faults)
		})
	}
	t.Run("committed rows gone", func(t *testing.T) {
		gone := answer{
			found: map[cardlake.StreamPartition]counts{a: wholeTo(9), b: wholeTo(8)}, snapshot: catalog.Snapshot{Positions: at(9, 8)},
			read: at(9, 8), lacking: []cardlake.StreamPartition{a, b},
		}
		match(t, gone.faults(before), []string{"committed to 9, and to 10"})
	})
}

func match(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("faults %q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("fault %q, want %q", got[i], want[i])
		}
	}
}

// TestHistory: what answers have shown only grows.
func TestHistory(t *testing.T) {
	a, b := partition(0), partition(1)
	var h history
	h.end(&answer{read: cardlake.Positions{a: {Next: 7}}, snapshot: catalog.Snapshot{Positions: cardlake.Positions{a: {Next: 5}}}})
	before := h.begin()
	h.end(&answer{read: cardlake.Positions{a: {Next: 6}, b: {Next: 2}}, snapshot: catalog.Snapshot{Positions: cardlake.Positions{a: {Next: 6}}}})
	if diff := cmp.Diff(cardlake.Positions{a: {Next: 7}, b: {Next: 2}}, h.begin().read); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(cardlake.Positions{a: {Next: 6}}, h.begin().committed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(cardlake.Positions{a: {Next: 7}}, before.read); diff != "" {
		t.Error("what was shown before changed:", diff)
	}
}

// TestProbe: an event counts in the answer that shows it first, and a gap is found.
func TestProbe(t *testing.T) {
	p, sp := newProbe(queries.Session{}, 1, time.Second), partition(0)
	now := time.Now()
	decided := now.Add(-3 * time.Second).UnixMicro()
	if err := p.take(map[cardlake.StreamPartition][]int64{sp: {1, 0}}, []int64{decided, decided}, now); err != nil {
		t.Fatal(err)
	}
	if got := p.percentiles(); p.next[sp].Next != 2 || got.P50 < 2999 || got.Max > 3001 {
		t.Errorf("next %v, %+v", p.next, got)
	}
	for name, offsets := range map[string][]int64{"gap": {3}, "again": {1}, "twice": {2, 2}} {
		q := newProbe(queries.Session{}, 1, time.Second)
		q.next = p.next.Clone()
		if err := q.take(map[cardlake.StreamPartition][]int64{sp: offsets}, nil, now); err == nil {
			t.Errorf("%s: no fault", name)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		nil, {"soon"}, {"measure", "-tps", "0"}, {"measure", "-window", "2s,"}, {"measure", "-window", "-1s"},
		{"measure", "-seconds", "0"}, {"consistency", "-queries", "0"}, {"consistency", "-kills", "-1"}, {"consistency", "-absence", "0s"},
	} {
		if err := run(t.Context(), args, nil, t.Output(), t.Output()); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
