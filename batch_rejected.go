package cardlake

import (
	"cmp"
)

// RejectedRecord is one row of cards.transactions_rejected. Times are microseconds since the
// epoch; an empty Detail is NULL. Payload is sealed by the caller: no column of this table
// is read by more than its length here.
type RejectedRecord struct {
	RejectedAt int64
	Reason     string // undecodable, unknown_schema, unknown_tenant, unopenable or invalid_field
	Detail     string // the rule that was broken, naming the field and never its content
	Position   Position
	RecordTime int64
	Payload    []byte
}

// RejectedBatch collects rows of cards.transactions_rejected as [Batch] does those of
// cards.transactions. NewRejectedBatch makes one.
type RejectedBatch struct {
	rows

	rejectedAt, recordTime, offset *fixed[int64]
	partition                      *fixed[int32]
	reason, detail, stream         *words
	payload                        *texts
}

// NewRejectedBatch returns an empty batch.
func NewRejectedBatch() *RejectedBatch {
	seed := newSeed()
	b := &RejectedBatch{
		rejectedAt: &fixed[int64]{}, recordTime: &fixed[int64]{}, offset: &fixed[int64]{}, partition: &fixed[int32]{},
		reason: newWords(seed), detail: newWords(seed), stream: newWords(seed), payload: &texts{},
	}
	b.rows = newRows(Rejected, b.rejectedAt, []column{
		b.rejectedAt, b.reason, b.detail, b.stream, b.partition, b.offset, b.recordTime, b.payload,
	})
	return b
}

var (
	reasonColumn = textColumn{"reason", 64, true}
	detailColumn = textColumn{"detail", 512, false}
)

// Append adds a row, copying what it keeps of r. Its errors are those of [Batch.Append].
func (b *RejectedBatch) Append(r *RejectedRecord) error {
	if b.text+int64(len(r.Payload)) > maxText {
		return ErrFull
	}
	if r.RejectedAt <= 0 {
		return fieldError("rejected_at", isMissing)
	}
	if err := cmp.Or(reasonColumn.check(r.Reason), detailColumn.check(r.Detail), streamColumn.check(r.Position.Stream)); err != nil {
		return err
	}
	n := b.next(r.RejectedAt)
	text := b.reason.set(n, r.Reason) + b.detail.set(n, r.Detail) + b.stream.set(n, r.Position.Stream) + len(r.Payload)
	flags := uint64(0)
	if r.Detail != "" {
		flags = b.detail.valid.mask()
	}
	b.partition.live[n], b.offset.live[n] = r.Position.Partition, r.Position.Offset
	b.recordTime.live[n] = r.RecordTime
	b.payload.set(n, view(r.Payload))
	b.end(n, flags, text)
	return nil
}
