package writers

import (
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Tenants is where a [Writer] finds a tenant's storage id; [catalog.Tenants] is one.
type Tenants interface {
	// Lookup returns the tenant's record, or an error that wraps [catalog.ErrNoTenant].
	Lookup(cardlake.Tenant) (catalog.TenantRecord, error)
}

// Writer keeps the open window of cards.transactions: a batch for each tenant and UTC day of
// event_time. Each becomes an object
//
//	data/transactions/<storage id>/<yyyy-mm-dd>/<fingerprint of the positions>-<attempt>.parquet
//
// under the tenant's object key. A Writer is not safe for concurrent use; New makes one.
type Writer struct {
	window[*cardlake.Batch]
	tenants Tenants
}

// New returns a writer without rows.
func New(store objects.Store, tenants Tenants, cfg Config) *Writer {
	return &Writer{newWindow(cardlake.Transactions, store, cardlake.NewBatch, cfg), tenants}
}

// Add adds a row; it keeps nothing of t's memory. A row that cannot be written gives an error
// that wraps [catalog.ErrNoTenant] or [cardlake.ErrField], and a window that must be flushed
// first gives [cardlake.ErrFull]; the window is then as it was.
func (w *Writer) Add(t *cardlake.Transaction) error {
	p := partition{t.Tenant, cardlake.DayOf(t.EventTime)}
	return w.add(p, func() (keys.Owner, string, error) {
		r, err := w.tenants.Lookup(t.Tenant)
		if err != nil {
			return "", "", fmt.Errorf("tenant: %w", err)
		}
		return keys.OwnerOf(r.StorageID), "data/" + w.table.Name + "/" + string(r.StorageID), nil
	}, func(b *cardlake.Batch) error { return b.Append(t) })
}

// Rejected keeps the open window of cards.transactions_rejected: a batch for each UTC day of
// rejected_at. Each becomes an object
//
//	data/transactions_rejected/<yyyy-mm-dd>/<fingerprint of the positions>-<attempt>.parquet
//
// under the key of [keys.Lake]. A Rejected is not safe for concurrent use; NewRejected makes
// one.
type Rejected struct {
	window[*cardlake.RejectedBatch]
}

// NewRejected returns a writer without rows.
func NewRejected(store objects.Store, cfg Config) *Rejected {
	return &Rejected{newWindow(cardlake.Rejected, store, cardlake.NewRejectedBatch, cfg)}
}

// Add adds a row, whose payload the caller has sealed; it keeps nothing of r's memory. Its
// errors are those of [cardlake.RejectedBatch.Append]; the window is then as it was.
func (w *Rejected) Add(r *cardlake.RejectedRecord) error {
	return w.add(partition{day: cardlake.DayOf(r.RejectedAt)}, func() (keys.Owner, string, error) {
		return keys.Lake, "data/" + w.table.Name, nil
	}, func(b *cardlake.RejectedBatch) error { return b.Append(r) })
}
