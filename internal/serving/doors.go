package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sync/errgroup"
)

// listening is a door that is served at an address, by its name in the log.
type listening struct {
	name, flag, addr string
	serve            func(context.Context, net.Listener, *tls.Config) error
}

// serveDoors serves until ctx ends, or the first of them fails: none is open without the others.
// started is told their addresses, by name. What is beside them runs as long.
func serveDoors(ctx context.Context, doors []listening, config *tls.Config, beside func(context.Context) error, started func(addrs []any)) error {
	var listeners []net.Listener
	var addrs []any
	for _, d := range doors {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.addr)
		if err != nil {
			for _, l := range listeners {
				err = errors.Join(err, l.Close())
			}
			return fmt.Errorf("%s: %w", d.flag, err)
		}
		listeners, addrs = append(listeners, l), append(addrs, d.name, l.Addr().String())
	}
	started(addrs)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return beside(ctx) })
	for i, d := range doors {
		group.Go(func() error { return d.serve(ctx, listeners[i], config) })
	}
	return group.Wait()
}
