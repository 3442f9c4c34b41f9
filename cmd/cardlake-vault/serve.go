package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// reverseAge is how long the service uses a data key that it has opened: how soon a
// destroyed key is noticed.
const reverseAge = 10 * time.Second

// serve answers until ctx ends. Things end in this order: the calls under way, the health
// address, the vault, the audit log.
func serve(ctx context.Context, args []string, std streams) (err error) {
	var p place
	var files detokenize.Files
	var listen, policyFile, health string
	fs := newFlags("serve", "Answers workers that pin cards and people who turn tokens back into card numbers, by\nHTTP with TLS 1.3 and certificates on both sides. Ends on SIGTERM when what is under way is done.")
	p.define(fs)
	p.defineStore(fs)
	p.defineAudit(fs, serviceLog)
	fs.StringVar(&listen, "listen", "", "`address` to answer at, such as :8443 (required)")
	fs.StringVar(&files.Cert, "cert", "", "the service's certificate `file`, PEM, read for each connection (required)")
	fs.StringVar(&files.Key, "key", "", "its private key `file`, PEM (required)")
	fs.StringVar(&files.CA, "client-ca", "", "`file` of the certificates that sign the clients', PEM, read for each connection (required)")
	fs.StringVar(&policyFile, "policy", "", "JSON `file` that says who may pin, request and approve, read again when it changes (required)")
	var people people
	people.define(fs)
	fs.StringVar(&health, "health", "", "`address` of /livez and /readyz, for probes without a certificate: in clear, and nothing but whether it is well")
	var cfg detokenize.Config
	fs.DurationVar(&cfg.ApproveWithin, "approve-within", time.Hour, "`time` within which a request must be approved")
	fs.DurationVar(&cfg.CollectWithin, "collect-within", 10*time.Minute, "`time` within which an approved request must be collected")
	fs.DurationVar(&cfg.DrainWithin, "drain", 30*time.Second, "`time` that calls under way have at the end")
	if err := parse(fs, args, std, "listen", "cert", "key", "client-ca", "policy"); err != nil {
		return err
	}
	if cfg.ApproveWithin < time.Second || cfg.CollectWithin < time.Second || cfg.DrainWithin < time.Second {
		return usagef("-approve-within, -collect-within and -drain are at least 1s")
	}
	if err := p.complete(serviceLog); err != nil {
		return err
	}

	log := slog.New(slog.NewTextHandler(std.err, nil))
	cfg.Log = log
	signIn, err := people.open(ctx, listen, log)
	if err != nil {
		return err
	}
	config, err := files.Server()
	if err != nil {
		return usagef("-cert, -key, -client-ca: %w", err)
	}
	policy, err := detokenize.OpenPolicy(policyFile, log)
	if err != nil {
		return usageError{err}
	}
	tenants, err := openRegister(p.tenants)
	if err != nil {
		return usagef("register of tenants: %w", err)
	}
	cardKeys, err := open(ctx, &p.keys.Card)
	if err != nil {
		return err
	}
	lakeKeys, err := open(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	trail, err := audit.Open(ctx, p.audit, lakeKeys, audit.Config{Actor: "cardlake-vault serve", Anchor: audit.FileAnchor(p.anchor), Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()
	v, closeVault, err := p.openVault(ctx, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeVault()) }()

	server := detokenize.New(detokenize.Deps{
		Vault: v, Reverse: keys.NewEnvelopes(cardKeys, keys.Reverse, keys.EnvelopeConfig{MaxAge: reverseAge}),
		Tenants: tenants, Policy: policy, Audit: trail, People: signIn,
	}, cfg)
	if err := server.Restore(audit.Read(ctx, p.audit, detokenize.Spent(time.Now()))); err != nil {
		return err
	}
	var network net.ListenConfig
	l, err := network.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	endHealth, err := serveHealth(ctx, health, server, log)
	if err != nil {
		_ = l.Close()
		return err
	}
	defer endHealth()
	log.Info("vault starts", "version", cardlake.Version, "addr", l.Addr().String())
	err = server.Serve(ctx, l, config)
	log.Info("vault ends")
	return err
}

// serveHealth answers probes until end is called.
func serveHealth(ctx context.Context, address string, server *detokenize.Server, log *slog.Logger) (end func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-health: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := server.Ready(r.Context()); err != nil || ctx.Err() != nil {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	probes := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
	done := make(chan error, 1)
	go func() { done <- probes.Serve(l) }()
	log.Info("health", "addr", l.Addr().String())
	return func() {
		_ = probes.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			log.Error("health", "error", err)
		}
	}, nil
}
