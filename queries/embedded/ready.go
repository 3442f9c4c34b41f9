package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ready keeps instances started for statements to come. No instance serves two statements.
type ready struct {
	cfg Config

	mu        sync.Mutex
	instances []*instance
	starting  int
	isClosed  bool
	group     sync.WaitGroup
}

// take returns an instance that the caller owns and that nobody used before, within the bounds
// of cfg, and sees to the next ones.
func (r *ready) take(ctx context.Context, cfg Config) (_ *instance, err error) {
	r.mu.Lock()
	var in *instance
	if n := len(r.instances); n > 0 {
		in, r.instances = r.instances[n-1], r.instances[:n-1]
	}
	for !r.isClosed && len(r.instances)+r.starting < r.cfg.Ready {
		r.starting++
		r.group.Go(r.start)
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

// start starts one instance. Why it fails whoever needs one is told, because none is there.
func (r *ready) start() {
	in, err := openInstance(context.Background(), r.cfg)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting--
	switch {
	case err != nil:
	case r.isClosed:
		_ = in.Close() // of memory; nothing was asked of it
	default:
		r.instances = append(r.instances, in)
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
