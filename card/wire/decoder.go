package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// DecoderConfig configures a Decoder.
type DecoderConfig struct {
	// SchemaVersions maps the ids a framing may carry to schema versions; default
	// DefaultSchemaID to SchemaVersion.
	SchemaVersions map[uint32]int
	// Envelope bounds how long an unwrapped data key is kept.
	Envelope keys.EnvelopeConfig
}

// Decoder decodes and opens events. One goroutine uses it at a time.
type Decoder struct {
	envelopes *keys.Envelopes
	versions  map[uint32]int
	aad, pan  []byte
}

// NewDecoder returns a decoder that opens with provider's data keys of purpose keys.Seal.
func NewDecoder(provider keys.Provider, cfg DecoderConfig) *Decoder {
	if cfg.SchemaVersions == nil {
		cfg.SchemaVersions = map[uint32]int{DefaultSchemaID: SchemaVersion}
	}
	return &Decoder{
		envelopes: keys.NewEnvelopes(provider, keys.Seal, cfg.Envelope),
		versions:  cfg.SchemaVersions,
		aad:       make([]byte, 0, 128), pan: make([]byte, 0, 32),
	}
}

// Decode reads the framed event into m and returns its sealed card number. The strings of m
// and the sealed value share value's memory. It overwrites every field the event carries and
// leaves m.PAN alone. Errors wrap ErrUndecodable or ErrUnknownSchema and name the field.
func (d *Decoder) Decode(value []byte, m *card.Message) (sealed []byte, err error) {
	if len(value) < 5 || value[0] != 0 {
		return nil, fmt.Errorf("%w: no schema id framing", ErrUndecodable)
	}
	if id := binary.BigEndian.Uint32(value[1:]); d.versions[id] != SchemaVersion {
		return nil, fmt.Errorf("%w: id %d", ErrUnknownSchema, id)
	}
	if len(value) > maxEvent {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrUndecodable, len(value), maxEvent)
	}
	r := reader{rest: value[5:]}
	t := &m.Transaction
	r.id("event_id", &t.EventID)
	r.id("transaction_id", &t.TransactionID)
	t.EventType = cardlake.EventType(r.text("event_type"))
	t.Tenant = cardlake.Tenant(r.text("tenant"))
	t.Program = r.text("program")
	t.Region = r.text("region")
	t.EventTime = r.long("event_time")
	t.LocalTime = 0
	if r.present("local_time") {
		t.LocalTime = r.long("local_time")
	}
	t.CustomerID = r.optional("customer_id")
	t.AccountID = r.optional("account_id")
	t.Network = cardlake.Network(r.text("network"))
	t.Product = cardlake.Product(r.optional("product"))
	t.Amount.Minor = r.long("amount")
	t.Amount.Currency = cardlake.Currency(r.text("currency"))
	t.BillingAmount = cardlake.Money{}
	if r.present("billing_amount") {
		t.BillingAmount.Minor = r.long("billing_amount")
	}
	t.BillingAmount.Currency = cardlake.Currency(r.optional("billing_currency"))
	t.MerchantID = r.optional("merchant_id")
	t.MerchantName = r.optional("merchant_name")
	t.MCC = r.optional("mcc")
	t.MerchantCity = r.optional("merchant_city")
	t.MerchantCountry = r.optional("merchant_country")
	t.TerminalID = r.optional("terminal_id")
	t.AcquirerID = r.optional("acquirer_id")
	t.Channel = cardlake.Channel(r.text("channel"))
	t.EntryMode = r.text("entry_mode")
	t.CardPresent = r.bool("card_present")
	t.Wallet = r.optional("wallet")
	t.ECI = r.optional("eci")
	t.ResponseCode = r.text("response_code")
	t.Approved = r.bool("approved")
	t.DeclineReason = r.optional("decline_reason")
	t.ApprovalCode = r.optional("approval_code")
	t.CVVResult = r.optional("cvv_result")
	t.AVSResult = r.optional("avs_result")
	t.PINVerified = cardlake.Unknown
	if r.present("pin_verified") {
		t.PINVerified = cardlake.TruthOf(r.bool("pin_verified"))
	}
	latency := r.long("latency_us")
	t.LatencyMicros = int32(latency)
	if int64(t.LatencyMicros) != latency {
		r.fail("latency_us", "does not fit 32 bits")
	}
	t.MTI = r.text("mti")
	t.ProcessingCode = r.optional("processing_code")
	t.STAN = r.optional("stan")
	t.RRN = r.optional("rrn")
	sealed = r.bytes("sealed")
	if r.field == "" && len(r.rest) > 0 {
		r.fail("sealed", "is followed by more bytes")
	}
	if r.field != "" {
		return nil, fmt.Errorf("%w: field %s %s", ErrUndecodable, r.field, r.rule)
	}
	return sealed, nil
}

// Open opens the sealed card number of the decoded event m into m.PAN, with owner, the
// tenant's key owner. ErrUnopenable is final; any other error is the key provider's and may
// pass.
func (d *Decoder) Open(ctx context.Context, owner keys.Owner, m *card.Message, sealed []byte) error {
	d.aad = appendAAD(d.aad[:0], m.Tenant, m.EventID, SchemaVersion)
	pan, err := d.envelopes.Open(ctx, d.pan[:0], owner, sealed, d.aad)
	defer clear(d.pan[:cap(d.pan)])
	switch {
	case errors.Is(err, keys.ErrOpen), errors.Is(err, keys.ErrUnwrap), errors.Is(err, keys.ErrNoKey):
		return fmt.Errorf("%w: %w", ErrUnopenable, err)
	case err != nil:
		return err
	}
	if cap(pan) > cap(d.pan) { // no card number is that long: Set will refuse it
		defer clear(pan)
	}
	if err := m.PAN.Set(pan); err != nil {
		return fmt.Errorf("%w: %w", ErrUnopenable, err)
	}
	return nil
}

// reader walks an Avro record. After the first fault it returns zero values.
type reader struct {
	rest        []byte
	field, rule string // of the first fault
}

func (r *reader) fail(field, rule string) {
	if r.field == "" {
		r.field, r.rule = field, rule
	}
	r.rest = nil
}

func (r *reader) long(field string) int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail(field, "is not a varint")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes(field string) []byte {
	n := r.long(field)
	if n < 0 || n > int64(len(r.rest)) {
		r.fail(field, "is cut short")
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text(field string) string {
	b := r.bytes(field)
	if len(b) == 0 {
		return ""
	}
	if !utf8.Valid(b) {
		r.fail(field, "is not UTF-8")
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

func (r *reader) present(field string) bool {
	if len(r.rest) > 0 {
		switch r.rest[0] {
		case unionNull:
			r.rest = r.rest[1:]
			return false
		case unionValue:
			r.rest = r.rest[1:]
			return true
		}
	}
	r.fail(field, "has no valid union branch")
	return false
}

func (r *reader) optional(field string) string {
	if !r.present(field) {
		return ""
	}
	return r.text(field)
}

func (r *reader) bool(field string) bool {
	if len(r.rest) == 0 || r.rest[0] > 1 {
		r.fail(field, "is not a boolean")
		return false
	}
	b := r.rest[0] == 1
	r.rest = r.rest[1:]
	return b
}

func (r *reader) id(field string, id *cardlake.EventID) {
	if len(r.rest) < len(id) {
		r.fail(field, "is cut short")
		return
	}
	copy(id[:], r.rest)
	r.rest = r.rest[len(id):]
}
