package cardlake

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
	b := &RejectedBatch{
		rejectedAt: &fixed[int64]{}, recordTime: &fixed[int64]{}, offset: &fixed[int64]{}, partition: &fixed[int32]{},
		reason: newWords(false), detail: newWords(true), stream: newWords(false), payload: &texts{},
	}
	b.rows = newRows(Rejected, b.rejectedAt, []accumulator{
		b.rejectedAt, b.reason, b.detail, b.stream, b.partition, b.offset, b.recordTime, b.payload,
	})
	return b
}

// Limits of a rejected record's texts, in bytes.
const (
	maxReason = 64
	maxDetail = 512
)

// Append adds a row, copying what it keeps of r. Its errors are those of [Batch.Append].
func (b *RejectedBatch) Append(r *RejectedRecord) error {
	if b.text+int64(len(r.Payload)) > maxText {
		return ErrFull
	}
	if r.RejectedAt <= 0 {
		return fieldError("rejected_at", "is missing")
	}
	for _, f := range [...]struct {
		column, value string
		max           int
		isRequired    bool
	}{
		{"reason", r.Reason, maxReason, true},
		{"detail", r.Detail, maxDetail, false},
		{"stream", r.Position.Stream, 249, true},
	} {
		if err := checkText(f.column, f.value, f.max, f.isRequired); err != nil {
			return err
		}
	}
	b.note(r.RejectedAt)
	b.rejectedAt.append(r.RejectedAt)
	text := b.reason.append(r.Reason) + b.detail.append(r.Detail) + b.stream.append(r.Position.Stream) + len(r.Payload)
	b.partition.append(r.Position.Partition)
	b.offset.append(r.Position.Offset)
	b.recordTime.append(r.RecordTime)
	b.payload.data = append(b.payload.data, r.Payload...)
	b.payload.close(true)
	b.text += int64(text)
	return nil
}
