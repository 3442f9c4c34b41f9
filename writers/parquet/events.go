package parquet

import (
	"bytes"
	"errors"
	"fmt"

	pq "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/cardlake/cardlake"
)

// readBatch is how many rows EventIDs reads at a time.
const readBatch = 4096

// EventIDs calls yield with the id and the time of each row of a cards.transactions file
// whose event_time, in microseconds since the epoch, is since or later, until yield returns
// false. It decodes those two columns only, and skips row groups that end before since. A
// file that is not sound gives an error, whatever is wrong with it.
func EventIDs(body []byte, since int64, yield func(id cardlake.EventID, eventTime int64) bool) (err error) {
	defer recovered("read parquet", &err)
	r, err := file.NewParquetReader(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("read parquet: %w", err)
	}
	defer r.Close()
	ids, times := r.MetaData().Schema.ColumnIndexByName("event_id"), r.MetaData().Schema.ColumnIndexByName("event_time")
	if ids < 0 || times < 0 {
		return errors.New("read parquet: column event_id or event_time is missing")
	}
	e := eventReader{since: since, yield: yield, ids: make([]pq.ByteArray, readBatch), times: make([]int64, readBatch)}
	for i := range r.NumRowGroups() {
		if endsBefore(r.MetaData().RowGroup(i), times, since) {
			continue
		}
		isWanted, err := e.read(r.RowGroup(i), ids, times)
		if err != nil {
			return fmt.Errorf("read parquet: row group %d: %w", i, err)
		}
		if !isWanted {
			return nil
		}
	}
	return nil
}

// endsBefore reports whether the statistics show that every time is before since.
func endsBefore(group *metadata.RowGroupMetaData, column int, since int64) bool {
	chunk, err := group.ColumnChunk(column)
	if err != nil {
		return false
	}
	stats, err := chunk.Statistics()
	if err != nil || stats == nil || !stats.HasMinMax() {
		return false
	}
	times, ok := stats.(*metadata.Int64Statistics)
	return ok && times.Max() < since
}

type eventReader struct {
	since int64
	yield func(cardlake.EventID, int64) bool
	ids   []pq.ByteArray
	times []int64
}

// read yields the row group's events and reports whether more are wanted.
func (e *eventReader) read(group *file.RowGroupReader, ids, times int) (isWanted bool, err error) {
	idChunk, err := group.Column(ids)
	if err != nil {
		return false, err
	}
	timeChunk, err := group.Column(times)
	if err != nil {
		return false, err
	}
	idReader, ok := idChunk.(*file.ByteArrayColumnChunkReader)
	timeReader, ok2 := timeChunk.(*file.Int64ColumnChunkReader)
	if !ok || !ok2 || idChunk.Descriptor().MaxDefinitionLevel() > 0 || timeChunk.Descriptor().MaxDefinitionLevel() > 0 {
		return false, errors.New("column event_id or event_time has another type")
	}
	for left := group.NumRows(); left > 0; {
		n := min(left, readBatch)
		_, gotTimes, err := timeReader.ReadBatch(n, e.times, nil, nil)
		if err != nil {
			return false, fmt.Errorf("column event_time: %w", err)
		}
		// Ids share their page's memory, so those of one page are used before the next.
		for done := 0; done < gotTimes; {
			_, got, err := idReader.ReadBatchInPage(int64(gotTimes-done), e.ids, nil, nil)
			if err != nil {
				return false, fmt.Errorf("column event_id: %w", err)
			}
			if got == 0 {
				return false, errors.New("column event_id ends early")
			}
			for i, text := range e.ids[:got] {
				t := e.times[done+i]
				if t < e.since {
					continue
				}
				id, err := cardlake.ParseEventID(string(text))
				if err != nil {
					return false, err
				}
				if !e.yield(id, t) {
					return false, nil
				}
			}
			done += got
		}
		if int64(gotTimes) < n {
			return false, errors.New("column event_time ends early")
		}
		left -= n
	}
	return true, nil
}
