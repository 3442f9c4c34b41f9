package labels

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// row is a report as the table has it.
type row struct {
	Report
	id string
}

// sheet writes rows of insights.labels as objects, one for each UTC day, which the table does not name yet.
type sheet struct {
	store    objects.Store
	tenant   catalog.TenantRecord
	reporter string
	source   Source
	recorded time.Time
}

// write returns what it wrote, also with an error.
func (s *sheet) write(ctx context.Context, rows []row) (files []cardlake.DataFile, err error) {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(a.ReportedAt.Compare(b.ReportedAt), cmp.Compare(a.id, b.id)) })
	encoder := parquet.NewEncoder(cardlake.Labels, parquet.Config{})
	for len(rows) > 0 {
		day := cardlake.DayOf(rows[0].ReportedAt.UnixMicro())
		n := slices.IndexFunc(rows, func(r row) bool { return cardlake.DayOf(r.ReportedAt.UnixMicro()) != day })
		if n < 0 {
			n = len(rows)
		}
		record := s.record(rows[:n])
		body, splits, err := encoder.Encode(record)
		record.Release()
		if err != nil {
			return files, err
		}
		f := cardlake.DataFile{
			Tenant: s.tenant.Name, Day: day, Rows: int64(n), Bytes: int64(len(body)), SplitOffsets: splits,
			MinTime: rows[0].ReportedAt.UnixMicro(), MaxTime: rows[n-1].ReportedAt.UnixMicro(),
		}
		folder := "data/" + cardlake.Labels.Name + "/" + string(s.tenant.StorageID) + "/" + day.String() + "/"
		// A name that is taken belongs to an attempt whose fate nobody knows any more: it is left alone.
		name := insights.ID("labels", rows[0].id, rows[n-1].id, strconv.Itoa(n), s.recorded.String())
		for attempt := 0; ; attempt++ {
			f.Name = folder + name + "-" + strconv.Itoa(attempt) + ".parquet"
			if err = s.store.Put(ctx, f.Name, keys.OwnerOf(s.tenant.StorageID), body); !errors.Is(err, objects.ErrExists) {
				break
			}
		}
		if err != nil {
			return files, err
		}
		files = append(files, f)
		rows = rows[n:]
	}
	return files, nil
}

// record is rows as Arrow has them.
func (s *sheet) record(rows []row) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, cardlake.ArrowSchema(cardlake.Labels))
	defer b.Release()
	for _, r := range rows {
		for i, c := range cardlake.Labels.Columns {
			if c.Type == cardlake.TimestampTZ {
				at := s.recorded
				if c.Name == "reported_at" {
					at = r.ReportedAt
				}
				b.Field(i).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMicro()))
				continue
			}
			text := b.Field(i).(*array.StringBuilder)
			if v := s.text(c.Name, r); v != "" {
				text.Append(v)
			} else {
				text.AppendNull()
			}
		}
	}
	return b.NewRecordBatch()
}

func (s *sheet) text(column string, r row) string {
	switch column {
	case "label_id":
		return r.id
	case "tenant":
		return string(s.tenant.Name)
	case "event_id":
		return r.EventID
	case "label":
		return string(r.Label)
	case "source":
		return string(s.source)
	case "pattern":
		return r.Pattern
	case "alert_id":
		return r.alertID
	case "reporter":
		return s.reporter
	case "note":
		return r.Note
	}
	return ""
}
