package cardlake

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
)

// ErrField marks a row that was refused: a required field is empty, a text is too long or
// not UTF-8, a currency is unknown, an amount does not fit. The error names the column and
// holds nothing of its content.
var ErrField = errors.New("invalid field")

// ErrFull says that a batch cannot hold more text: write it first.
var ErrFull = errors.New("batch is full")

func fieldError(column, rule string) error {
	return fmt.Errorf("%w: %s: %s", ErrField, column, rule)
}

const (
	isMissing = "is missing"
	isTooLong = "is too long"
)

// maxText is the text that a batch holds at most, so that Arrow's 32-bit offsets suffice.
const maxText = math.MaxInt32 / 2

// Batch collects rows of cards.transactions. It copies all it keeps, and appends without
// allocating once its memory has grown to the size of its batches. It is not safe for
// concurrent use; NewBatch makes one.
//
// A batch keeps its rows one after another, each in one place, and makes columns of them when
// they are asked for: rows of many tenants that come mixed would otherwise find some fifty
// columns of each tenant's out of the processor's caches.
type Batch struct {
	log     []entry // a row each, in the order in which they came
	texts   []byte  // the rows' own texts
	groups  [groupCount]group
	streams *words // the names of streams
	masks   masks
	bytes   int64
	min     int64
	max     int64
	isMixed bool // a row is earlier than the one before

	view                        *Columns // the rows as they came
	record                      *Columns // of Record; nil before the first
	amountFactor, billingFactor currencyFactor
	row                         Row // of a Transaction
}

// entry is a row as a batch keeps it.
type entry struct {
	eventID, transactionID           EventID
	eventTime, localTime, ingestedAt int64
	amount, billing                  int64 // in ten-thousandths
	offset                           int64
	flags                            uint64
	combinations                     [groupCount]int32 // of the groups' texts
	text                             uint32            // where its own texts begin
	latency, partition, stream       int32
	sizes                            [ownTexts]uint8 // of its own texts, in bytes
}

// A row's own texts: those of singleTexts, then these.
const (
	ownToken = len(singleTexts) + iota
	ownLast4
	ownBIN
	ownTexts
)

// masks are the flags of what a row itself says, in an entry's flags.
type masks struct {
	singles                    [len(singleTexts)]uint64
	bin, last4, local, billing uint64
	present, approved          uint64
	pinValid, pinValue         uint64
}

// currencyFactor remembers what turns minor units of a currency into ten-thousandths, since
// one tenant's rows are mostly in one currency.
type currencyFactor struct {
	currency      Currency
	factor, limit int64
}

// textColumn says what a text column may hold.
type textColumn struct {
	name       string
	max        int // bytes
	isRequired bool
}

// textColumns are the columns of a Row's texts. The limits are those of ISO 8583's data
// elements, or wide for names of our own. A card number that was never issued belongs to no
// programme, so that one may be empty.
var textColumns = [TextCount]textColumn{
	TextEventType:       {"event_type", 16, true},
	TextTenant:          {"tenant", 40, true},
	TextProgram:         {"program", 64, false},
	TextRegion:          {"region", 32, true},
	TextCustomerID:      {"customer_id", 64, false},
	TextAccountID:       {"account_id", 64, false},
	TextNetwork:         {"network", 16, true},
	TextProduct:         {"product", 16, false},
	TextCurrency:        {"currency", 3, true},
	TextBillingCurrency: {"billing_currency", 3, false},
	TextMerchantID:      {"merchant_id", 15, false},
	TextMerchantName:    {"merchant_name", 99, false},
	TextMCC:             {"mcc", 4, false},
	TextMerchantCity:    {"merchant_city", 64, false},
	TextMerchantCountry: {"merchant_country", 3, false},
	TextTerminalID:      {"terminal_id", 16, false},
	TextAcquirerID:      {"acquirer_id", 11, false},
	TextChannel:         {"channel", 16, true},
	TextEntryMode:       {"entry_mode", 16, true},
	TextWallet:          {"wallet", 32, false},
	TextECI:             {"eci", 2, false},
	TextResponseCode:    {"response_code", 3, true},
	TextDeclineReason:   {"decline_reason", 64, false},
	TextApprovalCode:    {"approval_code", 6, false},
	TextCVVResult:       {"cvv_result", 16, false},
	TextAVSResult:       {"avs_result", 16, false},
	TextMTI:             {"mti", 4, true},
	TextProcessingCode:  {"processing_code", 6, false},
	TextSTAN:            {"stan", 12, false},
	TextRRN:             {"rrn", 12, false},
}

// singleTexts are the texts that hardly repeat: each is a column of texts.
var singleTexts = [...]Text{TextCustomerID, TextAccountID, TextApprovalCode, TextSTAN, TextRRN}

// The text columns that are no part of a row's Data.
var (
	tokenColumn  = textColumn{"card_token", 64, true}
	binColumn    = textColumn{"bin", 8, false}
	last4Column  = textColumn{"last4", 4, false}
	streamColumn = textColumn{"stream", 249, true}
)

// check returns an error that wraps [ErrField] if the column may not hold s.
func (c *textColumn) check(s string) error {
	switch {
	case s == "" && c.isRequired:
		return fieldError(c.name, isMissing)
	case len(s) > c.max:
		return fieldError(c.name, isTooLong)
	case !isASCII(s) && !utf8.ValidString(s):
		return fieldError(c.name, "is not UTF-8")
	}
	return nil
}

// isASCII looks at eight bytes at a time, the last eight perhaps again.
func isASCII(s string) bool {
	const high = 0x8080808080808080
	b, some := bytesOf(s), uint64(0)
	if len(b) < 8 {
		for _, c := range b {
			some |= uint64(c)
		}
		return some&high == 0
	}
	for i := 0; i < len(b)-8; i += 8 {
		some |= binary.LittleEndian.Uint64(b[i:])
	}
	return (some|binary.LittleEndian.Uint64(b[len(b)-8:]))&high == 0
}

// NewBatch returns an empty batch.
func NewBatch() *Batch {
	seed := newSeed()
	c := newColumns(seed)
	b := &Batch{view: c, streams: newWords(seed)}
	for i, first := range groupStarts {
		g := &b.groups[i]
		g.first, g.seed, g.width = first, seed, len(c.groups[i].columns)
		for j, w := range c.groups[i].columns {
			g.valid[j] = w.valid.mask()
		}
	}
	for i, t := range c.singles {
		b.masks.singles[i] = t.valid.mask()
	}
	b.masks = masks{
		singles: b.masks.singles, bin: c.bin.valid.mask(), last4: c.last4.valid.mask(),
		local: c.localTime.valid.mask(), billing: c.billing.valid.mask(),
		present: c.present.value.mask(), approved: c.approved.value.mask(),
		pinValid: c.pin.valid.mask(), pinValue: c.pin.value.mask(),
	}
	return b
}

// Append adds a row, copying what it keeps of t. Without a billing currency the billing amount
// is NULL, and so is a local time of 0. It returns an error that wraps [ErrField]
// for a row that breaks a rule, and [ErrFull] if the batch has to be written first; the batch
// is then as it was.
func (b *Batch) Append(t *Transaction) error {
	if err := b.row.set(t); err != nil {
		return err
	}
	return b.AppendRow(&b.row)
}

// AppendRow is Append of a transaction that is a [Row].
func (b *Batch) AppendRow(r *Row) error {
	if b.bytes > maxText || len(b.log) >= maxText/len(idText{}) {
		return ErrFull
	}
	switch {
	case r.EventID == EventID{}:
		return fieldError("event_id", isMissing)
	case r.TransactionID == EventID{}:
		return fieldError("transaction_id", isMissing)
	case r.EventTime <= 0:
		return fieldError("event_time", isMissing)
	case r.IngestedAt <= 0:
		return fieldError("ingested_at", isMissing)
	}
	var found [groupCount]int32
	flags, missing := uint64(0), 0
	for i := range b.groups {
		g := &b.groups[i]
		number, valid := g.find(r)
		if number < 0 {
			if err := g.check(r); err != nil {
				return err
			}
			missing |= 1 << i
		}
		found[i], flags = number, flags|valid
	}
	own := [ownTexts]string{ownToken: r.CardToken, ownLast4: r.Last4, ownBIN: r.BIN}
	for i, t := range singleTexts {
		own[i] = r.Text(t)
		if err := textColumns[t].check(own[i]); err != nil {
			return err
		}
	}
	if err := cmp.Or(tokenColumn.check(r.CardToken), binColumn.check(r.BIN), last4Column.check(r.Last4), streamColumn.check(r.Position.Stream)); err != nil {
		return err
	}
	amount, billing, err := b.amounts(r)
	if err != nil {
		return err
	}

	// From here on nothing fails.
	for ; missing != 0; missing &= missing - 1 {
		i := bits.TrailingZeros(uint(missing))
		number, valid, grown := b.groups[i].add(r)
		found[i], flags = number, flags|valid
		b.bytes += int64(grown)
	}
	e := b.next(r.EventTime)
	e.eventID, e.transactionID = r.EventID, r.TransactionID
	e.eventTime, e.localTime, e.ingestedAt = r.EventTime, r.LocalTime, r.IngestedAt
	e.amount, e.billing = amount, billing
	e.combinations = found
	e.latency, e.partition, e.offset = r.LatencyMicros, r.Position.Partition, r.Position.Offset
	stream, grown := b.streams.code(r.Position.Stream)
	e.stream = stream
	texts := b.texts
	e.text = uint32(len(texts))
	for i, s := range own {
		e.sizes[i] = uint8(len(s))
		texts = append(texts, s...)
	}
	b.bytes += int64(unsafe.Sizeof(*e)) + int64(grown+len(texts)-len(b.texts))
	b.texts = texts
	for i := range b.masks.singles {
		if e.sizes[i] != 0 {
			flags |= b.masks.singles[i]
		}
	}
	if r.BIN != "" {
		flags |= b.masks.bin
	}
	if r.Last4 != "" {
		flags |= b.masks.last4
	}
	if r.LocalTime != 0 {
		flags |= b.masks.local
	}
	if r.Text(TextBillingCurrency) != "" {
		flags |= b.masks.billing
	}
	if r.CardPresent {
		flags |= b.masks.present
	}
	if r.Approved {
		flags |= b.masks.approved
	}
	switch r.PINVerified {
	case True:
		flags |= b.masks.pinValue | b.masks.pinValid
	case False:
		flags |= b.masks.pinValid
	}
	e.flags = flags
	return nil
}

// next returns the entry of a new row of the time t.
func (b *Batch) next(t int64) *entry {
	n := len(b.log)
	if n == cap(b.log) {
		log := make([]entry, n, max(minRoom, 2*n))
		copy(log, b.log)
		b.log = log
	}
	if n == 0 {
		b.min, b.max = t, t
	} else if t < b.log[n-1].eventTime {
		b.isMixed = true
	}
	b.min, b.max = min(b.min, t), max(b.max, t)
	b.log = b.log[:n+1]
	return &b.log[n]
}

// amounts returns the row's amounts in ten-thousandths, 0 for a billing amount without
// currency, or an error that wraps [ErrField].
func (b *Batch) amounts(r *Row) (amount, billing int64, err error) {
	amount, rule := b.amountFactor.scale4(Money{r.Amount, Currency(r.Text(TextCurrency))})
	if rule != "" {
		return 0, 0, fieldError("amount", rule)
	}
	if currency := Currency(r.Text(TextBillingCurrency)); currency != "" {
		if billing, rule = b.billingFactor.scale4(Money{r.BillingAmount, currency}); rule != "" {
			return 0, 0, fieldError("billing_amount", rule)
		}
	} else if r.BillingAmount != 0 {
		return 0, 0, fieldError("billing_currency", isMissing)
	}
	return amount, billing, nil
}

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.log) }

// Bytes returns about how much memory the rows take, their columns not counted.
func (b *Batch) Bytes() int64 { return b.bytes }

// ViewBytes returns about how much memory the columns of View take beside.
func (b *Batch) ViewBytes() int64 { return b.view.rows.Bytes() }

// TimeRange returns the least and the greatest event time, in microseconds since the epoch;
// zeros if there is no row.
func (b *Batch) TimeRange() (min, max int64) { return b.min, b.max }

// Record returns the rows in the order of their event time; rows of the same time stay in
// the order in which they came. The schema is ArrowSchema's, but for columns whose values
// repeat, which are dictionaries of strings with int32 codes.
//
// The record shares memory with the batch: it is valid until the next Record or Reset,
// whichever comes first. Releasing it is not necessary.
func (b *Batch) Record() (arrow.RecordBatch, error) {
	if b.record == nil {
		b.record = NewColumns()
	}
	return b.RecordIn(b.record)
}

// RecordIn is Record in memory that several batches can use one after another: the record is
// valid until c is used again.
func (b *Batch) RecordIn(c *Columns) (arrow.RecordBatch, error) {
	c.reset()
	c.take(b, c.order(b))
	c.rows.flags.live(c.rows.n, &c.rows.flags.sorted)
	return c.rows.record(c.rows.n, false, &c.rows.flags.sorted), nil
}

// View returns the rows so far in the order in which they came, with the schema of Record's.
//
// A view stays as it is, and other goroutines may read it, while rows are appended and records
// are made, until Reset. All views share the memory of their columns, which grows by the rows
// that came since the last; but each has bitmaps of its own of nulls and booleans: their last
// byte is still to be written, and Arrow wants it next to the others. View may be called while
// another goroutine calls Record, but not at the same time as Append. Releasing the view is
// not necessary.
func (b *Batch) View() arrow.RecordBatch {
	b.view.take(b, nil)
	return b.view.rows.View()
}

// Reset removes all rows, as [Batch.Record] and [Batch.View] gave them, and keeps the memory
// for the next ones. Nobody may be reading a record or a view any more: a batch whose views
// may still be read is dropped instead.
func (b *Batch) Reset() {
	for i := range b.groups {
		b.groups[i].reset()
	}
	b.streams.reset()
	b.view.reset()
	b.log, b.texts = b.log[:0], b.texts[:0]
	b.bytes, b.min, b.max, b.isMixed = 0, 0, 0, false
}

// scale4 is Money.Scale4 with a memory of one currency; rule says what is wrong.
func (f *currencyFactor) scale4(m Money) (unscaled int64, rule string) {
	if m.Currency != f.currency || f.factor == 0 {
		one := Money{1, m.Currency}
		factor, ok := one.Scale4()
		if !ok {
			return 0, "has an unknown currency"
		}
		// The currency may alias memory that is reused: keep the constant of its number.
		known, _ := CurrencyByNumber(m.Currency.Number())
		*f = currencyFactor{known, factor, maxUnscaled / factor}
	}
	if m.Minor > f.limit || m.Minor < -f.limit {
		return 0, "does not fit decimal(18,4)"
	}
	return m.Minor * f.factor, ""
}

// maxUnscaled is the greatest unscaled value of decimal(18,4).
const maxUnscaled = 999_999_999_999_999_999
