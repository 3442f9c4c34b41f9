package retention

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// beside is a table that a writer commits to after each look at it.
type beside struct {
	Table
	commit func()
}

func (b beside) Live(ctx context.Context) (catalog.Snapshot, []cardlake.DataFile, error) {
	s, files, err := b.Table.Live(ctx)
	b.commit()
	return s, files, err
}

func (b beside) Named(ctx context.Context) ([]string, error) {
	names, err := b.Table.Named(ctx)
	b.commit()
	return names, err
}

// TestEraseBesideAWriter commits a file of the tenant in every gap of an erasure, files among
// them that were put long ago: none of them is taken for one that was replaced.
func TestEraseBesideAWriter(t *testing.T) {
	l := peopled(t, parquet.Config{})
	commits := 0
	l.wrap = func(t Table) Table {
		return beside{t, func() {
			if commits++; commits <= 20 {
				l.put(l.rowsOf(acme, "2026-03-02", 3, "cu-other", 1)...)
			}
		}}
	}
	// So far ahead that what a writer has just put looks old.
	l.cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := l.keeper().Erase(t.Context(), acme, maria, false); err != nil {
		t.Fatal(err)
	}
	if commits < 4 {
		t.Fatalf("%d commits", commits)
	}
	for _, f := range l.live(cardlake.Transactions) {
		o, err := l.store.Open(t.Context(), f.Name)
		if err != nil {
			t.Errorf("the table names what is gone: %v", err)
			continue
		}
		_ = o.Close()
	}
	if where := l.find(maria); where != nil {
		t.Errorf("the customer is still in %v", where)
	}
}

// TestEraseBesideACompactor replaces a file that an erasure is about to read, and removes it at
// once, as an expiry without grace does.
func TestEraseBesideACompactor(t *testing.T) {
	l := peopled(t, parquet.Config{})
	isMerged := false
	l.wrap = func(table Table) Table {
		return beside{table, func() {
			if isMerged {
				return
			}
			isMerged = true
			r, err := l.tenants.Lookup(acme)
			l.check(err)
			_, files, err := table.Live(t.Context())
			l.check(err)
			for _, f := range files {
				if f.Tenant != acme {
					continue
				}
				body, err := objects.ReadAll(t.Context(), l.store, f.Name)
				l.check(err)
				merged := f
				merged.Name = strings.TrimSuffix(f.Name, ".parquet") + "-merged.parquet"
				l.check(l.store.Put(t.Context(), merged.Name, owner(r), body))
				_, err = table.Replace(t.Context(), catalog.Replace{Operation: catalog.OpReplace, Remove: []string{f.Name}, Add: []cardlake.DataFile{merged}})
				l.check(errors.Join(err, l.store.Delete(t.Context(), f.Name)))
			}
		}}
	}
	if _, err := l.keeper().Erase(t.Context(), acme, maria, false); err != nil {
		t.Fatal(err)
	}
	if where := l.find(maria); where != nil {
		t.Errorf("the customer is still in %v", where)
	}
}

// TestEraseOfALostFile does not go on as if a file that is gone had nobody in it.
func TestEraseOfALostFile(t *testing.T) {
	l := peopled(t, parquet.Config{})
	for _, f := range l.live(cardlake.Transactions) {
		if f.Tenant == acme {
			if err := l.store.Delete(t.Context(), f.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := l.keeper().Erase(t.Context(), acme, maria, false); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("error %v, want that the file is not there", err)
	}
}
