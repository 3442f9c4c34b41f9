package export_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/queries/export"
)

// TestRefusalsAreOnRecord: whoever reaches for another's export or schedule leaves a line.
func TestRefusalsAreOnRecord(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	j, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	sc, err := w.Plan(t.Context(), ana, plain(export.CSV), "daily", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"export.cancel":            func() error { _, err := w.Cancel(t.Context(), eve, j.ID); return err },
		"export.schedule, pause":   func() error { _, err := w.SetPaused(t.Context(), eve, sc.ID, true); return err },
		"export.schedule, removal": func() error { return w.Remove(t.Context(), eve, sc.ID) },
	} {
		before := len(w.log.Records())
		wantFault(t, do(), export.NotFound, "of yours")
		records := w.log.Records()[before:]
		action, _, _ := strings.Cut(name, ",")
		if len(records) != 1 || records[0].Action != action || records[0].Outcome != audit.Refused || records[0].Actor != eve.Principal.String() {
			t.Errorf("%s: %+v", name, records)
		}
	}
}

// TestTenantsAreNotTold: who may not change how a tenant exports is told the same of one that is
// there and of one that is not. TestExportsTellNothingOfTenants of package doors is of exports.
func TestTenantsAreNotTold(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	for _, tenant := range []cardlake.Tenant{"aurora", "nemo"} {
		_, err := w.SetWebhook(t.Context(), ana, tenant, "https://example.com/hook")
		wantFault(t, err, export.Refused, "only who may change")
	}
}

// TestCardNumbersAreNotKept: the statement is kept with the job and in the manifest.
func TestCardNumbersAreNotKept(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	for _, number := range []string{"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"} {
		r := export.Request{SQL: "SELECT tenant FROM cards.transactions WHERE customer_id = '" + number + "'", Format: export.CSV}
		_, _, err := w.Start(t.Context(), ana, r)
		wantFault(t, err, export.Invalid, "could be a card's")
		k := plain(export.CSV)
		k.Key = strings.ReplaceAll(number, " ", "")
		_, _, err = w.Start(t.Context(), ana, k)
		wantFault(t, err, export.Invalid, "could be a card's")
	}
	list, err := w.List(t.Context(), ana)
	text, _ := json.Marshal(list)
	if err != nil || strings.Contains(string(text), "4111") {
		t.Errorf("%s %v", text, err)
	}
}
