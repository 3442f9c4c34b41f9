package products

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// The files of policies that Sync writes: policies/subscriptions-1.cedar and so on.
const (
	policiesDir  = "policies"
	policyPrefix = "subscriptions-"
	policyExt    = ".cedar"
	// maxPolicyFile keeps a file within what package grants reads.
	maxPolicyFile = 200 << 10
)

const policyHeader = `// Written by cardlake from the subscriptions to data products: what is changed here by hand does
// not last. See "cardlake products subscriptions".
`

// Synced is what a Sync did.
type Synced struct {
	// Given is how many subscriptions give something now.
	Given int
	// Lapsed are those that are approved and give nothing: id and why.
	Lapsed map[string]string
	// Changed says that the folder was written.
	Changed bool
}

// Sync writes the subscriptions that are in force into Config.GrantsDir, and takes out what ended.
// It writes only what loads together with everything else there, so that a fault can't keep doors
// from taking over a revocation. The doors see it as they see every change there. Of several
// processes one syncs at a time, so that none writes what another knows to be over.
func (d *Desk) Sync(ctx context.Context) (_ Synced, err error) {
	dir, tenants := d.cfg.GrantsDir, d.cfg.Tenants
	unlock, err := lock(dir)
	if err != nil {
		return Synced{}, fmt.Errorf("write grants: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	catalogue, err := d.load()
	if err != nil {
		return Synced{}, err
	}
	all, err := d.store.List(ctx, d.now())
	if err != nil {
		return Synced{}, err
	}
	// Without the policies of subscriptions the set is what was written by hand: a subscriber who
	// is not in it any more must not keep the whole set from loading.
	base, err := stage(dir, nil)
	if err != nil {
		return Synced{}, err
	}
	defer os.RemoveAll(base)
	set, err := grants.Load(base, tenants)
	if err != nil {
		return Synced{}, fmt.Errorf("the grants do not load without the subscriptions either:\n%w", err)
	}
	files, done := compile(set, catalogue, all, d.now())
	whole, err := stage(dir, files)
	if err != nil {
		return Synced{}, err
	}
	defer os.RemoveAll(whole)
	if _, err := grants.Load(whole, tenants); err != nil {
		return Synced{}, fmt.Errorf("the grants do not load with the subscriptions:\n%w", err)
	}
	done.Changed, err = writePolicies(filepath.Join(dir, policiesDir), files)
	return done, err
}

// lockFile is held in the folder of grants by who syncs.
const lockFile = ".subscriptions.lock"

func lock(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil // which unlocks
}

// stage copies the folder of grants, with these files of subscriptions instead of those in it.
func stage(dir string, files map[string][]byte) (_ string, err error) {
	tmp, err := os.MkdirTemp("", "grants")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("read grants: %w", err), os.RemoveAll(tmp))
		}
	}()
	if err := os.Mkdir(filepath.Join(tmp, policiesDir), 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(filepath.Join(dir, policiesDir))
	if err != nil {
		return "", err
	}
	names := []string{"principals.json", "cardlake.cedarschema"}
	for _, e := range entries {
		if !isOurs(e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(policiesDir, e.Name()))
		}
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(tmp, name), text, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(tmp, policiesDir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	return tmp, nil
}

func isOurs(name string) bool {
	return strings.HasPrefix(name, policyPrefix) && strings.HasSuffix(name, policyExt)
}

// writePolicies makes the folder's files of subscriptions these: first those that change, which
// may take something away, then away with those that are no more.
func writePolicies(dir string, files map[string][]byte) (changed bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, fmt.Errorf("write grants: %w", err)
	}
	for _, name := range sortedKeys(files) {
		now, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && bytes.Equal(now, files[name]) {
			continue
		}
		if err := replaceFile(filepath.Join(dir, name), files[name]); err != nil {
			return changed, fmt.Errorf("write grants: %w", err)
		}
		changed = true
	}
	for _, e := range entries {
		if _, ok := files[e.Name()]; ok || !isOurs(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return changed, fmt.Errorf("write grants: %w", err)
		}
		changed = true
	}
	if changed {
		err = syncFolder(dir)
	}
	return changed, err
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// compile returns the files of the subscriptions in force.
func compile(set *grants.Set, catalogue *Catalogue, all []Subscription, now time.Time) (map[string][]byte, Synced) {
	done := Synced{Lapsed: map[string]string{}}
	files := map[string][]byte{}
	text := []byte(policyHeader)
	flush := func() {
		if len(text) > len(policyHeader) {
			files[fmt.Sprintf("%s%d%s", policyPrefix, len(files)+1, policyExt)] = text
		}
		text = []byte(policyHeader)
	}
	for _, s := range all {
		if s.State != Approved {
			continue
		}
		g, why := effective(set, catalogue.Product(s.Product), s, now)
		if why != "" {
			done.Lapsed[s.ID] = why
			continue
		}
		done.Given++
		for _, policy := range g.policies(s) {
			if len(text)+len(policy) > maxPolicyFile {
				flush()
			}
			text = append(text, policy...)
		}
	}
	flush()
	return files, done
}

// given is what a subscription gives.
type given struct {
	tables        []string
	clear, masked []cardlake.Tag
	actions       []grants.Action
	tenants       []cardlake.Tenant // "" stands for rows of no tenant, and unknown ones
}

// effective is the meet of what was approved, what the product's terms are, and for which tenants
// the subscriber may subscribe. why says why it is nothing.
func effective(set *grants.Set, p *Product, s Subscription, now time.Time) (g given, why string) {
	if p == nil {
		return g, "the product is not there any more"
	}
	if p.Status != Published && p.Status != Deprecated {
		return g, "the product is " + string(p.Status)
	}
	if !slices.ContainsFunc(set.Principals(), func(a grants.Account) bool { return a.Principal == s.Subscriber }) {
		return g, "the subscriber is not in principals.json any more"
	}
	terms := p.Terms.withDefaults()
	if !slices.Contains(terms.Kinds, s.Subscriber.Kind) {
		return g, "the product is not for its kind of principals any more"
	}
	g.tables = meet(s.Given.Tables, terms.Tables)
	g.actions = meet(s.Given.Actions, terms.Actions)
	g.clear = meet(s.Given.Clear, terms.Clear)
	// Masked is less than clear.
	g.masked = slices.DeleteFunc(meet(slices.Concat(s.Given.Clear, s.Given.Masked), slices.Concat(terms.Clear, terms.Masked)), func(t cardlake.Tag) bool {
		return slices.Contains(g.clear, t)
	})
	// A subscription is as good as it is with more than one factor: forbids ask for them at the
	// door.
	ruling := set.Permitted(grants.Caller{Principal: s.Subscriber, MFA: true}, grants.Subscribe, now)
	for _, t := range append([]cardlake.Tenant{""}, ruling.Tenants...) {
		isAsked := len(s.Tenants) == 0 || slices.Contains(s.Tenants, t)
		isOffered := len(terms.Tenants) == 0 || slices.Contains(terms.Tenants, t)
		if isAsked && isOffered && ruling.For(t) {
			g.tenants = append(g.tenants, t)
		}
	}
	switch {
	case len(g.tenants) == 0:
		return g, "the policies do not let the subscriber subscribe any more"
	case len(g.tables) == 0 || len(g.actions) == 0 || len(g.clear)+len(g.masked) == 0:
		return g, "the product's terms give nothing any more of what was approved"
	}
	return g, ""
}

// meet returns what both have, in the first's order.
func meet[T comparable](a, b []T) []T {
	var out []T
	for _, x := range a {
		if slices.Contains(b, x) && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// policies are the permits of a subscription: one for each table, and for clear and masked.
func (g given) policies(s Subscription) (out []string) {
	permit := func(table string, tags []cardlake.Tag, masked string) {
		if len(tags) == 0 {
			return
		}
		out = append(out, fmt.Sprintf(`
@id("subscription.%s.%d")
@description("%s")
permit (
  principal == Lake::Principal::"%s",
  action in [%s],
  resource in Lake::Table::"%s"
)
when {
  [%s].contains(resource.tag) &&%s
  [%s].contains(resource.tenant) &&
  context.now < datetime("%s")
};
`, s.ID, len(out)+1, fmt.Sprintf("Data product %s %s, approved by %s.", s.Product, s.Version, s.DecidedBy), s.Subscriber, list("Lake::Action::", g.actions), table,
			list("", tags), masked, list("Lake::Tenant::", g.tenants), s.Until.UTC().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.000Z")))
	}
	for _, table := range g.tables {
		permit(table, g.clear, "")
		permit(table, g.masked, "\n  resource.access == \"masked\" &&")
	}
	return out
}

// list quotes names, whose characters need no escape: principals, tenants, tags and actions are
// checked when they are read.
func list[T ~string](kind string, names []T) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = kind + `"` + string(n) + `"`
	}
	return strings.Join(out, ", ")
}

// InForce returns the subscriptions that give something now, as Sync would write them.
func (d *Desk) InForce(ctx context.Context) ([]Subscription, error) {
	catalogue, err := d.load()
	if err != nil {
		return nil, err
	}
	all, err := d.store.List(ctx, d.now())
	if err != nil {
		return nil, err
	}
	set := d.policies.Set()
	return slices.DeleteFunc(all, func(s Subscription) bool {
		if s.State != Approved {
			return true
		}
		_, why := effective(set, catalogue.Product(s.Product), s, d.now())
		return why != ""
	}), nil
}
