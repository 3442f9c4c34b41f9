package kinesis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"
)

// instanceOf names one Run of the worker, so that a process that comes back is not taken for
// its former self.
func instanceOf(worker string) string { return worker + "/" + rand.Text()[:10] }

const (
	// renewals is how often a lease is renewed in the time after which it expires. A worker
	// gives a lease up when the last of them has failed, which is before others may take it.
	renewals = 4
	// atOnce is how many leases are renewed at the same time.
	atOnce = 16
)

// keeper keeps the leases: its state is its own goroutine's.
type keeper struct {
	*Source
	watch   watch
	now     time.Time       // when this tick asked for the leases
	listed  time.Time       // when the shards were listed last; zero: never
	orphans map[string]bool // leased shards that were not listed when they were looked for
	failed  int             // listings of shards in a row

	troubled bool        // the last tick had failures
	troubles atomic.Bool // this one has
}

// keep renews leases until ctx ends. It takes new ones until taking ends.
func (s *Source) keep(ctx, taking context.Context) {
	k := &keeper{Source: s, watch: watch{patience: s.cfg.LeaseDuration}}
	tick := time.NewTicker(s.cfg.LeaseDuration / renewals)
	defer tick.Stop()
	list := true
	for ctx.Err() == nil {
		k.tick(ctx, list, taking.Err() == nil)
		list = false
		select {
		case <-tick.C:
		case <-s.keepNow:
		case <-s.relist:
			list = true
		case <-ctx.Done():
		}
	}
}

// tick does what is due: first the leases that are held, whatever becomes of the rest. Every
// step may fail alone; it is tried again at the next tick.
func (k *keeper) tick(ctx context.Context, list, take bool) {
	k.troubled = k.troubles.Swap(false)
	k.expire()
	leases, ok := k.keepHeld(ctx)
	ctx, cancel := context.WithTimeout(ctx, k.cfg.LeaseDuration/renewals)
	defer cancel()
	if list || time.Since(k.listed) >= k.cfg.DiscoverInterval {
		k.discover(ctx)
	}
	if !ok || !take || !k.known(ctx, leases) {
		return
	}
	k.forget(ctx, leases)
	k.take(ctx, leases)
}

// keepHeld reads the leases and renews those that this worker holds.
func (k *keeper) keepHeld(ctx context.Context) (leases map[string]Lease, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.LeaseDuration/renewals)
	defer cancel()
	k.now = time.Now()
	leases, err := k.list(ctx)
	if err != nil {
		k.complain(ctx, "leases", fmt.Errorf("list leases: %w", err))
		return nil, false
	}
	k.watch.observe(leases, k.now)
	k.renew(ctx, leases)
	k.correct(ctx, leases)
	return leases, true
}

// expire gives up the shards whose leases could not be renewed in time.
func (k *keeper) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	const patience = renewals - 1
	for _, sh := range k.shards {
		if sh.leaving != lost && !sh.released && time.Since(sh.renewed) >= k.cfg.LeaseDuration*patience/renewals {
			k.cfg.Log.Warn("lease lost: not renewed in time", "shard", sh.id)
			k.leave(sh, lost)
		}
	}
}

// complain tells of a failure: the log at once, the caller of Poll if the tick before failed
// too, because one alone delays nothing.
func (k *keeper) complain(ctx context.Context, where string, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	k.cfg.Log.Warn("keep leases", "error", err)
	k.troubles.Store(true)
	if k.troubled {
		k.fail(where, err)
	}
}

// discover lists the stream's shards and, in mode FanOut, sees to the consumer.
func (k *keeper) discover(ctx context.Context) bool {
	arn, retention, err := k.describe(ctx)
	var g graph
	if err == nil {
		g, err = k.listShards(ctx)
	}
	if err == nil && k.cfg.Mode == FanOut {
		err = k.register(ctx, arn)
	}
	if err != nil {
		// Later than the next tick, because these calls have limits for the whole account.
		pause := min(k.cfg.LeaseDuration/renewals<<min(k.failed, 8), k.cfg.DiscoverInterval, k.cfg.RetryInterval)
		k.failed++
		k.listed = time.Now().Add(pause - k.cfg.DiscoverInterval)
		if !isFlowControl(err) {
			k.complain(ctx, "discover", err)
		}
		return false
	}
	k.failed, k.listed, k.orphans = 0, time.Now(), nil
	k.mu.Lock()
	k.graph, k.retention = g, retention
	k.mu.Unlock()
	return true
}

// errRegistering says that the consumer is not active yet, which takes seconds.
var errRegistering = errors.New("the stream's consumer is not active yet")

// register registers the consumer, unless it is, and waits for nothing: the next discovery
// looks again.
func (k *keeper) register(ctx context.Context, stream string) error {
	k.mu.Lock()
	known := k.consumer != ""
	k.mu.Unlock()
	if known {
		return nil
	}
	found, err := k.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: &stream, ConsumerName: &k.cfg.Consumer}, noRetry)
	if _, absent := errors.AsType[*types.ResourceNotFoundException](err); absent {
		_, err = k.client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: &stream, ConsumerName: &k.cfg.Consumer}, noRetry)
		if _, raced := errors.AsType[*types.ResourceInUseException](err); err != nil && !raced {
			return fmt.Errorf("register consumer %s: %w", k.cfg.Consumer, err)
		}
		return errRegistering
	}
	if err != nil {
		return fmt.Errorf("describe consumer %s: %w", k.cfg.Consumer, err)
	}
	if found.ConsumerDescription.ConsumerStatus != types.ConsumerStatusActive {
		return errRegistering
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.consumer = aws.ToString(found.ConsumerDescription.ConsumerARN)
	return nil
}

// list reads the leases, by shard.
func (k *keeper) list(ctx context.Context) (map[string]Lease, error) {
	all, err := k.leases.List(ctx)
	if err != nil {
		return nil, err
	}
	leases := make(map[string]Lease, len(all))
	for _, l := range all {
		leases[l.Shard] = l
	}
	k.mu.Lock()
	k.stored = maps.Clone(leases)
	k.mu.Unlock()
	return leases, nil
}

// renew renews this worker's leases, frees those of shards that were given back, and finds
// out which were lost or are asked for. A lease of its own that it does not know of is one
// that it was handed, or took without learning that it did.
func (k *keeper) renew(ctx context.Context, leases map[string]Lease) {
	k.mu.Lock()
	for part, sh := range k.shards {
		switch l := leases[sh.id]; {
		case l.Owner == k.instance:
			if l.Wanted != "" && sh.leaving == staying {
				k.leave(sh, yielding)
			}
		case sh.released:
			delete(k.shards, part)
		case sh.leaving != lost:
			k.cfg.Log.Warn("lease lost: another worker took it", "shard", sh.id)
			k.leave(sh, lost)
		}
	}
	k.mu.Unlock()
	var changes [][2]Lease
	for id, l := range leases {
		if l.Owner == k.instance {
			if now, err := k.renewed(id, l); err != nil {
				k.complain(ctx, "leases", err)
			} else {
				changes = append(changes, [2]Lease{l, now})
			}
		}
	}
	var renewing errgroup.Group
	renewing.SetLimit(atOnce)
	done := make([]bool, len(changes))
	for i, c := range changes {
		renewing.Go(func() error {
			done[i] = k.swap(ctx, c[0], c[1])
			return nil
		})
	}
	_ = renewing.Wait() // swap has told of errors
	for i, c := range changes {
		if done[i] {
			leases[c[1].Shard] = c[1]
			k.hold(c[1])
		}
	}
}

// renewed is what a lease of this worker shall be next.
func (k *keeper) renewed(id string, l Lease) (Lease, error) {
	part, err := Partition(k.cfg.Stream, id)
	if err != nil {
		return Lease{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	sh, now := k.shards[part], l.next(k.instance)
	switch {
	case sh == nil && l.Ended:
		now = l.next("")
	case sh == nil || !sh.released:
	case sh.leaving == finished:
		now = l.next("")
		now.Ended = true
	default:
		now = l.next(l.Wanted) // straight to who asked for it, lest it be taken back
	}
	return sh.proved(now), nil
}

// proved is the lease with what the shard's reader knows of being at the tip. sh may be nil;
// Source.mu is held.
func (sh *shard) proved(l Lease) Lease {
	if sh != nil && !sh.caughtUp.IsZero() {
		l.Mark, l.CaughtUp = sh.mark, sh.caughtUp.Truncate(time.Second)
	}
	return l
}

// hold notes that the lease is now stored as l.
func (k *keeper) hold(l Lease) {
	part, err := Partition(k.cfg.Stream, l.Shard)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	sh := k.shards[part]
	switch {
	case l.Owner != k.instance:
		delete(k.shards, part)
		return
	case sh == nil:
		sh = &shard{id: l.Shard, part: part}
		k.shards[part] = sh
		wake(k.changed)
	}
	// It counts from before it was stored: others may have seen it from then on.
	sh.lease, sh.renewed = l, k.now
}

// swap stores now in place of was, and reports whether it did.
func (k *keeper) swap(ctx context.Context, was, now Lease) bool {
	ok, err := k.leases.Swap(ctx, was, now)
	if err != nil {
		k.complain(ctx, "leases", fmt.Errorf("store lease: %w", err))
	}
	return ok && err == nil
}

// correct stores what the table said about ended shards, where the leases say otherwise.
func (k *keeper) correct(ctx context.Context, leases map[string]Lease) {
	k.mu.Lock()
	hints := maps.Clone(k.hints)
	k.mu.Unlock()
	for id, ended := range hints {
		l, ok := leases[id]
		if ok && l.Ended != ended {
			now := l.next(l.Owner)
			now.Ended = ended
			if !k.swap(ctx, l, now) {
				continue
			}
			leases[id] = now
		}
		k.mu.Lock()
		delete(k.hints, id)
		k.mu.Unlock()
	}
}

// known reports whether the shards are known well enough to take leases: a lease of a shard
// that is not listed may be of one that is younger than the listing.
func (k *keeper) known(ctx context.Context, leases map[string]Lease) bool {
	unknown := func() (out []string) {
		for id := range leases {
			if _, listed := k.graph[id]; !listed && !k.orphans[id] {
				out = append(out, id)
			}
		}
		return out
	}
	if k.graph == nil || len(unknown()) > 0 && (k.failed > 0 || !k.discover(ctx)) {
		return false
	}
	for _, id := range unknown() {
		if k.orphans == nil {
			k.orphans = map[string]bool{}
		}
		k.orphans[id] = true
	}
	return true
}

// forget deletes the leases of shards that have ended and are not listed any more.
func (k *keeper) forget(ctx context.Context, leases map[string]Lease) {
	for id, l := range leases {
		if !k.orphans[id] || !l.Ended || k.watch.alive(l, k.now) {
			continue
		}
		if err := k.leases.Remove(ctx, l); err != nil {
			k.complain(ctx, "leases", fmt.Errorf("remove lease: %w", err))
			continue
		}
		delete(leases, id)
	}
}

// take takes what is this worker's share of the shards.
func (k *keeper) take(ctx context.Context, leases map[string]Lease) {
	eligible := k.graph.eligible(leases)
	if len(eligible) == 0 {
		return
	}
	// Workers that start together go for different shards first.
	mathrand.Shuffle(len(eligible), func(i, j int) { eligible[i], eligible[j] = eligible[j], eligible[i] })
	alive := func(l Lease) bool { return k.watch.alive(l, k.now) }
	take, want := plan(k.instance, eligible, leases, alive, k.cfg.Steals)
	for _, l := range take {
		if now := l.next(k.instance); k.swap(ctx, l, now) {
			k.hold(now)
		}
	}
	for _, l := range want {
		now := l
		now.Wanted = k.instance
		k.swap(ctx, l, now)
	}
}

// free gives all leases back at the end.
func (s *Source) free(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseDuration/2)
	defer cancel()
	s.mu.Lock()
	shards := maps.Clone(s.shards)
	clear(s.shards)
	s.mu.Unlock()
	for _, sh := range shards {
		now := sh.proved(sh.lease.next(""))
		now.Ended = now.Ended || sh.leaving == finished
		if _, err := s.leases.Swap(ctx, sh.lease, now); err != nil {
			s.cfg.Log.Warn("free lease", "shard", sh.id, "error", err)
			return // it expires
		}
	}
}
