package cardlake

import (
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

// maxText is the text that a batch holds at most, so that Arrow's 32-bit offsets suffice.
const maxText = math.MaxInt32 / 2

// Batch collects rows of cards.transactions in columns. It copies all it keeps, and appends
// without allocating once its memory has grown to the size of its batches. It is not safe
// for concurrent use; NewBatch makes one.
type Batch struct {
	rows

	eventID, transactionID         *texts
	eventTime, localTime, ingested *fixed[int64]
	amount, billing                *fixed[decimal128.Num]
	present, approved, pin         *bools
	latency, partition             *fixed[int32]
	offset                         *fixed[int64]
	texts                          [textCount]interface{ append(string) int }
	isRequired                     [textCount]bool
	amountFactor, billingFactor    currencyFactor
}

// currencyFactor remembers what turns minor units of a currency into ten-thousandths, since
// one tenant's rows are mostly in one currency.
type currencyFactor struct {
	currency      Currency
	factor, limit int64
}

// textColumn says how a text column is kept and what it may hold.
type textColumn struct {
	name    string
	max     int  // bytes
	isWords bool // values repeat enough for a dictionary to pay
}

// textColumns are in the order of [Transaction.texts]. The limits are those of ISO 8583's
// data elements, or wide for names of our own.
var textColumns = [...]textColumn{
	{"event_type", 16, true},
	{"tenant", 40, true},
	{"program", 64, true},
	{"region", 32, true},
	{"card_token", 64, false},
	{"bin", 8, true},
	{"last4", 4, true},
	{"customer_id", 64, false},
	{"account_id", 64, false},
	{"network", 16, true},
	{"product", 16, true},
	{"currency", 3, true},
	{"billing_currency", 3, true},
	{"merchant_id", 15, true},
	{"merchant_name", 99, true},
	{"mcc", 4, true},
	{"merchant_city", 64, true},
	{"merchant_country", 3, true},
	{"terminal_id", 16, true},
	{"acquirer_id", 11, true},
	{"channel", 16, true},
	{"entry_mode", 16, true},
	{"wallet", 32, true},
	{"eci", 2, true},
	{"response_code", 3, true},
	{"decline_reason", 64, true},
	{"approval_code", 6, false},
	{"cvv_result", 16, true},
	{"avs_result", 16, true},
	{"mti", 4, true},
	{"processing_code", 6, true},
	{"stan", 12, false},
	{"rrn", 12, false},
	{"stream", 249, true},
}

const textCount = len(textColumns)

// texts returns the row's text fields in the order of textColumns.
func (t *Transaction) texts() [textCount]string {
	return [textCount]string{
		string(t.EventType), string(t.Tenant), t.Program, t.Region,
		t.CardToken, t.BIN, t.Last4, t.CustomerID, t.AccountID, string(t.Network), string(t.Product),
		string(t.Amount.Currency), string(t.BillingAmount.Currency),
		t.MerchantID, t.MerchantName, t.MCC, t.MerchantCity, t.MerchantCountry, t.TerminalID, t.AcquirerID,
		string(t.Channel), t.EntryMode, t.Wallet, t.ECI,
		t.ResponseCode, t.DeclineReason, t.ApprovalCode, t.CVVResult, t.AVSResult,
		t.MTI, t.ProcessingCode, t.STAN, t.RRN, t.Position.Stream,
	}
}

// NewBatch returns an empty batch.
func NewBatch() *Batch {
	b := &Batch{
		eventID: &texts{}, transactionID: &texts{},
		eventTime: &fixed[int64]{}, localTime: &fixed[int64]{}, ingested: &fixed[int64]{},
		amount: &fixed[decimal128.Num]{}, billing: &fixed[decimal128.Num]{},
		present: &bools{}, approved: &bools{}, pin: &bools{},
		latency: &fixed[int32]{}, partition: &fixed[int32]{}, offset: &fixed[int64]{},
	}
	byName := map[string]accumulator{
		"event_id": b.eventID, "transaction_id": b.transactionID,
		"event_time": b.eventTime, "local_time": b.localTime, "ingested_at": b.ingested,
		"amount": b.amount, "billing_amount": b.billing,
		"card_present": b.present, "approved": b.approved, "pin_verified": b.pin,
		"latency_us": b.latency, "stream_partition": b.partition, "stream_offset": b.offset,
	}
	for i, c := range textColumns {
		nullable := Transactions.Column(c.name).Nullable
		// A card number that was never issued belongs to no programme.
		b.isRequired[i] = !nullable && c.name != "program"
		if c.isWords {
			w := newWords(nullable)
			b.texts[i], byName[c.name] = w, w
		} else {
			p := &texts{isNullable: nullable}
			b.texts[i], byName[c.name] = p, p
		}
	}
	columns := make([]accumulator, len(Transactions.Columns))
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
	if b.text > maxText {
		return ErrFull
	}
	if t.EventID == (EventID{}) {
		return fieldError("event_id", "is missing")
	}
	if t.TransactionID == (EventID{}) {
		return fieldError("transaction_id", "is missing")
	}
	if t.EventTime <= 0 {
		return fieldError("event_time", "is missing")
	}
	if t.IngestedAt <= 0 {
		return fieldError("ingested_at", "is missing")
	}
	fields := t.texts()
	for i, s := range &fields {
		if err := checkText(textColumns[i].name, s, textColumns[i].max, b.isRequired[i]); err != nil {
			return err
		}
	}
	amount, rule := b.amountFactor.scale4(t.Amount)
	if rule != "" {
		return fieldError("amount", rule)
	}
	billing, isBilled := int64(0), t.BillingAmount.Currency != ""
	if isBilled {
		if billing, rule = b.billingFactor.scale4(t.BillingAmount); rule != "" {
			return fieldError("billing_amount", rule)
		}
	} else if t.BillingAmount.Minor != 0 {
		return fieldError("billing_currency", "is missing")
	}

	b.note(t.EventTime)
	b.eventID.data = t.EventID.AppendTo(b.eventID.data)
	b.eventID.close(true)
	b.transactionID.data = t.TransactionID.AppendTo(b.transactionID.data)
	b.transactionID.close(true)
	text := 2 * 36
	for i, s := range &fields {
		text += b.texts[i].append(s)
	}
	b.text += int64(text)
	b.eventTime.append(t.EventTime)
	b.localTime.appendNullable(t.LocalTime, t.LocalTime != 0)
	b.ingested.append(t.IngestedAt)
	b.amount.append(decimal128.FromI64(amount))
	b.billing.appendNullable(decimal128.FromI64(billing), isBilled)
	b.present.append(TruthOf(t.CardPresent))
	b.approved.append(TruthOf(t.Approved))
	b.pin.append(t.PINVerified)
	b.latency.append(t.LatencyMicros)
	b.partition.append(t.Position.Partition)
	b.offset.append(t.Position.Offset)
	return nil
}

func checkText(column, s string, max int, isRequired bool) error {
	switch {
	case s == "" && isRequired:
		return fieldError(column, "is missing")
	case len(s) > max:
		return fieldError(column, "is too long")
	case !utf8.ValidString(s):
		return fieldError(column, "is not UTF-8")
	}
	return nil
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
