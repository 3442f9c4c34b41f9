package iceberg

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// alter replaces the table's metadata by what change makes of it, as another engine does.
func alter(t *testing.T, tbl *Table, change func(map[string]any)) {
	t.Helper()
	location, err := tbl.cat.pointers.load(t.Context(), tbl.def)
	if err != nil {
		t.Fatal(err)
	}
	body, err := tbl.cat.read(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		t.Fatal(err)
	}
	change(members)
	if body, err = json.MarshalIndent(members, "", "  "); err != nil {
		t.Fatal(err)
	}
	name := tbl.metadataName(1)
	if err := tbl.cat.put(t.Context(), blob{name, body}); err != nil {
		t.Fatal(err)
	}
	if o, err := tbl.cat.pointers.swap(t.Context(), tbl.def, location, tbl.cat.locations.uri(name)); o != swapped {
		t.Fatal(o, err)
	}
}

func members(t *testing.T, tbl *Table) map[string]any {
	t.Helper()
	var out map[string]any
	alter(t, tbl, func(m map[string]any) { out = m })
	return out
}

// TestCommitsKeepWhatTheyDoNotKnow puts members into the metadata that this package has
// never heard of.
func TestCommitsKeepWhatTheyDoNotKnow(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	first := mustAppend(t, tbl, window(0, 1))
	statistics := func(id int64) map[string]any {
		return map[string]any{"snapshot-id": json.Number(fmt.Sprint(id)), "statistics-path": "cardlake://lake/s",
			"file-size-in-bytes": json.Number("1"), "file-footer-size-in-bytes": json.Number("1"), "blob-metadata": []any{}}
	}
	alter(t, tbl, func(m map[string]any) {
		m["of-the-future"] = map[string]any{"a": []any{json.Number("1"), "<&>"}}
		m["properties"].(map[string]any)["someone's"] = "own"
		m["refs"].(map[string]any)["main"].(map[string]any)["min-snapshots-to-keep"] = json.Number("5")
		m["snapshots"].([]any)[0].(map[string]any)["of-the-future"] = "too"
		m["statistics"] = []any{statistics(first.ID)}
	})
	before := members(t, tbl)
	second := mustAppend(t, tbl, window(1, 1))
	after := members(t, tbl)
	for name, want := range before {
		switch name {
		case "last-sequence-number", "last-updated-ms", "current-snapshot-id", "metadata-log":
			continue
		case "refs":
			want.(map[string]any)["main"].(map[string]any)["snapshot-id"] = json.Number(fmt.Sprint(second.ID))
		case "snapshots", "snapshot-log":
			after[name] = after[name].([]any)[:1]
		}
		if diff := gocmp.Diff(want, after[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestReferencesKeepSnapshots drops history around a branch and a tag.
func TestReferencesKeepSnapshots(t *testing.T) {
	store := newStore()
	c, err := Open(t.Context(), Config{DB: t.TempDir() + "/catalog.db", Objects: store, History: 5, Grace: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tbl := mustTable(t, c, cardlake.Transactions)
	var ids []int64
	for n := range 4 {
		ids = append(ids, mustAppend(t, tbl, window(n, 2)).ID)
	}
	alter(t, tbl, func(m map[string]any) {
		refs := m["refs"].(map[string]any)
		refs["audit"] = map[string]any{"snapshot-id": json.Number(fmt.Sprint(ids[1])), "type": "tag"}
		refs["work"] = map[string]any{"snapshot-id": json.Number(fmt.Sprint(ids[3])), "type": "branch"}
		m["partition-statistics"] = []any{
			map[string]any{"snapshot-id": json.Number(fmt.Sprint(ids[0])), "statistics-path": "a", "file-size-in-bytes": json.Number("1")},
		}
	})
	for n := 4; n < 30; n++ {
		mustAppend(t, tbl, window(n, 2))
	}
	v, err := tbl.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The branch's ancestors, the first of which the tag is on, and the newest five.
	if n := len(v.doc.snapshots); n != 4+5 {
		t.Errorf("%d snapshots are kept, want 9", n)
	}
	for i, id := range ids {
		if files := mustFiles(t, tbl, id); len(files) != 2*(i+1) {
			t.Errorf("snapshot %d has %d files", i, len(files))
		}
	}
	alter(t, tbl, func(m map[string]any) {
		delete(m["refs"].(map[string]any), "work")
	})
	for n := 30; n < 40; n++ {
		mustAppend(t, tbl, window(n, 2))
	}
	if v, err = tbl.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(v.doc.snapshots); n != 1+5 {
		t.Errorf("without the branch %d snapshots are kept, want 6", n)
	}
	if len(v.doc.statistics[1]) != 0 {
		t.Error("statistics of a snapshot that is gone are kept")
	}
	if files := mustFiles(t, tbl, ids[1]); len(files) != 4 {
		t.Errorf("the tagged snapshot has %d files", len(files))
	}
	for _, s := range v.doc.snapshots {
		mustFiles(t, &Table{cat: c, def: tbl.def}, s.ID)
	}
	loadForeign(t, tbl) // is still valid
}

// TestGrace keeps superseded objects for as long as a reader may need them.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		c, err := Open(t.Context(), Config{DB: t.TempDir() + "/catalog.db", Objects: store, History: 3, Grace: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		tbl := mustTable(t, c, cardlake.Transactions)
		for n := range 40 {
			mustAppend(t, tbl, window(n, 1))
		}
		if n := store.count("/snap-"); n != 40 {
			t.Errorf("%d manifest lists are left of 40 within the time of grace", n)
		}
		time.Sleep(10*time.Minute - time.Second)
		mustAppend(t, tbl, window(40, 1))
		if n := store.count("/snap-"); n != 41 {
			t.Errorf("%d manifest lists are left of 41 within the time of grace", n)
		}
		time.Sleep(time.Second)
		for n := 41; n < 45; n++ {
			mustAppend(t, tbl, window(n, 1))
		}
		// The last three, and those of the last five commits that had left the history.
		if n := store.count("/snap-"); n != 3+5 {
			t.Errorf("%d manifest lists are left after it, want 8", n)
		}
		v, err := tbl.load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		for _, s := range v.doc.snapshots {
			list, err := s.list(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				used[m.path] = true
			}
		}
		if n := store.count("-m"); n > len(used)+mergeWidth {
			t.Errorf("%d manifests are left, %d are in use", n, len(used))
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestHistoryOfManyPartitions keeps metadata small although each snapshot is large.
func TestHistoryOfManyPartitions(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	positions := func(n int64) cardlake.Positions {
		p := cardlake.Positions{}
		for i := range int32(4000) {
			p[cardlake.StreamPartition{Stream: "s", Partition: i}] = cardlake.Offset{Next: n, Mark: fmt.Sprintf("%056d", n)}
		}
		p[cardlake.StreamPartition{Stream: "s"}] = cardlake.Offset{Next: n}
		return p
	}
	mustAppend(t, tbl, catalog.Append{To: positions(1)})
	for n := range int64(30) {
		a := rangeAppend(0, n+1, n+2)
		mustAppend(t, tbl, a)
	}
	kept, err := mustTable(t, mustOpen(t, db, store), cardlake.Transactions).Snapshots(t.Context())
	if err != nil || len(kept) != historyLeast+1 {
		t.Fatalf("%d snapshots are kept, %v, want %d", len(kept), err, historyLeast+1)
	}
	for i, s := range kept {
		if n := s.Positions[cardlake.StreamPartition{Stream: "s"}].Next; len(s.Positions) != 4000 || n != int64(31-historyLeast+i) {
			t.Errorf("snapshot %d has %d positions, the first at %d", i, len(s.Positions), n)
		}
	}
}

// TestClockGoesBack commits under a clock that is behind the table.
func TestClockGoesBack(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	mustAppend(t, tbl, window(0, 1))
	future := time.Now().Add(time.Hour).UnixMilli()
	alter(t, tbl, func(m map[string]any) { m["last-updated-ms"] = json.Number(fmt.Sprint(future)) })
	s := mustAppend(t, tbl, window(1, 1))
	if s.CommittedAt.UnixMilli() != future {
		t.Errorf("committed at %v", s.CommittedAt)
	}
	mustAppend(t, tbl, window(2, 1))
	loadForeign(t, tbl)
}

// TestReadersShareWhatIsEqual reads a newer version: only what is new in it is parsed.
func TestReadersShareWhatIsEqual(t *testing.T) {
	tbl, store, db := newTable(t, cardlake.Transactions)
	for n := range 5 {
		mustAppend(t, tbl, window(n, 1))
	}
	reader := mustTable(t, mustOpen(t, db, store), cardlake.Transactions)
	before, err := reader.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, tbl, window(5, 1))
	after, err := reader.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.doc.layout != after.doc.layout || !slices.Equal(before.doc.snapshots, after.doc.snapshots[:5]) {
		t.Error("a reader parses all again")
	}
}

func TestMetadataThatIsRefused(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"format version": func(m map[string]any) { m["format-version"] = json.Number("3"); m["next-row-id"] = json.Number("0") },
		"current":        func(m map[string]any) { m["current-snapshot-id"] = json.Number("5") },
		"snapshot":       func(m map[string]any) { m["snapshots"].([]any)[0].(map[string]any)["manifest-list"] = "" },
		"no snapshot id": func(m map[string]any) { delete(m["snapshots"].([]any)[0].(map[string]any), "snapshot-id") },
		"no spec":        func(m map[string]any) { m["default-spec-id"] = json.Number("9") },
		"sequence":       func(m map[string]any) { m["last-sequence-number"] = "one" },
	} {
		t.Run(name, func(t *testing.T) {
			tbl, store, db := newTable(t, cardlake.Transactions)
			mustAppend(t, tbl, window(0, 1))
			alter(t, tbl, change)
			if _, err := mustOpen(t, db, store).Table(t.Context(), cardlake.Transactions); err == nil {
				t.Error("the table is opened")
			}
			if _, err := tbl.Append(t.Context(), window(1, 1)); err == nil {
				t.Error("the table takes an append")
			}
		})
	}
}

// FuzzMetadata parses anything: no panic, and what is parsed encodes to the same.
func FuzzMetadata(f *testing.F) {
	meta, err := newMetadata(cardlake.Rejected, "cardlake://lake/")
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(meta)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(strings.Replace(string(text), "{", `{"statistics":[{"snapshot-id":1}],"refs":{"main":{"snapshot-id":7,"type":"branch"}},"current-snapshot-id":7,"snapshots":[`+
		`{"snapshot-id":7,"sequence-number":1,"timestamp-ms":1,"manifest-list":"l","summary":{"operation":"append","cardlake.positions":"{}"}}],`, 1))
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := parseDocument([]byte(text), cardlake.Rejected, nil)
		if err != nil {
			return
		}
		_, _ = doc.positions()
		body, err := doc.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDocument(body, cardlake.Rejected, nil)
		if err != nil {
			t.Fatal(err, string(body))
		}
		if len(again.snapshots) != len(doc.snapshots) || (again.current == nil) != (doc.current == nil) || string(again.source) != string(doc.source) {
			t.Error("the metadata changed")
		}
	})
}
