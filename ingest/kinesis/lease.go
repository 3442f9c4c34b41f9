package kinesis

import (
	"context"
	"time"
)

// Lease says which worker reads a shard.
type Lease struct {
	Shard string // its id
	Owner string // the worker's Run that reads it; empty: nobody
	// Wanted is who asked the owner to give it up, to even out the load.
	Wanted string
	// Counter grows whenever the owner renews or somebody takes or frees the lease, and so
	// tells a living owner from a dead one. Asking for a lease is no sign of its owner's life.
	Counter int64
	// Ended says that the table was seen to show the shard at its end. It is a hint: who is
	// about to read a child asks the table.
	Ended bool
	// Mark and CaughtUp say that the owner was at the tip of the shard, with nothing left to
	// read behind Mark, at that time (a precision of seconds). It is the proof that no record
	// was lost when Mark's own has expired by the time somebody reads on.
	Mark     string
	CaughtUp time.Time
}

// Leases is where workers keep their leases. Names are those of one stream and one table.
type Leases interface {
	// List returns all leases, as of now.
	List(ctx context.Context) ([]Lease, error)
	// Swap stores now in place of was, which has the same Shard, and reports whether it did:
	// it does if was is what is stored, going by Owner, Wanted and Counter, or if was.Counter
	// is 0 and nothing is.
	Swap(ctx context.Context, was, now Lease) (bool, error)
	// Remove deletes the lease if it is what is stored, as in Swap.
	Remove(ctx context.Context, was Lease) error
}

// next is the lease renewed by its owner, or passed to a new one, or to nobody.
func (l Lease) next(owner string) Lease {
	if owner != l.Owner {
		l.Owner, l.Wanted = owner, ""
	}
	l.Counter++
	return l
}

// watch tells which leases stand still, by this machine's monotonic clock alone.
type watch struct {
	patience time.Duration
	seen     map[string]sighting
}

type sighting struct {
	owner   string
	counter int64
	since   time.Time
}

// observe takes note of the leases as they are listed.
func (w *watch) observe(leases map[string]Lease, now time.Time) {
	seen := make(map[string]sighting, len(leases))
	for shard, l := range leases {
		was, known := w.seen[shard]
		if !known || was.owner != l.Owner || was.counter != l.Counter {
			was = sighting{l.Owner, l.Counter, now}
		}
		seen[shard] = was
	}
	w.seen = seen
}

// alive reports whether the lease has an owner who may be living.
func (w *watch) alive(l Lease, now time.Time) bool {
	return l.Owner != "" && now.Sub(w.seen[l.Shard].since) < w.patience
}
