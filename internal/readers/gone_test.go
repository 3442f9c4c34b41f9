package readers

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// maintain runs cardlake maintain as the operator of the starter grants.
func (s *site) maintain(stdin string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(s.bin, "cardlake"),
		slices.Concat([]string{"maintain"}, args, []string{"-as", "operator/local", "-grace", "0s", "-kms-keys", s.kms}, s.flags)...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	if out, err := cmd.Output(); err != nil {
		s.t.Fatalf("maintain %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
}

// TestReadersAfterRemoval erases a person and lets days go in a bucket that keeps versions:
// every reader finds the table as it was otherwise, and no older version is left.
func TestReadersAfterRemoval(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if os.Getenv("CARDLAKE_REAL") != "1" || python == "" {
		t.Skip("CARDLAKE_REAL is not 1, or CARDLAKE_PYTHON names no Python with pyarrow and pyiceberg")
	}
	s := newSite(t, binaries(t), "")
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	lakeKeys, err := local.CreateFile(s.dir.LakeKeyring(), s.dir.LakeSecret(), keys.LakePurposes) // of the audit log
	fatal(err)
	fatal(lakeKeys.EnsureOwners(t.Context(), keys.Lake))
	if out, err := exec.CommandContext(t.Context(), filepath.Join(s.bin, "cardlake"), "grants", "init", "-dir", string(s.dir)).CombinedOutput(); err != nil {
		t.Fatalf("grants init: %v\n%s", err, out)
	}
	s.produce(1200)
	s.work()
	const named = "named"
	asked := questions(s.noon.UnixMicro())
	asked[named] = question{Table: "transactions", Time: "event_time", By: []string{"tenant"}, Present: []string{"customer_id", "last4"}, Distinct: []string{"customer_id"}}
	ask := func() map[string]answers {
		all := s.readers(python, "sqlite:///"+s.dir.Catalog(), asked)
		all["parquet-go"] = s.parquetGo(asked)
		return all
	}
	before := ask()

	// The customer has every 37th card of the first tenant, in rows of several days.
	s.maintain(customerOf(0)+"\n", "erase", "-tenant", string(tenants[0].name))
	erased := ask()
	for _, reader := range slices.Sorted(maps.Keys(erased)) {
		for name := range asked {
			// A token that goes has one successor, so that even the number of cards is as it was.
			if diff := cmp.Diff(before[reader][name], erased[reader][name]); (diff != "") != (name == named) {
				t.Errorf("%s by %s after an erasure (-before +after):\n%s", name, reader, diff)
			}
		}
		if diff := cmp.Diff(erased["parquet-go"], erased[reader]); diff != "" {
			t.Errorf("%s differs from parquet-go:\n%s", reader, diff)
		}
	}
	rows := func(a answers, tenant cardlake.Tenant) (all, naming string) {
		for _, row := range a[named] {
			if row[0] == string(tenant) {
				return row[1], row[2]
			}
		}
		return "", ""
	}
	had, _ := rows(before["pyiceberg"], tenants[0].name)
	if all, left := rows(erased["pyiceberg"], tenants[0].name); all != had || left == had {
		t.Errorf("%s of %s rows name a customer, of %s before", left, all, had)
	}

	// Rows are of yesterday's noon and of up to two days before.
	fatal(os.WriteFile(s.dir.Retention(), []byte(fmt.Sprintf(`{"version": 1, "tables": {"cards.transactions": {"tenants": {%q: 2}}}}`, tenants[1].name)), 0o600))
	s.maintain("", "retention", "enforce")
	kept := ask()
	for _, reader := range slices.Sorted(maps.Keys(kept)) {
		if diff := cmp.Diff(kept["parquet-go"], kept[reader]); diff != "" {
			t.Errorf("%s differs from parquet-go:\n%s", reader, diff)
		}
		for i, tenant := range tenants {
			was, _ := rows(erased[reader], tenant.name)
			if is, _ := rows(kept[reader], tenant.name); (is == was) == (i == 1) {
				t.Errorf("%s finds %s rows of %s, was %s", reader, is, tenant.name, was)
			}
		}
		others := func(a answers) (rows [][]string) {
			for _, row := range a["money"] {
				if row[0] != string(tenants[1].name) {
					rows = append(rows, row)
				}
			}
			return rows
		}
		if diff := cmp.Diff(others(erased[reader]), others(kept[reader])); diff != "" {
			t.Errorf("rows of others changed for %s:\n%s", reader, diff)
		}
	}

	// Of data files the bucket has what the tables' newest snapshots have, and nothing else
	// in the days and of the tenant that something was removed of.
	live := map[string]int{}
	l, err := s.open(t.Context())
	fatal(err)
	defer l.Close()
	table, err := l.Table(t.Context(), cardlake.Transactions)
	fatal(err)
	files, err := table.Files(t.Context(), 0)
	fatal(err)
	for _, f := range files {
		live[string(f.Tenant)]++
	}
	for _, tenant := range tenants[:1] {
		versions, markers := s.service.Versions(s.bucket, prefix+"/data/transactions/"+string(s.owners[tenant.name])+"/")
		if versions != live[string(tenant.name)] || markers != 0 {
			t.Errorf("the bucket has %d versions and %d markers of %d files of %s", versions, markers, live[string(tenant.name)], tenant.name)
		}
	}
}
