package products

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

var (
	// ErrNotPermitted says that the caller may not do it. Why is in the audit record.
	ErrNotPermitted = errors.New("not permitted")
	// ErrUnknown says that there is no product or subscription of the name, for the caller.
	ErrUnknown = errors.New("there is no such product or subscription")
	// ErrState says that the product or subscription is not in a state for it.
	ErrState = errors.New("not in its present state")
	// ErrRequest marks a request that breaks a rule.
	ErrRequest = errors.New("the request is not right")
	// ErrPending says that what was decided is not in force yet: it is with the next Sync.
	ErrPending = errors.New("it is decided, and not yet in force")
	// ErrUnrecorded says that it could not be put on record, and so was not done.
	ErrUnrecorded = errors.New("nothing is done that is not recorded, and the audit log cannot be written")
)

// Policies have the newest set of policies; *grants.Grants is one.
type Policies interface {
	Set() *grants.Set
}

// Config tunes a [Desk].
type Config struct {
	// GrantsDir is the folder of grants in which Sync writes what subscriptions give, and Tenants
	// is the register that the grants are read with. Without them decisions are kept, and give
	// nothing until a desk that has them syncs.
	GrantsDir string
	Tenants   grants.Tenants
	// Dictionary has the columns of what products are made of; nil tells none.
	Dictionary Dictionary
	// AsOf returns an instant by which the table has all that happened, and Quality the share of
	// its rules of quality that hold, in percent, and when they were looked at; nil, or an error,
	// tells nothing.
	AsOf    func(ctx context.Context, table string) (time.Time, error)
	Quality func(ctx context.Context, relation string) (percent float64, at time.Time, err error)
	// Interval is how often Run syncs; default 1 minute.
	Interval time.Duration
	Now      func() time.Time // default time.Now
}

// Desk is where products are offered and subscriptions decided. It is safe for concurrent use.
type Desk struct {
	load     func() (*Catalogue, error)
	store    *Store
	policies Policies
	recorder Log
	cfg      Config
	now      func() time.Time
}

// NewDesk returns a desk over the catalogue that load returns, each time anew, so that what was
// reviewed takes effect. What is done is recorded in the lake's audit log first.
func NewDesk(load func() (*Catalogue, error), store *Store, policies Policies, recorder Log, cfg Config) *Desk {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Interval = cmp.Or(cfg.Interval, time.Minute)
	return &Desk{load: load, store: store, policies: policies, recorder: recorder, cfg: cfg, now: cfg.Now}
}

// newID draws one in letters: no number in it can be taken for a card's.
func newID() string {
	var b [10]byte
	rand.Read(b[:])
	return string(cardlake.AppendLetters(nil, b[:]))
}

// record puts what is about to be done, or why it is not, into the lake's log. refused says the
// rule; the caller is told err.
func (d *Desk) record(ctx context.Context, c grants.Caller, action, resource string, detail map[string]string, refused string, err error) error {
	line := audit.Record{
		Actor: c.Principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed, Origin: c.Origin, Reason: c.Reason, Request: c.Request,
		Detail: map[string]string{"policy_version": d.policies.Set().Version()},
	}
	for k, v := range detail {
		line.Detail[k] = v
	}
	if err != nil {
		line.Outcome = audit.Refused
		line.Detail["refused"] = refused
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if failed := d.recorder.Append(late, line); failed != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, failed)
	}
	return err
}

// account returns the principal's, nil if there is none or it is not valid now. Whoever can't
// act elsewhere does not act here.
func (d *Desk) account(set *grants.Set, who grants.Principal) *grants.Account {
	now := d.now()
	for _, a := range set.Principals() {
		if a.Principal == who && !now.Before(a.ValidFrom) && (a.ValidUntil.IsZero() || now.Before(a.ValidUntil)) {
			return &a
		}
	}
	return nil
}

// mayRead reports whether the account is told of the product: who may subscribe, who keeps it, and
// who looks after the lake.
func mayRead(p *Product, a *grants.Account) bool {
	if a == nil || !p.isSeenBy(a.Principal) {
		return false
	}
	return p.IsKeeper(a.Principal) || slices.Contains(p.Terms.withDefaults().Kinds, a.Principal.Kind) || a.Principal.Kind == grants.Auditor || a.Principal.Kind == grants.Operator
}

// List returns the products that the caller is told of.
func (d *Desk) List(ctx context.Context, c grants.Caller) ([]*Product, error) {
	catalogue, err := d.load()
	if err != nil {
		return nil, err
	}
	a := d.account(d.policies.Set(), c.Principal)
	var out []*Product
	for _, p := range catalogue.Products {
		if mayRead(p, a) {
			out = append(out, within(p, a))
		}
	}
	if a == nil {
		return nil, d.record(ctx, c, "products.list", "products", nil, "there is no such principal, or it is not valid now", ErrNotPermitted)
	}
	return out, d.record(ctx, c, "products.list", "products", nil, "", nil)
}

// within returns the product as it may be told to the account: a tenant's principal learns of no
// other tenant.
func within(p *Product, a *grants.Account) *Product {
	if a.Tenant == "" || len(p.Terms.Tenants) == 0 {
		return p
	}
	cut := *p
	cut.Terms.Tenants = slices.DeleteFunc(slices.Clone(p.Terms.Tenants), func(t cardlake.Tenant) bool { return t != a.Tenant })
	return &cut
}

// Product returns one with what there is to know of it. ErrUnknown is the answer for one that the
// caller is not told of, too.
func (d *Desk) Product(ctx context.Context, c grants.Caller, name string) (*Card, error) {
	catalogue, err := d.load()
	if err != nil {
		return nil, err
	}
	a := d.account(d.policies.Set(), c.Principal)
	p := catalogue.Product(name)
	if p == nil || !mayRead(p, a) {
		return nil, d.record(ctx, c, "products.show", "products", nil, "there is no such product for the caller", ErrUnknown)
	}
	if err := d.record(ctx, c, "products.show", p.Name, nil, "", nil); err != nil {
		return nil, err
	}
	return d.card(ctx, within(p, a), catalogue.Glossary), nil
}

// SetStatus publishes, deprecates or withdraws a product. Its owner and stewards may, and who may
// grant. What it means for subscriptions takes effect with the next [Desk.Sync].
func (d *Desk) SetStatus(ctx context.Context, c grants.Caller, name string, to Status) error {
	catalogue, err := d.load()
	if err != nil {
		return err
	}
	set := d.policies.Set()
	p := catalogue.Product(name)
	action := "products." + string(to)
	switch a := d.account(set, c.Principal); {
	case p == nil || !mayRead(p, a):
		return d.record(ctx, c, action, "products", nil, "there is no such product for the caller", ErrUnknown)
	case !p.IsKeeper(c.Principal) && !set.Permitted(c, grants.Grant, d.now()).Lake:
		return d.record(ctx, c, action, p.Name, nil, "the caller is neither the owner nor a steward of the product", ErrNotPermitted)
	case !slices.Contains(next[p.Status], to):
		return d.record(ctx, c, action, p.Name, nil, "the product is "+string(p.Status), fmt.Errorf("%w: a product that is %s does not become %s", ErrState, p.Status, to))
	}
	if err := d.record(ctx, c, action, p.Name, map[string]string{detailVersion: p.Version}, "", nil); err != nil {
		return err
	}
	if err := catalogue.setStatus(p, to); err != nil {
		return err
	}
	return d.inForce(ctx)
}

// inForce syncs after a decision.
func (d *Desk) inForce(ctx context.Context) error {
	if d.cfg.GrantsDir == "" {
		return nil
	}
	if _, err := d.Sync(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrPending, err)
	}
	return nil
}

// Run syncs at once and then every Interval, so that what ends elsewhere, in the products' files,
// the policies or another process, takes effect. It returns when ctx ends; failed is told of a
// Sync that failed, after which it goes on.
func (d *Desk) Run(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(d.cfg.Interval)
	defer ticker.Stop()
	for {
		if _, err := d.Sync(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Request is what a subscriber asks for.
type Request struct {
	Product string `json:"product"`
	// Tenants are those whose rows are asked for; none means all of the product's that the
	// subscriber may subscribe to. A tenant's principal asks for its own.
	Tenants []cardlake.Tenant `json:"tenants,omitempty"`
	// Days is for how long; 0 means as long as the product's terms allow.
	Days int `json:"days,omitempty"`
}

const (
	minReason = 10
	maxReason = 500
	// maxTenants keeps the list within what one text of an audit record holds.
	maxTenants = 900
)

// Subscribe asks for a product. Caller.Reason says why, and is read by who approves.
func (d *Desk) Subscribe(ctx context.Context, c grants.Caller, r Request) (Subscription, error) {
	catalogue, err := d.load()
	if err != nil {
		return Subscription{}, err
	}
	set, now := d.policies.Set(), d.now()
	a, p := d.account(set, c.Principal), catalogue.Product(r.Product)
	refuse := func(rule string, err error) (Subscription, error) {
		resource := "products"
		if p != nil {
			resource = p.Name
		}
		return Subscription{}, d.record(ctx, c, ActionRequest, resource, nil, rule, err)
	}
	if p == nil || !mayRead(p, a) {
		return refuse("there is no such product for the caller", ErrUnknown)
	}
	terms := p.Terms.withDefaults()
	switch reason := strings.TrimSpace(c.Reason); {
	case p.Status != Published:
		return refuse("the product is "+string(p.Status), fmt.Errorf("%w: the product is %s, and only published ones are subscribed to", ErrState, p.Status))
	case !slices.Contains(terms.Kinds, c.Principal.Kind):
		return refuse("the product is not for this kind of principals", ErrNotPermitted)
	case len(reason) < minReason || len(reason) > maxReason:
		return refuse("no reason", fmt.Errorf("%w: say why, in %d to %d bytes: who approves it reads that", ErrRequest, minReason, maxReason))
	case strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }):
		return refuse("what is not text in the reason", fmt.Errorf("%w: the reason is one line of printable text", ErrRequest))
	case audit.Masks(reason):
		return refuse("a number in the reason", fmt.Errorf("%w: the reason holds a number that could be a card's: name the case instead", ErrRequest))
	case r.Days < 0 || r.Days > terms.Days:
		return refuse("days", fmt.Errorf("%w: days is up to %d by the product's terms", ErrRequest, terms.Days))
	}
	all, err := d.store.List(ctx, now)
	if err != nil {
		return Subscription{}, err
	}
	if slices.ContainsFunc(all, func(s Subscription) bool {
		return s.Subscriber == c.Principal && s.Product == p.Name && s.State == Requested
	}) {
		return refuse("asked for already", fmt.Errorf("%w: you asked for it already, and it is not decided", ErrState))
	}
	if a.Tenant != "" && len(r.Tenants) == 0 {
		r.Tenants = []cardlake.Tenant{a.Tenant}
	}
	ruling := set.Permitted(c, grants.Subscribe, now)
	for _, t := range r.Tenants {
		if t == "" || len(terms.Tenants) > 0 && !slices.Contains(terms.Tenants, t) || !ruling.For(t) {
			return refuse("a tenant that the product or the policies do not give", fmt.Errorf("%w: of a tenant that is asked for", ErrNotPermitted))
		}
	}
	if len(r.Tenants) == 0 && !ruling.Lake && len(ruling.Tenants) == 0 {
		return refuse(ruling.Reason, ErrNotPermitted)
	}
	slices.Sort(r.Tenants)
	r.Tenants = slices.Compact(r.Tenants)
	if len(joined(r.Tenants)) > maxTenants {
		return refuse("too many tenants", fmt.Errorf("%w: that many tenants are asked for as all", ErrRequest))
	}
	if r.Days == 0 {
		r.Days = terms.Days
	}
	detail := map[string]string{detailID: newID(), detailVersion: p.Version, detailTenants: joined(r.Tenants)}
	return d.do(ctx, c, ActionRequest, p.Name, detail, map[string]int64{numberDays: int64(r.Days)})
}

// do records a step in the lake's log and takes it in the store.
func (d *Desk) do(ctx context.Context, c grants.Caller, action, product string, detail map[string]string, numbers map[string]int64) (Subscription, error) {
	if err := d.record(ctx, c, action, product, detail, "", nil); err != nil {
		return Subscription{}, err
	}
	s, err := d.store.append(ctx, audit.Record{
		Actor: c.Principal.String(), Action: action, Resource: product, Outcome: audit.Allowed, Origin: c.Origin, Reason: strings.TrimSpace(c.Reason), Detail: detail, Numbers: numbers,
	}, d.now())
	if err == nil && (action == ActionApprove || action == ActionRevoke) {
		err = d.inForce(ctx)
	}
	return s, err
}

// Subscriptions returns those that the caller may see: its own, those to products that it keeps,
// and all to auditors and to who may grant.
func (d *Desk) Subscriptions(ctx context.Context, c grants.Caller) ([]Subscription, error) {
	catalogue, err := d.load()
	if err != nil {
		return nil, err
	}
	set := d.policies.Set()
	if d.account(set, c.Principal) == nil {
		return nil, d.record(ctx, c, "subscription.list", "subscriptions", nil, "there is no such principal, or it is not valid now", ErrNotPermitted)
	}
	all, err := d.store.List(ctx, d.now())
	if err != nil {
		return nil, err
	}
	seesAll := c.Principal.Kind == grants.Auditor || set.Permitted(c, grants.Grant, d.now()).Lake
	all = slices.DeleteFunc(all, func(s Subscription) bool {
		p := catalogue.Product(s.Product)
		return !seesAll && s.Subscriber != c.Principal && (p == nil || !p.IsKeeper(c.Principal))
	})
	return all, d.record(ctx, c, "subscription.list", "subscriptions", nil, "", nil)
}

// Approve gives what was asked for, within the product's terms as they are now. Caller.Reason may
// say something. Who asked does not approve, nor does who answers for who asked.
func (d *Desk) Approve(ctx context.Context, c grants.Caller, id string) (Subscription, error) {
	return d.decide(ctx, c, ActionApprove, id)
}

// Reject refuses it.
func (d *Desk) Reject(ctx context.Context, c grants.Caller, id string) (Subscription, error) {
	return d.decide(ctx, c, ActionReject, id)
}

// Revoke ends it, or takes the request back. The subscriber may, and who may grant.
func (d *Desk) Revoke(ctx context.Context, c grants.Caller, id string) (Subscription, error) {
	return d.decide(ctx, c, ActionRevoke, id)
}

func (d *Desk) decide(ctx context.Context, c grants.Caller, action, id string) (Subscription, error) {
	catalogue, err := d.load()
	if err != nil {
		return Subscription{}, err
	}
	all, err := d.store.List(ctx, d.now())
	if err != nil {
		return Subscription{}, err
	}
	i := slices.IndexFunc(all, func(s Subscription) bool { return s.ID == id })
	set := d.policies.Set()
	a := d.account(set, c.Principal)
	if i < 0 || a == nil {
		return Subscription{}, d.record(ctx, c, action, "subscriptions", nil, "there is no such subscription, or principal", ErrUnknown)
	}
	s, detail := all[i], map[string]string{detailID: id}
	refuse := func(rule string, err error) (Subscription, error) {
		return Subscription{}, d.record(ctx, c, action, s.Product, detail, rule, err)
	}
	p := catalogue.Product(s.Product)
	isKeeper := p != nil && p.IsKeeper(c.Principal)
	isGranter := set.Permitted(c, grants.Grant, d.now()).Lake
	switch {
	case !isKeeper && s.Subscriber != c.Principal && !isGranter:
		return refuse("the caller has nothing to do with it", ErrUnknown)
	case action != ActionRevoke && !isKeeper:
		return refuse("the caller is neither the owner nor a steward of the product", ErrNotPermitted)
	case action == ActionRevoke && s.State != Approved && s.State != Requested, action != ActionRevoke && s.State != Requested:
		return refuse("it is "+string(s.State), fmt.Errorf("%w: it is %s", ErrState, s.State))
	}
	if action != ActionApprove {
		return d.do(ctx, c, action, s.Product, detail, nil)
	}
	asked := d.account(set, s.Subscriber)
	switch {
	case asked != nil && asked.Owner == a.Owner: // the same principal, too
		return refuse("who asked, or answers for who asked, does not approve", fmt.Errorf("%w: another person approves what you, or a service of yours, asked for; principals.json names one owner for both of you", ErrNotPermitted))
	case asked == nil:
		return refuse("the subscriber is no valid principal", fmt.Errorf("%w: the subscriber is no valid principal any more", ErrState))
	case p.Status != Published && p.Status != Deprecated:
		return refuse("the product is "+string(p.Status), fmt.Errorf("%w: the product is %s", ErrState, p.Status))
	}
	terms := p.Terms.withDefaults()
	detail[detailVersion], detail[detailTables], detail[detailClear], detail[detailMasked], detail[detailActions] =
		p.Version, joined(terms.Tables), joined(terms.Clear), joined(terms.Masked), joined(terms.Actions)
	detail[detailTenants] = joined(s.Tenants)
	return d.do(ctx, c, action, s.Product, detail, map[string]int64{numberDays: int64(min(s.Days, terms.Days))})
}
