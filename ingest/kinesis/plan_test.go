package kinesis

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestPlanBalances lets workers plan in turns over leases that change at once, and looks
// whether they settle on even shares without taking leases to and fro.
func TestPlanBalances(t *testing.T) {
	for _, tt := range []struct{ shards, workers, steals int }{
		{1, 1, 5}, {1, 3, 5}, {8, 1, 5}, {8, 2, 5}, {8, 3, 1}, {9, 4, 5}, {100, 7, 5}, {3, 5, 5},
	} {
		t.Run(fmt.Sprintf("%d shards, %d workers", tt.shards, tt.workers), func(t *testing.T) {
			var shards []string
			leases := map[string]Lease{}
			for i := range tt.shards {
				shards = append(shards, fmt.Sprintf("shardId-%012d", i))
			}
			alive := func(l Lease) bool { return l.Owner != "" }
			moves := 0
			for round := range 200 {
				for w := range min(tt.workers, 1+round/3) { // they come one after the other
					me := fmt.Sprint("w", w)
					take, want := plan(me, shards, leases, alive, tt.steals)
					if len(want) > tt.steals {
						t.Fatalf("%s asks for %d leases at once", me, len(want))
					}
					for _, l := range take {
						leases[l.Shard] = l.next(me)
						moves++
					}
					for _, l := range want {
						l.Wanted = me
						leases[l.Shard] = l
					}
					for shard, l := range leases { // what is asked of me, I give
						if l.Owner == me && l.Wanted != "" {
							leases[shard] = l.next(l.Wanted)
							moves++
						}
					}
				}
			}
			held := map[string]int{}
			for _, l := range leases {
				held[l.Owner]++
			}
			for w := range tt.workers {
				if n := held[fmt.Sprint("w", w)]; n < tt.shards/tt.workers || n > (tt.shards+tt.workers-1)/tt.workers {
					t.Errorf("worker %d holds %d of %d shards", w, n, tt.shards)
				}
			}
			if most := tt.shards * (1 + tt.workers); moves > most {
				t.Errorf("%d moves, want at most %d", moves, most)
			}
		})
	}
}

func TestPlanLeavesWhatIsNotItsShare(t *testing.T) {
	shards := []string{"s0", "s1", "s2", "s3"}
	leases := map[string]Lease{
		"s0": {Shard: "s0", Owner: "a", Counter: 1}, "s1": {Shard: "s1", Owner: "a", Counter: 1},
		"s2": {Shard: "s2", Owner: "dead", Counter: 1}, "s3": {Shard: "s3", Owner: "b", Counter: 1},
	}
	alive := func(l Lease) bool { return l.Owner == "a" || l.Owner == "b" }
	if take, want := plan("a", shards, leases, alive, 5); len(take)+len(want) > 0 {
		t.Errorf("a, who has its share, takes %v and asks for %v", take, want)
	}
	take, want := plan("b", shards, leases, alive, 5)
	if len(take) != 1 || take[0].Shard != "s2" || len(want) > 0 {
		t.Errorf("b takes %v and asks for %v, want the dead worker's", take, want)
	}
}

func TestWatchGoesByItsOwnClock(t *testing.T) {
	start := time.Now()
	w := watch{patience: 10 * time.Second}
	l := Lease{Shard: "s", Owner: "a", Counter: 7}
	see := func(after time.Duration) bool {
		w.observe(map[string]Lease{"s": l}, start.Add(after))
		return w.alive(l, start.Add(after))
	}
	var got []bool
	got = append(got, see(0), see(9*time.Second), see(10*time.Second))
	l.Wanted = "b" // no sign of life
	got = append(got, see(11*time.Second))
	l.Counter++
	got = append(got, see(12*time.Second), see(21*time.Second), see(22*time.Second))
	if want := []bool{true, true, false, false, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("alive: %v, want %v", got, want)
	}
}

func TestPartition(t *testing.T) {
	for id, want := range map[string]int32{"shardId-000000000000": 0, "shardId-000000000012": 12, "shardId-002147483647": 2147483647} {
		p, err := Partition("s", id)
		if err != nil || p.Partition != want || p.Stream != "s" || ShardID(p) != id {
			t.Errorf("Partition(%s) = %v, %v", id, p, err)
		}
	}
	for _, id := range []string{"", "12", "shardId-", "shardId-12", "shardId-002147483648", "shardId-00000000001x", "shardId--00000000001", "shardId-+00000000001", "shardid-000000000001", "shardId-0000000000001"} {
		if p, err := Partition("s", id); err == nil {
			t.Errorf("Partition(%q) = %v, want an error", id, p)
		}
	}
}

func TestEligible(t *testing.T) {
	g := graph{"root": {"long gone"}, "left": {"root"}, "right": {"root"}, "joined": {"left", "right"}}
	for _, tt := range []struct {
		name   string
		leases map[string]Lease
		want   []string
	}{
		{"nothing is known", nil, []string{"root"}},
		{"the root is read", map[string]Lease{"root": {Owner: "a"}}, []string{"root"}},
		{"the root has ended", map[string]Lease{"root": {Ended: true}}, []string{"left", "right"}},
		{"one parent of two has ended", map[string]Lease{"root": {Ended: true}, "left": {Ended: true}}, []string{"right"}},
		{"both have ended", map[string]Lease{"root": {Ended: true}, "left": {Ended: true}, "right": {Ended: true}}, []string{"joined"}},
		{"a shard vanished unread", map[string]Lease{"long gone": {}}, []string{"long gone"}},
		{"a shard vanished read", map[string]Lease{"long gone": {Ended: true}}, []string{"root"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := g.eligible(tt.leases)
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("eligible: %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzPartition(f *testing.F) {
	f.Add("shardId-000000000012")
	f.Add("shardId-999999999999")
	f.Fuzz(func(t *testing.T, id string) {
		if p, err := Partition("s", id); err == nil && ShardID(p) != id {
			t.Errorf("shard %q became %q", id, ShardID(p))
		}
	})
}

func TestValidMark(t *testing.T) {
	for _, mark := range []string{"", "0", "49", "49000000000000000000000000000000000000000000000208852527"} {
		if err := validMark(mark); err != nil {
			t.Errorf("validMark(%q) = %v", mark, err)
		}
	}
	for _, mark := range []string{"00", "01", "-1", "abc", "49x", "End", " 1", fmt.Sprintf("1%0129d", 0)} {
		if validMark(mark) == nil {
			t.Errorf("validMark(%q) = nil", mark)
		}
	}
}
