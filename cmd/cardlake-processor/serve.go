package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/processor"
	"github.com/cardlake/cardlake/processor/ledger"
	"github.com/cardlake/cardlake/processor/outbox"
)

// flushTime is how long the relay may go on after the last connection has ended.
const flushTime = 5 * time.Second

func serve(ctx context.Context, args []string, _ io.Reader, _, stderr io.Writer) (err error) {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	var st store
	st.flags(fs)
	addr := fs.String("addr", "127.0.0.1:8583", "`address` to listen on; without TLS it must be loopback")
	brokers := fs.String("brokers", "", "Kafka brokers, `host:port,...`; with TLS unless all are loopback")
	topic := fs.String("topic", outbox.DefaultTopic, "Kafka `topic` of the events")
	region := fs.String("region", "local", "`name` of this region in the events")
	cert := fs.String("tls-cert", "", "PEM `file` with the server's certificate")
	key := fs.String("tls-key", "", "PEM `file` with its private key")
	clientCA := fs.String("tls-client-ca", "", "PEM `file` with the authorities that sign the networks' certificates; required of peers if given")
	brokersCA := fs.String("brokers-ca", "", "PEM `file` with the authorities that sign the brokers' certificates; the system's if not given")
	if err := parse(fs, args, stderr, 0, "brokers"); err != nil {
		return err
	}
	if err := st.complete(); err != nil {
		return err
	}
	tlsConfig, err := serverTLS(*addr, *cert, *key, *clientCA)
	if err != nil {
		return err
	}
	brokerOpts, err := brokerOptions(*brokers, *brokersCA)
	if err != nil {
		return err
	}
	if _, err := os.Stat(st.tenants); err != nil {
		return usagef("tenant register: %w", err)
	}
	tenants, err := catalog.OpenTenants(st.tenants)
	if err != nil {
		return usageError{err}
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	l, ring, err := st.open(ctx, ledger.Config{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	client, err := kgo.NewClient(brokerOpts...)
	if err != nil {
		return usagef("brokers: %w", err)
	}
	defer client.Close()
	server := processor.New(l, wire.NewEncoder(ring, wire.EncoderConfig{}), tenants, processor.Config{
		Addr: *addr, TLS: tlsConfig, Region: *region, Logger: log,
	})
	if err := server.Listen(); err != nil {
		return usageError{err}
	}
	log.Info("listening", "addr", server.Addr().String(), "tls", tlsConfig != nil)

	// The relay and the ledger's housekeeping outlive the server: what its last answers
	// promised goes out, as far as the stream takes it in time.
	after, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(after)
	g.Go(func() error { return l.Outbox().Run(gctx, outbox.NewKafka(client, *topic)) })
	g.Go(func() error { return l.Run(gctx) })
	g.Go(func() error {
		defer stop()
		serving, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(gctx, cancel)() // the others failed
		// Totals are made until the last decision is: theirs goes out with its events.
		counting, stopCounting := context.WithCancel(gctx)
		counted := make(chan error, 1)
		go func() {
			err := processor.NewTotals(l, processor.TotalsConfig{Region: *region}).Run(counting)
			cancel() // it ends early only when the ledger fails
			counted <- err
		}()
		err := server.Run(serving)
		stopCounting()
		err = errors.Join(err, <-counted)
		for end := time.Now().Add(flushTime); gctx.Err() == nil && l.Outbox().Stats().Depth > 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		return err
	})
	err = g.Wait()
	log.Info("stopped", "stats", server.Stats(), "outbox", l.Outbox().Stats())
	return err
}

// serverTLS returns the listener's configuration, nil for plain TCP on loopback.
func serverTLS(addr, cert, key, clientCA string) (*tls.Config, error) {
	if cert == "" && key == "" && clientCA == "" {
		if !loopback(addr) {
			return nil, usagef("address %s is not loopback: give -tls-cert and -tls-key, or listen on 127.0.0.1", addr)
		}
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, usagef("-tls-cert and -tls-key go together, and -tls-client-ca needs both")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, usagef("TLS certificate: %w", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clientCA != "" {
		if cfg.ClientCAs, err = authorities(clientCA); err != nil {
			return nil, err
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}

func brokerOptions(brokers, ca string) ([]kgo.Opt, error) {
	list := strings.Split(brokers, ",")
	// Without it the relay could not end while the brokers are away. What it produces twice
	// is recognised by its event_id.
	opts := []kgo.Opt{kgo.SeedBrokers(list...), kgo.AllowIdempotentProduceCancellation()}
	plain := ca == ""
	for _, b := range list {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, usagef("brokers: want host:port,...: %w", err)
		}
		plain = plain && loopback(b)
	}
	if plain {
		return opts, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pool, err := authorities(ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	return append(opts, kgo.DialTLSConfig(cfg)), nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usagef("certificate authorities: %s has no PEM certificate", file)
	}
	return pool, nil
}

// loopback reports whether the address can be reached from this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
