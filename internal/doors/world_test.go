package doors_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// The tenants: two of Brazil, two of Colombia of which one is suspended.
const (
	aurora  cardlake.Tenant = "aurora"
	bolivar cardlake.Tenant = "bolivar"
	cobre   cardlake.Tenant = "cobre"
	duero   cardlake.Tenant = "duero"
)

var (
	tenants   = []cardlake.Tenant{aurora, bolivar, cobre, duero}
	countries = map[cardlake.Tenant]string{aurora: "BR", bolivar: "CO", cobre: "BR", duero: "CO"}
	day       = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
)

const (
	committedRows = 3 // of each tenant and table
	tailRows      = 2 // of each tenant, beyond the snapshot
)

// register are the tenants' records.
func register() []catalog.TenantRecord {
	var out []catalog.TenantRecord
	for _, t := range tenants {
		r := catalog.TenantRecord{Name: t, StorageID: storageID(t), Country: countries[t], Currency: "BRL", CreatedAt: day, Status: catalog.TenantActive, StatusSince: day}
		if t == duero {
			r.Status = catalog.TenantSuspended
		}
		out = append(out, r)
	}
	return out
}

func storageID(t cardlake.Tenant) cardlake.StorageID {
	return cardlake.StorageID(cardlake.AppendLetters(nil, []byte((string(t) + "________")[:8])))
}

func owner(t cardlake.Tenant) keys.Owner {
	if t == "" {
		return keys.Lake
	}
	return keys.OwnerOf(storageID(t))
}

// marker is a text that tells whose it is and of which column.
func marker(t cardlake.Tenant, column string, row int) string {
	return fmt.Sprintf("~%s~%s~%d", t, column, row)
}

// value is what a cell holds, as an engine hands it out: the values of a column differ from
// those of every other tenant, column and row wherever its type allows that.
func value(table *cardlake.Table, c cardlake.Column, t cardlake.Tenant, row int) any {
	number := int64(slices.Index(tenants, t)+2)*10_000_000 + int64(c.ID)*10_000 + int64(row)
	switch c.Type {
	case cardlake.String:
		switch c.Name {
		case "tenant":
			return string(t)
		case "event_type": // by which views select
			return "authorization"
		}
		return marker(t, c.Name, row)
	case cardlake.Binary:
		return []byte(marker(t, c.Name, row))
	case cardlake.Bool:
		return row%2 == 0
	case cardlake.Int32:
		return int32(number)
	case cardlake.Int64:
		return number
	case cardlake.Timestamp, cardlake.TimestampTZ:
		// Each tenant has a minute of the day, each column a second.
		return day.Add(time.Duration(slices.Index(tenants, t)+1)*time.Minute + time.Duration(c.ID)*time.Second + time.Duration(row)*time.Millisecond)
	}
	return decimal128.FromI64(number)
}

// raw is the value as queriestest.Parquet takes it.
func raw(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.UnixMicro()
	case decimal128.Num:
		return int64(v.LowBits())
	case int32:
		return int64(v)
	}
	return v
}

// owners are whose rows a table has: the empty tenant stands for rows of none.
func owners(table *cardlake.Table) []cardlake.Tenant {
	if table.ByTenant {
		return tenants
	}
	return []cardlake.Tenant{""}
}

// object is a committed file of the lake.
type object struct {
	table *cardlake.Table
	file  cardlake.DataFile
	body  []byte
}

// committed are the lake's files, without those of the tenants in without.
func committed(tb testing.TB, without ...cardlake.Tenant) []object {
	tb.Helper()
	var out []object
	for _, table := range cardlake.Tables {
		for _, t := range owners(table) {
			if slices.Contains(without, t) {
				continue
			}
			body, err := queriestest.Parquet(table, committedRows, func(c cardlake.Column, row int) any { return raw(value(table, c, t, row)) })
			if err != nil {
				tb.Fatal(err)
			}
			times := *table.Column(table.Time)
			first, last := value(table, times, t, 0).(time.Time), value(table, times, t, committedRows-1).(time.Time)
			out = append(out, object{table, cardlake.DataFile{
				Name: fmt.Sprintf("data/%s/%s-%d.parquet", table.Name, owner(t), first.UnixMicro()), Tenant: t, Day: cardlake.DayOf(first.UnixMicro()),
				Rows: committedRows, Bytes: int64(len(body)), MinTime: first.UnixMicro(), MaxTime: last.UnixMicro(), SplitOffsets: []int64{4},
			}, body})
		}
	}
	return out
}

// lakeOf is the lake in memory.
func lakeOf(tb testing.TB, without ...cardlake.Tenant) *queriestest.Lake {
	tb.Helper()
	lake := queriestest.NewLake()
	for _, o := range committed(tb, without...) {
		lake.Add(o.table, o.file, o.body)
	}
	return lake
}

// tail is what is not committed yet: rows of all tenants in one record, one after another.
type tail struct{ without []cardlake.Tenant }

// tailPosition is where the tail ends in its stream.
const tailPosition = "987654321"

// Tail implements queries.Tail.
func (w tail) Tail(context.Context, cardlake.Positions) (queries.TailRows, error) {
	fields := make([]arrow.Field, len(cardlake.Transactions.Columns))
	for i, c := range cardlake.Transactions.Columns {
		fields[i] = arrow.Field{Name: c.Name, Type: queriestest.ArrowType(c.Type), Nullable: c.Nullable}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for row := range tailRows {
		for _, t := range tenants {
			if slices.Contains(w.without, t) {
				continue
			}
			for i, c := range cardlake.Transactions.Columns {
				switch v := value(cardlake.Transactions, c, t, committedRows+row).(type) {
				case string:
					b.Field(i).(*array.StringBuilder).Append(v)
				case bool:
					b.Field(i).(*array.BooleanBuilder).Append(v)
				case int32:
					b.Field(i).(*array.Int32Builder).Append(v)
				case int64:
					b.Field(i).(*array.Int64Builder).Append(v)
				case time.Time:
					b.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMicro()))
				case decimal128.Num:
					b.Field(i).(*array.Decimal128Builder).Append(v)
				}
			}
		}
	}
	record := b.NewRecordBatch()
	return queries.TailRows{
		To:      cardlake.Positions{{Stream: "transactions", Partition: 7}: {Next: 987654321}},
		Records: []arrow.RecordBatch{record}, Free: record.Release,
	}, nil
}
