package catalog

import (
	"cmp"
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
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
)

// TenantStatus is where a tenant is in its life.
type TenantStatus string

const (
	TenantActive     TenantStatus = "active"
	TenantSuspended  TenantStatus = "suspended"  // nobody reads its rows; they still arrive, so that none is lost
	TenantOffboarded TenantStatus = "offboarded" // its keys are destroyed, or about to be; the name is never given again
)

// TenantStatuses lists every status.
var TenantStatuses = []TenantStatus{TenantActive, TenantSuspended, TenantOffboarded}

// Quotas bound what leaves the lake of one tenant in a UTC day, all its principals together.
// A zero field means the default.
type Quotas struct {
	Rows    int64 `json:"rows,omitempty"`    // rows taken away as files; default 10,000,000
	Bytes   int64 `json:"bytes,omitempty"`   // bytes taken away as files; default 10 GiB
	Exports int64 `json:"exports,omitempty"` // exports asked for; default 100
}

// OrDefault returns the quotas with defaults in place of zeros.
func (q Quotas) OrDefault() Quotas {
	return Quotas{
		Rows: cmp.Or(q.Rows, 10_000_000), Bytes: cmp.Or(q.Bytes, 10<<30), Exports: cmp.Or(q.Exports, 100),
	}
}

// Validate reports every quota that is negative.
func (q Quotas) Validate() error {
	var errs []error
	for name, v := range map[string]int64{"rows": q.Rows, "bytes": q.Bytes, "exports": q.Exports} {
		if v < 0 {
			errs = append(errs, fmt.Errorf("quota %s is negative", name))
		}
	}
	return errors.Join(errs...)
}

// Leaving is a request to off-board a tenant, which another person has to carry out. The
// zero Leaving is none.
type Leaving struct {
	By string    `json:"by"` // who asked
	At time.Time `json:"at"`
}

// TenantRecord is what the lake knows of a tenant. It is comparable.
type TenantRecord struct {
	Name      cardlake.Tenant    `json:"name"`
	StorageID cardlake.StorageID `json:"storage_id"`
	Country   string             `json:"country"` // ISO 3166-1 alpha-2
	Currency  cardlake.Currency  `json:"currency"`
	CreatedAt time.Time          `json:"created_at"`

	// Status is TenantActive in registers that were written before there was one.
	Status      TenantStatus `json:"status"`
	StatusSince time.Time    `json:"status_since"`
	Quotas      Quotas       `json:"quotas,omitzero"`
	Leaving     Leaving      `json:"leaving,omitzero"`
}

// Validate reports every field that breaks its rule.
func (r TenantRecord) Validate() error {
	errs := []error{r.Name.Validate(), r.StorageID.Validate(), r.Quotas.Validate()}
	if !slices.Contains(TenantStatuses, r.Status) {
		errs = append(errs, errors.New("status is not one of active, suspended and offboarded"))
	}
	return errors.Join(errs...)
}

// ValidateCountry returns an error unless the code is one of ISO 3166-1 alpha-2 that is
// officially assigned.
func ValidateCountry(code string) error {
	if len(code) != 2 || !slices.Contains(countries, code) {
		return errors.New("country is not an ISO 3166-1 alpha-2 code, such as BR")
	}
	return nil
}

// countries are the officially assigned codes of ISO 3166-1 alpha-2.
var countries = strings.Fields(`
	AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
	BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
	EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
	HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
	LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
	NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
	SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
	TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW`)

var (
	// ErrNoTenant says that there is no tenant of the name.
	ErrNoTenant = errors.New("no such tenant")
	// ErrOffboarded says that the tenant has left: nothing of it comes back.
	ErrOffboarded = errors.New("the tenant is off-boarded: its keys are destroyed and its name is not given again")
)

// Tenants is the register of tenants, kept in one file that is replaced atomically. It is
// safe for concurrent use. Several processes may use one file: a writer holds its lock and
// begins with what the file says, and a reader sees within a second what another wrote.
type Tenants struct {
	path string

	mu      sync.RWMutex
	byName  map[cardlake.Tenant]TenantRecord
	written fileStamp
	looked  time.Time
}

// fileStamp tells one version of the file from another: each is a new file.
type fileStamp struct {
	size    int64
	changed time.Time
}

// readAge is how old what a register knows of its file may be.
const readAge = time.Second

// OpenTenants reads the register at path. A file that is not there is an empty register.
func OpenTenants(path string) (*Tenants, error) {
	t := &Tenants{path: path, byName: map[cardlake.Tenant]TenantRecord{}}
	return t, t.read()
}

// read reads the file if it is another than the one that was read. On error everything
// stays. The caller holds mu, or is alone.
func (t *Tenants) read() error {
	t.looked = time.Now()
	var now fileStamp
	switch info, err := os.Stat(t.path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("tenant register: %w", err)
	default:
		now = fileStamp{info.Size(), info.ModTime()}
	}
	if now == t.written {
		return nil
	}
	byName := map[cardlake.Tenant]TenantRecord{}
	text, err := os.ReadFile(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("[]"), nil
	}
	if err != nil {
		return fmt.Errorf("tenant register: %w", err)
	}
	var records []TenantRecord
	if err := json.Unmarshal(text, &records); err != nil {
		return fmt.Errorf("tenant register %s: %w", t.path, err)
	}
	for _, r := range records {
		r.Status = cmp.Or(r.Status, TenantActive)
		if r.StatusSince.IsZero() {
			r.StatusSince = r.CreatedAt
		}
		if err := r.Validate(); err != nil {
			return fmt.Errorf("tenant register %s: tenant %q: %w", t.path, r.Name, err)
		}
		if _, ok := byName[r.Name]; ok {
			return fmt.Errorf("tenant register %s: tenant %q is there twice", t.path, r.Name)
		}
		byName[r.Name] = r
	}
	t.byName, t.written = byName, now
	return nil
}

// refresh looks whether another process wrote the file. A file that is no register leaves
// the last one that was: who wrote it was told.
func (t *Tenants) refresh() {
	t.mu.RLock()
	fresh := time.Since(t.looked) < readAge
	t.mu.RUnlock()
	if fresh {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.read()
}

// Lookup returns the tenant's record, or ErrNoTenant.
func (t *Tenants) Lookup(name cardlake.Tenant) (TenantRecord, error) {
	t.refresh()
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
	t.refresh()
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
// already there is returned as it is. An error says that there is no such tenant.
func (t *Tenants) Create(name cardlake.Tenant, country string, currency cardlake.Currency, now time.Time) (TenantRecord, error) {
	errs := []error{name.Validate(), ValidateCountry(country)}
	if _, ok := currency.Exponent(); !ok {
		errs = append(errs, errors.New("currency is not an ISO 4217 code that the lake knows, such as BRL"))
	}
	if err := errors.Join(errs...); err != nil {
		return TenantRecord{}, err
	}
	return t.change(name, func(r *TenantRecord, exists bool) error {
		if exists {
			return nil
		}
		var id [8]byte
		rand.Read(id[:])
		*r = TenantRecord{
			Name: name, StorageID: cardlake.StorageID(cardlake.AppendLetters(nil, id[:])),
			Country: country, Currency: currency, CreatedAt: now.UTC(),
			Status: TenantActive, StatusSince: now.UTC(),
		}
		return nil
	})
}

// SetStatus puts a tenant into a status, since now; one that it is in already stays since
// when it is. It returns ErrNoTenant, and ErrOffboarded for any change of one that left.
func (t *Tenants) SetStatus(name cardlake.Tenant, status TenantStatus, now time.Time) (TenantRecord, error) {
	return t.change(name, func(r *TenantRecord, exists bool) error {
		switch {
		case !exists:
			return ErrNoTenant
		case r.Status == status:
			return nil
		case r.Status == TenantOffboarded:
			return ErrOffboarded
		}
		r.Status, r.StatusSince = status, now.UTC()
		return r.Validate()
	})
}

// SetQuotas gives a tenant other quotas. It returns ErrNoTenant and ErrOffboarded.
func (t *Tenants) SetQuotas(name cardlake.Tenant, q Quotas) (TenantRecord, error) {
	return t.change(name, func(r *TenantRecord, exists bool) error {
		switch {
		case !exists:
			return ErrNoTenant
		case r.Status == TenantOffboarded:
			return ErrOffboarded
		}
		r.Quotas = q
		return r.Validate()
	})
}

// SetLeaving notes who asked to off-board a tenant; the zero Leaving takes it back. It
// returns ErrNoTenant and ErrOffboarded.
func (t *Tenants) SetLeaving(name cardlake.Tenant, l Leaving) (TenantRecord, error) {
	return t.change(name, func(r *TenantRecord, exists bool) error {
		switch {
		case !exists:
			return ErrNoTenant
		case r.Status == TenantOffboarded:
			return ErrOffboarded
		}
		l.At = l.At.UTC()
		r.Leaving = l
		return nil
	})
}

// change changes one record under the file's lock, beginning with what the file says, and
// saves the register if anything changed.
func (t *Tenants) change(name cardlake.Tenant, do func(r *TenantRecord, exists bool) error) (TenantRecord, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	unlock, err := t.lock()
	if err != nil {
		return TenantRecord{}, err
	}
	defer unlock()
	if err := t.read(); err != nil {
		return TenantRecord{}, err
	}
	before, exists := t.byName[name]
	r := before
	if err := do(&r, exists); err != nil || exists && r == before {
		return r, err
	}
	t.byName[name] = r
	if err := t.save(); err != nil {
		if t.byName[name] = before; !exists {
			delete(t.byName, name)
		}
		return TenantRecord{}, err
	}
	return r, nil
}

// lock takes the lock of the file, a file beside it, because the file itself is replaced.
func (t *Tenants) lock() (unlock func(), err error) {
	f, err := os.OpenFile(t.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("tenant register: %w", err)
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("tenant register: lock: %w", errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil // closing gives the lock back
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
	if info, err := os.Stat(t.path); err == nil {
		t.written = fileStamp{info.Size(), info.ModTime()}
	}
	return nil
}
