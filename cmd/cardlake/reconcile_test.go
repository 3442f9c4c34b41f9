package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/reconcile"
	"github.com/cardlake/cardlake/writers/parquet"
)

// countLake adds the control totals of the rows that makeLake has made, one for each row, but
// for the rows of the first file from the given one on.
func countLake(t *testing.T, dir home.Dir, files, rows, first int) {
	t.Helper()
	l, err := openToWrite(t.Context(), []string{"-dir", string(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	encoder := parquet.NewEncoder(cardlake.ControlTotals, parquet.Config{})
	var made []cardlake.DataFile
	for i := range files {
		b := cardlake.NewTotalsBatch()
		tenant := queriestest.Tenants[i%len(queriestest.Tenants)]
		exponent, _ := tenant.Currency.Exponent()
		minor := int64(1)
		for range exponent {
			minor *= 10
		}
		for r := range rows {
			if i == 0 && r >= first {
				continue
			}
			n := int64(i*rows + r)
			at := queriestest.Epoch.Add(time.Duration(r) * 24 * time.Hour / time.Duration(rows)).Truncate(time.Minute).UnixMicro()
			c := cardlake.ControlTotal{
				Region: "local", Processor: "aaaaaaaaaaaaaaaa", Tenant: tenant.Name, Minute: at, Events: 1,
				Amount:         cardlake.Money{Minor: (n%1000 + 1) * minor, Currency: tenant.Currency},
				ApprovedAmount: cardlake.Money{Currency: tenant.Currency},
				FirstSequence:  int64(r + 1), LastSequence: int64(r + 1), EmittedAt: at + 75_000_000, IngestedAt: at + 76_000_000,
				Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "transactions"}, Offset: 1000 + n},
			}
			if n%10 != 3 {
				c.Approved, c.ApprovedAmount = 1, c.Amount
			}
			if err := b.Append(&c); err != nil {
				t.Fatal(err)
			}
		}
		rec, err := b.Record()
		if err != nil {
			t.Fatal(err)
		}
		body, splits, err := encoder.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		file := cardlake.DataFile{
			Name: fmt.Sprintf("data/control_totals/%d.parquet", i), Tenant: tenant.Name, Day: cardlake.DayOf(queriestest.Epoch.UnixMicro()),
			Rows: int64(b.Len()), Bytes: int64(len(body)), SplitOffsets: splits,
		}
		file.MinTime, file.MaxTime = b.TimeRange()
		if err := l.Store.Put(t.Context(), file.Name, testOwner, body); err != nil {
			t.Fatal(err)
		}
		made = append(made, file)
	}
	table, err := l.Table(t.Context(), cardlake.ControlTotals)
	if err != nil {
		t.Fatal(err)
	}
	to := cardlake.Positions{{Stream: "transactions"}: {Next: 10_000}}
	if _, err := table.Append(t.Context(), catalog.Append{Files: made, To: to}); err != nil {
		t.Fatal(err)
	}
}

func TestReconcile(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 3, 10); err != nil {
		t.Fatal(err)
	}
	ask := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		args = append([]string{"reconcile", "-dir", string(dir)}, args...)
		if got := run(t.Context(), args, nil, &out, &errs); got != code {
			t.Errorf("%q: exit code %d, want %d; stderr: %s", args[3:], got, code, errs.String())
		}
		return out.String(), errs.String()
	}

	// Nothing was counted yet: wrong if it is final, and else only unconfirmed.
	if out, errs := ask(1, "-tenant", "aurora", "-list", "1"); !strings.Contains(out, "no total counts 1 row\n") ||
		!strings.HasPrefix(errs, "(9 more are not listed: see -list)\n(wrong as of 20") {
		t.Errorf("without totals:\n%s%s", out, errs)
	}
	ask(3, "-grace", "1000000h")

	countLake(t, dir, 3, 10, 8)
	out, errs := ask(1)
	const want = `tenant   complete  unconfirmed  late  wrong  gaps  rows  counted
───────  ────────  ───────────  ────  ─────  ────  ────  ───────
aurora          8            0     0      2     0    10        8
bolivar        10            0     0      0     0    10       10
cobre          10            0     0      0     0    10       10

tenant  minute                status  rows  counted  what
──────  ────────────────────  ──────  ────  ───────  ─────────────────────
aurora  2026-03-01T19:12:00Z  wrong      1        0  no total counts 1 row
aurora  2026-03-01T21:36:00Z  wrong      1        0  no total counts 1 row
`
	if diff := cmp.Diff(want, out); diff != "" || !strings.HasPrefix(errs, "(wrong as of 20") {
		t.Errorf("stderr %s; report (-want +got):\n%s", errs, diff)
	}
	if out, errs := ask(0, "-tenant", "bolivar", "-format", "json"); errs != "" {
		t.Errorf("JSON: stderr %s", errs)
	} else {
		var r struct {
			Status  string
			Tenants []reconcile.Tenant
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.Status != "complete" || len(r.Tenants) != 1 || r.Tenants[0].Complete != 10 {
			t.Errorf("JSON: %v, %s", err, out)
		}
	}
	ask(0, "-until", "2026-03-01T19:12:00Z")
	ask(1, "-since", "2026-03-01T19:12:00Z")
	ask(0, "-since", "1h")

	for _, args := range [][]string{
		{"-since", "yesterday"}, {"-until", "-1h"}, {"-since", "1h", "-until", "2h"}, {"-tenant", "A"}, {"-format", "csv"}, {"-grace", "0s"},
		{"-list", "0"}, {"-memory", "0"}, {"extra"}, {"-nonsense"},
	} {
		if out, errs := ask(2, args...); out != "" || !strings.Contains(errs, "usage: cardlake reconcile [flags]") {
			t.Errorf("%q: %s%s", args, out, errs)
		}
	}
	ask(0, "-h")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"reconcile", "-dir", string(dir)}, nil, &stdout, &stderr); code != 2 || stderr.String() != "cardlake: interrupted\n" {
		t.Errorf("interrupted: exit code %d, stderr %q: 1 would mean that rows are wrong", code, stderr.String())
	}
}
