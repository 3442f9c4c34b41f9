package ingest_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/writers/objects"
)

// A card number that a producer left in a free text is masked before the row is added, and
// counted by tenant and field.
func TestFreeTextsAreCleaned(t *testing.T) {
	const placeholder, number = "0000000000000000", "4111111111111111"
	l := newLake(t, 1)
	for n := range 3 {
		m := l.message(n, 1)
		m.MerchantName, m.MerchantID, m.TerminalID = "PAGO "+placeholder+" SA", "000123456789012", "T1"
		if n == 1 {
			m.MerchantCity = placeholder
		}
		// The encoder masks card numbers, so one takes the place of what it does not mask.
		l.stream.append(0, bytes.ReplaceAll(l.encode(m), []byte(placeholder), []byte(number)))
	}
	w := l.worker(ingest.Config{WindowRows: 3, Now: func() time.Time { return now }})
	l.runUntil(w, l.caughtUp)
	l.checkOnce(3)

	at := func(n int64) cardlake.Position {
		p := slices.Collect(func(yield func(cardlake.StreamPartition) bool) {
			for p := range l.stream.ends() {
				yield(p)
			}
		})
		return cardlake.Position{StreamPartition: p[0], Offset: n}
	}
	want := []ingest.Removal{
		{Tenant: testTenant, Field: "merchant_city", Count: 1, First: now, Last: now, FirstAt: at(1)},
		{Tenant: testTenant, Field: "merchant_name", Count: 3, First: now, Last: now, FirstAt: at(0)},
	}
	if diff := cmp.Diff(want, w.Stats().Removals); diff != "" {
		t.Error(diff)
	}
	logs := l.logs.String()
	if got := strings.Count(logs, "card numbers where none may be"); got != 2 || !strings.Contains(logs, "tenant=aurora-pay field=merchant_name numbers=1") {
		t.Errorf("%d reports in the log:\n%s", got, logs)
	}
	if strings.Contains(logs, number) {
		t.Error("the log holds the number")
	}
	for _, f := range l.transactions.files() {
		body, err := objects.ReadAll(context.Background(), l.store, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := parquet.Read[struct {
			Name string `parquet:"merchant_name"`
			City string `parquet:"merchant_city"`
			ID   string `parquet:"merchant_id"`
		}](bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.Name != "PAGO **************** SA" || row.ID != "000123456789012" || row.City != "" && row.City != "****************" {
				t.Errorf("%+v", row)
			}
		}
		if bytes.Contains(body, []byte(number)) {
			t.Error("the file holds the number")
		}
	}
}
