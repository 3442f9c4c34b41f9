package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// chunkRecords is how many records are opened and tokenised before they are added to the
// window, tenant by tenant. A tenant's columns are some fifty streams of memory: rows of many
// tenants one after the other would miss the caches for each.
const chunkRecords = 1024

// keyAge is how long a chunk's mint secrets are used after they were looked up, however long the
// key service or the vault keeps the chunk waiting. With the tokeniser's own MaxAge and the time
// of one call it stays below what a rotation waits until no worker is without the new secret.
const keyAge = 30 * time.Second

// errAged says that the chunk has waited longer than keyAge and is to be prepared anew.
var errAged = errors.New("the chunk's mint secrets have aged")

// taken is a record of a chunk: what became of it before it is added to the window.
type taken struct {
	verdict verdict
	tenant  int // a number of the Poll's tenants
	row     cardlake.Row
	names   [64]byte // the memory of the row's token, bin and last4
	place   int      // among the cards that the vault is to pin; -1 if the row has its token
	isNew   bool     // the row was added: its event was not there already
	total   cardlake.ControlTotal
	reason  string // why it is rejected
	cause   error
	sealed  []byte // its payload
}

type verdict int8

const (
	passOver verdict = iota // not the worker's, or in a table already
	asRow
	asTotal
	asRejected
	asDropped // of a tenant that has left
)

// takeAll takes the records, closing windows that get full, and returns how many it took. It
// stops early when ctx ends, or when a window cannot be closed.
func (w *Worker) takeAll(ctx context.Context, records []Record) int {
	clear(w.tenants)
	now := w.cfg.Now()
	for done := 0; done < len(records); {
		n := min(len(records)-done, chunkRecords)
		if w.open != nil {
			n = min(n, w.cfg.WindowRows-w.open.records())
		} else {
			n = min(n, w.cfg.WindowRows)
		}
		chunk := records[done : done+n]
		if w.cfg.Now().Sub(now) > keyAge {
			now = w.cfg.Now()
			clear(w.tenants)
		}
		for i := range chunk {
			if !w.prepare(ctx, &chunk[i], &w.chunk[i], now) {
				return done
			}
		}
		switch err := w.pin(ctx, chunk, now); {
		case errors.Is(err, errAged):
			continue
		case err != nil:
			return done
		}
		if !w.add(ctx, chunk, now) {
			return done
		}
		done += n
		if w.open != nil && w.open.rows.Crowded() && !w.spill(ctx) {
			return done
		}
		if w.isFull() && w.close(ctx) != nil {
			return done
		}
	}
	return len(records)
}

// prepare decodes, opens and tokenises a record, or seals what cannot be, as long as it takes
// while the key service is away. It reports whether ctx is still going on.
func (w *Worker) prepare(ctx context.Context, r *Record, t *taken, now time.Time) bool {
	t.verdict, t.isNew, t.cause, t.sealed = passOver, false, nil, nil
	if r.End || !w.isNext(r) || len(w.kept) > 0 && w.kept[r.Position] {
		return true
	}
	for attempt := 0; ; attempt++ {
		var err error
		if t.cause == nil {
			err = w.judge(ctx, r, t, now)
			if errors.Is(err, errLeft) {
				t.verdict = asDropped
				return true
			}
			if reason, isFinal := rejection(err); isFinal {
				t.reason, t.cause = reason, err
			}
		}
		if t.cause != nil { // which is final: only the sealing is tried again
			if t.sealed, err = w.seal(ctx, r); err == nil {
				t.verdict = asRejected
			}
		}
		if err == nil {
			return true
		}
		if !w.wait(ctx, err, attempt, r.Position) {
			return false
		}
	}
}

// pin gives rows of cards that were not known the tokens that the vault has for them, in one
// call for each tenant, as long as it takes while the vault is away: no row is added before its
// token is pinned. The errors are errAged, after which nothing waits, and that ctx has ended.
func (w *Worker) pin(ctx context.Context, records []Record, now time.Time) error {
	var tokens []tokenize.Token
	for attempt := 0; ; attempt++ {
		if w.cfg.Now().Sub(now) > keyAge {
			w.tokenizer.Forget()
			return errAged
		}
		var err error
		if tokens, err = w.tokenizer.Settle(ctx); err == nil {
			break
		}
		w.stats.pinRetries.Add(1)
		w.Log.Error("pin cards", "error", err)
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
		}
	}
	for i := range records {
		t := &w.chunk[i]
		if t.verdict != asRow || t.place < 0 {
			continue
		}
		if token := tokens[t.place]; !token.IsZero() {
			t.keepToken(token)
			continue
		}
		t.verdict, t.reason, t.cause = asRejected, "unopenable", fmt.Errorf("pin card: %w", keys.ErrNoKey)
		if errors.Is(w.orLeft(t.cause, cardlake.Tenant(t.row.Text(cardlake.TextTenant))), errLeft) {
			t.verdict, t.cause = asDropped, nil
		}
	}
	return nil
}

// isNext reports whether the record is to be taken: it is not when its partition was given
// back, or when it lies before a Seek.
func (w *Worker) isNext(r *Record) bool {
	state := w.parts[r.Position.StreamPartition]
	return state != nil && r.Position.Offset >= state.next.Next
}

// wait is the pause before a record is tried again that the key service failed on. It reports
// whether ctx is still going on.
func (w *Worker) wait(ctx context.Context, err error, attempt int, p cardlake.Position) bool {
	w.stats.keyRetries.Add(1)
	w.Log.Error("key service", "error", err, "position", p.String())
	return sleep(ctx, backoff(attempt))
}

// errTenant marks an event of a tenant that is not in the register.
var errTenant = errors.New("field tenant names no tenant of the register")

// errLeft marks an event of a tenant that is off-boarded. It is dropped: without the tenant's
// keys it cannot be a row, and as a rejected record its fields in clear would stay readable,
// sealed for the lake.
var errLeft = errors.New("the tenant of the event is off-boarded")

// errField marks an event that is well formed and breaks a rule of the table.
var errField = errors.New("invalid field")

// tenant is what every row of a tenant needs.
type tenant struct {
	number int
	owner  keys.Owner
	minter *tokenize.Minter
}

// tenantOf looks the tenant up, once for the records of a Poll.
func (w *Worker) tenantOf(ctx context.Context, name cardlake.Tenant, now time.Time) (tenant, error) {
	if t, ok := w.tenants[name]; ok {
		return t, nil
	}
	record, err := w.lookup(name)
	if err != nil {
		return tenant{}, err
	}
	t := tenant{number: len(w.tenants), owner: keys.OwnerOf(record.StorageID)}
	if t.minter, err = w.tokenizer.Minter(ctx, t.owner, now); err != nil {
		return tenant{}, err
	}
	w.tenants[cardlake.Tenant(strings.Clone(string(name)))] = t // the name lies in the record
	return t, nil
}

// lookup finds a tenant that events may be of: a suspended one too, whose rows still arrive.
// The register is asked anew for each Poll, and for each control total.
func (w *Worker) lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	r, err := w.Tenants.Lookup(name)
	switch {
	case err != nil:
		return r, errTenant
	case r.Status == catalog.TenantOffboarded:
		return r, errLeft
	}
	return r, nil
}

// orLeft is errLeft instead of an error that a tenant's missing keys have, if the tenant has left
// since the Poll looked it up.
func (w *Worker) orLeft(err error, name cardlake.Tenant) error {
	if !errors.Is(err, keys.ErrNoKey) && !errors.Is(err, wire.ErrUnopenable) {
		return err
	}
	if _, left := w.lookup(name); errors.Is(left, errLeft) {
		return left
	}
	return err
}

// judge makes the record a row or a control total.
func (w *Worker) judge(ctx context.Context, r *Record, t *taken, now time.Time) error {
	if w.TotalsWriter != nil && w.totals.Is(r.Value) {
		if err := w.totals.Decode(r.Value, &t.total); err != nil {
			return err
		}
		if _, err := w.lookup(t.total.Tenant); err != nil {
			return err
		}
		t.total.Region, t.total.Processor = card.MaskPANs(t.total.Region), card.MaskPANs(t.total.Processor)
		if r.Position.Offset >= w.landed[r.Position.StreamPartition].Next {
			t.verdict = asTotal
		}
		t.total.IngestedAt, t.total.Position = now.UnixMicro(), r.Position
		return nil
	}
	row := &t.row
	sealed, err := w.decoder.DecodeRow(r.Value, row)
	if err != nil {
		return err
	}
	name := cardlake.Tenant(row.Text(cardlake.TextTenant))
	tenant, err := w.tenantOf(ctx, name, now)
	if err == nil {
		err = w.decoder.OpenRow(ctx, tenant.owner, row, sealed, &w.pan)
	}
	if err != nil {
		return w.orLeft(err, name)
	}
	defer w.pan.Clear()
	w.clean(row, now, r.Position)
	t.place = -1
	if !tenant.minter.ApplyRow(row, w.pan) {
		if t.place, err = tenant.minter.Queue(ctx, w.pan); err != nil {
			return err
		}
	}
	t.keepNames()
	row.IngestedAt, row.Position = now.UnixMicro(), r.Position
	t.verdict, t.tenant = asRow, tenant.number
	return nil
}

// keepNames copies what the minter made of the card number into memory that lasts as long as
// the chunk.
func (t *taken) keepNames() {
	b := t.names[:0]
	for _, name := range []*string{&t.row.CardToken, &t.row.BIN, &t.row.Last4} {
		from := len(b)
		b = append(b, *name...) // grows beyond names if a key version has very many digits
		*name = unsafe.String(unsafe.SliceData(b[from:]), len(b)-from)
	}
}

// keepToken sets the row's token, behind its bin and last4 in the same memory.
func (t *taken) keepToken(token tokenize.Token) {
	b, _ := token.AppendText(t.names[len(t.row.BIN)+len(t.row.Last4):][:0])
	t.row.CardToken = unsafe.String(unsafe.SliceData(b), len(b))
}

// add adds a prepared chunk to the open window and moves on behind it. It reports whether ctx
// is still going on.
func (w *Worker) add(ctx context.Context, records []Record, now time.Time) bool {
	if !w.addRows(records, now) {
		return true
	}
	for i := range records {
		if !w.settle(ctx, &records[i], &w.chunk[i], now) {
			w.pipe.stop(ctx.Err()) // the window ends behind records that are not in it
			return false
		}
	}
	return true
}

// addRows adds the chunk's rows tenant by tenant, each tenant's in the order of the stream, and
// moves on behind the chunk. It reports whether there was anything to take. It waits for
// nobody, so that Tail and Status hardly wait for it.
func (w *Worker) addRows(records []Record, now time.Time) bool {
	w.rows.Lock()
	defer w.rows.Unlock()
	if w.open == nil {
		if !slices.ContainsFunc(records, func(r Record) bool { return w.isNext(&r) }) {
			return false
		}
		w.open = w.openWindow(now)
	}
	places := w.byTenant(len(records))
	for _, i := range places {
		w.touched += w.seen.touch(w.chunk[i].row.EventID)
	}
	for _, i := range places {
		t := &w.chunk[i]
		// A clock that runs ahead must not make the window forget.
		if t.isNew = !w.seen.has(t.row.EventID); !t.isNew {
			w.stats.duplicates.Add(1)
			continue
		}
		if err := w.open.rows.AddRow(&t.row); err != nil {
			// It is not remembered: the event may come again as it should be.
			t.verdict, t.isNew, t.reason, t.cause = asRejected, false, "invalid_field", fmt.Errorf("%w: %w", errField, err)
			continue
		}
		w.seen.add(t.row.EventID, min(t.row.EventTime, t.row.IngestedAt))
	}
	for i := range records {
		w.advance(&records[i], &w.chunk[i])
	}
	return true
}

// byTenant returns the places of the chunk's rows, by tenant and then by place.
func (w *Worker) byTenant(n int) []int32 {
	w.counts = slices.Grow(w.counts[:0], len(w.tenants)+1)[:len(w.tenants)+1]
	clear(w.counts)
	rows := 0
	for i := range n {
		if t := &w.chunk[i]; t.verdict == asRow {
			w.counts[t.tenant+1]++
			rows++
		}
	}
	for i := 1; i < len(w.counts); i++ {
		w.counts[i] += w.counts[i-1]
	}
	w.places = slices.Grow(w.places[:0], rows)[:rows]
	for i := range n {
		if t := &w.chunk[i]; t.verdict == asRow {
			w.places[w.counts[t.tenant]] = int32(i)
			w.counts[t.tenant]++
		}
	}
	return w.places
}

// settle adds what is no row, which no Tail shows. It reports whether ctx is still going on.
func (w *Worker) settle(ctx context.Context, r *Record, t *taken, now time.Time) bool {
	if t.verdict == asTotal {
		if err := w.open.totals.Add(&t.total); err == nil {
			w.stats.totals.Add(1)
			return true
		} else if errors.Is(err, catalog.ErrNoTenant) {
			t.verdict, t.reason, t.cause = asRejected, "unknown_tenant", errTenant
		} else {
			t.verdict, t.reason, t.cause = asRejected, "invalid_field", fmt.Errorf("%w: %w", errField, err)
		}
	}
	if t.verdict != asRejected {
		return true
	}
	for attempt := 0; ; attempt++ {
		var err error
		if t.sealed == nil {
			t.sealed, err = w.seal(ctx, r)
		}
		if err == nil {
			err = w.open.rejects.Add(&cardlake.RejectedRecord{
				RejectedAt: now.UnixMicro(), Reason: t.reason, Detail: t.cause.Error(), Position: r.Position,
				RecordTime: r.Time.UnixMicro(), Payload: t.sealed,
			})
		}
		if err == nil {
			w.stats.reject(t.reason)
			return true
		}
		if !w.wait(ctx, err, attempt, r.Position) {
			return false
		}
	}
}

// advance moves on behind the record.
func (w *Worker) advance(r *Record, t *taken) {
	if !w.isNext(r) {
		return
	}
	state := w.parts[r.Position.StreamPartition]
	state.next = cardlake.Offset{Next: r.Position.Offset, Mark: r.Mark}
	if r.End {
		return
	}
	state.next.Next++
	state.last = r.Time
	w.stats.records.Add(1)
	if t.verdict == asDropped {
		w.stats.offboarded.Add(1)
	}
	if !t.isNew {
		return
	}
	w.stats.rows.Add(1)
	eventTime := min(t.row.EventTime, t.row.IngestedAt)
	state.newest = max(state.newest, eventTime)
	if newest := w.open.newest; eventTime < newest {
		w.stats.outOfOrder.Add(1)
		if newest-eventTime > w.cfg.LateAfter.Microseconds() {
			w.stats.late.Add(1)
		}
	} else {
		w.open.newest = eventTime
	}
}

// rejection returns why a record can never become a row, and false if it may.
func rejection(err error) (reason string, final bool) {
	switch {
	case errors.Is(err, wire.ErrUnknownSchema):
		return "unknown_schema", true
	case errors.Is(err, wire.ErrUndecodable):
		return "undecodable", true
	case errors.Is(err, errTenant):
		return "unknown_tenant", true
	case errors.Is(err, wire.ErrUnopenable), errors.Is(err, keys.ErrNoKey):
		return "unopenable", true
	}
	return "", false
}

// seal makes the payload of a rejected row.
func (w *Worker) seal(ctx context.Context, r *Record) ([]byte, error) {
	w.payload = appendPayload(w.payload[:0], r)
	defer func() { clear(w.payload) }()
	return w.rejects.AppendSealed(ctx, nil, keys.Lake, w.payload, RejectedAAD(r.Position))
}
