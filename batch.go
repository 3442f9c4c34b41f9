package cardlake

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
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

// Batch collects rows of cards.transactions in columns. It copies all it keeps, and appends
// without allocating once its memory has grown to the size of its batches. It is not safe
// for concurrent use; NewBatch makes one.
type Batch struct {
	rows

	groups                         [groupCount]group
	eventID, transactionID         *ids
	eventTime, localTime, ingested *fixed[int64]
	token, last4                   *texts
	singles                        [len(singleTexts)]*texts
	bin, stream                    *words
	amount, billing                *fixed[decimal128.Num]
	present, approved, pin         *bools
	latency, partition             *fixed[int32]
	offset                         *fixed[int64]
	amountFactor, billingFactor    currencyFactor
	row                            Row // of a Transaction
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
	b := &Batch{
		eventID: &ids{}, transactionID: &ids{},
		eventTime: &fixed[int64]{}, localTime: &fixed[int64]{}, ingested: &fixed[int64]{},
		token: &texts{}, last4: &texts{}, bin: newWords(seed), stream: newWords(seed),
		amount: &fixed[decimal128.Num]{}, billing: &fixed[decimal128.Num]{},
		present: &bools{}, approved: &bools{}, pin: &bools{},
		latency: &fixed[int32]{}, partition: &fixed[int32]{}, offset: &fixed[int64]{},
	}
	byName := map[string]column{
		"event_id": b.eventID, "transaction_id": b.transactionID,
		"event_time": b.eventTime, "local_time": b.localTime, "ingested_at": b.ingested,
		"card_token": b.token, "bin": b.bin, "last4": b.last4,
		"amount": b.amount, "billing_amount": b.billing,
		"card_present": b.present, "approved": b.approved, "pin_verified": b.pin,
		"latency_us": b.latency, "stream": b.stream, "stream_partition": b.partition, "stream_offset": b.offset,
	}
	for i, t := range singleTexts {
		b.singles[i] = &texts{}
		byName[textColumns[t].name] = b.singles[i]
	}
	for i, first := range groupStarts {
		g := &b.groups[i]
		g.first, g.seed = first, seed
		for t := g.first; t < TextCount && byName[textColumns[t].name] == nil; t++ {
			if i+1 < groupCount && t == groupStarts[i+1] {
				break
			}
			w := newWords(seed)
			g.columns = append(g.columns, w)
			byName[textColumns[t].name] = w
		}
	}
	columns := make([]column, len(Transactions.Columns))
	for i, c := range Transactions.Columns {
		columns[i] = byName[c.Name]
	}
	b.rows = newRows(Transactions, b.eventTime, columns)
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
	if b.text > maxText || b.n >= maxText/len(idText{}) {
		return ErrFull
	}
	found, err := b.check(r)
	if err != nil {
		return err
	}
	amount, billing, err := b.amounts(r)
	if err != nil {
		return err
	}

	// From here on nothing fails.
	n := b.next(r.EventTime)
	text, flags := 0, uint64(0)
	for i := range b.groups {
		g := &b.groups[i]
		var c *combination
		if found[i] >= 0 {
			c = &g.known[found[i]]
		} else {
			var grown int
			c, grown = g.learn(r, n)
			text += grown
		}
		flags |= c.flags
		for j, w := range g.columns {
			w.codes.live[n] = c.codes[j]
		}
	}
	for i, c := range b.singles {
		s := r.Text(singleTexts[i])
		c.set(n, s)
		text += len(s)
		if s != "" {
			flags |= c.valid.mask()
		}
	}
	b.token.set(n, r.CardToken)
	b.last4.set(n, r.Last4)
	text += len(r.CardToken) + len(r.Last4) + b.bin.set(n, r.BIN) + b.stream.set(n, r.Position.Stream)
	if r.BIN != "" {
		flags |= b.bin.valid.mask()
	}
	if r.Last4 != "" {
		flags |= b.last4.valid.mask()
	}
	r.EventID.put(&b.eventID.live[n])
	r.TransactionID.put(&b.transactionID.live[n])
	if b.localTime.live[n] = r.LocalTime; r.LocalTime != 0 {
		flags |= b.localTime.valid.mask()
	}
	b.ingested.live[n] = r.IngestedAt
	b.amount.live[n], b.billing.live[n] = decimal128.FromI64(amount), decimal128.FromI64(billing)
	if r.Text(TextBillingCurrency) != "" {
		flags |= b.billing.valid.mask()
	}
	if r.CardPresent {
		flags |= b.present.value.mask()
	}
	if r.Approved {
		flags |= b.approved.value.mask()
	}
	switch r.PINVerified {
	case True:
		flags |= b.pin.value.mask() | b.pin.valid.mask()
	case False:
		flags |= b.pin.valid.mask()
	}
	b.latency.live[n] = r.LatencyMicros
	b.partition.live[n], b.offset.live[n] = r.Position.Partition, r.Position.Offset
	b.end(n, flags, text)
	return nil
}

// check returns an error that wraps [ErrField] if a text or time of the row breaks a rule, and
// else the row's combination in each group, -1 for a new one.
func (b *Batch) check(r *Row) (found [groupCount]int32, err error) {
	switch {
	case r.EventID == EventID{}:
		return found, fieldError("event_id", isMissing)
	case r.TransactionID == EventID{}:
		return found, fieldError("transaction_id", isMissing)
	case r.EventTime <= 0:
		return found, fieldError("event_time", isMissing)
	case r.IngestedAt <= 0:
		return found, fieldError("ingested_at", isMissing)
	}
	for i := range b.groups {
		if found[i] = b.groups[i].find(r); found[i] < 0 {
			if err := b.groups[i].check(r); err != nil {
				return found, err
			}
		}
	}
	for _, t := range singleTexts {
		if err := textColumns[t].check(r.Text(t)); err != nil {
			return found, err
		}
	}
	return found, cmp.Or(
		tokenColumn.check(r.CardToken), binColumn.check(r.BIN), last4Column.check(r.Last4), streamColumn.check(r.Position.Stream),
	)
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

// Reset removes all rows, as [Batch.Record] and [Batch.View] gave them, and keeps the memory
// for the next ones. Nobody may be reading a record or a view any more: a batch whose views
// may still be read is dropped instead.
func (b *Batch) Reset() {
	for i := range b.groups {
		b.groups[i].reset()
	}
	b.rows.Reset()
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
