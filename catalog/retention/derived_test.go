package retention

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// putDerived commits a file of a table that jobs write, with a row for each pair of a customer
// and a card; an empty one is NULL, where it may be.
func (l *lake) putDerived(def *cardlake.Table, tenant cardlake.Tenant, day string, people ...[2]string) {
	l.t.Helper()
	var rows []map[string]string
	for _, p := range people {
		rows = append(rows, map[string]string{"customer_id": p[0], "card_token": p[1]})
	}
	l.putTexts(def, tenant, day, rows...)
}

// putTexts commits a file of a table, with a row for each map of texts, by column.
func (l *lake) putTexts(def *cardlake.Table, tenant cardlake.Tenant, day string, rows ...map[string]string) {
	l.t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	l.check(err)
	b := array.NewRecordBuilder(memory.DefaultAllocator, cardlake.ArrowSchema(def))
	defer b.Release()
	for i, text := range rows {
		text["tenant"] = string(tenant)
		for j, c := range def.Columns {
			switch b := b.Field(j).(type) {
			case *array.StringBuilder:
				v, ok := text[c.Name]
				if v == "" && ok && c.Nullable {
					b.AppendNull()
					continue
				}
				if !ok {
					v = fmt.Sprint(c.Name, i)
				}
				b.Append(v)
			case *array.TimestampBuilder:
				b.Append(arrow.Timestamp(at.UnixMicro() + int64(i)))
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(int64(i)))
			case *array.Int64Builder:
				b.Append(int64(i))
			case *array.Int32Builder:
				b.Append(int32(i))
			case *array.BooleanBuilder:
				b.Append(i%2 == 0)
			}
		}
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	body, splits, err := parquet.NewEncoder(def, parquet.Config{RowGroupRows: 3}).Encode(rec)
	l.check(err)
	r, err := l.tenants.Lookup(tenant)
	l.check(err)
	l.offset++
	f := cardlake.DataFile{
		Name:   fmt.Sprintf("%s%s/run-%d-0.parquet", dataPrefix(def, r.StorageID), day, l.offset),
		Tenant: tenant, Day: cardlake.DayOf(at.UnixMicro()), Rows: rec.NumRows(), Bytes: int64(len(body)),
		MinTime: at.UnixMicro(), MaxTime: at.UnixMicro() + rec.NumRows() - 1, SplitOffsets: splits,
	}
	l.check(l.store.Put(l.t.Context(), f.Name, owner(r), body))
	_, err = l.table(def).Append(l.t.Context(), catalog.Append{Files: []cardlake.DataFile{f}})
	l.check(err)
}

// people are the customers and cards of a table's rows, in order of their files.
func (l *lake) people(def *cardlake.Table) (out []string) {
	l.t.Helper()
	for _, f := range l.live(def) {
		body, err := objects.ReadAll(l.t.Context(), l.store, f.Name)
		l.check(err)
		rows := l.read(body)
		if int64(len(rows)) != f.Rows {
			l.t.Errorf("%s has %d rows, the catalog says %d", f.Name, len(rows), f.Rows)
		}
		for _, r := range rows {
			out = append(out, r["tenant"]+" "+r["customer_id"]+" "+r["card_token"]+" "+r[def.Columns[0].Name])
		}
	}
	slices.Sort(out)
	return out
}

// TestEraseDerived erases a person of whom jobs had made something, and what a job publishes
// afterwards that had read the rows before.
func TestEraseDerived(t *testing.T) {
	l := peopled(t, parquet.Config{})
	card := tokensOf(maria)[0]
	l.putDerived(cardlake.Predictions, acme, "2026-03-04", [2]string{maria}, [2]string{paulo}, [2]string{"x"}, [2]string{maria}, [2]string{"y"})
	l.putDerived(cardlake.Predictions, acme, "2026-03-05", [2]string{maria})
	l.putDerived(cardlake.Predictions, zeta, "2026-03-05", [2]string{maria})
	l.putDerived(cardlake.Alerts, acme, "2026-03-04", [2]string{maria, card}, [2]string{"", card}, [2]string{paulo, card}, [2]string{"", "tk9_other"})
	r, err := l.tenants.Lookup(acme)
	l.check(err)
	checkpoint := cardlake.CheckpointPrefix(r.StorageID) + "anomaly/day/0"
	l.check(l.store.Put(t.Context(), checkpoint, owner(r), []byte("features of "+card)))

	e, err := l.keeper().Erase(t.Context(), acme, maria, false)
	l.check(err)
	if e.Derived != 5 {
		t.Errorf("%d rows removed, want 5", e.Derived)
	}
	wantPredictions := []string{"acme cu-paulo  run_id1", "acme x  run_id2", "acme y  run_id4", "zeta cu-maria-of-the-mountains  run_id0"}
	if got := l.people(cardlake.Predictions); !slices.Equal(got, wantPredictions) {
		t.Errorf("predictions %q, want %q", got, wantPredictions)
	}
	wantAlerts := []string{"acme (null) tk9_other alert_id3", "acme cu-paulo " + card + " alert_id2"}
	if got := l.people(cardlake.Alerts); !slices.Equal(got, wantAlerts) {
		t.Errorf("alerts %q, want %q", got, wantAlerts)
	}
	if _, err := objects.ReadAll(t.Context(), l.store, checkpoint); err == nil {
		t.Error("a checkpoint of a job is still there")
	}
	for info, err := range l.store.List(t.Context(), "data/") {
		l.check(err)
		if strings.Contains(info.Name, "predictions") || strings.Contains(info.Name, "alerts") {
			body, err := objects.ReadAll(t.Context(), l.store, info.Name)
			l.check(err)
			if strings.Contains(info.Name, string(r.StorageID)) {
				for _, row := range l.read(body) {
					if row["customer_id"] == maria {
						t.Errorf("%s still has rows of the person", info.Name)
					}
				}
			}
		}
	}

	// A run that was under way.
	l.check(l.store.Put(t.Context(), checkpoint, owner(r), []byte("features of "+card)))
	l.putDerived(cardlake.Predictions, acme, "2026-03-06", [2]string{maria}, [2]string{paulo})
	again, err := l.keeper().Reapply(t.Context())
	l.check(err)
	if len(again) != 1 || again[0].Derived != 1 {
		t.Errorf("erased again: %+v", again)
	}
	if got := l.people(cardlake.Predictions); len(got) != 5 {
		t.Errorf("predictions %q", got)
	}
	if _, err := objects.ReadAll(t.Context(), l.store, checkpoint); err == nil {
		t.Error("a checkpoint of the run under way is still there")
	}
	if again, err = l.keeper().Reapply(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("a third time: %+v, %v", again, err)
	}
}
