package saved_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/api/saved"
	"github.com/cardlake/cardlake/catalog/grants"
)

var (
	ana = grants.Principal{Kind: grants.TenantAnalyst, Name: "ana"}
	bea = grants.Principal{Kind: grants.TenantAnalyst, Name: "bea"}
	at  = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
)

func open(t *testing.T, dir string) *saved.Store {
	t.Helper()
	s, err := saved.Open(t.Context(), dir, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func recorded(saved.View) error { return nil }

var declines = saved.View{Name: "Declines of São Paulo", Page: "declines", Query: "range=7d&country=BR"}

// TestStore: a view is kept, replaced and removed, across processes, for its owner alone.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir), open(t, dir)
	kept, err := s.Save(t.Context(), ana, declines, recorded)
	if err != nil {
		t.Fatal(err)
	}
	want := declines
	want.ID, want.CreatedAt = kept.ID, at
	if len(kept.ID) != 32 {
		t.Errorf("id %q", kept.ID)
	}
	list := func(owner grants.Principal) []saved.View {
		t.Helper()
		views, err := other.List(t.Context(), owner)
		if err != nil {
			t.Fatal(err)
		}
		return views
	}
	if d := cmp.Diff([]saved.View{want}, list(ana)); d != "" {
		t.Error(d)
	}
	// bea neither sees nor changes nor removes it.
	if got := list(bea); len(got) != 0 {
		t.Errorf("%v", got)
	}
	theirs := want
	theirs.Name = "taken"
	if _, err := other.Save(t.Context(), bea, theirs, recorded); !errors.Is(err, saved.ErrNotFound) {
		t.Errorf("replaced by another: %v", err)
	}
	if err := other.Remove(t.Context(), bea, want.ID, func() error { return nil }); !errors.Is(err, saved.ErrNotFound) {
		t.Errorf("removed by another: %v", err)
	}
	if d := cmp.Diff([]saved.View{want}, list(ana)); d != "" {
		t.Error(d)
	}

	want.Name = "Declines"
	if got, err := other.Save(t.Context(), ana, want, recorded); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	// What is not on record does not happen.
	unrecorded := errors.New("no record")
	next := want
	next.Name = "other"
	if _, err := s.Save(t.Context(), ana, next, func(saved.View) error { return unrecorded }); !errors.Is(err, unrecorded) {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), ana, want.ID, func() error { return unrecorded }); !errors.Is(err, unrecorded) {
		t.Error(err)
	}
	if d := cmp.Diff([]saved.View{want}, list(ana)); d != "" {
		t.Error(d)
	}
	if err := s.Remove(t.Context(), ana, want.ID, func() error { return nil }); err != nil || len(list(ana)) != 0 {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), ana, want.ID, func() error { return nil }); !errors.Is(err, saved.ErrNotFound) {
		t.Error(err)
	}
}

// TestBound: as many as may save at once, and one owner has no more than MaxViews.
func TestBound(t *testing.T) {
	dir := t.TempDir()
	stores := []*saved.Store{open(t, dir), open(t, dir)}
	var full atomic.Int64
	var all sync.WaitGroup
	for i, s := range stores {
		all.Go(func() {
			for n := range saved.MaxViews/2 + 5 {
				v := declines
				v.Name = fmt.Sprint(i, " ", n)
				switch _, err := s.Save(context.Background(), ana, v, recorded); {
				case errors.Is(err, saved.ErrFull):
					full.Add(1)
				case err != nil:
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	views, err := stores[0].List(t.Context(), ana)
	if err != nil || len(views) != saved.MaxViews || full.Load() != 10 {
		t.Errorf("%d views, %d refused, %v", len(views), full.Load(), err)
	}
	if _, err := stores[1].Save(t.Context(), bea, declines, recorded); err != nil {
		t.Errorf("another owner: %v", err)
	}
}

func TestValidate(t *testing.T) {
	const pan = "4111111111111111"
	for field, v := range map[string]saved.View{
		"name must be":      {Name: " ", Page: "cards"},
		"name must be ":     {Name: "a\nb", Page: "cards"},
		"name must be  ":    {Name: strings.Repeat("ã", 81), Page: "cards"},
		"name must not":     {Name: "card 4111 1111 1111 1111", Page: "cards"},
		"page must be":      {Name: "a"},
		"page must be ":     {Name: "a", Page: "../cards"},
		"query must be":     {Name: "a", Page: "cards", Query: "a=%zz"},
		"query must be ":    {Name: "a", Page: "cards", Query: "a=" + strings.Repeat("b", 1999)},
		"query must be  ":   {Name: "a", Page: "cards", Query: "a=b c"},
		"query must not":    {Name: "a", Page: "cards", Query: "text=" + pan},
		"query must not ":   {Name: "a", Page: "cards", Query: "text=%34111111111%3111111"},
		"query must not  ":  {Name: "a", Page: "cards", Query: "text=4111+1111+1111+1111"},
		"query must not   ": {Name: "a", Page: "cards", Query: pan + "=1"},
		"query must not h":  {Name: "a", Page: "cards", Query: "LAST4=1111"},
		"query must not ho": {Name: "a", Page: "cards", Query: "bin=411111"},
	} {
		err := v.Validate()
		if !errors.Is(err, saved.ErrView) || !strings.HasPrefix(err.Error(), strings.TrimSpace(field)) || strings.Contains(err.Error(), "1111") {
			t.Errorf("%+v: %v", v, err)
		}
	}
	for _, v := range []saved.View{declines, {Name: strings.Repeat("ã", 80), Page: "cards"}, {Name: "a", Page: "sql", Query: "range=2026-10-01..2026-11-23&card=tk1_abc"}} {
		if err := v.Validate(); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
}
