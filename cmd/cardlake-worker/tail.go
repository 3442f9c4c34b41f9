package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// listenTail opens the address of the hot tail, nil if there is none.
func (o *options) listenTail(ctx context.Context) (net.Listener, error) {
	if o.tailListen == "" {
		return nil, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.tailListen)
	if err != nil {
		return nil, fmt.Errorf("-tail-listen: %w", err)
	}
	return l, nil
}

// serveTail serves the worker's tail until end is called.
func (o *options) serveTail(ctx context.Context, l net.Listener, worker tailserver.Worker, log *slog.Logger) (end func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(o.tailCert, o.tailKey)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("-tail-tls-cert: %w", err)
	}
	pool, err := lakeflags.Certificates(o.tailClientCA)
	if err != nil {
		return nil, fmt.Errorf("-tail-client-ca: %w", err)
	}
	server, err := tailserver.New(worker, tailserver.Config{Certificate: load, ClientCAs: pool, Clients: strings.Split(o.tailClients, ","), Log: log})
	if err != nil {
		return nil, fmt.Errorf("hot tail: %w", err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- server.Serve(serving, l) }()
	log.Info("hot tail", "addr", l.Addr().String())
	return func() {
		stop()
		if err := <-done; err != nil {
			log.Error("hot tail", "error", err) // answers were older, not wrong
		}
	}, nil
}
