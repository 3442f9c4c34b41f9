package serving

import (
	"context"
	"crypto/tls"
	"net"

	"golang.org/x/sync/errgroup"
)

// listening is a door that is served, by its name in the log.
type listening struct {
	name  string
	l     net.Listener
	serve func(context.Context, net.Listener, *tls.Config) error
}

// serveDoors serves until ctx ends, or the first of them fails.
// started is told their addresses, by name. What is beside them runs as long.
func serveDoors(ctx context.Context, doors []listening, config *tls.Config, beside func(context.Context) error, started func(addrs []any)) error {
	var addrs []any
	for _, d := range doors {
		addrs = append(addrs, d.name, d.l.Addr().String())
	}
	started(addrs)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return beside(ctx) })
	for _, d := range doors {
		group.Go(func() error { return d.serve(ctx, d.l, config) })
	}
	return group.Wait()
}
