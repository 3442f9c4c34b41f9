package quality_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/quality"
)

// TestHistory: reports are kept by rule set and target, many writers do not disturb each other,
// and a line that a crash cut off spoils none but itself.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	h := quality.NewHistory(filepath.Join(dir, "deep"))
	if got, err := h.Reports("r", "t", 5); err != nil || len(got) != 0 {
		t.Fatal(got, err)
	}
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 5 {
				if err := quality.NewHistory(filepath.Join(dir, "deep")).Append(&quality.Report{Ruleset: "r", Target: "t", Score: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if err := h.Append(&quality.Report{Ruleset: "r", Target: "other"}); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Reports("r", "t", 100); err != nil || len(got) != 40 {
		t.Fatal(len(got), err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "deep", "*.jsonl"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"Ruleset":"r","Tar`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Append(&quality.Report{Ruleset: "r", Target: "t", Score: 0.5}); err != nil {
		t.Fatal(err)
	}
	got, err := h.Reports("r", "t", 2)
	if err != nil || len(got) != 2 || got[1].Score != 0.5 || got[0].Score != 1 {
		t.Fatal(got, err)
	}
}

func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	q := quality.NewQuarantine(dir)
	day := time.Date(2026, 3, 15, 0, 0, 0, 0, time.UTC)
	mark := quality.Mark{At: day, Table: "cards.transactions", Tenant: "acme", Day: day, By: "operator/a", Ruleset: "r", Reason: "RowCount > 0"}
	is := func(table, tenant string, d time.Time) bool {
		return quality.NewQuarantine(dir).Quarantined(table, cardlake.Tenant(tenant), d) // as another process asks
	}
	if is("cards.transactions", "acme", day) {
		t.Error("quarantined before it was")
	}
	if err := q.Mark(mark); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		table, tenant string
		day           time.Time
		want          bool
	}{
		{"cards.transactions", "acme", day.Add(5 * time.Hour), true},
		{"cards.transactions", "acme", day.AddDate(0, 0, 1), false},
		{"cards.control_totals", "acme", day, false},
		{"cards.transactions", "other", day, false},
	} {
		if got := is(tc.table, tc.tenant, tc.day); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
	other := mark
	other.Day = time.Time{}
	other.Reason = "by mistake"
	if err := q.Release(other); !errors.Is(err, quality.ErrNotQuarantined) {
		t.Errorf("released what was not marked: %v", err)
	}
	if err := q.Release(quality.Mark{Table: mark.Table, Tenant: mark.Tenant, Day: day, By: "operator/b"}); err == nil {
		t.Error("released without a reason")
	}
	mark.Reason = "looked at it"
	if err := q.Release(mark); err != nil {
		t.Fatal(err)
	}
	if is("cards.transactions", "acme", day) {
		t.Error("quarantined after its release")
	}
	whole := quality.Mark{At: day, Table: "cards.transactions", By: "operator/a", Reason: "all of it"}
	if err := q.Mark(whole); err != nil {
		t.Fatal(err)
	}
	if !q.Quarantined("cards.transactions", "anybody", day) {
		t.Error("a mark of the whole table does not hold for a partition")
	}
	marks, err := q.Marks()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]quality.Mark{whole}, marks); diff != "" {
		t.Error(diff)
	}
	// What cannot be read is in quarantine, as far as anybody knows.
	if err := os.WriteFile(filepath.Join(dir, "quarantine.jsonl"), []byte("{\"Table\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !q.Quarantined("cards.other", "x", day) {
		t.Error("a damaged quarantine lets everything pass")
	}
}
