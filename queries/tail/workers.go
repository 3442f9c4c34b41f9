package tail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// everyPrefix marks a name of which every address is a worker.
const everyPrefix = "dns:"

// WorkersConfig configures Workers.
type WorkersConfig struct {
	Client Config
	// Refresh is how long the addresses of a name are used before it is looked up again. A
	// worker that joins is not asked until then, and its partitions lack their tail.
	// Default 2 s.
	Refresh time.Duration
	// Lookup returns the addresses of a host. Default net.DefaultResolver.LookupHost.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// Now is the time. Default time.Now.
	Now func() time.Time
}

func (c WorkersConfig) withDefaults() WorkersConfig {
	if c.Refresh == 0 {
		c.Refresh = 2 * time.Second
	}
	if c.Lookup == nil {
		c.Lookup = net.DefaultResolver.LookupHost
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Workers asks several workers at once and unites their answers as [queries.Tails] does: one
// out of reach makes the answer older, not wrong. It may be used by several goroutines.
type Workers struct {
	fixed []*Client
	names []*name
}

// NewWorkers returns a client of the workers at addrs. An address is "host:port", one worker,
// or "dns:name:port": then every address that the name has is a worker, as those of a
// headless service in Kubernetes are, and the workers' certificates are for the name.
func NewWorkers(addrs []string, config *tls.Config, cfg WorkersConfig) (_ *Workers, err error) {
	if len(addrs) == 0 {
		return nil, errors.New("tail: there is no address")
	}
	if cfg.Refresh < 0 {
		return nil, errors.New("tail: Refresh is negative")
	}
	w := &Workers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	cfg = cfg.withDefaults()
	for _, addr := range addrs {
		if named, ok := strings.CutPrefix(addr, everyPrefix); ok {
			n, err := newName(named, config, cfg)
			if err != nil {
				return nil, err
			}
			w.names = append(w.names, n)
			continue
		}
		c, err := New(addr, config, cfg.Client)
		if err != nil {
			return nil, err
		}
		w.fixed = append(w.fixed, c)
	}
	return w, nil
}

// Tail implements queries.Tail.
func (w *Workers) Tail(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
	all := make(queries.Tails, 0, len(w.fixed)+len(w.names))
	for _, c := range w.fixed {
		all = append(all, c)
	}
	for _, n := range w.names {
		all = append(all, n)
	}
	return all.Tail(ctx, from)
}

// Close ends all connections. Whoever asks after that gets an error.
func (w *Workers) Close() error {
	var errs []error
	for _, c := range w.fixed {
		errs = append(errs, c.Close())
	}
	for _, n := range w.names {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}

// name is the workers at all addresses of a name.
type name struct {
	host, port string
	tls        *tls.Config
	cfg        WorkersConfig

	mu       sync.Mutex
	clients  map[string]*Client // by address
	looked   time.Time          // when the name was looked up
	failed   error              // of that look-up
	isClosed bool
}

func newName(addr string, config *tls.Config, cfg WorkersConfig) (*name, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return nil, fmt.Errorf("tail: %s%s is not a name and a port", everyPrefix, addr)
	}
	// What New says of the configuration of each address is known now.
	c, err := New(addr, config, cfg.Client)
	if err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	return &name{host: host, port: port, tls: config, cfg: cfg, clients: map[string]*Client{}}, nil
}

// Tail implements queries.Tail.
func (n *name) Tail(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
	workers, err := n.workers(ctx)
	if err != nil {
		err = fmt.Errorf("tail: look up %s: %w", n.host, err)
	}
	if len(workers) == 0 {
		return queries.TailRows{}, err
	}
	rows, askErr := workers.Tail(ctx, from)
	if askErr != nil {
		return queries.TailRows{}, errors.Join(err, askErr)
	}
	rows.Unanswered = errors.Join(err, rows.Unanswered)
	return rows, nil
}

// workers returns those at the name's addresses. If they cannot be looked up, those that
// were there before are returned with the error: there may be others by now.
func (n *name) workers(ctx context.Context) (queries.Tails, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.cfg.Now(); n.looked.IsZero() || now.Sub(n.looked) >= n.cfg.Refresh || len(n.clients) == 0 {
		// Others do not wait for this look-up but ask the workers that are known.
		n.looked = now
		n.mu.Unlock()
		hosts, err := n.cfg.Lookup(ctx, n.host)
		n.mu.Lock()
		if n.failed = err; err == nil {
			n.failed = n.set(hosts)
		}
	}
	switch {
	case n.isClosed:
		return nil, net.ErrClosed
	case len(n.clients) > 0:
		var out queries.Tails
		for _, addr := range slices.Sorted(maps.Keys(n.clients)) {
			out = append(out, n.clients[addr])
		}
		return out, n.failed
	case n.failed != nil:
		return nil, n.failed
	}
	return nil, errors.New("it has no address")
}

// set makes the hosts those that are asked. Clients that stay keep their connection.
func (n *name) set(hosts []string) error {
	if n.isClosed {
		return net.ErrClosed
	}
	var errs []error
	next := make(map[string]*Client, len(hosts))
	for _, host := range hosts {
		addr := net.JoinHostPort(host, n.port)
		if c := n.clients[addr]; c != nil || next[addr] != nil {
			next[addr] = cmp.Or(c, next[addr])
		} else if c, err := New(addr, n.tls, n.cfg.Client); err == nil {
			next[addr] = c
		} else {
			errs = append(errs, err)
		}
	}
	for addr, c := range n.clients {
		if next[addr] == nil {
			errs = append(errs, c.Close())
		}
	}
	n.clients = next
	return errors.Join(errs...)
}

func (n *name) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isClosed = true
	var errs []error
	for _, c := range n.clients {
		errs = append(errs, c.Close())
	}
	n.clients = nil
	return errors.Join(errs...)
}

var _ queries.Tail = (*Workers)(nil)
