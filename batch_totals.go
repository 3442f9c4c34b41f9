package cardlake

import (
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// TotalsBatch collects rows of cards.control_totals as [Batch] does those of
// cards.transactions. NewTotalsBatch makes one.
type TotalsBatch struct {
	rows

	tenant, region, processor, currency, stream *words
	minute, emitted, ingested                   *fixed[int64]
	events, approvedEvents                      *fixed[int64]
	amount, approvedAmount                      *fixed[decimal128.Num]
	first, last, offset                         *fixed[int64]
	partition                                   *fixed[int32]
}

// NewTotalsBatch returns an empty batch.
func NewTotalsBatch() *TotalsBatch {
	seed := newSeed()
	b := &TotalsBatch{
		tenant: newWords(seed), region: newWords(seed), processor: newWords(seed), currency: newWords(seed), stream: newWords(seed),
		minute: &fixed[int64]{}, emitted: &fixed[int64]{}, ingested: &fixed[int64]{},
		events: &fixed[int64]{}, approvedEvents: &fixed[int64]{},
		amount: &fixed[decimal128.Num]{}, approvedAmount: &fixed[decimal128.Num]{},
		first: &fixed[int64]{}, last: &fixed[int64]{}, offset: &fixed[int64]{}, partition: &fixed[int32]{},
	}
	b.rows = newRows(ControlTotals, b.minute, []column{
		b.tenant, b.minute, b.region, b.processor, b.currency, b.events, b.approvedEvents, b.amount, b.approvedAmount,
		b.first, b.last, b.emitted, b.ingested, b.stream, b.partition, b.offset,
	})
	return b
}

const minuteMicros = 60_000_000

// Append adds a row, copying what it keeps of t. Its errors are those of [Batch.Append].
func (b *TotalsBatch) Append(t *ControlTotal) error {
	if b.text > maxText {
		return ErrFull
	}
	for _, f := range [...]struct {
		column textColumn
		value  string
	}{
		{textColumn{"tenant", 40, true}, string(t.Tenant)},
		{textColumn{"region", 32, true}, t.Region},
		{textColumn{"processor", 16, true}, t.Processor},
		{streamColumn, t.Position.Stream},
	} {
		if err := f.column.check(f.value); err != nil {
			return err
		}
	}
	amount, ok := t.Amount.Scale4()
	if !ok {
		return fieldError("amount", "has an unknown currency or does not fit decimal(18,4)")
	}
	approved, ok := t.ApprovedAmount.Scale4()
	switch {
	case !ok:
		return fieldError("approved_amount", "has an unknown currency or does not fit decimal(18,4)")
	case t.ApprovedAmount.Currency != t.Amount.Currency:
		return fieldError("approved_amount", "has another currency than amount")
	case t.Minute <= 0 || t.Minute%minuteMicros != 0:
		return fieldError("minute", "is missing or not the begin of a minute")
	case t.EmittedAt <= 0:
		return fieldError("emitted_at", "is missing")
	case t.IngestedAt <= 0:
		return fieldError("ingested_at", "is missing")
	case t.Events <= 0:
		return fieldError("events", "is not positive")
	case t.Approved < 0 || t.Approved > t.Events:
		return fieldError("approved_events", "is not from 0 to events")
	case t.FirstSequence <= 0:
		return fieldError("first_sequence", "is missing")
	case t.LastSequence-t.FirstSequence != t.Events-1:
		return fieldError("last_sequence", "does not span the events")
	}
	n := b.next(t.Minute)
	text := b.tenant.set(n, string(t.Tenant)) + b.region.set(n, t.Region) + b.processor.set(n, t.Processor) +
		b.currency.set(n, string(t.Amount.Currency)) + b.stream.set(n, t.Position.Stream)
	b.events.live[n], b.approvedEvents.live[n] = t.Events, t.Approved
	b.amount.live[n], b.approvedAmount.live[n] = decimal128.FromI64(amount), decimal128.FromI64(approved)
	b.first.live[n], b.last.live[n] = t.FirstSequence, t.LastSequence
	b.emitted.live[n], b.ingested.live[n] = t.EmittedAt, t.IngestedAt
	b.partition.live[n], b.offset.live[n] = t.Position.Partition, t.Position.Offset
	b.end(n, 0, text)
	return nil
}
