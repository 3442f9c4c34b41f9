package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// register is the register of tenants, read again when its file has changed, so that a new
// tenant needs no restart. It implements detokenize.Tenants.
type register struct {
	path string

	mu      sync.Mutex
	changed time.Time
	owners  map[cardlake.Tenant]keys.Owner
	names   map[keys.Owner]cardlake.Tenant
}

// openRegister reads the register, which must be there.
func openRegister(path string) (*register, error) {
	r := &register{path: path}
	return r, r.read()
}

func (r *register) read() error {
	info, err := os.Stat(r.path)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(r.changed) {
		return nil
	}
	tenants, err := catalog.OpenTenants(r.path)
	if err != nil {
		return err
	}
	r.owners, r.names = map[cardlake.Tenant]keys.Owner{}, map[keys.Owner]cardlake.Tenant{}
	for _, t := range tenants.All() {
		owner := keys.OwnerOf(t.StorageID)
		r.owners[t.Name], r.names[owner] = owner, t.Name
	}
	r.changed = info.ModTime()
	return nil
}

// Owner implements detokenize.Tenants.
func (r *register) Owner(name cardlake.Tenant) (keys.Owner, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.read(); err != nil {
		return "", err
	}
	if owner, ok := r.owners[name]; ok {
		return owner, nil
	}
	return "", detokenize.ErrNoTenant
}

// Tenant implements detokenize.Tenants.
func (r *register) Tenant(owner keys.Owner) (cardlake.Tenant, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.read(); err != nil {
		return "", err
	}
	if name, ok := r.names[owner]; ok {
		return name, nil
	}
	return "", detokenize.ErrNoTenant
}

// tenant looks up the tenant that a command is about.
func (p *place) tenant(name string) (tenant, error) {
	if cardlake.Tenant(name).Validate() != nil {
		return tenant{}, usagef("-tenant breaks the rule: %w", cardlake.ErrTenant)
	}
	r, err := openRegister(p.tenants)
	if err != nil {
		return tenant{}, usagef("register of tenants: %w", err)
	}
	owner, err := r.Owner(cardlake.Tenant(name))
	if errors.Is(err, detokenize.ErrNoTenant) {
		return tenant{}, usagef("there is no tenant %s in %s", name, p.tenants)
	}
	if err != nil {
		return tenant{}, err
	}
	return tenant{cardlake.Tenant(name), cardlake.StorageID(owner), owner}, nil
}
