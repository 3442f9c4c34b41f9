package retention

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cardlake/cardlake"
)

// PolicyVersion is the version of the policy's form that this package reads and writes.
const PolicyVersion = 1

// auditTable is the table of the audit log, which is kept for twelve months at least (PCI
// DSS 4.0.1 requirement 10.5.1).
const auditTable = "audit.events"

// bounds are the fewest and the most days that a table's rows may be kept, and how many they
// are kept when the policy does not say.
type bounds struct{ least, most, ifUnsaid int }

// boundsOf returns a table's bounds, and false for a table whose days are those of another.
// Control totals are kept as long as what they count: without one the other would look as if
// rows had been lost, or never been counted.
func boundsOf(table string) (bounds, bool) {
	switch table {
	case cardlake.ControlTotals.FullName():
		return bounds{}, false
	case cardlake.Rejected.FullName():
		return bounds{1, 366, 30}, true
	case auditTable:
		return bounds{366, 3660, 400}, true
	}
	return bounds{1, 3660, 730}, true
}

// Policy says how long rows are kept and which are held. It is immutable once parsed.
type Policy struct {
	Version int `json:"version"`
	// Tables are the days by a table's full name; a table that is not named has its default:
	// cards.transactions 730, cards.transactions_rejected 30, audit.events 400.
	// cards.control_totals are kept as long as cards.transactions.
	Tables map[string]TableDays `json:"tables,omitempty"`
	// StreamDays is the longest that the stream may keep events: default 7, at most 30. The
	// query side has no way to the stream: it states what must hold there.
	StreamDays int `json:"stream_days,omitempty"`
	// ResultDays is how long answers and exports that were written as files are kept: default
	// 7, at most 90.
	ResultDays int    `json:"result_days,omitempty"`
	Holds      []Hold `json:"holds,omitempty"`
}

// TableDays are the days that rows of a table are kept, counted from the end of the UTC day
// that they belong to.
type TableDays struct {
	Days int `json:"days,omitempty"`
	// Tenants are those of tenants that differ.
	Tenants map[cardlake.Tenant]int `json:"tenants,omitempty"`
}

// Hold keeps rows that would have to go: somebody may need them as evidence. It goes before
// every other rule, and ends when it is released. It keeps what is in a table when it is
// ordered, and what arrives later; what only older snapshots have goes when those go.
type Hold struct {
	ID     string          `json:"id"`
	Tenant cardlake.Tenant `json:"tenant"`
	// Person is who is held, as [Keeper.Person] names them; empty for the whole tenant.
	Person string    `json:"person,omitempty"`
	Case   string    `json:"case"` // number or name of the legal matter
	Why    string    `json:"why"`
	By     string    `json:"by"` // who ordered it
	At     time.Time `json:"at"`
}

// ParsePolicy reads a policy and reports every fault of it. A member that it does not know is
// one, so that a misspelt rule is not a missing one.
func ParsePolicy(text []byte) (*Policy, error) {
	var p Policy
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("retention policy: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("retention policy: something follows the policy")
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("retention policy: %w", err)
	}
	return &p, nil
}

// ReadPolicy reads the policy file. One that is not there is the policy of defaults.
func ReadPolicy(path string) (*Policy, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Policy{Version: PolicyVersion}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("retention policy: %w", err)
	}
	p, err := ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Validate reports every fault of the policy.
func (p *Policy) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Version != PolicyVersion {
		fault("version is %d, want %d", p.Version, PolicyVersion)
	}
	for _, table := range slices.Sorted(maps.Keys(p.Tables)) {
		days := p.Tables[table]
		def := cardlake.TableNamed(table)
		if def == nil && table != auditTable {
			fault("there is no table %q", table)
			continue
		}
		b, ok := boundsOf(table)
		if !ok {
			fault("%s is kept as long as %s: leave it out", table, cardlake.Transactions.FullName())
			continue
		}
		if days.Days != 0 && (days.Days < b.least || days.Days > b.most) {
			fault("%s: days is from %d to %d", table, b.least, b.most)
		}
		if len(days.Tenants) > 0 && (def == nil || !def.ByTenant) {
			fault("%s: its rows are not by tenant", table)
		}
		for _, tenant := range slices.Sorted(maps.Keys(days.Tenants)) {
			if err := tenant.Validate(); err != nil {
				fault("%s: tenant %q: %w", table, tenant, err)
			}
			if n := days.Tenants[tenant]; n < b.least || n > b.most {
				fault("%s: tenant %s: days is from %d to %d", table, tenant, b.least, b.most)
			}
		}
	}
	if p.StreamDays < 0 || p.StreamDays > 30 {
		fault("stream_days is from 1 to 30")
	}
	if p.ResultDays < 0 || p.ResultDays > 90 {
		fault("result_days is from 1 to 90")
	}
	seen := map[string]bool{}
	for _, h := range p.Holds {
		if err := h.validate(); err != nil {
			fault("hold %q: %w", h.ID, err)
		}
		if seen[h.ID] {
			fault("hold %q is there twice", h.ID)
		}
		seen[h.ID] = true
	}
	return errors.Join(errs...)
}

func (h Hold) validate() error {
	var errs []error
	for name, value := range map[string]string{"id": h.ID, "case": h.Case, "why": h.Why, "by": h.By} {
		if strings.TrimSpace(value) == "" || len(value) > 200 {
			errs = append(errs, fmt.Errorf("%s is 1 to 200 characters", name))
		}
	}
	if h.At.IsZero() {
		errs = append(errs, errors.New("at is missing"))
	}
	if h.Person != "" && !isPerson(h.Person) {
		errs = append(errs, errors.New(`person is not what "cardlake maintain hold" writes there: a customer id in clear has no place in this file`))
	}
	return errors.Join(append(errs, h.Tenant.Validate())...)
}

// Days is how many days rows of the table and tenant are kept.
func (p *Policy) Days(table *cardlake.Table, tenant cardlake.Tenant) int {
	name := table.FullName()
	b, ok := boundsOf(name)
	if !ok {
		name = cardlake.Transactions.FullName()
		b, _ = boundsOf(name)
	}
	t := p.Tables[name]
	if n := t.Tenants[tenant]; n != 0 {
		return n
	}
	if t.Days != 0 {
		return t.Days
	}
	return b.ifUnsaid
}

// Stream is the longest that the stream may keep events.
func (p *Policy) Stream() time.Duration {
	if p.StreamDays == 0 {
		return 7 * 24 * time.Hour
	}
	return time.Duration(p.StreamDays) * 24 * time.Hour
}

// Results is how long files of answers and exports are kept: what writes such files removes
// them by this.
func (p *Policy) Results() time.Duration {
	if p.ResultDays == 0 {
		return 7 * 24 * time.Hour
	}
	return time.Duration(p.ResultDays) * 24 * time.Hour
}

// firstKept is the first day of a tenant's rows that is kept: the last row of the day before
// it is older than the days.
func (p *Policy) firstKept(table *cardlake.Table, tenant cardlake.Tenant, now time.Time) cardlake.Day {
	return cardlake.DayOf(now.UnixMicro()) - cardlake.Day(p.Days(table, tenant))
}

// holding returns the holds that keep rows of the tenant, those of single persons apart. The
// empty tenant stands for rows that may be anybody's: every hold keeps them.
func (p *Policy) holding(tenant cardlake.Tenant) (whole []Hold, persons map[string]Hold) {
	persons = map[string]Hold{}
	for _, h := range p.Holds {
		switch {
		case tenant == "":
			whole = append(whole, h)
		case h.Tenant != tenant:
		case h.Person == "":
			whole = append(whole, h)
		default:
			persons[h.Person] = h
		}
	}
	return whole, persons
}

// ChangePolicy changes the policy file under a lock and replaces it at once; do changes the
// policy that it is given. Nothing is written if do fails or the result is not valid.
func ChangePolicy(path string, do func(*Policy) error) (err error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("retention policy: %w", err)
	}
	defer lock.Close() // gives the lock back
	for {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("retention policy: lock: %w", err)
	}
	p, err := ReadPolicy(path)
	if err != nil {
		return err
	}
	if err := do(p); err != nil {
		return err
	}
	if err := p.Validate(); err != nil {
		return fmt.Errorf("retention policy: %w", err)
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".retention-*")
	if err != nil {
		return fmt.Errorf("retention policy: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("retention policy: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("retention policy: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
