package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// appendKept gives a lake of keptLake its 100 rows once more, as rows that come late.
func appendKept(t *testing.T, dir home.Dir) {
	t.Helper()
	ctx := t.Context()
	l, err := openToWrite(ctx, []string{"-dir", string(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	window := writers.New(l.Store, tenants, writers.Config{}).Open()
	for _, tx := range writerstest.New(1).Take(100) {
		if err := window.Add(tx); err != nil {
			t.Fatal(err)
		}
	}
	from, to := cardlake.Positions{{Stream: "cards"}: {Next: 100}}, cardlake.Positions{{Stream: "cards"}: {Next: 200}}
	files, err := window.Flush(ctx, from, to)
	if err != nil {
		t.Fatal(err)
	}
	table, err := l.Table(ctx, cardlake.Transactions)
	if err == nil {
		_, err = table.Append(ctx, catalog.Append{Files: files, From: from, To: to})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// told calls after with each write.
type told struct {
	bytes.Buffer
	after func()
}

func (b *told) Write(text []byte) (int, error) {
	defer b.after()
	return b.Buffer.Write(text)
}

// runUntil runs "maintain run" until what it writes is enough.
func runUntil(t *testing.T, dir home.Dir, isEnough func(stdout, stderr string) bool, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs told
	ended := false
	look := func() {
		if ended = ended || isEnough(out.String(), errs.String()); ended {
			cancel()
		}
	}
	out.after, errs.after = look, look
	if err := maintainRun(ctx, append([]string{"-dir", string(dir), "-grace", "0s"}, args...), &out, &errs); err != nil || !ended {
		t.Fatalf("%v: %s%s", err, &out.Buffer, &errs.Buffer)
	}
	return out.String(), errs.String()
}

// says is enough when the text was written to stdout.
func says(text string) func(string, string) bool {
	return func(stdout, _ string) bool { return strings.Contains(stdout, text) }
}

// TestMaintainRunKeepsToRetention: what came of erased persons goes again, then what is past
// its days, on the record; and none of it stops for another's fault.
func TestMaintainRunKeepsToRetention(t *testing.T) {
	dir, customer := keptLake(t)
	t.Setenv("CARDLAKE_AS", "")
	if err := erasePerson(t.Context(), []string{"-dir", string(dir), "-tenant", "acme", "-grace", "0s"}, strings.NewReader(customer), io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	appendKept(t, dir)
	out, errs := runUntil(t, dir, says("removed 0 rows past their days, erased "))
	if strings.Contains(out, "erased 0 rows") || errs != "" {
		t.Errorf("rows that came late: %s%s", out, errs)
	}
	if log := recordOf(t, dir); !strings.Contains(log, "erase.again.done tenant acme") || !strings.Contains(log, "retention.enforce lake allowed operator/local") {
		t.Errorf("on record is\n%s", log)
	}
	if got := countOf(t, dir); !strings.Contains(got, "\n200,") {
		t.Errorf("the lake has %s, want 200 rows", got)
	}

	// A policy that cannot be read is reported, and the other tasks are done.
	policy := func(text string) {
		t.Helper()
		if err := os.WriteFile(dir.Retention(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	policy("{")
	out, errs = runUntil(t, dir, func(stdout, stderr string) bool {
		_, later, failed := strings.Cut(stdout, "manifests  cards.control_totals")
		return failed && stderr != "" && strings.Contains(later, "compact  cards.transactions ")
	}, "-compact-every", "1ns")
	if !strings.HasPrefix(errs, "cardlake: retention: ") || strings.Contains(out, "  retention  ") {
		t.Errorf("with a broken policy: %s%s", out, errs)
	}

	// Rows go although nobody can be erased again.
	policy(`{"version": 1, "tables": {"cards.transactions": {"days": 30}}}`)
	keysOf, err := filepath.Glob(filepath.Join(string(dir.Objects()), "retention", "*", "key*"))
	if err != nil || len(keysOf) != 1 {
		t.Fatalf("%v, %v", keysOf, err)
	}
	if err := os.WriteFile(keysOf[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs = runUntil(t, dir, says("removed 200 rows past their days, erased 0 rows"))
	if !strings.Contains(errs, "cardlake: retention: erase again: erasures of tenant acme") {
		t.Errorf("%s%s", out, errs)
	}
	if got := countOf(t, dir); !strings.Contains(got, "\n0,") {
		t.Errorf("the lake has %s, want no row", got)
	}
	if log := recordOf(t, dir); !strings.Contains(log, "retention.enforce.done lake allowed operator/local") {
		t.Errorf("on record is\n%s", log)
	}
	// It is of all tables.
	again := func(stdout, _ string) bool { return strings.Count(stdout, "compact  cards.transactions ") == 2 }
	if out, _ := runUntil(t, dir, again, "-table", "cards.transactions", "-compact-every", "1ns"); strings.Contains(out, "  retention  ") {
		t.Errorf("with -table: %s", out)
	}
}

// TestMaintainRunAsksEachTime: who lost the permission enforces no retention.
func TestMaintainRunAsksEachTime(t *testing.T) {
	dir, _ := keptLake(t)
	t.Setenv("CARDLAKE_AS", "")
	var out, errs bytes.Buffer
	fs := flagSet("maintain run", "", "", io.Discard)
	u, k := upkeep{stderr: &errs}, keeping{policy: dir.Retention()}
	u.define(fs)
	if err := fs.Parse([]string{"-dir", string(dir)}); err != nil {
		t.Fatal(err)
	}
	if err := u.complete(fs); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := u.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := u.open(t.Context(), "maintain.run"); err != nil {
		t.Fatal(err)
	}
	lost, err := grants.ParsePrincipal("data_scientist/local")
	if err != nil {
		t.Fatal(err)
	}
	u.door.caller.Principal = lost
	u.keep(t.Context(), &k, &out)
	if out.Len() > 0 || !strings.Contains(errs.String(), "not permitted") {
		t.Errorf("%s%s", &out, &errs)
	}
	if log := recordOf(t, dir); !strings.Contains(log, "retention.enforce lake refused data_scientist/local") || strings.Contains(log, "allowed data_scientist") {
		t.Errorf("on record is\n%s", log)
	}
}
