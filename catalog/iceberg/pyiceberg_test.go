package iceberg

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/apache/iceberg-go/table"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// plainStore keeps objects as they are in files, as another engine can read them.
type plainStore struct{ root string }

func (s plainStore) path(name string) string { return filepath.Join(s.root, name) }

func (s plainStore) Put(_ context.Context, name string, _ keys.Owner, body []byte) error {
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o700); err != nil {
		return err
	}
	return os.WriteFile(s.path(name), body, 0o600)
}

func (s plainStore) Open(_ context.Context, name string) (objects.Object, error) {
	f, err := os.Open(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, objects.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return plainObject{f, info}, err
}

func (s plainStore) List(context.Context, string) iter.Seq2[objects.Info, error] {
	return func(func(objects.Info, error) bool) {}
}

func (s plainStore) Delete(_ context.Context, name string) error { return os.Remove(s.path(name)) }

type plainObject struct {
	*os.File
	info fs.FileInfo
}

func (o plainObject) Size() int64 { return o.info.Size() }

// TestPyIceberg lets PyIceberg read a table that went through merges and expiries, and
// commit to it; CARDLAKE_PYTHON names a Python that has pyiceberg[sql-sqlite,pyarrow].
func TestPyIceberg(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		t.Skip("CARDLAKE_PYTHON is not set")
	}
	dir := t.TempDir()
	db := filepath.Join(dir, "catalog.db")
	c, err := Open(t.Context(), Config{DB: db, Objects: plainStore{dir}, Location: "file://" + dir, History: 30})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tbl := mustTable(t, c, cardlake.Transactions)
	const commits, tenants = 600, 3
	var size int64
	for n := range commits {
		a := window(n, tenants)
		for _, f := range a.Files {
			size += f.Bytes
		}
		mustAppend(t, tbl, a)
	}
	current, err := tbl.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := tbl.newest.doc.current.list(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	got := readWithPyIceberg(t, python, db)
	want := map[string]any{
		"tables": []any{"cards.transactions"}, "files": float64(commits * tenants), "rows": float64(current.Rows),
		"bytes": float64(size), "tenant_files": float64(commits), "entries": float64(commits * tenants),
		"manifests": float64(len(list)), "snapshot": float64(current.ID), "snapshots": 30.0,
		"sequence": float64(commits), "statistics": float64(commits * tenants),
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Its commit is neither lost nor in the way.
	for n := commits; n < commits+40; n++ {
		mustAppend(t, tbl, window(n, tenants))
	}
	v, err := tbl.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v.doc.byID(current.ID) == nil || v.doc.refs["seen-by-pyiceberg"] == nil {
		t.Error("the snapshot that PyIceberg tagged has expired")
	}
	if files, err := tbl.Files(t.Context(), current.ID); err != nil || len(files) != commits*tenants {
		t.Errorf("the tagged snapshot has %d files, %v", len(files), err)
	}
}

// readWithPyIceberg returns what testdata/pyiceberg_check.py prints of the table.
func readWithPyIceberg(t *testing.T, python, db string) (got map[string]any) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), python, "testdata/pyiceberg_check.py", "sqlite:///"+db,
		"cards", "transactions", "tenant-1").Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			t.Log(string(exit.Stderr))
		}
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err, string(out))
	}
	return got
}

// TestPyIcebergAfterMaintenance lets PyIceberg read a table of which files were replaced and
// deleted, its manifests rewritten and its snapshots expired.
func TestPyIcebergAfterMaintenance(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		t.Skip("CARDLAKE_PYTHON is not set")
	}
	dir := t.TempDir()
	db := filepath.Join(dir, "catalog.db")
	store := plainStore{dir}
	c, err := Open(t.Context(), Config{DB: db, Objects: store, Location: "file://" + dir})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tbl := mustTable(t, c, cardlake.Transactions)
	for n := range 50 {
		a := window(n, 6)
		putData(t, store, a.Files...)
		mustAppend(t, tbl, a)
	}
	check := func(what string) {
		t.Helper()
		s, err := tbl.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var rows, size int64
		for _, f := range mustFiles(t, tbl, 0) {
			rows += f.Rows
			size += f.Bytes
		}
		want := map[string]any{
			"files": float64(s.Files), "rows": float64(rows), "bytes": float64(size), "snapshot": float64(s.ID),
			"tenant_files": float64(len(ofTenant(t, tbl, "tenant-1"))), "snapshots": float64(len(mustSnapshots(t, tbl))),
			"sequence": float64(s.Sequence), "statistics": float64(s.Files),
		}
		got := readWithPyIceberg(t, python, db)
		for _, key := range []string{"tables", "entries", "manifests"} {
			delete(got, key)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	for _, tenant := range []cardlake.Tenant{"tenant-0", "tenant-1"} {
		mustReplace(t, tbl, compaction(ofTenant(t, tbl, tenant)...))
	}
	check("replaced")
	mustReplace(t, tbl, catalog.Replace{Remove: namesOf(ofTenant(t, tbl, "tenant-2")...), Operation: catalog.OpDelete})
	check("deleted")
	if err := regroup(t, tbl, 20); err != nil {
		t.Fatal(err)
	}
	check("manifests rewritten")
	mustAppend(t, tbl, window(50, 6))
	refs(t, tbl, table.NewRemoveSnapshotRefUpdate("seen-by-pyiceberg"))
	if done := mustExpire(t, tbl, Expiry{KeepLast: 2, Grace: -1}); done.Snapshots != 53 {
		t.Errorf("%+v", done)
	}
	check("expired")
}
