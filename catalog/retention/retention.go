// Package retention removes what may not be kept and proves that it is gone: rows past their
// days, the person who asked to be erased, the tenant that left. Each comes in three steps,
// the same for all: the rows leave the table's newest state in one commit, every snapshot
// that still names their files is expired, and then the objects go, with what a bucket keeps
// of them as older versions. A run that was killed between any two goes on when it is
// repeated, because each step looks at what is there and not at what an earlier one
// remembers.
//
// # Days
//
// Rows go by whole partitions of a UTC day, without being read: the day goes when its last
// row is older than the policy's days. A row that arrives for a day that is gone already is
// not refused, since the worker commits what the stream holds; the next pass counts it and
// drops it. So a pass a day keeps nothing longer than a day beyond the policy.
//
// # Erasing a person
//
// A row is one of the ledger's facts; who it was is not needed to add it up. So a person's
// rows stay and lose all columns that name somebody: customer and account, the token of the
// card, what is left of its number. Sums, counts and control totals are as before.
//
// The customer's rows that are still on the stream, or in a worker's memory, arrive later.
// So an erasure is remembered until no such row can come any more: as a keyed hash of the
// customer and of each card, under a key that is one of the tenant's objects. [Keeper.Reapply]
// erases what has come since.
//
// # What this package cannot reach
//
// Events on the stream, rejected records, whose payload is sealed for zone A, and the vault
// are beyond the query side: the first two end by their days, and cards are taken out of the
// vault with cardlake-vault.
package retention

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// Table is a table that rows are taken out of. [Of] makes one of an Iceberg table.
type Table interface {
	// Live returns the newest snapshot and its files.
	Live(ctx context.Context) (catalog.Snapshot, []cardlake.DataFile, error)
	Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error)
	// Named returns the names of all files that any kept snapshot names, the newest's included.
	Named(ctx context.Context) ([]string, error)
	// Forget expires every snapshot that names one of the files, none of which is live, and
	// removes the objects that no snapshot names any more. It returns the snapshots expired.
	Forget(ctx context.Context, names []string) (int, error)
}

// Recorder is the audit log.
type Recorder interface {
	Append(ctx context.Context, r audit.Record) error
}

// Lake is what a Keeper works with. All are required but Log. Of a store that is an
// [objects.Versioned] older versions go too.
type Lake struct {
	// Open opens a table of the lake; an error that wraps catalog/iceberg's ErrNoTable says
	// that nothing was ever written to it.
	Open    func(ctx context.Context, def *cardlake.Table) (Table, error)
	Tables  []*cardlake.Table
	Store   objects.Store
	Tenants interface{ All() []catalog.TenantRecord }
	Record  Recorder
	Log     *slog.Logger
}

// Config tunes a Keeper.
type Config struct {
	// By is who is recorded as the one who does it; required. Origin is where from.
	By, Origin string
	// Age is how old an object that no snapshot names must be to be taken for left behind and
	// not for one that is being committed; default 24 hours, which is longer than a worker
	// goes on trying.
	Age time.Duration
	// MaxAhead is how far beyond the newest commit the clock may be; default 48 hours. MaxDays
	// is how many days of one table and tenant may go at once; default 31. A clock that jumped
	// ahead breaks one of the two.
	MaxAhead time.Duration
	MaxDays  int
	// Batch is how many files are rewritten in one commit; default 64.
	Batch int
	// Parquet tunes the files that are rewritten, as it does the worker's.
	Parquet parquet.Config
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Keeper keeps a lake to its policy. It is not safe for concurrent use; several processes
// may work on one lake.
type Keeper struct {
	lake   Lake
	policy *Policy
	cfg    Config
}

// New returns a keeper.
func New(lake Lake, policy *Policy, cfg Config) *Keeper {
	cfg.Age = cmp.Or(cfg.Age, 24*time.Hour)
	cfg.MaxAhead = cmp.Or(cfg.MaxAhead, 48*time.Hour)
	cfg.MaxDays = cmp.Or(cfg.MaxDays, 31)
	cfg.Batch = cmp.Or(cfg.Batch, 64)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if lake.Log == nil {
		lake.Log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{lake, policy, cfg}
}

var (
	// ErrHeld says that a legal hold keeps what was to go.
	ErrHeld = errors.New("a legal hold keeps it")
	// ErrClock says that the clock, or the policy, would have far more removed than passes of
	// every day leave.
	ErrClock = errors.New("refused as what a wrong clock would do: check the clock and the policy, and force it if both are right")
	// ErrMoving says that files changed faster than they could be rewritten.
	ErrMoving = errors.New("the table's files change faster than they are rewritten: run it again, beside no compaction")
)

// Disposal is what was removed for good.
type Disposal struct {
	Snapshots int `json:"snapshots"` // expired
	Forgotten int `json:"forgotten"` // files that older snapshots still named
	Objects   int `json:"objects"`   // objects that no snapshot named
	Versions  int `json:"versions"`  // older versions of a bucket
	// Pending are objects that no snapshot names and that are younger than Config.Age:
	// somebody may be committing them.
	Pending int `json:"pending"`
}

func (d *Disposal) add(e Disposal) {
	d.Snapshots += e.Snapshots
	d.Forgotten += e.Forgotten
	d.Objects += e.Objects
	d.Versions += e.Versions
	d.Pending += e.Pending
}

// tenant returns a tenant's record.
func (k *Keeper) tenant(name cardlake.Tenant) (catalog.TenantRecord, error) {
	for _, r := range k.lake.Tenants.All() {
		if r.Name == name {
			return r, nil
		}
	}
	return catalog.TenantRecord{}, fmt.Errorf("tenant %q: %w", name, catalog.ErrNoTenant)
}

// dataPrefix is where a table's files are, those of one tenant if it is given.
func dataPrefix(def *cardlake.Table, id cardlake.StorageID) string {
	if id == "" {
		return "data/" + def.Name + "/"
	}
	return "data/" + def.Name + "/" + string(id) + "/"
}

// parsePlace reads the tenant's storage id, empty in a table that is not by tenant, and the
// day in a file's name.
func parsePlace(def *cardlake.Table, name string) (id cardlake.StorageID, day cardlake.Day, ok bool) {
	rest, ok := strings.CutPrefix(name, dataPrefix(def, ""))
	if !ok {
		return "", 0, false
	}
	if def.ByTenant {
		var first string
		first, rest, ok = strings.Cut(rest, "/")
		if id = cardlake.StorageID(first); !ok || id.Validate() != nil {
			return "", 0, false
		}
	}
	date, _, ok := strings.Cut(rest, "/")
	at, err := time.Parse(time.DateOnly, date)
	if !ok || err != nil {
		return "", 0, false
	}
	return id, cardlake.DayOf(at.UnixMicro()), true
}

// dispose removes for good what is not live of the files under the prefix that isDue
// reports.
func (k *Keeper) dispose(ctx context.Context, t Table, prefix string, isDue func(name string) bool) (d Disposal, err error) {
	// Who is live is asked after what is named, and what is named after what there is: whatever a
	// writer commits in between is on the list that was made later.
	named, err := t.Named(ctx)
	if err != nil {
		return d, err
	}
	_, live, err := t.Live(ctx)
	if err != nil {
		return d, err
	}
	isLive := make(map[string]bool, len(live))
	for _, f := range live {
		isLive[f.Name] = true
	}
	due := func(name string) bool { return strings.HasPrefix(name, prefix) && !isLive[name] && isDue(name) }
	var old []string
	isOld := map[string]bool{}
	for _, name := range named {
		if due(name) {
			old = append(old, name)
			isOld[name] = true
		}
	}
	if len(old) > 0 {
		if d.Snapshots, err = t.Forget(ctx, old); err != nil {
			return d, err
		}
		d.Forgotten = len(old)
	}
	// What no snapshot names: left by those that were killed, this one included.
	newest := k.cfg.Now().Add(-k.cfg.Age)
	var left []string
	for info, err := range k.lake.Store.List(ctx, prefix) {
		switch {
		case err != nil:
			return d, err
		case !due(info.Name):
		case info.ModTime.After(newest) && !isOld[info.Name]:
			d.Pending++
		default:
			left = append(left, info.Name)
		}
	}
	if named, err = t.Named(ctx); err != nil {
		return d, err
	}
	isNamed := make(map[string]bool, len(named))
	for _, name := range named {
		if isNamed[name] = true; isOld[name] {
			return d, fmt.Errorf("%s is still named by a snapshot: a branch or a tag of another engine keeps it", name)
		}
	}
	for _, name := range left {
		if isNamed[name] {
			continue
		}
		if err := k.lake.Store.Delete(ctx, name); err != nil && !errors.Is(err, objects.ErrNotFound) {
			return d, err
		}
		d.Objects++
	}
	d.Versions, err = k.purge(ctx, prefix, func(name string) bool { return due(name) && !isNamed[name] })
	return d, err
}

// purge removes for good what the store keeps of deleted objects.
func (k *Keeper) purge(ctx context.Context, prefix string, isGone func(name string) bool) (int, error) {
	v, ok := k.lake.Store.(objects.Versioned)
	if !ok {
		return 0, nil
	}
	// A version that is current and has content is an object that nobody deleted.
	return v.Purge(ctx, prefix, func(v objects.Version) bool { return (!v.IsCurrent || v.IsMarker) && isGone(v.Name) })
}

// recordWithin is how long the line that tells of a failure may take.
const recordWithin = 30 * time.Second

// around records that something begins, does it, and records how it ended.
func (k *Keeper) around(ctx context.Context, r audit.Record, do func() (map[string]int64, error)) error {
	r.Outcome = audit.Allowed
	if err := k.write(ctx, r); err != nil {
		return err
	}
	numbers, err := do()
	r.Action, r.Numbers = r.Action+".done", numbers
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	if err != nil {
		r.Outcome = audit.Failed
		return errors.Join(err, k.write(late, r))
	}
	return k.write(late, r)
}

func (k *Keeper) write(ctx context.Context, r audit.Record) error {
	r.Actor, r.Origin = k.cfg.By, k.cfg.Origin
	if err := k.lake.Record.Append(ctx, r); err != nil {
		return fmt.Errorf("nothing happens that is not recorded: %w", err)
	}
	return nil
}

// owner of a tenant's objects.
func owner(r catalog.TenantRecord) keys.Owner { return keys.OwnerOf(r.StorageID) }
