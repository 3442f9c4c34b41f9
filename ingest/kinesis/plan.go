package kinesis

import (
	"cmp"
	"maps"
	"slices"
)

// plan decides which of the eligible shards' leases me shall take, and which it shall ask
// others for. A lease counts for who asked for it, as it will soon be theirs.
//
// Free leases are taken up to a fair share: the shards divided by the workers that are seen,
// rounded up. Only when there is none to take are leases asked for, of the worker with the
// most, at most half the difference to it and at most steals: two workers that ask at once
// cannot overshoot into asking for them back.
func plan(me string, eligible []string, leases map[string]Lease, alive func(Lease) bool, steals int) (take, want []Lease) {
	holds := map[string][]Lease{me: nil}
	var free []Lease
	for _, shard := range eligible {
		l, ok := leases[shard]
		if !ok {
			l = Lease{Shard: shard}
		}
		switch {
		case l.Owner == me && l.Wanted == "":
			holds[me] = append(holds[me], l)
		case l.Owner == me:
			holds[l.Wanted] = append(holds[l.Wanted], l)
		case !alive(l):
			free = append(free, l)
		case l.Wanted != "":
			holds[l.Wanted] = append(holds[l.Wanted], l)
			if _, ok := holds[l.Owner]; !ok {
				holds[l.Owner] = nil
			}
		default:
			holds[l.Owner] = append(holds[l.Owner], l)
		}
	}
	share := (len(eligible) + len(holds) - 1) / len(holds)
	if n := min(len(free), share-len(holds[me])); n > 0 {
		return free[:n], nil
	}
	if len(free) > 0 {
		return nil, nil // others' to take
	}
	delete(holds, "")
	most := slices.MaxFunc(slices.Sorted(maps.Keys(holds)), func(a, b string) int {
		return cmp.Compare(len(holds[a]), len(holds[b]))
	})
	n := min((len(holds[most])-len(holds[me]))/2, steals)
	for _, l := range holds[most] {
		if len(want) >= n {
			break
		}
		if l.Owner == most && l.Wanted == "" {
			want = append(want, l)
		}
	}
	return nil, want
}
