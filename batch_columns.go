package cardlake

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// Columns is memory for the columns of cards.transactions of one batch at a time; see
// [Batch.RecordIn]. It is not safe for concurrent use; NewColumns makes one.
type Columns struct {
	rows   rows
	groups [groupCount]groupColumns

	eventID, transactionID         *ids
	eventTime, localTime, ingested *fixed[int64]
	token, last4                   *texts
	singles                        [len(singleTexts)]*texts
	bin, stream                    *words
	amount, billing                *fixed[decimal128.Num]
	present, approved, pin         *bools
	latency, partition             *fixed[int32]
	offset                         *fixed[int64]

	times   []int64 // of a batch's rows
	streams []int32 // the codes of a batch's streams
}

// NewColumns returns empty columns.
func NewColumns() *Columns { return newColumns(newSeed()) }

func newColumns(seed hashSeed) *Columns {
	c := &Columns{
		eventID: &ids{}, transactionID: &ids{},
		eventTime: &fixed[int64]{}, localTime: &fixed[int64]{}, ingested: &fixed[int64]{},
		token: &texts{}, last4: &texts{}, bin: newWords(seed), stream: newWords(seed),
		amount: &fixed[decimal128.Num]{}, billing: &fixed[decimal128.Num]{},
		present: &bools{}, approved: &bools{}, pin: &bools{},
		latency: &fixed[int32]{}, partition: &fixed[int32]{}, offset: &fixed[int64]{},
	}
	byName := map[string]column{
		"event_id": c.eventID, "transaction_id": c.transactionID,
		"event_time": c.eventTime, "local_time": c.localTime, "ingested_at": c.ingested,
		"card_token": c.token, "bin": c.bin, "last4": c.last4,
		"amount": c.amount, "billing_amount": c.billing,
		"card_present": c.present, "approved": c.approved, "pin_verified": c.pin,
		"latency_us": c.latency, "stream": c.stream, "stream_partition": c.partition, "stream_offset": c.offset,
	}
	for i, t := range singleTexts {
		c.singles[i] = &texts{}
		byName[textColumns[t].name] = c.singles[i]
	}
	for i, first := range groupStarts {
		for t := first; t < TextCount && byName[textColumns[t].name] == nil; t++ {
			if i+1 < groupCount && t == groupStarts[i+1] {
				break
			}
			w := newWords(seed)
			c.groups[i].columns = append(c.groups[i].columns, w)
			byName[textColumns[t].name] = w
		}
	}
	columns := make([]column, len(Transactions.Columns))
	for i, def := range Transactions.Columns {
		columns[i] = byName[def.Name]
	}
	c.rows = newRows(Transactions, c.eventTime, columns)
	return c
}

func (c *Columns) reset() {
	for i := range c.groups {
		c.groups[i].reset()
	}
	c.rows.Reset()
}

// order returns the places of the batch's rows by time, nil if they are in that order.
func (c *Columns) order(b *Batch) []int32 {
	if !b.isMixed {
		return nil
	}
	c.times = slices.Grow(c.times[:0], len(b.log))[:len(b.log)]
	for i := range c.times {
		c.times[i] = b.log[i].eventTime
	}
	return c.rows.sorter.order(c.times, b.min, b.max)
}

// block is how many rows are turned into columns together: they stay in the first-level cache
// while column after column is made.
const block = 64

// take adds the batch's rows that the columns have not got, in the order if there is one.
func (c *Columns) take(b *Batch, order []int32) {
	for i := range c.groups {
		c.rows.text += int64(c.groups[i].learn(&b.groups[i]))
	}
	c.streams = c.streams[:0]
	for i := range int32(b.streams.index.entries) {
		code, grown := c.stream.code(b.streams.value(i))
		c.streams = append(c.streams, code)
		c.rows.text += int64(grown)
	}
	c.rows.reserve(len(b.log))
	var entries [block]*entry
	for from := c.rows.n; from < len(b.log); from = c.rows.n {
		n := min(block, len(b.log)-from)
		for i := range entries[:n] {
			if order == nil {
				entries[i] = &b.log[from+i]
			} else {
				entries[i] = &b.log[order[from+i]]
			}
		}
		c.takeFixed(from, entries[:n])
		c.takeWords(from, entries[:n])
		c.takeTexts(from, entries[:n], b.texts)
		c.rows.n += n
	}
}

// takeFixed makes the values of fixed width of rows from a place on, and their flags.
func (c *Columns) takeFixed(from int, entries []*entry) {
	eventID, transactionID := c.eventID.live[from:][:len(entries)], c.transactionID.live[from:][:len(entries)]
	for i, e := range entries {
		e.eventID.put(&eventID[i])
		if e.transactionID == e.eventID {
			transactionID[i] = eventID[i]
		} else {
			e.transactionID.put(&transactionID[i])
		}
	}
	eventTime, localTime := c.eventTime.live[from:][:len(entries)], c.localTime.live[from:][:len(entries)]
	ingested, offset := c.ingested.live[from:][:len(entries)], c.offset.live[from:][:len(entries)]
	for i, e := range entries {
		eventTime[i], localTime[i], ingested[i], offset[i] = e.eventTime, e.localTime, e.ingestedAt, e.offset
	}
	amount, billing := c.amount.live[from:][:len(entries)], c.billing.live[from:][:len(entries)]
	latency, partition := c.latency.live[from:][:len(entries)], c.partition.live[from:][:len(entries)]
	for i, e := range entries {
		amount[i], billing[i] = decimal128.FromI64(e.amount), decimal128.FromI64(e.billing)
		latency[i], partition[i] = e.latency, e.partition
	}
	for i, e := range entries {
		c.rows.flags.set(from+i, e.flags)
	}
}

// takeWords makes the codes of rows from a place on.
func (c *Columns) takeWords(from int, entries []*entry) {
	stream := c.stream.codes.live[from:][:len(entries)]
	for i, e := range entries {
		stream[i] = c.streams[e.stream]
	}
	for g := range c.groups {
		var numbers [block]int32
		for i, e := range entries {
			numbers[i] = e.combinations[g]
		}
		for j, w := range c.groups[g].columns {
			codes, live := c.groups[g].codes[j], w.codes.live[from:][:len(entries)]
			for i, number := range numbers[:len(entries)] {
				live[i] = codes[number]
			}
		}
	}
}

// takeTexts makes the texts of rows from a place on.
func (c *Columns) takeTexts(from int, entries []*entry, data []byte) {
	for i, e := range entries {
		at := int(e.text)
		text := func(own int) string {
			s := data[at:][:e.sizes[own]]
			at += len(s)
			return view(s)
		}
		for own, t := range c.singles {
			t.set(from+i, text(own))
		}
		c.token.set(from+i, text(ownToken))
		c.last4.set(from+i, text(ownLast4))
		c.rows.text += int64(at-int(e.text)) + int64(c.bin.set(from+i, text(ownBIN)))
	}
}
