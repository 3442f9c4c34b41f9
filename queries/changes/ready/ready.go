// Package ready tells who waits for a partition, a tenant's day, that it is complete: that its
// rows are as many as the processors counted, with the same sums, and that nothing more of it is
// on its way.
//
// A [Watcher] compares rows with control totals (queries/reconcile) again and again. When a day
// is over and all of it is complete, it puts an object that says so, once for ever whoever is
// first, and sends a webhook to each [Subscriber] that may read the tenant's changes, until it was
// taken. So an event is sent at least once, with the same id each time; several watchers may be
// at work.
//
// The event has the form of AWS EventBridge (Amazon EventBridge User Guide, "Event structure"):
// source, detail-type, time, detail.
package ready

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/queries/webhook"
	"github.com/cardlake/cardlake/writers/objects"
)

// Permits decides; *grants.Grants is one.
type Permits interface {
	Decide(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision
}

// Sender sends events; *webhook.Sender is one.
type Sender interface {
	Send(ctx context.Context, to webhook.Endpoint, e webhook.Event) error
}

// Recorder puts a record on disk; a log of catalog/audit is one.
type Recorder interface {
	Append(ctx context.Context, r audit.Record) error
}

// Subscriber is who is told.
type Subscriber struct {
	// Name tells subscribers apart for ever: letters, digits, _ and -.
	Name string
	// Principal must be permitted to read the changes of a tenant to be told of it, and to see
	// amounts to be told sums.
	Principal grants.Principal
	// Tenants are the only ones it is told of; all that are permitted if nil.
	Tenants  []cardlake.Tenant
	Endpoint webhook.Endpoint
}

// Deps is what a Watcher needs.
type Deps struct {
	// Asker must be given all tenants' rows and totals. Without the columns of the stream, days
	// are complete Config.Idle later.
	Asker   reconcile.Querier
	Permits Permits
	Store   objects.Store
	// Tenants are the lake's, with the owners of their keys.
	Tenants interface{ All() []catalog.TenantRecord }
	Sender  Sender
	// Recorder takes a record of each event before it is sent; without the record it is not.
	Recorder Recorder
	Log      *slog.Logger // nil discards
}

// Config tunes a Watcher. The zero value is right for most uses.
type Config struct {
	// Every is how often is compared; 1 minute when zero.
	Every time.Duration
	// Days is how many days back partitions are looked at, and events sent again that were not
	// taken; 3 when zero.
	Days int
	// Idle is how long a partition of the stream may be silent before it is held to be idle,
	// rather than to lag; 2 hours when zero.
	Idle time.Duration
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	c.Every, c.Days, c.Idle = cmp.Or(c.Every, time.Minute), cmp.Or(c.Days, 3), cmp.Or(c.Idle, 2*time.Hour)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Watcher watches partitions become complete. Its methods are safe for concurrent use.
type Watcher struct {
	deps        Deps
	subscribers []Subscriber
	cfg         Config

	mu    sync.Mutex
	marks []mark // newest last
}

// mark is what one look has found.
type mark struct {
	positions cardlake.Positions // that all that was looked at lies before
	through   map[cardlake.Tenant]time.Time
}

// maxMarks is how many looks are remembered: of an hour, by default.
const maxMarks = 60

// New returns a watcher that tells the subscribers.
func New(deps Deps, subscribers []Subscriber, cfg Config) (*Watcher, error) {
	names := map[string]bool{}
	for _, s := range subscribers {
		if s.Name == "" || strings.Trim(s.Name, letters) != "" || names[s.Name] {
			return nil, errors.New("a subscriber's name is missing, is another's, or has other characters than letters, digits, _ and -")
		}
		names[s.Name] = true
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{deps: deps, subscribers: slices.Clone(subscribers), cfg: cfg.withDefaults()}, nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// Run watches until ctx ends. What fails is logged, and tried again.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		if _, err := w.Pass(ctx); err != nil && ctx.Err() == nil {
			w.deps.Log.ErrorContext(ctx, "partitions were not all looked at, or not all told of", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.cfg.Every):
		}
	}
}

// Event says that a partition is complete.
type Event struct {
	Version    string    `json:"version"`
	ID         string    `json:"id"`
	DetailType string    `json:"detail-type"`
	Source     string    `json:"source"`
	Time       time.Time `json:"time"`
	Resources  []string  `json:"resources"`
	Detail     Detail    `json:"detail"`
}

// Detail says which partition, and what is in it.
type Detail struct {
	Table     string          `json:"table"`
	Tenant    cardlake.Tenant `json:"tenant"`
	Partition string          `json:"partition"` // its UTC day
	Rows      int64           `json:"rows"`
	// Sums are of all decisions, in the currency's major unit with four decimals; nil for whom
	// amounts are not given.
	Sums map[string]string `json:"sums,omitempty"`
	// ValidThrough is the event time up to which all of the tenant's rows are there.
	ValidThrough time.Time `json:"valid_through"`
	// Snapshot is one that has all of the partition, and those after it do.
	Snapshot int64 `json:"snapshot,string"`
}

// Partition is a partition that was looked at.
type Partition struct {
	Detail
	// IsComplete says that the day is over, and all its rows are there.
	IsComplete bool
}

const (
	source     = "cardlake"
	detailType = "Partition Ready"
	// EventType is the type of the webhook.
	EventType = "partition.ready"

	prefix = "changes/ready/"

	actionTell = "changes.tell" // of the audit record of an event
)

// idOf is the same for the same partition, in letters: no number in it looks like a card's.
func idOf(table *cardlake.Table, tenant cardlake.Tenant, day string) string {
	sum := sha256.Sum256([]byte(table.FullName() + "\x00" + string(tenant) + "\x00" + day))
	return "ready_" + string(cardlake.AppendLetters(nil, sum[:16]))
}

// Result is what a pass found and did.
type Result struct {
	// ValidThrough is, by tenant, the event time up to which all rows are there.
	ValidThrough map[cardlake.Tenant]time.Time
	// New counts partitions that had become complete since, Sent the events that were taken, and
	// Failed those that were not.
	New, Sent, Failed int
}

// Look compares once, for ValidThrough, and returns the partitions of the last days, by day and
// tenant.
func (w *Watcher) Look(ctx context.Context) ([]Partition, error) {
	s, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	return s.partitions, nil
}

// ValidThrough implements changes.Watermarks, by the newest look at what lies before the
// positions.
func (w *Watcher) ValidThrough(at cardlake.Positions) map[cardlake.Tenant]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range slices.Backward(w.marks) {
		isBehind := true
		for p, has := range m.positions {
			isBehind = isBehind && at[p].Next >= has.Next
		}
		if isBehind {
			return maps.Clone(m.through)
		}
	}
	return nil
}

// Pass looks once, and tells what is to be told.
func (w *Watcher) Pass(ctx context.Context) (Result, error) {
	state, err := w.look(ctx)
	if err != nil {
		return Result{}, err
	}
	r := Result{ValidThrough: state.through}
	owners := map[cardlake.Tenant]catalog.TenantRecord{}
	for _, t := range w.deps.Tenants.All() {
		owners[t.Name] = t
	}
	var errs []error
	for _, p := range state.partitions {
		owner, ok := owners[p.Tenant]
		if !ok || !p.IsComplete {
			continue
		}
		e := Event{
			Version: "0", ID: idOf(cardlake.Transactions, p.Tenant, p.Partition), DetailType: detailType, Source: source,
			Time: w.cfg.Now().UTC(), Resources: []string{}, Detail: p.Detail,
		}
		isNew, err := w.announce(ctx, owner, &e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if isNew {
			r.New++
			w.deps.Log.InfoContext(ctx, "a partition is complete", "tenant", p.Tenant, "day", p.Partition, "rows", e.Detail.Rows)
		}
		for _, s := range w.subscribers {
			sent, err := w.tell(ctx, owner, s, e, false)
			if err != nil {
				r.Failed++
				errs = append(errs, fmt.Errorf("tell %s of %s %s: %w", s.Name, p.Tenant, p.Partition, err))
			} else if sent {
				r.Sent++
			}
		}
	}
	return r, errors.Join(errs...)
}

// announce puts the event for good, or reads what was put before.
func (w *Watcher) announce(ctx context.Context, owner catalog.TenantRecord, e *Event) (isNew bool, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	name := objectOf(owner.StorageID, e.Detail.Partition)
	err = w.deps.Store.Put(ctx, name, keys.OwnerOf(owner.StorageID), body)
	if !errors.Is(err, objects.ErrExists) {
		return err == nil, err
	}
	return false, w.read(ctx, name, e)
}

func (w *Watcher) read(ctx context.Context, name string, e *Event) error {
	body, err := objects.ReadAll(ctx, w.deps.Store, name)
	if err == nil {
		err = json.Unmarshal(body, e)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func objectOf(id cardlake.StorageID, day string) string {
	return prefix + string(id) + "/" + day + "/event.json"
}

func markOf(id cardlake.StorageID, day, subscriber string) string {
	return prefix + string(id) + "/" + day + "/sent/" + subscriber
}

// tell sends the event to a subscriber that may be told and was not, or again.
func (w *Watcher) tell(ctx context.Context, owner catalog.TenantRecord, s Subscriber, e Event, again bool) (sent bool, err error) {
	if s.Tenants != nil && !slices.Contains(s.Tenants, e.Detail.Tenant) {
		return false, nil
	}
	d := w.deps.Permits.Decide(grants.Caller{Principal: s.Principal, Origin: "webhook"}, grants.ReadChanges, cardlake.Transactions)
	if d == nil || d.Principal != s.Principal || d.Table != cardlake.Transactions || d.Action != grants.ReadChanges || d.Scope(e.Detail.Tenant) == nil {
		return false, nil
	}
	mark := markOf(owner.StorageID, e.Detail.Partition, s.Name)
	if !again {
		o, err := w.deps.Store.Open(ctx, mark)
		if err == nil {
			return false, o.Close()
		}
		if !errors.Is(err, objects.ErrNotFound) {
			return false, err
		}
	}
	for i, c := range cardlake.Transactions.Columns {
		if (c.Name == "amount" || c.Name == "currency") && d.Scope(e.Detail.Tenant).Columns[i] != grants.Clear {
			e.Detail.Sums = nil
		}
	}
	data, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	err = w.deps.Recorder.Append(ctx, audit.Record{
		Actor: s.Principal.String(), Action: actionTell, Resource: cardlake.Transactions.FullName(), Outcome: audit.Allowed, Origin: "webhook", Request: e.ID,
		Detail: map[string]string{"tenant": string(e.Detail.Tenant), "partition": e.Detail.Partition, "subscriber": s.Name, "policy_version": d.Version},
	})
	if err != nil {
		return false, fmt.Errorf("%w: %w", queries.ErrUnrecorded, err)
	}
	if err := w.deps.Sender.Send(ctx, s.Endpoint, webhook.Event{ID: e.ID, Type: EventType, Time: e.Time, Data: data}); err != nil {
		return false, err
	}
	// Killed before this, the event is sent once more.
	if err := w.deps.Store.Put(ctx, mark, keys.OwnerOf(owner.StorageID), []byte(w.cfg.Now().UTC().Format(time.RFC3339))); err != nil && !errors.Is(err, objects.ErrExists) {
		return false, err
	}
	return true, nil
}

// State is an event and who has taken it.
type State struct {
	Event
	Sent []string // names of subscribers
}

// Events lists what was announced of a tenant, by day.
func (w *Watcher) Events(ctx context.Context, tenant cardlake.Tenant) ([]State, error) {
	owner, err := w.owner(tenant)
	if err != nil {
		return nil, err
	}
	byDay := map[string]*State{}
	find := func(day string) *State {
		if byDay[day] == nil {
			byDay[day] = &State{}
		}
		return byDay[day]
	}
	for info, err := range w.deps.Store.List(ctx, prefix+string(owner.StorageID)+"/") {
		if err != nil {
			return nil, err
		}
		parts := strings.Split(info.Name, "/")
		switch {
		case len(parts) == 5 && parts[4] == "event.json":
			if err := w.read(ctx, info.Name, &find(parts[3]).Event); err != nil {
				return nil, err
			}
		case len(parts) == 6 && parts[4] == "sent":
			find(parts[3]).Sent = append(find(parts[3]).Sent, parts[5])
		}
	}
	var out []State
	for _, s := range byDay {
		slices.Sort(s.Sent)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b State) int { return strings.Compare(a.Detail.Partition, b.Detail.Partition) })
	return out, nil
}

// SendAgain sends an event that was announced to the subscriber, whether it has taken it or not.
func (w *Watcher) SendAgain(ctx context.Context, tenant cardlake.Tenant, day, subscriber string) error {
	owner, err := w.owner(tenant)
	if err != nil {
		return err
	}
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return errors.New("a day is written as 2026-03-02")
	}
	i := slices.IndexFunc(w.subscribers, func(s Subscriber) bool { return s.Name == subscriber })
	if i < 0 {
		return fmt.Errorf("there is no subscriber %q", subscriber)
	}
	var e Event
	if err := w.read(ctx, objectOf(owner.StorageID, day), &e); err != nil {
		return err
	}
	sent, err := w.tell(ctx, owner, w.subscribers[i], e, true)
	if err == nil && !sent {
		err = fmt.Errorf("%s is not permitted to be told of tenant %s", subscriber, tenant)
	}
	return err
}

func (w *Watcher) owner(tenant cardlake.Tenant) (catalog.TenantRecord, error) {
	for _, t := range w.deps.Tenants.All() {
		if t.Name == tenant {
			return t, nil
		}
	}
	return catalog.TenantRecord{}, fmt.Errorf("there is no tenant %q", tenant)
}
