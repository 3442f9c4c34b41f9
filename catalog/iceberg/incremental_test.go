package iceberg

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
)

// TestPyIcebergIncremental lets PyIceberg's incremental scan find what was appended between two
// snapshots, over manifests that were merged and files that were replaced meanwhile.
// CARDLAKE_PYTHON names a Python that has pyiceberg[sql-sqlite] 0.12 or later.
func TestPyIcebergIncremental(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		t.Skip("CARDLAKE_PYTHON is not set")
	}
	dir := t.TempDir()
	db := filepath.Join(dir, "catalog.db")
	const commits = 150
	c, err := Open(t.Context(), Config{DB: db, Objects: plainStore{dir}, Location: "file://" + dir, History: 2 * commits})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tbl := mustTable(t, c, cardlake.Transactions)
	var rows, ids [commits]int64
	for n := range commits {
		a := window(n, 3)
		for _, f := range a.Files {
			rows[n] += f.Rows
		}
		mustAppend(t, tbl, a)
		s, err := tbl.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ids[n] = s.ID; n%50 != 40 {
			continue
		}
		files, err := tbl.Files(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		r := catalog.Replace{Operation: catalog.OpReplace}
		merged := cardlake.DataFile{}
		for _, f := range files {
			if f.Tenant == files[0].Tenant && f.Day == files[0].Day && len(r.Remove) < 10 {
				f.Rows += merged.Rows
				merged = f
				r.Remove = append(r.Remove, f.Name)
			}
		}
		merged.Name = fmt.Sprintf("data/merged-%d.parquet", n)
		r.Add = []cardlake.DataFile{merged}
		if _, err := tbl.Replace(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	const script = `
import sys
from pyiceberg.catalog.sql import SqlCatalog
table = SqlCatalog("cardlake", uri="sqlite:///" + sys.argv[1], warehouse="file://" + sys.argv[2]).load_table("cards.transactions")
for pair in sys.argv[3:]:
    since, until = map(int, pair.split(":"))
    scan = table.incremental_append_scan(from_snapshot_id_exclusive=since, to_snapshot_id_inclusive=until)
    print(sum(task.file.record_count for task in scan.plan_files()))
`
	args, want := []string{"-c", script, db, dir}, ""
	for _, p := range [][2]int{{0, commits - 1}, {20, 70}, {39, 42}, {89, 120}, {140, commits - 1}} {
		n := int64(0)
		for _, r := range rows[p[0]+1 : p[1]+1] {
			n += r
		}
		args, want = append(args, fmt.Sprintf("%d:%d", ids[p[0]], ids[p[1]])), want+fmt.Sprintln(n)
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strings.TrimSpace(want) {
		t.Errorf("PyIceberg counts\n%s%v\nwant\n%s", out, err, want)
	}
}
