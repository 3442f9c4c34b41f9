package serving

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/queries/webhook"
	"github.com/cardlake/cardlake/writers/objects"
)

// ExportsFolder is where a lake's exports are, in its folder: the jobs, and their sealed files.
func ExportsFolder(dir string) string { return filepath.Join(dir, "exports") }

// ExportParts is what exports are made of besides what a door has anyway.
type ExportParts struct {
	Dir      string // of the lake
	Lake     *Lake
	Keys     keys.Provider
	Tenants  *catalog.Tenants
	Permits  *grants.Grants
	Recorder queries.Recorder
	Parser   queries.Parser
	Engine   queries.Engine
	Marks    Watermarks // may be nil
	Log      *slog.Logger
}

// OpenExports opens the exports of a lake. Statements are bounded by time and by the grants, not
// by rows: what is taken away goes to files.
func OpenExports(ctx context.Context, p ExportParts) (*export.Service, error) {
	folder := ExportsFolder(p.Dir)
	deps := export.Deps{
		Gateway: func(permits queries.Permits) *queries.Gateway {
			return queries.New(p.Parser, p.Engine, permits, p.Recorder, queries.Config{MaxRows: -1, Timeout: 30 * time.Minute, MaxSQL: MaxStatement, Views: views.All})
		},
		Permits: p.Permits, Rulings: p.Permits, Recorder: p.Recorder, Planner: p.Lake.Planner, Lake: p.Lake.Store,
		Files: objects.NewSealed(filepath.Join(folder, "files"), p.Keys, objects.SealedConfig{}), Tenants: p.Tenants, Keys: p.Keys,
		Sender: webhook.New(webhook.Config{Attempts: 1}),
	}
	if p.Marks != nil {
		deps.Complete = completeness{p.Lake.Planner, p.Marks}
	}
	return export.Open(ctx, folder, deps, export.Config{Log: p.Log})
}

// Watermarks say up to when all rows of each tenant are there; *ready.Watcher has them.
type Watermarks interface {
	ValidThrough(at cardlake.Positions) map[cardlake.Tenant]time.Time
}

// completeness implements export.Completeness by watermarks of what is committed. Tables beside
// the transactions have none: of them a window is complete when theirs is.
type completeness struct {
	planner embedded.Planner
	marks   Watermarks
}

// IsComplete implements export.Completeness.
func (c completeness) IsComplete(ctx context.Context, _ *cardlake.Table, tenant cardlake.Tenant, _, to time.Time) (bool, error) {
	snapshot, _, err := c.planner.Plan(ctx, cardlake.Transactions)
	if err != nil {
		return false, err
	}
	return !c.marks.ValidThrough(snapshot.Positions)[tenant].Before(to), nil
}
