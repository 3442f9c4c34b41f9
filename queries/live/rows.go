package live

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// rowsOf are the columns of a record that are counted by.
type rowsOf struct {
	n                                                    int
	eventType, tenant, currency, channel, reason, stream texts
	eventTime, ingestedAt                                *array.Timestamp
	amount                                               *array.Decimal128
	approved                                             *array.Boolean
	partition                                            *array.Int32
	offset                                               *array.Int64
}

// readAll finds the columns in all records of an answer, or returns why one of them is none of
// cards.transactions.
func readAll(answer queries.TailRows) ([]*rowsOf, error) {
	var out []*rowsOf
	for _, record := range answer.Records {
		r, err := read(record)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func read(record arrow.RecordBatch) (*rowsOf, error) {
	r := &rowsOf{n: int(record.NumRows())}
	if int(record.NumCols()) != len(cardlake.Transactions.Columns) {
		return nil, fmt.Errorf("a record has %d columns, want %d", record.NumCols(), len(cardlake.Transactions.Columns))
	}
	for i, t := range []*texts{&r.eventType, &r.tenant, &r.currency, &r.channel, &r.reason, &r.stream} {
		name := [...]string{"event_type", "tenant", "currency", "channel", "decline_reason", "stream"}[i]
		switch column := record.Column(columnAt(name)).(type) {
		case *array.String:
			t.plain = column
		case *array.Dictionary:
			t.codes = column
			t.plain, _ = column.Dictionary().(*array.String)
		}
		if t.plain == nil {
			return nil, notOfType(name)
		}
	}
	for _, err := range []error{
		find(record, "event_time", &r.eventTime), find(record, "ingested_at", &r.ingestedAt), find(record, "amount", &r.amount),
		find(record, "approved", &r.approved), find(record, "stream_partition", &r.partition), find(record, "stream_offset", &r.offset),
	} {
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func find[A arrow.Array](record arrow.RecordBatch, name string, column *A) error {
	c, ok := record.Column(columnAt(name)).(A)
	if !ok {
		return notOfType(name)
	}
	*column = c
	return nil
}

func notOfType(name string) error { return fmt.Errorf("column %s of a record has another type", name) }

func columnAt(name string) int {
	return slices.IndexFunc(cardlake.Transactions.Columns, func(c cardlake.Column) bool { return c.Name == name })
}

// texts is a column of text, a dictionary or not.
type texts struct {
	codes *array.Dictionary // nil if it is none
	plain *array.String     // its values
}

// at is the text of row i, empty for none. It lies in the memory of the record.
func (t *texts) at(i int) string {
	if t.codes == nil {
		if t.plain.IsNull(i) {
			return ""
		}
		return t.plain.Value(i)
	}
	if t.codes.IsNull(i) {
		return ""
	}
	return t.plain.Value(t.codes.GetValueIndex(i))
}
