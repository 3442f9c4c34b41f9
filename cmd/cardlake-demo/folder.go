package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/sim"
)

// state is what a folder remembers between runs: whose traffic it holds and how far the
// present run is to go.
type state struct {
	Seed    uint64 `json:"seed"`
	Tenants int    `json:"tenants"`
	// Target is the number of transactions the folder is to hold; Finished says that it
	// held them and was checked, so that the next run goes on from there.
	Target   uint64 `json:"target"`
	Finished bool   `json:"finished"`
	// Days is how many days before Begun the first run was spread over; 0 if it was not.
	Days  int       `json:"days,omitempty"`
	Begun time.Time `json:"begun,omitzero"`
}

// folder is the demo's folder, locked and ready: keyrings, tenants and population.
type folder struct {
	home.Dir
	state      state
	lock       *os.File
	cardKeys   *local.Keyring
	lakeKeys   *local.Keyring
	tenants    *catalog.Tenants
	population *sim.Population
}

// openFolder makes the folder, or opens it as an earlier run left it.
func openFolder(ctx context.Context, o options) (*folder, error) {
	f := &folder{Dir: home.Dir(o.dir)}
	if err := f.Make(); err != nil {
		return nil, fmt.Errorf("%w (give another folder with -dir)", err)
	}
	if err := f.takeLock(); err != nil {
		return nil, err
	}
	if err := f.open(ctx, o); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *folder) open(ctx context.Context, o options) error {
	isNew, err := f.loadState()
	if err != nil {
		return err
	}
	if isNew {
		f.state = state{Seed: o.seed, Tenants: o.tenants, Days: o.days, Begun: time.Now().UTC()}
	}
	if !isNew && o.days > 0 && (f.state.Finished || f.state.Days != o.days) {
		return fmt.Errorf("folder %s is not new: -days fills a new folder; run without it to go on at the present, or give another -dir", f.Dir)
	}
	if f.state.Seed != o.seed || f.state.Tenants != o.tenants {
		return fmt.Errorf("folder %s holds the traffic of -seed %d -tenants %d: run it with those, or give another -dir", f.Dir, f.state.Seed, f.state.Tenants)
	}
	if f.cardKeys, err = openKeyring(isNew, f.CardKeyring(), f.CardSecret(), keys.CardPurposes); err != nil {
		return err
	}
	if f.lakeKeys, err = openKeyring(isNew, f.LakeKeyring(), f.LakeSecret(), keys.LakePurposes); err != nil {
		return err
	}
	if f.tenants, err = catalog.OpenTenants(f.Tenants()); err != nil {
		return err
	}
	f.population = sim.NewPopulation(sim.Config{Seed: o.seed, Tenants: o.tenants})
	owners := []keys.Owner{keys.Lake, keys.Processor}
	for _, p := range f.population.Programs() {
		record, err := f.tenants.Create(p.Tenant, p.Country, p.Currency, time.Now())
		if err != nil {
			return err
		}
		owners = append(owners, keys.OwnerOf(record.StorageID))
	}
	if err := errors.Join(f.cardKeys.EnsureOwners(ctx, owners...), f.lakeKeys.EnsureOwners(ctx, owners...)); err != nil {
		return err
	}
	if _, err := os.Stat(f.Grants()); errors.Is(err, fs.ErrNotExist) {
		if err := grants.Init(f.Grants(), f.tenants); err != nil {
			return err
		}
	}
	return f.saveState()
}

// isPast reports whether the present run is the one that fills the folder with the past.
func (f *folder) isPast() bool { return f.state.Days > 0 && !f.state.Finished }

// span is how much of the past that run fills.
func (f *folder) span() time.Duration { return time.Duration(f.state.Days) * 24 * time.Hour }

// runConfig is the pace of the present run, and where its calendar begins.
func (f *folder) runConfig(o options) sim.RunConfig {
	cfg := sim.RunConfig{Rate: o.tps}
	if f.isPast() {
		cfg.Start = f.state.Begun.Add(-f.span())
		// The networks send some messages twice, and the past must not end in the future.
		cfg.Speed = .99 * f.span().Seconds() * o.tps / float64(o.transactions)
	}
	return cfg
}

// aim sets the run's target: an interrupted run keeps its own, a new one goes on from what
// was sent.
func (f *folder) aim(sent, transactions uint64) error {
	if f.state.Target > sent && !f.state.Finished {
		return nil
	}
	if f.state.Finished || f.state.Target == 0 {
		f.state.Target = sent + transactions
	} else {
		f.state.Target = sent // it was interrupted between its last answer and its check
	}
	f.state.Finished = false
	return f.saveState()
}

// openKeyring opens a keyring, which it creates in a new folder only: where a lake is
// already, a keyring that is missing is missed.
func openKeyring(isNew bool, path, secret string, purposes []keys.Purpose) (*local.Keyring, error) {
	k, err := local.OpenFile(path, secret)
	if isNew && errors.Is(err, local.ErrMissing) {
		return local.CreateFile(path, secret, purposes)
	}
	if errors.Is(err, local.ErrMissing) {
		return nil, fmt.Errorf("%w: put it back; without it what the folder holds cannot be read", err)
	}
	return k, err
}

func (f *folder) statePath() string { return filepath.Join(string(f.Dir), "demo.json") }

// loadState reads the state and reports whether the folder is new.
func (f *folder) loadState() (isNew bool, err error) {
	text, err := os.ReadFile(f.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(f.Catalog()); err == nil {
			return false, fmt.Errorf("folder %s has a lake and no demo.json: it is not the demo's; give another -dir", f.Dir)
		}
		return true, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &f.state)
	}
	if err != nil {
		return false, fmt.Errorf("read the folder's state: %w", err)
	}
	return false, nil
}

// saveState replaces the state file atomically.
func (f *folder) saveState() error {
	text, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return err
	}
	tmp := f.statePath() + ".tmp"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("save the folder's state: %w", err)
	}
	if err := os.Rename(tmp, f.statePath()); err != nil {
		return fmt.Errorf("save the folder's state: %w", err)
	}
	return nil
}

// takeLock makes sure that no other process writes the folder. The lock goes with the process.
func (f *folder) takeLock() error {
	lock, err := os.OpenFile(f.Lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock folder: %w (give another folder with -dir)", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("folder %s is in use by another cardlake-demo: stop it, or give another -dir", f.Dir)
		}
		return fmt.Errorf("lock folder: %w", err)
	}
	f.lock = lock
	return nil
}

func (f *folder) close() { f.lock.Close() }

// minFree is how much free space the demo stops at, before any part of it meets a full disk.
const minFree = 64 << 20

// errDiskFull stops the demo.
var errDiskFull = errors.New("disk full")

// watchDisk returns errDiskFull when the folder's file system has less than need free, and
// nil when ctx ends.
func (f *folder) watchDisk(ctx context.Context, need uint64) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var fs unix.Statfs_t
		if err := unix.Statfs(string(f.Dir), &fs); err == nil {
			if free := fs.Bavail * uint64(fs.Bsize); free < need {
				return fmt.Errorf("%w: %d MiB are free where %s lies, the demo needs %d: free some and run it again, it goes on where it was", errDiskFull, free>>20, f.Dir, need>>20)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
