package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/audit/alerts"
	"github.com/cardlake/cardlake/catalog/audit/ship"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/s3"
)

// archiveFlags say where closed segments and checkpoints are kept.
type archiveFlags struct {
	bucket, kms string
	days        int
}

// archiveDays are a year and what it takes to notice that something is wrong with it.
const archiveDays = 400

func (f *archiveFlags) define(fs *flag.FlagSet) {
	fs.StringVar(&f.bucket, "archive-bucket", "", "S3 `bucket` of closed segments and checkpoints, made with Object Lock; default where the lake's objects are")
	fs.StringVar(&f.kms, "archive-kms-key", "", "`ARN` of the KMS key that encrypts what is put into -archive-bucket")
	fs.IntVar(&f.days, "archive-days", archiveDays, "lock what is put into -archive-bucket for so many `days`, in compliance mode")
}

func (f *archiveFlags) check() error {
	switch {
	case f.bucket == "" && f.kms != "":
		return errors.New("-archive-kms-key is of -archive-bucket")
	case f.bucket != "" && f.kms == "":
		return errors.New("-archive-bucket needs -archive-kms-key")
	case f.days < 365:
		return errors.New("-archive-days is at least 365: twelve months must be kept")
	}
	return nil
}

// archiveKey is the one key of the archive. It implements s3.Keys.
type archiveKey string

// KeyOf implements s3.Keys.
func (k archiveKey) KeyOf(keys.Owner) (string, error) { return string(k), nil }

// open returns the archive.
func (f *archiveFlags) open(place *lakeflags.Flags, lake *lakeflags.Lake) (objects.Store, error) {
	if f.bucket == "" {
		return lake.Store, nil
	}
	cfg := s3.Config{
		Bucket: f.bucket, Region: place.Keys.Region, Endpoint: place.Endpoint, PathStyle: place.PathStyle,
		Lock: s3.Lock{Mode: s3.Compliance, Keep: time.Duration(f.days) * 24 * time.Hour},
	}
	if place.CA != "" {
		var err error
		if cfg.RootCAs, err = lakeflags.Certificates(place.CA); err != nil {
			return nil, fmt.Errorf("-s3-ca: %w", err)
		}
	}
	store, err := s3.New(archiveKey(f.kms), cfg)
	if err != nil {
		return nil, fmt.Errorf("-archive-bucket: %w", err)
	}
	return store, nil
}

func auditShip(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("audit ship", "", `Copies the audit log off this machine while it is written: its lines to the table audit.events, closed
segments and checkpoints to the archive. Only what holds together is copied; a log that does not ends
it with exit code 1. Several may run at once.`, stderr)
	var a auditPlace
	a.define(fs, lakeflags.Write)
	var to archiveFlags
	to.define(fs)
	once := fs.Bool("once", false, "copy what is there, write what that was, and end")
	every := fs.Duration("every", 5*time.Second, "`time` between two looks at the log")
	metrics := fs.String("metrics-listen", "", "`address` of /metrics for Prometheus, in clear: counts and times, no names")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *every < 100*time.Millisecond {
		return misused(fs, "-every is at least 100ms")
	}
	if err := to.check(); err != nil {
		return misused(fs, "%v", err)
	}
	if err := a.complete(fs, localOperator); err != nil {
		return err
	}
	err = a.open(ctx, grants.Maintain, "ship", nil)
	// Closed before it ships: what it ships would else never end.
	if err = errors.Join(err, a.close()); err != nil {
		return err
	}
	verify, err := a.verification()
	if err != nil {
		return err
	}
	lake, err := a.place.Open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	table, err := lake.Table(ctx, cardlake.AuditEvents)
	if err != nil {
		return err
	}
	archive, err := to.open(&a.place, lake)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	log := slog.New(slog.NewTextHandler(stderr, nil))
	s, err := ship.New(a.door.audit, lake.Store, table, verify, ship.Config{
		Archive: archive, Every: *every, Log: log, Metrics: registry,
	})
	if err != nil {
		return err
	}
	if *once {
		defer s.Close()
		r, err := s.Once(ctx)
		return brokenIs1(stderr, errors.Join(json.NewEncoder(stdout).Encode(r), err))
	}
	return brokenIs1(stderr, withMetrics(ctx, *metrics, registry, s.Run))
}

// brokenIs1 makes a log that does not hold together exit code 1.
func brokenIs1(stderr io.Writer, err error) error {
	if errors.Is(err, audit.ErrBreak) {
		fmt.Fprintln(stderr, "cardlake:", err)
		return exitCode(1)
	}
	return err
}

// withMetrics runs something and answers /metrics meanwhile, if there is an address.
func withMetrics(ctx context.Context, address string, registry *prometheus.Registry, run func(context.Context) error) error {
	if address == "" {
		return run(ctx)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("-metrics-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = run(ctx)
	closed := server.Close()
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		closed = errors.Join(closed, e)
	}
	return errors.Join(err, closed)
}

func auditAlerts(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("audit alerts", "", `Follows the audit log and writes an alert, a JSON object a line, for each pattern of abuse. What it
learned of each actor, and where it was, is in -state, so that it can be stopped and begun again. A log
that does not hold together is an alert too, and ends it with exit code 1.`, stderr)
	var a auditPlace
	a.define(fs, lakeflags.Read)
	state := fs.String("state", "", "`file` of what was learned; default audit/"+serving.LakeLog+".alerts in -dir")
	rules := fs.String("rules", "", "JSON `file` of thresholds, durations in nanoseconds; default those of package alerts")
	hook := fs.String("webhook", "", "`URL` that each alert is posted to")
	once := fs.Bool("once", false, "look at what is there, and end")
	serving := fs.Bool("serving", false, "doors serve all the time: that nothing is written is an alert")
	metrics := fs.String("metrics-listen", "", "`address` of /metrics for Prometheus, in clear: counts and times, no names")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := a.complete(fs, localAuditor); err != nil {
		return err
	}
	cfg := alerts.WatchConfig{State: *state, Sinks: []alerts.Sink{alerts.Lines(stdout)}, Log: slog.New(slog.NewTextHandler(stderr, nil))}
	if cfg.State == "" {
		cfg.State = filepath.Clean(a.door.audit) + ".alerts"
	}
	if *rules != "" {
		if err := readStrictly(*rules, &cfg.Rules); err != nil {
			return fmt.Errorf("-rules: %w", err)
		}
	}
	if *serving {
		cfg.Serving = func() bool { return true }
	}
	registry := prometheus.NewRegistry()
	counter, err := alerts.NewCounter(registry)
	if err != nil {
		return err
	}
	cfg.Sinks = append(cfg.Sinks, counter)
	if *hook != "" {
		sink, err := alerts.NewWebhook(*hook, nil)
		if err != nil {
			return misused(fs, "-%v", err)
		}
		cfg.Sinks = append(cfg.Sinks, sink)
	}
	err = a.open(ctx, grants.ReadAudit, "alerts", stderr)
	if err = errors.Join(err, a.close()); err != nil {
		return err
	}
	verify, err := a.verification()
	if err != nil {
		return err
	}
	w := alerts.NewWatcher(audit.Dir(a.door.audit), verify, cfg)
	if *once {
		defer w.Close()
		_, err := w.Once(ctx)
		return brokenIs1(stderr, err)
	}
	return brokenIs1(stderr, withMetrics(ctx, *metrics, registry, w.Run))
}

func auditPrune(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("audit prune", "", `Removes segments of the audit log that are older than -days, if the archive has each byte for byte and
audit.events has each of their lines. The log says which are gone. Twelve months must be kept, of which
the newest three here (PCI DSS 4.0.1 requirement 10.5.1).`, stderr)
	var a auditPlace
	a.define(fs, lakeflags.Write)
	var to archiveFlags
	to.define(fs)
	days := fs.Int("days", 100, "keep so many `days`, at least 90")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *days < 90 {
		return misused(fs, "-days is at least 90: three months of the log must be at hand")
	}
	if err := to.check(); err != nil {
		return misused(fs, "%v", err)
	}
	if err := a.complete(fs, localOperator); err != nil {
		return err
	}
	if err := a.open(ctx, grants.Maintain, "prune", nil); err != nil {
		return errors.Join(err, a.close())
	}
	defer func() { err = errors.Join(err, a.close()) }()
	verify, err := a.verification()
	if err != nil {
		return err
	}
	lake, err := a.place.Open(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	table, err := lake.Table(ctx, cardlake.AuditEvents)
	if err != nil {
		return err
	}
	archive, err := to.open(&a.place, lake)
	if err != nil {
		return err
	}
	compared, err := ship.Compare(ctx, audit.Dir(a.door.audit), verify, table, lake.Store)
	switch {
	case err != nil:
		return err
	case compared.Break != nil:
		fmt.Fprintf(stderr, "cardlake: nothing is removed: %s\n", compared.Break)
		return exitCode(1)
	}
	positions, err := table.Positions(ctx)
	if err != nil {
		return err
	}
	next := positions[cardlake.StreamPartition{Stream: ship.Stream(compared.Log)}].Next
	holds := ship.Holds(archive, a.door.audit)
	gone, err := a.record.Prune(ctx, time.Now().AddDate(0, 0, -*days), verify, func(ctx context.Context, c audit.Closed) error {
		if c.Head.Seq >= uint64(max(next, 0)) {
			return errors.New("its lines are not in audit.events yet")
		}
		return holds(ctx, c)
	})
	for _, c := range gone {
		fmt.Fprintf(stdout, "%s up to line %d, ended %s\n", audit.SegmentName(c.Number), c.Head.Seq, c.Ended.Format(time.RFC3339))
	}
	return brokenIs1(stderr, err)
}

func auditKey(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("audit key", "", `Prints the public keys of the audit log's checkpoints, the newest first, as PEM: auditors keep them and
verify with them, and with nothing else, whatever is written on this machine later. Their ids are on
standard error, to be compared over another channel.`, stderr)
	var a auditPlace
	a.define(fs, lakeflags.Read)
	rotate := fs.Bool("rotate", false, "make a new key first, which whoever opens the log from now on signs with")
	if err := parse(fs, args); err != nil {
		return err
	}
	if err := a.complete(fs, localOperator); err != nil {
		return err
	}
	if *rotate {
		if err := a.open(ctx, grants.Maintain, "key", nil); err != nil {
			return errors.Join(err, a.close())
		}
		err = audit.RotateSigner(ctx, a.door.audit, a.ring)
		if err = errors.Join(err, a.close()); err != nil {
			return err
		}
	}
	public, err := audit.PublicKeys(a.door.audit)
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("nobody has signed the audit log in %s yet: its first line makes the key", a.door.audit)
	}
	if err != nil {
		return err
	}
	text, err := audit.MarshalPublic(public...)
	if err != nil {
		return err
	}
	for _, p := range public {
		fmt.Fprintln(stderr, "key", audit.KeyID(p))
	}
	_, err = stdout.Write(text)
	return err
}

// readStrictly reads a JSON file that has no field but those of into.
func readStrictly(file string, into any) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
