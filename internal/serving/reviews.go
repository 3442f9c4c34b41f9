package serving

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/labels"
)

// reviews take what tenants say of alerts; it is api.Reviews. The tables and the store must be
// open for writing.
type reviews struct{ deps insights.Deps }

// Review implements api.Reviews. The desk decides, and records.
func (r reviews) Review(ctx context.Context, c grants.Caller, tenant cardlake.Tenant, alert string, confirm bool, note string) (isNew bool, err error) {
	if err := labels.CheckNote(note); err != nil {
		return false, fmt.Errorf("%w: %w", api.ErrReview, err)
	}
	label := labels.Genuine
	if confirm {
		label = labels.Fraud
	}
	out, err := labels.New(r.deps, c).Review(ctx, tenant, label, note, []string{alert})
	switch {
	case errors.Is(err, labels.ErrNotPermitted):
		err = fmt.Errorf("%w: %w", queries.ErrNotPermitted, err)
	case errors.Is(err, labels.ErrNoAlert):
		err = api.ErrNoAlert
	}
	return out.Added > 0, err
}

var _ api.Reviews = reviews{}
