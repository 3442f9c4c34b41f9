package cardlake_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
)

func controlTotal() *cardlake.ControlTotal {
	const minute = 1_772_000_040_000_000
	return &cardlake.ControlTotal{
		Region: "south", Processor: "abcdefghijklmnop", Tenant: "aurora", Minute: minute, Events: 5, Approved: 3,
		Amount: cardlake.Money{Minor: 12_345, Currency: "MXN"}, ApprovedAmount: cardlake.Money{Minor: -45, Currency: "MXN"},
		FirstSequence: 8, LastSequence: 12, EmittedAt: minute + 1, IngestedAt: minute + 2,
		Position: cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "events", Partition: 7}, Offset: 99},
	}
}

func TestTotalsBatch(t *testing.T) {
	b := cardlake.NewTotalsBatch()
	rec := mustRecord(t, b)
	for i, f := range cardlake.ArrowSchema(cardlake.ControlTotals).Fields() {
		dt := rec.Schema().Field(i).Type
		if d, ok := dt.(*arrow.DictionaryType); ok {
			dt = d.ValueType
		}
		if got := rec.Schema().Field(i); got.Name != f.Name || got.Nullable || !arrow.TypeEqual(dt, f.Type) {
			t.Errorf("column %d is %v", i, got)
		}
	}
	later, earlier := controlTotal(), controlTotal()
	later.Minute += 60_000_000
	earlier.Tenant, earlier.FirstSequence, earlier.LastSequence = "bolivar", 1, 5
	for _, total := range []*cardlake.ControlTotal{later, earlier} {
		if err := b.Append(total); err != nil {
			t.Fatal(err)
		}
	}
	rec = mustRecord(t, b)
	for row, want := range []string{
		"bolivar 2026-02-25T06:14:00Z south abcdefghijklmnop MXN 5 3 123.45 -0.45 1 5 2026-02-25T06:14:00.000001Z 2026-02-25T06:14:00.000002Z events 7 99",
		"aurora 2026-02-25T06:15:00Z south abcdefghijklmnop MXN 5 3 123.45 -0.45 8 12 2026-02-25T06:14:00.000001Z 2026-02-25T06:14:00.000002Z events 7 99",
	} {
		var cells []string
		for _, c := range cardlake.ControlTotals.Columns {
			cells = append(cells, text(rec, c.Name, row))
		}
		if got := strings.Join(cells, " "); got != want {
			t.Errorf("row %d is\n%s, want\n%s", row, got, want)
		}
	}
	if from, to := b.TimeRange(); b.Len() != 2 || from != earlier.Minute || to != later.Minute {
		t.Errorf("%d rows from %d to %d", b.Len(), from, to)
	}
	b.Reset()
	if b.Len() != 0 || mustRecord(t, b).NumRows() != 0 {
		t.Error("rows are left after Reset")
	}
}

func TestTotalsBatchRefuses(t *testing.T) {
	b := cardlake.NewTotalsBatch()
	for i, c := range []struct {
		column string
		change func(*cardlake.ControlTotal)
	}{
		{"tenant", func(c *cardlake.ControlTotal) { c.Tenant = "" }},
		{"region", func(c *cardlake.ControlTotal) { c.Region = strings.Repeat("r", 33) }},
		{"processor", func(c *cardlake.ControlTotal) { c.Processor = "\xff" }},
		{"stream", func(c *cardlake.ControlTotal) { c.Position.Stream = "" }},
		{"amount", func(c *cardlake.ControlTotal) { c.Amount.Currency = "XXX" }},
		{"amount", func(c *cardlake.ControlTotal) { c.Amount.Minor = 1 << 60 }},
		{"approved_amount", func(c *cardlake.ControlTotal) { c.ApprovedAmount.Minor = 1 << 60 }},
		{"approved_amount", func(c *cardlake.ControlTotal) { c.ApprovedAmount.Currency = "CLP" }},
		{"minute", func(c *cardlake.ControlTotal) { c.Minute++ }},
		{"minute", func(c *cardlake.ControlTotal) { c.Minute = 0 }},
		{"emitted_at", func(c *cardlake.ControlTotal) { c.EmittedAt = 0 }},
		{"ingested_at", func(c *cardlake.ControlTotal) { c.IngestedAt = 0 }},
		{"events", func(c *cardlake.ControlTotal) { c.Events = 0 }},
		{"approved_events", func(c *cardlake.ControlTotal) { c.Approved = 6 }},
		{"first_sequence", func(c *cardlake.ControlTotal) { c.FirstSequence, c.LastSequence = 0, 4 }},
		{"last_sequence", func(c *cardlake.ControlTotal) { c.LastSequence++ }},
	} {
		total := controlTotal()
		c.change(total)
		if err := b.Append(total); !errors.Is(err, cardlake.ErrField) || !strings.HasPrefix(err.Error(), fmt.Sprintf("invalid field: %s:", c.column)) {
			t.Errorf("case %d: error %v, want one of column %s", i, err, c.column)
		}
	}
	if b.Len() != 0 || b.Bytes() != 0 {
		t.Errorf("refused rows left %d rows, %d bytes", b.Len(), b.Bytes())
	}
}
