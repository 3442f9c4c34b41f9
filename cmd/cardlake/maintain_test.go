package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// newMaintained makes a lake of two files of 20 rows for each of three tenants.
func newMaintained(t *testing.T) home.Dir {
	t.Helper()
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := local.OpenFile(dir.LakeKeyring(), dir.LakeSecret())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range tenants.All() {
		if err := ring.EnsureOwners(t.Context(), keys.OwnerOf(r.StorageID)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := openToWrite(t.Context(), []string{"-dir", string(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	table, err := l.Table(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	writer, rows := writers.New(l.Store, tenants, writers.Config{}), writerstest.New(1)
	at := func(n int64) cardlake.Positions {
		if n == 0 {
			return nil
		}
		return cardlake.Positions{{Stream: "cards"}: {Next: n}}
	}
	for n := range int64(2) {
		w := writer.Open()
		for _, r := range tenants.All() {
			for range 20 {
				tx := rows.Next()
				tx.Tenant = r.Name
				if err := w.Add(tx); err != nil {
					t.Fatal(err)
				}
			}
		}
		files, err := w.Flush(t.Context(), at(n*60), at(n*60+60))
		if err == nil {
			_, err = table.Append(t.Context(), catalog.Append{Files: files, From: at(n * 60), To: at(n*60 + 60)})
		}
		if err != nil {
			t.Fatal(err)
		}
		w.Release()
	}
	return dir
}

// maintain runs "cardlake maintain" in the folder.
func maintain(t *testing.T, dir home.Dir, command string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return commandOf(t, append([]string{"maintain", command, "-dir", string(dir)}, args...)...)
}

func commandOf(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, nil, &out, &errs)
	return out.String(), errs.String(), code
}

// numbersOf are those that a command with -format json gives of cards.transactions.
func numbersOf(t *testing.T, stdout string) map[string]int64 {
	t.Helper()
	var all []outcome
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	for _, o := range all {
		if o.Table == "cards.transactions" {
			return o.Numbers
		}
	}
	t.Fatalf("cards.transactions is not in %s", stdout)
	return nil
}

// countOf is what queries see of the table.
func countOf(t *testing.T, dir home.Dir) string {
	t.Helper()
	out, errs, code := commandOf(t, "query", "-dir", string(dir), "-format", "csv", "SELECT count(*), count(DISTINCT event_id), sum(amount) FROM cards.transactions")
	if code != 0 {
		t.Fatal(errs)
	}
	return out
}

func TestMaintain(t *testing.T) {
	dir := newMaintained(t)
	before := countOf(t, dir)
	status := func() health {
		t.Helper()
		out, errs, code := maintain(t, dir, "status", "-settle", "0", "-format", "json", "-table", "cards.transactions")
		var all []health
		if code != 0 || json.Unmarshal([]byte(out), &all) != nil || len(all) != 1 {
			t.Fatalf("status: exit code %d, %s, %s", code, out, errs)
		}
		return all[0]
	}
	if h := status(); h.Files != 6 || h.Partitions != 3 || h.Most.Files != 2 || h.Jobs != 3 || h.Rows != 120 {
		t.Errorf("status before: %+v", h)
	}
	out, errs, code := maintain(t, dir, "compact", "-settle", "0", "-dry-run", "-format", "json")
	if n := numbersOf(t, out); code != 0 || n["jobs"] != 3 || n["files_in"] != 6 {
		t.Errorf("dry run: exit code %d, %v, %s", code, n, errs)
	}
	if h := status(); h.Files != 6 {
		t.Errorf("a dry run merged: %+v", h)
	}
	out, errs, code = maintain(t, dir, "compact", "-settle", "0", "-tenant", "aurora", "-format", "json")
	if n := numbersOf(t, out); code != 0 || n["jobs"] != 1 || n["files_in"] != 2 || n["files_out"] != 1 || n["rows"] != 40 {
		t.Errorf("one tenant: exit code %d, %v, %s", code, n, errs)
	}
	out, errs, code = maintain(t, dir, "compact", "-settle", "0")
	if want := "merged 4 files"; code != 0 || !strings.Contains(out, want) {
		t.Errorf("compact: exit code %d, %s, want one with %q; %s", code, out, want, errs)
	}
	if h := status(); h.Files != 3 || h.Jobs != 0 || h.Snapshots < 4 {
		t.Errorf("status after: %+v", h)
	}
	if got := countOf(t, dir); got != before {
		t.Errorf("compaction changed the table: %s, before %s", got, before)
	}
	time.Sleep(2 * time.Millisecond) // snapshots have times of a millisecond
	expire := []string{"-older", "1ms", "-keep-last", "1", "-grace", "0"}
	out, errs, code = maintain(t, dir, "expire", append(expire, "-dry-run", "-format", "json")...)
	if n := numbersOf(t, out); code != 0 || n["snapshots"] == 0 || n["data_files"] != 6 {
		t.Errorf("expire, dry run: exit code %d, %v, %s", code, n, errs)
	}
	out, errs, code = maintain(t, dir, "expire", append(expire, "-format", "json")...)
	if n := numbersOf(t, out); code != 0 || n["snapshots"] == 0 || n["data_files"] != 6 {
		t.Errorf("expire: exit code %d, %v, %s", code, n, errs)
	}
	if h := status(); h.Snapshots != 1 {
		t.Errorf("status after expiry: %+v", h)
	}
	for _, c := range []string{"orphans", "manifests"} {
		if out, errs, code := maintain(t, dir, c); code != 0 || !strings.Contains(out, "cards.transactions") {
			t.Errorf("%s: exit code %d, %s, %s", c, code, out, errs)
		}
	}
	if got := countOf(t, dir); got != before {
		t.Errorf("maintenance changed the table: %s, before %s", got, before)
	}
	lines := recordOf(t, dir)
	for _, action := range []string{"maintain.status", "maintain.compact.plan", "maintain.compact", "maintain.compact.done", "maintain.expire.done", "maintain.orphans.done", "maintain.manifests.done"} {
		if !strings.Contains(lines, action+" cards.transactions allowed operator/local") {
			t.Errorf("%s is not on record in\n%s", action, lines)
		}
	}
	if !strings.Contains(lines, "maintain.compact cards.transactions of tenant aurora allowed") {
		t.Error("the tenant is not on record")
	}
}

// recordOf is the lake's audit log, a line each.
func recordOf(t *testing.T, dir home.Dir) string {
	t.Helper()
	var lines strings.Builder
	for e, err := range audit.Read(t.Context(), dir.Audit("lake"), audit.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		lines.WriteString(strings.Join([]string{e.Action, e.Resource, string(e.Outcome), e.Actor, e.Reason}, " ") + "\n")
	}
	return lines.String()
}

// TestMaintainIsPermitted: who may not maintain does nothing, on the record.
func TestMaintainIsPermitted(t *testing.T) {
	dir := newMaintained(t)
	for _, command := range []string{"status", "compact", "expire", "orphans", "manifests", "run"} {
		out, errs, code := maintain(t, dir, command, "-as", "data_scientist/local")
		if code != 2 || out != "" || !strings.Contains(errs, "not permitted") {
			t.Errorf("%s: exit code %d, %q, %q", command, code, out, errs)
		}
		if lines := recordOf(t, dir); !strings.Contains(lines, "maintain."+command+" lake refused data_scientist/local") || strings.Contains(lines, "maintain."+command+" cards") {
			t.Errorf("%s: on record is\n%s", command, lines)
		}
	}
	// Nothing is done that cannot be recorded.
	if _, errs, code := maintain(t, dir, "compact", "-audit", filepath.Join(string(dir), "tenants.json")); code != 2 {
		t.Errorf("without a record: exit code %d, %s", code, errs)
	}
	if out, _, _ := maintain(t, dir, "status", "-format", "json", "-table", "cards.transactions"); !strings.Contains(out, `"files": 6`) {
		t.Errorf("something was done: %s", out)
	}
}

func TestMaintainFlags(t *testing.T) {
	dir := home.Dir(t.TempDir())
	for want, args := range map[string][]string{
		"usage: cardlake maintain COMMAND":   {},
		"there is no command \"sweep\"":      {"sweep"},
		"there is no table \"cards.x\"":      {"compact", "-table", "cards.x"},
		"-width is at least 2":               {"compact", "-width", "1"},
		"-age is at least 24h":               {"orphans", "-age", "1h"},
		"-older is positive":                 {"expire", "-older", "0"},
		"unknown format":                     {"status", "-format", "xml"},
		"takes no arguments":                 {"manifests", "x"},
		"-compact-every is negative":         {"run", "-compact-every", "-1s"},
		"there is no lake in " + string(dir): {"compact", "-dir", string(dir)},
	} {
		out, errs, code := commandOf(t, append([]string{"maintain"}, args...)...)
		if code != 2 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %q, %.300q, want %q", args, code, out, errs, want)
		}
	}
}
