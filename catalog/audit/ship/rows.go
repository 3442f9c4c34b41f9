package ship

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// rows are the lines of one commit, by day.
type rows struct {
	days    map[cardlake.Day]*cardlake.AuditBatch
	encoder *parquet.Encoder
	n       int
}

func newRows() *rows {
	return &rows{days: map[cardlake.Day]*cardlake.AuditBatch{}, encoder: parquet.NewEncoder(cardlake.AuditEvents, parquet.Config{})}
}

// reset forgets the rows; of the batches it keeps one, for the memory it has.
func (r *rows) reset() {
	r.n = 0
	for d, b := range r.days {
		if b.Reset(); len(r.days) > 1 {
			delete(r.days, d)
		}
	}
}

func (r *rows) add(l *audit.Line) error {
	e, err := EventOf(l)
	if err != nil {
		return err
	}
	day := cardlake.DayOf(e.Time)
	b := r.days[day]
	if b == nil {
		b = cardlake.NewAuditBatch()
		r.days[day] = b
	}
	if err := b.Append(&e); err != nil {
		return fmt.Errorf("line %d: %w", l.Seq, err)
	}
	r.n++
	return nil
}

// put writes an object for each day that has rows. A name that is taken belongs to an attempt
// whose outcome nobody knows any more: it is left alone.
func (r *rows) put(ctx context.Context, store objects.Store, log string, from, to cardlake.Offset) ([]cardlake.DataFile, error) {
	sum := sha256.New()
	for _, part := range []string{log, from.Mark, to.Mark} {
		sum.Write(append([]byte(part), 0))
	}
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(to.Next)))
	positions := cardlake.AppendLetters(nil, sum.Sum(nil)[:8])
	var files []cardlake.DataFile
	for _, day := range slices.Sorted(maps.Keys(r.days)) {
		b := r.days[day]
		if b.Len() == 0 {
			continue
		}
		record, err := b.Record()
		if err != nil {
			return nil, err
		}
		body, splits, err := r.encoder.Encode(record)
		if err != nil {
			return nil, err
		}
		f := cardlake.DataFile{Day: day, Rows: int64(b.Len()), Bytes: int64(len(body)), SplitOffsets: splits}
		f.MinTime, f.MaxTime = b.TimeRange()
		for attempt := 0; ; attempt++ {
			f.Name = fmt.Sprintf("data/audit_events/%s/%s-%d.parquet", day, positions, attempt)
			if err = store.Put(ctx, f.Name, keys.Lake, body); !errors.Is(err, objects.ErrExists) {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Names of what a line says of the reading of rows, as the doors write them.
const (
	detailVersion  = "version"
	detailPolicies = "policies"
	detailSnapshot = "snapshots"
	detailColumns  = "columns"
	detailTenants  = "tenants"
	numberRows     = "rows"
)

// EventOf is the line as a row of audit.events. All of the line is in it but its seal, which
// only the log's key reads.
func EventOf(l *audit.Line) (cardlake.AuditEvent, error) {
	e := cardlake.AuditEvent{
		Log: l.Log, Seq: int64(l.Seq), Time: l.Time.UnixMicro(), Actor: l.Actor, Action: l.Action, Outcome: string(l.Outcome),
		Resource: l.Resource, Origin: l.Origin, Reason: l.Reason, Request: l.Request,
		PolicyVersion: l.Detail[detailVersion], Policies: l.Detail[detailPolicies], Snapshot: l.Detail[detailSnapshot],
		Columns: l.Detail[detailColumns], Tenants: l.Detail[detailTenants], Rows: -1,
		Segment: int64(l.Segment), Hash: l.Hash, Prev: l.Prev,
	}
	if n, ok := l.Numbers[numberRows]; ok && n >= 0 {
		e.Rows = n
	}
	details := map[string]any{}
	for k, v := range l.Detail {
		details[k] = v
	}
	for k, v := range l.Numbers {
		if _, isTaken := details[k]; isTaken {
			k += ".number"
		}
		details[k] = v
	}
	if l.Entry.Segment != nil && l.Entry.Segment.Torn > 0 {
		details["torn"] = l.Entry.Segment.Torn
	}
	if c := l.Checkpoint; c != nil {
		details["checkpoint.key"], details["checkpoint.signature"] = c.Key, c.Signature
	}
	if len(details) > 0 {
		text, err := json.Marshal(details)
		if err != nil {
			return e, fmt.Errorf("line %d: details: %w", l.Seq, err)
		}
		e.Details = string(text)
	}
	return e, nil
}
