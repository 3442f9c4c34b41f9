package writers

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

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

// tenantPlace is where a tenant's objects of the table go: under its storage id and its key.
func tenantPlace(tenants Tenants, table *cardlake.Table, tenant cardlake.Tenant) place {
	return func() (keys.Owner, string, error) {
		r, err := tenants.Lookup(tenant)
		if err != nil {
			return "", "", fmt.Errorf("tenant: %w", err)
		}
		return keys.OwnerOf(r.StorageID), "data/" + table.Name + "/" + string(r.StorageID), nil
	}
}

// Writer makes the windows of cards.transactions. It is safe for concurrent use; New makes
// one.
type Writer struct {
	*factory[*cardlake.Batch]
	tenants Tenants
}

// New returns a writer.
func New(store objects.Store, tenants Tenants, cfg Config) *Writer {
	return &Writer{newFactory(cardlake.Transactions, store, cfg, cardlake.NewBatch, (*cardlake.Batch).RecordIn), tenants}
}

// Open returns a window without rows.
func (w *Writer) Open() *Window { return &Window{newWindow(w.factory), w.tenants} }

// Window is a batch of cards.transactions for each tenant and UTC day of event_time. Each
// becomes an object
//
//	data/transactions/<storage id>/<yyyy-mm-dd>/<fingerprint of the positions>-<attempt>.parquet
//
// under the tenant's object key.
type Window struct {
	window[*cardlake.Batch]
	tenants Tenants
}

// Add adds a row; it keeps nothing of t's memory. A row that cannot be written gives an error
// that wraps [catalog.ErrNoTenant] or [cardlake.ErrField], and a window that must be flushed
// first gives [cardlake.ErrFull]; the window is then as it was.
func (w *Window) Add(t *cardlake.Transaction) error {
	p := partition{t.Tenant, cardlake.DayOf(t.EventTime)}
	return w.add(p, tenantPlace(w.tenants, w.table, t.Tenant), func(b *cardlake.Batch) error { return b.Append(t) })
}

// AddRow is Add of a transaction that is a [cardlake.Row].
func (w *Window) AddRow(r *cardlake.Row) error {
	tenant := cardlake.Tenant(r.Text(cardlake.TextTenant))
	p := partition{tenant, cardlake.DayOf(r.EventTime)}
	return w.add(p, tenantPlace(w.tenants, w.table, tenant), func(b *cardlake.Batch) error { return b.AppendRow(r) })
}

// Rejected makes the windows of cards.transactions_rejected. It is safe for concurrent use;
// NewRejected makes one.
type Rejected struct {
	*factory[*cardlake.RejectedBatch]
}

// NewRejected returns a writer.
func NewRejected(store objects.Store, cfg Config) *Rejected {
	return &Rejected{newFactory(cardlake.Rejected, store, cfg, cardlake.NewRejectedBatch,
		func(b *cardlake.RejectedBatch, _ *cardlake.Columns) (arrow.RecordBatch, error) { return b.Record() })}
}

// Open returns a window without rows.
func (w *Rejected) Open() *RejectedWindow { return &RejectedWindow{newWindow(w.factory)} }

// RejectedWindow is a batch of cards.transactions_rejected for each UTC day of rejected_at.
// Each becomes an object
//
//	data/transactions_rejected/<yyyy-mm-dd>/<fingerprint of the positions>-<attempt>.parquet
//
// under the key of [keys.Lake].
type RejectedWindow struct {
	window[*cardlake.RejectedBatch]
}

// Add adds a row, whose payload the caller has sealed; it keeps nothing of r's memory. Its
// errors are those of [cardlake.RejectedBatch.Append]; the window is then as it was.
func (w *RejectedWindow) Add(r *cardlake.RejectedRecord) error {
	return w.add(partition{day: cardlake.DayOf(r.RejectedAt)}, func() (keys.Owner, string, error) {
		return keys.Lake, "data/" + w.table.Name, nil
	}, func(b *cardlake.RejectedBatch) error { return b.Append(r) })
}

// Totals makes the windows of cards.control_totals. It is safe for concurrent use; NewTotals
// makes one.
type Totals struct {
	*factory[*cardlake.TotalsBatch]
	tenants Tenants
}

// NewTotals returns a writer.
func NewTotals(store objects.Store, tenants Tenants, cfg Config) *Totals {
	return &Totals{newFactory(cardlake.ControlTotals, store, cfg, cardlake.NewTotalsBatch,
		func(b *cardlake.TotalsBatch, _ *cardlake.Columns) (arrow.RecordBatch, error) { return b.Record() }), tenants}
}

// Open returns a window without rows.
func (w *Totals) Open() *TotalsWindow { return &TotalsWindow{newWindow(w.factory), w.tenants} }

// TotalsWindow is a batch of cards.control_totals for each tenant and UTC day of minute. Each
// becomes an object
//
//	data/control_totals/<storage id>/<yyyy-mm-dd>/<fingerprint of the positions>-<attempt>.parquet
//
// under the tenant's object key.
type TotalsWindow struct {
	window[*cardlake.TotalsBatch]
	tenants Tenants
}

// Add adds a row; it keeps nothing of t's memory. Its errors are those of [Window.Add].
func (w *TotalsWindow) Add(t *cardlake.ControlTotal) error {
	p := partition{t.Tenant, cardlake.DayOf(t.Minute)}
	return w.add(p, tenantPlace(w.tenants, w.table, t.Tenant), func(b *cardlake.TotalsBatch) error { return b.Append(t) })
}
