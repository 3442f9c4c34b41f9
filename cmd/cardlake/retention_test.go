package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/retention"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// keptLake makes a lake of tenant acme with grants, and returns a customer of it.
func keptLake(t *testing.T) (dir home.Dir, customer string) {
	t.Helper()
	dir = home.Dir(t.TempDir())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	must(dir.Make())
	tenants, err := catalog.OpenTenants(dir.Tenants())
	must(err)
	r, err := tenants.Create("acme", "AR", "ARS", time.Now())
	must(err)
	keyring, err := local.CreateFile(dir.LakeKeyring(), dir.LakeSecret(), keys.LakePurposes)
	must(err)
	must(keyring.EnsureOwners(ctx, keys.Lake, keys.OwnerOf(r.StorageID)))
	must(grants.Init(dir.Grants(), tenants))
	store := objects.NewSealed(dir.Objects(), keyring, objects.SealedConfig{})
	c, err := iceberg.Open(ctx, iceberg.Config{DB: dir.Catalog(), Objects: store})
	must(err)
	defer c.Close()
	table, err := c.Table(ctx, cardlake.Transactions)
	must(err)
	window := writers.New(store, tenants, writers.Config{}).Open()
	for _, tx := range writerstest.New(1).Take(100) {
		customer = tx.CustomerID
		must(window.Add(tx))
	}
	to := cardlake.Positions{{Stream: "cards"}: {Next: 100}}
	files, err := window.Flush(ctx, cardlake.Positions{}, to)
	must(err)
	_, err = table.Append(ctx, catalog.Append{Files: files, To: to})
	must(err)
	return dir, customer
}

func TestRetentionCommands(t *testing.T) {
	dir, customer := keptLake(t)
	t.Setenv("CARDLAKE_DIR", string(dir))
	t.Setenv("CARDLAKE_AS", "")
	var out, errs bytes.Buffer
	do := func(command func(context.Context, []string) error, args ...string) error {
		out.Reset()
		errs.Reset()
		return command(t.Context(), args)
	}
	plan := func(ctx context.Context, args []string) error { return retentionCommand(ctx, args, &out, &errs) }
	erase := func(ctx context.Context, args []string) error {
		return erasePerson(ctx, args, strings.NewReader(customer+"\n"), &out, &errs)
	}
	holds := func(ctx context.Context, args []string) error {
		return changeHolds(ctx, args, strings.NewReader(customer), &out, &errs)
	}

	for name, err := range map[string]error{
		"no command":        do(plan),
		"unknown command":   do(plan, "all"),
		"no tenant":         do(erase),
		"customer argument": do(erase, "-tenant", "acme", customer),
		"no case":           do(holds, "add", "-tenant", "acme", "-why", "x"),
		"no reason":         do(holds, "release", "-id", "x"),
	} {
		if !errors.Is(err, errUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(errs.String(), customer) {
		t.Error("a customer in the wrong place is repeated")
	}
	for _, err := range []error{
		do(plan, "plan", "-as", "auditor/local"), do(erase, "-tenant", "acme", "-as", "data_scientist/local"), do(holds, "list", "-as", "tenant_analyst/analyst@acme"),
	} {
		if !errors.Is(err, queries.ErrNotPermitted) {
			t.Errorf("not permitted: %v", err)
		}
	}

	if err := do(plan, "plan", "-format", "json"); err != nil {
		t.Fatal(err)
	}
	var p retention.Plan
	if err := json.Unmarshal(out.Bytes(), &p); err != nil || len(p.Due) != 0 || p.StreamKeeps != 7*24*time.Hour {
		t.Errorf("plan %s: %v", out.String(), err)
	}
	if err := do(plan, "plan"); err != nil || !strings.Contains(out.String(), "retention.ms of a Kafka topic: at most 604800000") {
		t.Errorf("%v: %s", err, out.String())
	}

	if err := do(erase, "-tenant", "acme", "-dry-run"); err != nil || !strings.Contains(out.String(), "would be anonymised") {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := do(holds, "add", "-tenant", "acme", "-customer-file", "-", "-case", "17/2026", "-why", "court order"); err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(out.String())
	if text, err := os.ReadFile(dir.Retention()); err != nil || bytes.Contains(text, []byte(customer)) || !bytes.Contains(text, []byte(id)) {
		t.Errorf("the policy is %s, %v", text, err)
	}
	cards := filepath.Join(t.TempDir(), "cards")
	if err := do(erase, "-tenant", "acme", "-grace", "0s"); !errors.Is(err, retention.ErrHeld) {
		t.Errorf("held: %v", err)
	}
	if err := do(holds, "list"); err != nil || !strings.Contains(out.String(), id) || !strings.Contains(out.String(), "operator/local") {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := do(holds, "release", "-id", "hold-x", "-why", "closed"); err == nil {
		t.Error("a hold is released that is not there")
	}
	if err := do(holds, "release", "-id", id, "-why", "closed"); err != nil {
		t.Error(err)
	}
	if err := do(erase, "-tenant", "acme", "-grace", "0s", "-cards", cards); err != nil || !strings.Contains(out.String(), "1 cards in 1 files") {
		t.Fatalf("%v: %s", err, out.String())
	}
	info, err := os.Stat(cards)
	if text, _ := os.ReadFile(cards); err != nil || info.Mode().Perm() != 0o600 || !bytes.HasPrefix(text, []byte("tk1_")) || bytes.Count(text, []byte("\n")) != 1 {
		t.Errorf("cards %q, %v", text, err)
	}
	if err := do(erase, "-tenant", "acme", "-grace", "0s", "-cards", cards); err == nil {
		t.Error("a file of cards is written over")
	}
	if err := do(erase, "-tenant", "acme", "-grace", "0s", "-format", "json"); err != nil || !strings.Contains(out.String(), `"rows": 0`) {
		t.Errorf("%v: %s", err, out.String())
	}

	log := recorded(t, dir)
	for _, want := range []string{"retention.plan", "erase.look", "hold.add", "hold.release", "erase.done"} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not on record:\n%s", want, log)
		}
	}
	if strings.Contains(log, customer) {
		t.Error("the customer is on record")
	}
}

func TestReadCustomer(t *testing.T) {
	for text, want := range map[string]string{"cu-1\n": "cu-1", "cu-1\r\n": "cu-1", "cu 1": "cu 1", "": "", "\n": "", "a\nb\n": ""} {
		got, err := readCustomer("-", strings.NewReader(text))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "a\nb") {
			t.Error("the error repeats the text")
		}
	}
}
