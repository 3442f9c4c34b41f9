package serving

import (
	"context"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
)

// reviewing takes reviews into a lake that is otherwise read: it is opened for writing when the
// first review comes. It implements api.Reviews.
type reviewing struct {
	place   *lakeflags.Flags
	gateway *queries.Gateway
	permits *grants.Grants
	record  insights.Recorder
	tenants *catalog.Tenants

	mu   sync.Mutex
	lake *Lake
}

// Review implements api.Reviews.
func (r *reviewing) Review(ctx context.Context, c grants.Caller, tenant cardlake.Tenant, alert string, confirm bool, note string) (isNew bool, err error) {
	lake, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	return reviews{insights.Deps{
		Gateway: r.gateway, Permits: r.permits, Recorder: r.record, Tenants: r.tenants, Store: lake.Store, Now: time.Now,
		Table: func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
			t, err := lake.Table(ctx, def)
			if err != nil {
				return nil, err // not a *iceberg.Table that is nil
			}
			return t, nil
		},
	}}.Review(ctx, c, tenant, alert, confirm, note)
}

func (r *reviewing) open(ctx context.Context) (*Lake, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lake != nil {
		return r.lake, nil
	}
	// Its bucket's keys and its catalog are kept for as long as the process lasts.
	l, err := OpenLake(context.WithoutCancel(ctx), r.place.ForWriting())
	if err == nil {
		r.lake = l
	}
	return l, err
}

// Close closes the lake, if it was opened.
func (r *reviewing) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lake == nil {
		return nil
	}
	err := r.lake.Close()
	r.lake = nil
	return err
}
