// Command cardlake-worker moves a stream of sealed card events into the lake: it opens and
// tokenises them and commits encrypted files and stream positions in one snapshot, exactly
// once. It belongs to zone A: it sees card numbers, in memory only.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

const usage = `usage: cardlake-worker run [flags]

Reads sealed card events from Kafka and commits them to the lake, exactly once.
"cardlake-worker run -h" lists the flags.
`

type options struct {
	dir, brokers, topic, group, instance string
	cardKeyring, cardSecret              string
	lakeKeyring, lakeSecret              string
	tlsCA, tlsCert, tlsKey               string
	window                               time.Duration
	rows                                 int
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	if len(args) == 1 && args[0] == "version" {
		fmt.Fprintln(stderr, "cardlake-worker", cardlake.Version)
		return 0
	}
	if len(args) == 1 && (args[0] == "-h" || args[0] == "--help" || args[0] == "help") {
		fmt.Fprint(stderr, usage)
		return 0
	}
	if len(args) == 0 || args[0] != "run" {
		fmt.Fprint(stderr, usage)
		return 2
	}
	o, err := parse(args[1:], stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = work(ctx, o, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "cardlake-worker:", err)
		return 2
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("cardlake-worker run", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dir, "dir", home.Default(), "`folder` of the lake, its tenants and keyrings")
	fs.StringVar(&o.brokers, "brokers", "", "comma-separated `host:port` of the Kafka brokers (required)")
	fs.StringVar(&o.topic, "topic", wire.Topic, "`topic` of the events")
	fs.StringVar(&o.group, "group", "cardlake-worker", "consumer `group`, shared by the workers of one lake")
	fs.StringVar(&o.instance, "instance", "", "`name` of this worker, unique in the group and the same after a restart, which then takes its partitions back at once")
	fs.StringVar(&o.cardKeyring, "card-keyring", "", "zone A's keyring `file`; default keys/card.keyring in -dir")
	fs.StringVar(&o.cardSecret, "card-keyring-secret", "", "`file` with its passphrase; default keys/card.secret in -dir")
	fs.StringVar(&o.lakeKeyring, "keyring", "", "the lake's keyring `file`; default keys/lake.keyring in -dir")
	fs.StringVar(&o.lakeSecret, "keyring-secret", "", "`file` with its passphrase; default keys/lake.secret in -dir")
	fs.StringVar(&o.tlsCA, "tls-ca", "", "`file` of the certificates that sign the brokers', PEM; turns TLS on")
	fs.StringVar(&o.tlsCert, "tls-cert", "", "this worker's certificate `file`, PEM")
	fs.StringVar(&o.tlsKey, "tls-key", "", "its private key `file`, PEM")
	fs.DurationVar(&o.window, "window", 30*time.Second, "longest time an event waits for its commit")
	fs.IntVar(&o.rows, "window-rows", 1_000_000, "rows after which a window is committed before its time")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	d := home.Dir(o.dir)
	def(&o.cardKeyring, d.CardKeyring())
	def(&o.cardSecret, d.CardSecret())
	def(&o.lakeKeyring, d.LakeKeyring())
	def(&o.lakeSecret, d.LakeSecret())
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("takes no arguments besides flags, got %q", fs.Arg(0)))
	}
	if o.brokers == "" {
		errs = append(errs, errors.New("-brokers is required"))
	}
	if o.window < 100*time.Millisecond {
		errs = append(errs, errors.New("-window must be at least 100ms"))
	}
	if o.rows < 1 {
		errs = append(errs, errors.New("-window-rows must be at least 1"))
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		errs = append(errs, errors.New("-tls-cert and -tls-key go together"))
	}
	if o.tlsCA == "" && o.tlsCert == "" {
		for _, b := range strings.Split(o.brokers, ",") {
			host, _, _ := net.SplitHostPort(b)
			if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && b != "" {
				errs = append(errs, fmt.Errorf("broker %s is not on this machine: TLS is needed, give -tls-ca", b))
			}
		}
	}
	return o, errors.Join(errs...)
}

func (o options) tls() (*tls.Config, error) {
	if o.tlsCA == "" && o.tlsCert == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.tlsCA != "" {
		pem, err := os.ReadFile(o.tlsCA)
		if err != nil {
			return nil, fmt.Errorf("-tls-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-tls-ca: %s has no certificate", o.tlsCA)
		}
	}
	if o.tlsCert != "" {
		pair, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
		if err != nil {
			return nil, fmt.Errorf("-tls-cert: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func work(ctx context.Context, o options, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	d := home.Dir(o.dir)
	cardKeys, err := local.OpenFile(o.cardKeyring, o.cardSecret)
	if err != nil {
		return err
	}
	lakeKeys, err := local.OpenFile(o.lakeKeyring, o.lakeSecret)
	if err != nil {
		return err
	}
	tenants, err := catalog.OpenTenants(d.Tenants())
	if err != nil {
		return err
	}
	tlsConfig, err := o.tls()
	if err != nil {
		return err
	}
	store := objects.NewSealed(d.Objects(), lakeKeys, objects.SealedConfig{})
	lake, err := iceberg.Open(ctx, iceberg.Config{DB: d.Catalog(), Objects: store, Logger: log})
	if err != nil {
		return err
	}
	defer lake.Close()
	transactions, err := lake.Table(ctx, cardlake.Transactions)
	if err != nil {
		return err
	}
	rejected, err := lake.Table(ctx, cardlake.Rejected)
	if err != nil {
		return err
	}
	worker := ingest.New(ingest.Deps{
		Source: kafka.New(kafka.Config{
			Brokers: strings.Split(o.brokers, ","), Topic: o.topic, Group: o.group, InstanceID: o.instance, TLS: tlsConfig, Log: log,
		}),
		Tenants: tenants, Keys: cardKeys, Secrets: cardKeys,
		Transactions: transactions, Rejected: rejected,
		History:      ingest.HistoryOf(transactions, store),
		Kept:         ingest.KeptIn(rejected, store),
		Writer:       writers.New(store, tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(store, writers.Config{}),
		Log:          log,
	}, ingest.Config{WindowAge: o.window, WindowRows: o.rows})
	log.Info("worker starts", "version", cardlake.Version, "topic", o.topic, "group", o.group)
	err = worker.Run(ctx)
	s := worker.Stats()
	log.Info("worker ends", "records", s.Records, "rows", s.Rows, "duplicates", s.Duplicates, "rejected", s.Rejected, "commits", s.Commits)
	return err
}
