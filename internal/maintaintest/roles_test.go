package maintaintest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
	"github.com/cardlake/cardlake/catalog/retention"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
)

// The processes are this test's own program, told by roleEnv what to be.
const (
	roleEnv   = "CARDLAKE_MAINTAIN_ROLE"
	dirEnv    = "CARDLAKE_MAINTAIN_DIR"
	brokerEnv = "CARDLAKE_MAINTAIN_BROKER"
)

// roles are what a process can be. None ends by itself.
var roles = map[string]func(context.Context, *lake) error{
	"worker": work, "compactor": compact, "expirer": expire, "sweeper": sweep, "eraser": erase,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := openLake(ctx, home.Dir(os.Getenv(dirEnv)))
	if err == nil {
		fmt.Fprintln(os.Stderr, role, "starts")
		err = roles[role](ctx, l)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, role, "ends:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// lake is a lake as a process has it open.
type lake struct {
	store                         objects.Store
	tenants                       *catalog.Tenants
	catalog                       *iceberg.Catalog
	transactions, rejects, totals *iceberg.Table
}

func openLake(ctx context.Context, dir home.Dir) (*lake, error) {
	l := &lake{}
	lakeKeys, err := local.OpenFile(dir.LakeKeyring(), dir.LakeSecret())
	if err != nil {
		return nil, err
	}
	if l.tenants, err = catalog.OpenTenants(dir.Tenants()); err != nil {
		return nil, err
	}
	l.store = objects.NewSealed(dir.Objects(), lakeKeys, objects.SealedConfig{})
	// A history longer than the run: what goes, the expirer drops.
	l.catalog, err = iceberg.Open(ctx, iceberg.Config{DB: dir.Catalog(), Objects: l.store, History: 1000, Grace: grace})
	if err != nil {
		return nil, err
	}
	for _, t := range []struct {
		table **iceberg.Table
		def   *cardlake.Table
	}{{&l.transactions, cardlake.Transactions}, {&l.rejects, cardlake.Rejected}, {&l.totals, cardlake.ControlTotals}} {
		if *t.table, err = l.catalog.Table(ctx, t.def); err != nil {
			return nil, errors.Join(err, l.catalog.Close())
		}
	}
	return l, nil
}

const (
	topic = "cardlake.transactions"
	// grace is how long a snapshot stays after it was current: longer than a reader or a
	// starting worker takes to open what it names.
	grace = 10 * time.Second
	// orphanAge is longer than anybody takes from a put to the commit of it.
	orphanAge = 40 * time.Second
)

// work is a worker that commits as often as it can.
func work(ctx context.Context, l *lake) error {
	dir := home.Dir(os.Getenv(dirEnv))
	cardKeys, err := local.OpenFile(dir.CardKeyring(), dir.CardSecret())
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	w := ingest.New(ingest.Deps{
		Source:  kafka.New(kafka.Config{Brokers: []string{os.Getenv(brokerEnv)}, Topic: topic, Group: "maintain", InstanceID: "w1", Log: log}),
		Tenants: l.tenants, Keys: cardKeys, Secrets: cardKeys,
		Transactions: l.transactions, Rejected: l.rejects, Totals: l.totals,
		History:      ingest.HistoryOf(l.transactions, l.store),
		Kept:         ingest.KeptIn(l.rejects, l.store),
		Writer:       writers.New(l.store, l.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(l.store, writers.Config{}),
		TotalsWriter: writers.NewTotals(l.store, l.tenants, writers.Config{}),
		Log:          log,
	}, ingest.Config{WindowAge: 50 * time.Millisecond, WindowBytes: 64 << 20})
	return w.Run(ctx)
}

// width is the compactors': files of a class that are merged.
const width = 6

func newCompactor(l *lake, settle time.Duration) *maintenance.Compactor {
	done := 0
	return maintenance.New(cardlake.Transactions, l.transactions, l.store, l.tenants, maintenance.Config{
		Width: width, Settle: settle,
		Progress: func(p maintenance.Progress) {
			if p.Jobs > done {
				fmt.Fprintf(os.Stderr, "merged %d files\n", len(p.Files))
			}
			done = p.Jobs
		},
	})
}

// loop does something again and again. What fails is tried again, and in the process's
// output, except that two were at the same catalog.
func loop(ctx context.Context, most time.Duration, do func() error) error {
	for ctx.Err() == nil {
		if err := do(); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "FAILED:", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(most)):
		}
	}
	return nil
}

func compact(ctx context.Context, l *lake) error {
	c := newCompactor(l, 0)
	return loop(ctx, 500*time.Millisecond, func() error {
		r, err := c.Run(ctx)
		for _, s := range r.Skipped {
			err = errors.Join(err, s.Err)
		}
		if r.Yielded > 0 {
			fmt.Fprintf(os.Stderr, "yielded %d jobs\n", r.Yielded)
		}
		return passing(err)
	})
}

func expire(ctx context.Context, l *lake) error {
	return loop(ctx, time.Second, func() error {
		x, err := l.transactions.Expire(ctx, iceberg.Expiry{Before: time.Now().Add(-grace), KeepLast: 3, Grace: grace})
		if x.Snapshots > 0 {
			fmt.Fprintf(os.Stderr, "expired %d snapshots, %d files\n", x.Snapshots, x.DataFiles)
		}
		_, err2 := l.transactions.RewriteManifests(ctx)
		return passing(errors.Join(err, err2))
	})
}

func sweep(ctx context.Context, l *lake) error {
	return loop(ctx, 2*time.Second, func() error {
		var errs []error
		for info, err := range l.transactions.Orphans(ctx, iceberg.OrphanConfig{Age: orphanAge, Force: true, Delete: true}) {
			if errs = append(errs, err); err == nil {
				fmt.Fprintln(os.Stderr, "orphan", info.Name)
			}
		}
		return passing(errors.Join(errs...))
	})
}

// customers is how many customers the events are of.
const customers = 997

// erase anonymises one customer after another: rows and sums stay.
func erase(ctx context.Context, l *lake) error {
	policy, err := retention.ReadPolicy(filepath.Join(os.Getenv(dirEnv), "retention.json"))
	if err != nil {
		return err
	}
	k := retention.New(retention.Lake{
		Open: func(_ context.Context, def *cardlake.Table) (retention.Table, error) {
			if def != cardlake.Transactions {
				return nil, iceberg.ErrNoTable
			}
			return retention.Of(l.transactions, time.Second), nil
		},
		Tables: []*cardlake.Table{cardlake.Transactions}, Store: l.store, Tenants: l.tenants, Record: unrecorded{},
	}, policy, retention.Config{By: "operator/test", Age: orphanAge})
	return loop(ctx, 2*time.Second, func() error {
		all := l.tenants.All()
		e, err := k.Erase(ctx, all[rand.N(len(all))].Name, fmt.Sprintf("customer-%d", rand.N(customers)), false)
		if err == nil {
			fmt.Fprintf(os.Stderr, "erased %d rows\n", e.Rows)
		}
		if wait := new(iceberg.GraceError); errors.Is(err, retention.ErrMoving) || errors.As(err, &wait) {
			return nil
		}
		return passing(err)
	})
}

// unrecorded records nothing: there is nobody to read it.
type unrecorded struct{}

func (unrecorded) Append(context.Context, audit.Record) error { return nil }

// passing leaves out what passes: SQLite is busy while a process rolls back what a killed one
// began (busy_timeout does not cover it), and others may win races all day.
func passing(err error) error {
	if err == nil || errors.Is(err, catalog.ErrConflict) || strings.Contains(err.Error(), "SQLITE_BUSY") {
		return nil
	}
	return err
}
