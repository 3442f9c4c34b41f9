package catalog

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
)

// TenantRecord is what the lake knows of a tenant.
type TenantRecord struct {
	Name      cardlake.Tenant    `json:"name"`
	StorageID cardlake.StorageID `json:"storage_id"`
	Country   string             `json:"country"` // ISO 3166-1 alpha-2
	Currency  cardlake.Currency  `json:"currency"`
	CreatedAt time.Time          `json:"created_at"`
}

// ErrNoTenant says that there is no tenant of the name.
var ErrNoTenant = errors.New("no such tenant")

// Tenants is the register of tenants, kept in one file that is replaced atomically. It is
// safe for concurrent use within one process; one process writes it.
type Tenants struct {
	path string

	mu     sync.RWMutex
	byName map[cardlake.Tenant]TenantRecord
}

// OpenTenants reads the register at path. A file that is not there is an empty register.
func OpenTenants(path string) (*Tenants, error) {
	t := &Tenants{path: path, byName: map[cardlake.Tenant]TenantRecord{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("tenant register: %w", err)
	}
	var records []TenantRecord
	if err := json.Unmarshal(text, &records); err != nil {
		return nil, fmt.Errorf("tenant register %s: %w", path, err)
	}
	for _, r := range records {
		if err := errors.Join(r.Name.Validate(), r.StorageID.Validate()); err != nil {
			return nil, fmt.Errorf("tenant register %s: tenant %q: %w", path, r.Name, err)
		}
		t.byName[r.Name] = r
	}
	return t, nil
}

// Lookup returns the tenant's record, or ErrNoTenant.
func (t *Tenants) Lookup(name cardlake.Tenant) (TenantRecord, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.byName[name]
	if !ok {
		return TenantRecord{}, ErrNoTenant
	}
	return r, nil
}

// All returns every tenant, by name.
func (t *Tenants) All() []TenantRecord {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.sorted()
}

func (t *Tenants) sorted() []TenantRecord {
	out := make([]TenantRecord, 0, len(t.byName))
	for _, r := range t.byName {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b TenantRecord) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return out
}

// Create adds a tenant with a fresh storage id and returns its record; a tenant that is
// already there is returned as it is.
func (t *Tenants) Create(name cardlake.Tenant, country string, currency cardlake.Currency, now time.Time) (TenantRecord, error) {
	if err := name.Validate(); err != nil {
		return TenantRecord{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.byName[name]; ok {
		return r, nil
	}
	var id [8]byte
	rand.Read(id[:])
	r := TenantRecord{
		Name: name, StorageID: cardlake.StorageID(cardlake.AppendLetters(nil, id[:])),
		Country: country, Currency: currency, CreatedAt: now.UTC(),
	}
	t.byName[name] = r
	if err := t.save(); err != nil {
		delete(t.byName, name)
		return TenantRecord{}, err
	}
	return r, nil
}

func (t *Tenants) save() error {
	text, err := json.MarshalIndent(t.sorted(), "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(t.path), ".tenants-*")
	if err != nil {
		return fmt.Errorf("tenant register: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("tenant register: %w", err)
	}
	if err := os.Rename(tmp.Name(), t.path); err != nil {
		return fmt.Errorf("tenant register: %w", err)
	}
	// A storage id that a power loss makes forgotten would be drawn anew, away from its data.
	dir, err := os.Open(filepath.Dir(t.path))
	if err != nil {
		return fmt.Errorf("tenant register: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("tenant register: %w", err)
	}
	return nil
}
