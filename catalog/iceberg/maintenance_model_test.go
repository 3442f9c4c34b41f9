package iceberg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go/table"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
)

var discard = slog.New(slog.DiscardHandler)

// model is what a table should have in it, kept beside the table by a test that commits at
// random, with a fault at a random operation.
type model struct {
	t      *testing.T
	random *rand.Rand
	world  *faulty
	tbl    *Table
	number int // of files, so far

	state
	snapshots map[int64]state // as of each snapshot
	history   int
	isFaulty  bool
}

// state is what can be seen of a version.
type state struct {
	live map[string]cardlake.DataFile
	next int64
}

func (s state) clone() state { return state{maps.Clone(s.live), s.next} }

var modelPartition = cardlake.StreamPartition{Stream: "s"}

func newModel(t *testing.T, seed uint64, isFaulty bool) *model {
	m := &model{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), world: newFaulty(), history: 6, isFaulty: isFaulty,
		state: state{live: map[string]cardlake.DataFile{}}, snapshots: map[int64]state{},
	}
	m.tbl = m.world.open(t, m.history)
	return m
}

// file makes a data file and its object.
func (m *model) file(tenant cardlake.Tenant, day int, rows int64) cardlake.DataFile {
	m.number++
	at := noon + int64(day)*86_400_000_000
	f := cardlake.DataFile{
		Name:   fmt.Sprintf("data/transactions/%s/%04d.parquet", tenant, m.number),
		Tenant: tenant, Day: cardlake.DayOf(at), Rows: rows, Bytes: rows * 7, MinTime: at, MaxTime: at + 1,
	}
	if err := m.world.memoryStore.Put(m.t.Context(), f.Name, keys.Lake, []byte(f.Name)); err != nil {
		m.t.Fatal(err)
	}
	return f
}

func (m *model) randomFile() cardlake.DataFile {
	return m.file(cardlake.Tenant("tenant-"+string(rune('a'+m.random.IntN(3)))), m.random.IntN(2), 1+m.random.Int64N(100))
}

// append returns an append and the state after it.
func (m *model) append() (catalog.Append, state) {
	after := m.clone()
	a := catalog.Append{
		From: cardlake.Positions{modelPartition: {Next: m.next}}, To: cardlake.Positions{modelPartition: {Next: m.next + 10}},
	}
	for range m.random.IntN(4) {
		f := m.randomFile()
		a.Files = append(a.Files, f)
		after.live[f.Name] = f
	}
	after.next += 10
	return a, after
}

// replace returns a replace of some files of a partition, or ok false if there are none.
func (m *model) replace() (r catalog.Replace, after state, ok bool) {
	after = m.clone()
	byPartition := map[partition][]cardlake.DataFile{}
	for _, name := range slices.Sorted(maps.Keys(m.live)) {
		f := m.live[name]
		byPartition[partitionOf(f)] = append(byPartition[partitionOf(f)], f)
	}
	if len(byPartition) == 0 {
		return r, after, false
	}
	all := slices.SortedFunc(maps.Keys(byPartition), func(a, b partition) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for range 1 + m.random.IntN(2) {
		files := byPartition[all[m.random.IntN(len(all))]]
		if slices.Contains(r.Remove, files[0].Name) {
			continue
		}
		files = files[:1+m.random.IntN(len(files))]
		rows := int64(0)
		for _, f := range files {
			r.Remove = append(r.Remove, f.Name)
			delete(after.live, f.Name)
			rows += f.Rows
		}
		if r.Operation == "" {
			r.Operation = []catalog.Operation{catalog.OpReplace, catalog.OpReplace, catalog.OpOverwrite, catalog.OpDelete}[m.random.IntN(4)]
		}
		day := int(files[0].Day - cardlake.DayOf(noon))
		switch r.Operation {
		case catalog.OpDelete:
			continue
		case catalog.OpOverwrite:
			rows = max(1, rows/2)
		}
		f := m.file(files[0].Tenant, day, rows)
		r.Add = append(r.Add, f)
		after.live[f.Name] = f
	}
	return r, after, true
}

// step does something, with a fault in it, and compares.
func (m *model) step() {
	before, after := m.clone(), m.clone()
	var do func(context.Context) error
	var doomed []string
	mustBeGone := false
	switch n := m.random.IntN(20); {
	case n < 8:
		var a catalog.Append
		a, after = m.append()
		do = func(ctx context.Context) error { _, err := m.tbl.Append(ctx, a); return err }
	case n < 14:
		r, replaced, ok := m.replace()
		if !ok {
			return
		}
		after = replaced
		do = func(ctx context.Context) error { _, err := m.tbl.Replace(ctx, r); return err }
	case n < 15:
		do = func(context.Context) error {
			err := regroup(m.t, m.tbl, 4)
			if errors.Is(err, errInOrder) {
				return nil
			}
			return err
		}
	case n < 18:
		e := Expiry{Grace: -1, KeepLast: m.random.IntN(4)}
		if m.random.IntN(2) == 0 {
			e.Before = time.Now().Add(time.Second)
		}
		if named, err := m.tbl.NamedFiles(m.t.Context()); m.random.IntN(2) == 0 && err == nil {
			for _, f := range named {
				if _, isLive := m.live[f.Name]; !isLive && m.random.IntN(3) == 0 {
					e.Names = append(e.Names, f.Name)
				}
			}
			doomed = e.Names
		}
		if e.Before.IsZero() && e.KeepLast == 0 && len(e.Names) == 0 {
			e.KeepLast = 1
		}
		do = func(ctx context.Context) error {
			_, err := m.tbl.Expire(ctx, e)
			if errors.Is(err, ErrNamed) {
				doomed = nil
				return nil
			}
			mustBeGone = err == nil
			return err
		}
	case n < 19 && m.isFaulty:
		after = m.rollback()
		before = after.clone()
		m.state = after
		do = func(context.Context) error { return nil }
	default:
		if !m.isFaulty {
			return
		}
		do = func(ctx context.Context) error {
			var errs []error
			for _, err := range m.tbl.Orphans(ctx, OrphanConfig{Age: 1, Force: true, Delete: true}) {
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		}
	}
	kind := noFault
	if m.isFaulty {
		kind = faultKind(m.random.IntN(int(faultKinds)))
		m.world.arm(kind, 1+m.random.IntN(14), func() { // files only: positions do not conflict
			f := m.randomFile()
			if _, err := m.world.open(m.t, m.history).Append(m.t.Context(), catalog.Append{Files: []cardlake.DataFile{f}}); err != nil {
				m.t.Error("an append meanwhile: ", err)
			}
			before.live[f.Name], after.live[f.Name] = f, f
		})
	}
	err := do(m.t.Context())
	m.world.mu.Lock()
	isDead := m.world.isDead
	m.world.mu.Unlock()
	m.world.arm(noFault, 0, nil)
	if isDead || m.random.IntN(5) == 0 {
		m.tbl = m.world.open(m.t, m.history)
	}
	switch {
	case err == nil:
		m.state = after
	case isDead || errors.Is(err, catalog.ErrUnknown):
		m.state = before
		p, err := m.tbl.Positions(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		if m.names(0) == list(after.live) && p[modelPartition].Next == after.next {
			m.state = after
		}
	default:
		m.state = before
	}
	if mustBeGone {
		for _, name := range doomed {
			if m.world.count(name) > 0 && kind == noFault {
				m.t.Errorf("%s is still there", name)
			}
		}
	}
	m.compare(mustBeGone, doomed)
}

// rollback makes an older snapshot current, as another engine does.
func (m *model) rollback() state {
	snapshots, err := m.tbl.Snapshots(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if len(snapshots) == 0 {
		return m.clone()
	}
	to := snapshots[m.random.IntN(len(snapshots))]
	refs(m.t, m.tbl, table.NewSetSnapshotRefUpdate("main", to.ID, table.BranchRef, 0, 0, 0))
	if m.random.IntN(3) == 0 {
		refs(m.t, m.tbl, table.NewSetSnapshotRefUpdate("kept", snapshots[0].ID, table.TagRef, 0, 0, 0))
	}
	return m.snapshots[to.ID].clone()
}

// refs changes branches and tags, as another engine does.
func refs(t *testing.T, tbl *Table, updates ...table.Update) {
	t.Helper()
	if _, _, err := (foreign{t.Context(), tbl}).CommitTable(t.Context(), table.Identifier{tbl.def.Namespace, tbl.def.Name}, nil, updates); err != nil {
		t.Fatal(err)
	}
}

func list(files map[string]cardlake.DataFile) string {
	return strings.Join(slices.Sorted(maps.Keys(files)), "\n")
}

// names are the files of a snapshot.
func (m *model) names(snapshot int64) string {
	files := mustFiles(m.t, m.tbl, snapshot)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	return strings.Join(names, "\n")
}

// compare compares all snapshots of the table with the model.
func (m *model) compare(mustBeGone bool, doomed []string) {
	m.t.Helper()
	v, err := m.tbl.load(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if diff := gocmp.Diff(list(m.live), m.names(0)); diff != "" {
		m.t.Fatalf("live files (-want +got):\n%s", diff)
	}
	if p, err := m.tbl.Positions(m.t.Context()); err != nil || p[modelPartition].Next != m.next {
		m.t.Fatalf("positions are %v, %v, want %d", p, err, m.next)
	}
	if s := v.doc.current; s != nil {
		var rows, size int64
		for _, f := range m.live {
			rows += f.Rows
			size += f.Bytes
		}
		want := map[string]int64{"total-records": rows, "total-data-files": int64(len(m.live)), "total-files-size": size}
		for key, n := range want {
			if got, ok := s.total(key); !ok || got != n {
				m.t.Fatalf("%s is %d, want %d", key, got, n)
			}
		}
		if _, ok := m.snapshots[s.ID]; !ok {
			m.snapshots[s.ID] = m.clone()
		}
	}
	for _, s := range v.doc.snapshots {
		want, ok := m.snapshots[s.ID]
		if !ok {
			// One that was made by an append meanwhile.
			want = state{live: map[string]cardlake.DataFile{}}
			for _, f := range mustFiles(m.t, m.tbl, s.ID) {
				want.live[f.Name] = f
			}
			p, err := s.own()
			if err != nil {
				m.t.Fatal(err)
			}
			want.next = p[modelPartition].Next
			m.snapshots[s.ID] = want
		}
		if diff := gocmp.Diff(list(want.live), m.names(s.ID)); diff != "" {
			m.t.Fatalf("files of snapshot %d (-want +got):\n%s", s.ID, diff)
		}
		for name := range want.live {
			if _, ok := m.world.objects[name]; !ok {
				m.t.Fatalf("%s, which a snapshot names, was deleted", name)
			}
			if mustBeGone && slices.Contains(doomed, name) {
				m.t.Fatalf("%s must be gone, and a snapshot names it", name)
			}
		}
	}
}

// checkForeign compares what iceberg-go reads with the model.
func (m *model) checkForeign() {
	m.t.Helper()
	tasks, err := loadForeign(m.t, m.tbl).Scan().PlanFiles(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	got := map[string]cardlake.DataFile{}
	var rows, want int64
	for _, task := range tasks {
		name, err := m.tbl.cat.locations.object(task.File.FilePath())
		if err != nil {
			m.t.Fatal(err)
		}
		got[name] = cardlake.DataFile{}
		rows += task.File.Count()
	}
	for _, f := range m.live {
		want += f.Rows
	}
	if diff := gocmp.Diff(list(m.live), list(got)); diff != "" || len(tasks) != len(got) || rows != want {
		m.t.Fatalf("iceberg-go reads %d rows, want %d; files (-want +got):\n%s", rows, want, diff)
	}
}

// TestMaintenanceModel commits, replaces, expires, rolls back and removes orphans at random,
// with a fault or a crash at a random operation of the store or the pointers.
func TestMaintenanceModel(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed, true)
			for range 60 {
				m.step()
			}
			m.checkForeign()
			m.tbl = m.world.open(t, m.history)
			if v, err := m.tbl.load(t.Context()); err != nil {
				t.Fatal(err)
			} else if v.doc.refs["kept"] != nil {
				refs(t, m.tbl, table.NewRemoveSnapshotRefUpdate("kept"))
			}
			if _, err := m.tbl.Expire(t.Context(), Expiry{KeepLast: 1, Before: time.Now().Add(time.Minute), Grace: -1}); err != nil {
				t.Fatal(err)
			}
			m.compare(false, nil)
			for info, err := range m.tbl.Orphans(t.Context(), OrphanConfig{Age: 1, Force: true, Delete: true}) {
				if err != nil {
					t.Fatal(info.Name, err)
				}
			}
			m.compare(false, nil)
			m.checkForeign()
			if diff := gocmp.Diff(list(m.live), strings.Join(m.world.names("data/"), "\n")); diff != "" {
				t.Errorf("data objects (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingIsForgotten: without faults every file that was replaced is deleted by Expire,
// however many appends dropped snapshots before.
func TestNothingIsForgotten(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed, false)
			for range 120 {
				m.step()
			}
			if _, err := m.tbl.Expire(t.Context(), Expiry{KeepLast: 1, Grace: -1}); err != nil {
				t.Fatal(err)
			}
			m.compare(false, nil)
			if diff := gocmp.Diff(list(m.live), strings.Join(m.world.names("data/"), "\n")); diff != "" {
				t.Errorf("data objects (-want +got):\n%s", diff)
			}
		})
	}
}
