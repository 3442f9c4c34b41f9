package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ready keeps instances started for statements to come. No instance serves two statements. They
// are started one after the other while no statement runs, or when none is left: to start one
// takes as much of a processor as many a statement does.
type ready struct {
	cfg Config

	mu         sync.Mutex
	instances  []*instance
	running    int // statements that took one, or wait for theirs
	isStarting bool
	isClosed   bool
	group      sync.WaitGroup
}

// take returns an instance that the caller owns and that nobody used before, within the bounds
// of cfg. Whoever takes one calls ended afterwards.
func (r *ready) take(ctx context.Context, cfg Config) (_ *instance, err error) {
	r.mu.Lock()
	r.running++
	var in *instance
	if n := len(r.instances); n > 0 {
		in, r.instances = r.instances[n-1], r.instances[:n-1]
	}
	r.mu.Unlock()
	if in == nil {
		return openInstance(ctx, cfg)
	}
	if cfg.Memory == r.cfg.Memory {
		return in, nil
	}
	if err := in.exec(ctx, memoryLimit(cfg)); err != nil {
		return nil, errors.Join(fmt.Errorf("configure DuckDB: %w", err), in.Close())
	}
	return in, nil
}

// ended says that a statement has its answer, and sees to instances for the next ones.
func (r *ready) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if !r.isStarting && r.isWanted() {
		r.isStarting = true
		r.group.Go(r.start)
	}
}

// isWanted reports whether it is time to start another instance.
func (r *ready) isWanted() bool {
	n := len(r.instances)
	return !r.isClosed && n < r.cfg.Ready && (n == 0 || r.running == 0)
}

// start starts instances as long as they are wanted. Why it fails whoever needs one is told,
// because none is there.
func (r *ready) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.isStarting = false }()
	for r.isWanted() {
		r.mu.Unlock()
		in, err := openInstance(context.Background(), r.cfg)
		r.mu.Lock()
		switch {
		case err != nil:
			return
		case r.isClosed:
			_ = in.Close() // of memory; nothing was asked of it
		default:
			r.instances = append(r.instances, in)
		}
	}
}

// close frees the instances, those that are being started included.
func (r *ready) close() error {
	r.mu.Lock()
	r.isClosed = true
	instances := r.instances
	r.instances = nil
	r.mu.Unlock()
	var errs []error
	for _, in := range instances {
		errs = append(errs, in.Close())
	}
	r.group.Wait()
	return errors.Join(errs...)
}
