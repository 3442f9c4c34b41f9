package serving

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/dictionary"
	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/views"
)

// subscriptionsLog is the audit log that subscriptions are kept in.
const subscriptionsLog = "subscriptions"

// ProductsDir is the folder of products.
func ProductsDir(dir home.Dir) string { return filepath.Join(string(dir), "products") }

// OpenSubscriptions opens the store of subscriptions, beside other processes.
func OpenSubscriptions(ctx context.Context, dir home.Dir, ring keys.Provider) (_ *products.Store, closing func() error, err error) {
	at, anchor := dir.Audit(subscriptionsLog), audit.FileAnchor(dir.AuditAnchor(subscriptionsLog))
	head, err := anchor.Load(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("subscriptions: %w", err)
	}
	log, err := audit.OpenShared(ctx, at, ring, audit.Config{Actor: "cardlake", Anchor: anchor})
	if err != nil {
		return nil, nil, fmt.Errorf("subscriptions: %w", err)
	}
	store := products.NewStore(log, at, audit.VerifyConfig{Keys: ring, Anchor: head})
	return store, func() error { store.Close(); return log.Close() }, nil
}

// AsOf tells when a table was last committed to. The lake is opened when it is first asked.
func AsOf(place *lakeflags.Flags) func(context.Context, string) (time.Time, error) {
	return func(ctx context.Context, table string) (_ time.Time, err error) {
		l, err := OpenLake(ctx, place)
		if err != nil {
			return time.Time{}, err
		}
		defer func() { err = errors.Join(err, l.Close()) }()
		snapshot, _, err := l.Planner.Plan(ctx, cardlake.TableNamed(table))
		return snapshot.CommittedAt, err
	}
}

// QualityFolder is where what came of rules is kept, in the lake's folder.
func QualityFolder(dir string) string { return filepath.Join(dir, "quality") }

// ScoreOf tells what share of the rules held that were last evaluated over a whole table.
func ScoreOf(dir string) func(context.Context, string) (float64, time.Time, error) {
	history := quality.NewHistory(QualityFolder(dir))
	return func(_ context.Context, relation string) (float64, time.Time, error) {
		r, err := history.Latest(func(target string) bool { return strings.HasPrefix(target, relation+" as ") })
		return 100 * r.Score, r.CompletedOn, err
	}
}

// Words are the data dictionary. It implements products.Dictionary.
type Words struct {
	check func(sql string) (queries.Statement, error)

	mu   sync.Mutex
	have map[string]*products.Relation
}

// NewWords returns the dictionary, which the parser finds the tables of views for.
func NewWords(parser queries.Parser) *Words {
	g := queries.New(parser, nil, nil, nil, queries.Config{Views: views.All})
	return &Words{have: map[string]*products.Relation{}, check: func(sql string) (queries.Statement, error) { return g.Check(context.Background(), sql) }}
}

// Relation implements products.Dictionary.
func (w *Words) Relation(name string) *products.Relation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r, ok := w.have[name]; ok {
		return r
	}
	r := w.find(name)
	w.have[name] = r
	return r
}

func (w *Words) find(name string) *products.Relation {
	if t := cardlake.TableNamed(name); t != nil {
		return relationOf(dictionary.OfTable(t), []string{name})
	}
	for _, v := range views.All {
		if v.FullName() != name {
			continue
		}
		s, err := w.check("SELECT * FROM " + name)
		if err != nil {
			return nil
		}
		var tables []string
		for _, r := range s.Reads {
			tables = append(tables, r.Table.FullName())
		}
		return relationOf(dictionary.OfView(v, nil), tables)
	}
	return nil
}

func relationOf(e dictionary.Entry, tables []string) *products.Relation {
	r := &products.Relation{Name: e.Name, Doc: e.About, Tables: tables}
	for _, c := range e.Columns {
		r.Columns = append(r.Columns, products.Column{Name: c.Name, Type: c.Type, Tag: cardlake.Tag(c.Tag), Doc: c.About, Nullable: c.Nullable != "no"})
	}
	return r
}
