package cardlake

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
)

func TestAuditBatch(t *testing.T) {
	good := AuditEvent{
		Log: "abcdefghijklmnop", Seq: 2, Time: 2_000_000, Actor: "auditor/ana", Action: "query", Outcome: "allowed", Resource: "cards.transactions",
		Rows: 0, Segment: 1, Hash: strings.Repeat("a", 64),
	}
	b := NewAuditBatch()
	for name, change := range map[string]func(*AuditEvent){
		"log":      func(e *AuditEvent) { e.Log = "" },
		"seq":      func(e *AuditEvent) { e.Seq = 0 },
		"time":     func(e *AuditEvent) { e.Time = 0 },
		"actor":    func(e *AuditEvent) { e.Actor = "" },
		"action":   func(e *AuditEvent) { e.Action = "" },
		"outcome":  func(e *AuditEvent) { e.Outcome = "longer than any other" },
		"resource": func(e *AuditEvent) { e.Resource = strings.Repeat("r", 1025) },
		"segment":  func(e *AuditEvent) { e.Segment = 0 },
		"hash":     func(e *AuditEvent) { e.Hash = "" },
		"details":  func(e *AuditEvent) { e.Details = strings.Repeat("d", maxDetails+1) },
		"reason":   func(e *AuditEvent) { e.Reason = "\xff" },
	} {
		e := good
		change(&e)
		if err := b.Append(&e); !errors.Is(err, ErrField) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if b.Len() != 0 {
		t.Fatalf("%d rows of refused events", b.Len())
	}
	early := good
	early.Seq, early.Time, early.Rows, early.Reason = 1, 1_000_000, -1, "why"
	for _, e := range []*AuditEvent{&good, &early} {
		if err := b.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string) int { return rec.Schema().FieldIndices(name)[0] }
	seq, rows := rec.Column(column("seq")).(*array.Int64), rec.Column(column("rows")).(*array.Int64)
	reason, prev := rec.Column(column("reason")).(*array.String), rec.Column(column("prev"))
	if seq.Value(0) != 1 || seq.Value(1) != 2 || !rows.IsNull(0) || rows.IsNull(1) || rows.Value(1) != 0 {
		t.Errorf("seq %v, rows %v", seq, rows)
	}
	if reason.Value(0) != "why" || !reason.IsNull(1) || prev.NullN() != 2 {
		t.Errorf("reason %v, prev %v", reason, prev)
	}
}
