package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries/tail"
)

// workers says where the workers are that have what is not committed yet.
type workers struct{ addrs, ca, cert, key string }

// flags registers the flags of the workers.
func (w *workers) flags(fs *flag.FlagSet) {
	fs.StringVar(&w.addrs, "tail", "", "comma-separated `host:port` of the workers' -tail-listen, or dns:name:port for all addresses of a name; what is not committed yet is read from them")
	fs.StringVar(&w.ca, "tail-ca", "", "`file` of the certificates that sign theirs, PEM")
	fs.StringVar(&w.cert, "tail-cert", "", "certificate `file` to show to them, PEM")
	fs.StringVar(&w.key, "tail-key", "", "its private key `file`, PEM")
}

// check reports flags that do not go together.
func (w *workers) check() error {
	n := 0
	for _, s := range []string{w.addrs, w.ca, w.cert, w.key} {
		if s != "" {
			n++
		}
	}
	if n != 0 && n != 4 {
		return errors.New("-tail, -tail-ca, -tail-cert and -tail-key go together")
	}
	return nil
}

// open connects to the workers when they are asked; nil if there are none.
func (w *workers) open() (*tail.Workers, error) {
	if w.addrs == "" {
		return nil, nil
	}
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(w.cert, w.key)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return nil, fmt.Errorf("-tail-cert: %w", err)
	}
	pool, err := lakeflags.Certificates(w.ca)
	if err != nil {
		return nil, fmt.Errorf("-tail-ca: %w", err)
	}
	return tail.NewWorkers(strings.Split(w.addrs, ","), &tls.Config{RootCAs: pool, GetClientCertificate: load, MinVersion: tls.VersionTLS13}, tail.WorkersConfig{})
}
