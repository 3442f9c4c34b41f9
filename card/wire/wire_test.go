package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

const testPAN = "4111111111111111" // a published test number

func keyring(t testing.TB, owners ...keys.Owner) *local.Keyring {
	t.Helper()
	k, err := local.Create(t.TempDir()+"/k", []byte("a secret for this test"), keys.CardPurposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(context.Background(), owners...); err != nil {
		t.Fatal(err)
	}
	return k
}

func message(t testing.TB) *card.Message {
	t.Helper()
	pan, err := card.ParsePAN(testPAN)
	if err != nil {
		t.Fatal(err)
	}
	return &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: cardlake.EventID{1, 2, 3}, TransactionID: cardlake.EventID{4, 5, 6},
		EventType: cardlake.Authorization, Tenant: "aurora-pay", Program: "aurora-visa-credit", Region: "local",
		EventTime: 1_790_000_000_123_456, LocalTime: 1_789_990_000_000_000,
		CustomerID: "cu-1", AccountID: "ac-1", Network: cardlake.Visa, Product: cardlake.Credit,
		Amount: cardlake.Money{Minor: 12_50, Currency: "USD"}, BillingAmount: cardlake.Money{Minor: 250_00, Currency: "MXN"},
		MerchantID: "M-1", MerchantName: "Panadería São José", MCC: "5462", MerchantCity: "Puebla", MerchantCountry: "MX",
		TerminalID: "T0000001", AcquirerID: "400123", Channel: cardlake.POS, EntryMode: "chip", CardPresent: true,
		ResponseCode: "00", Approved: true, ApprovalCode: "A1B2C3", PINVerified: cardlake.False, LatencyMicros: 731,
		MTI: "0100", ProcessingCode: "000000", STAN: "000123", RRN: "632613000123",
	}}
}

func TestRoundTrip(t *testing.T) {
	ctx := context.Background()
	k := keyring(t, "ownera")
	for name, change := range map[string]func(*card.Message){
		"full":    func(*card.Message) {},
		"minimal": func(m *card.Message) { *m = minimal(m) },
		"wallet":  func(m *card.Message) { m.Wallet, m.ECI, m.PINVerified = "applepay", "05", cardlake.True },
	} {
		t.Run(name, func(t *testing.T) {
			want := message(t)
			change(want)
			value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(ctx, nil, "ownera", want)
			if err != nil {
				t.Fatal(err)
			}
			d := wire.NewDecoder(k, wire.DecoderConfig{})
			// A message that was used before must keep nothing of its last event.
			got := message(t)
			got.Wallet, got.CVVResult, got.AVSResult = "left over", "left over", "left over"
			sealed, err := d.Decode(value, got)
			if err != nil {
				t.Fatal(err)
			}
			got.PAN = card.PAN{}
			if err := d.Open(ctx, "ownera", got, sealed); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Transaction, got.Transaction); diff != "" {
				t.Errorf("transaction (-sent +received):\n%s", diff)
			}
			if !bytes.Equal(got.PAN.Digits(), want.PAN.Digits()) {
				t.Error("another card number came back")
			}
		})
	}
}

func minimal(m *card.Message) card.Message {
	return card.Message{PAN: m.PAN, Transaction: cardlake.Transaction{
		EventID: m.EventID, TransactionID: m.EventID, EventType: cardlake.Reversal, Tenant: m.Tenant,
		Network: cardlake.Mastercard, Amount: cardlake.Money{Currency: "CLP"}, Channel: cardlake.ATM, MTI: "0420",
	}}
}

// TestAvroLibraryAgrees decodes with an independent implementation and the published schema,
// and encodes with it what the Decoder must read.
func TestAvroLibraryAgrees(t *testing.T) {
	ctx := context.Background()
	schema := avro.MustParse(wire.Schema())
	k := keyring(t, "ownera")
	enc, dec := wire.NewEncoder(k, wire.EncoderConfig{}), wire.NewDecoder(k, wire.DecoderConfig{})
	full, small := message(t), message(t)
	*small = minimal(small)
	for _, m := range []*card.Message{full, small} {
		value, err := enc.Append(ctx, nil, "ownera", m)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := avro.Unmarshal(schema, value[5:], &fields); err != nil {
			t.Fatal(err)
		}
		if got := fields["tenant"]; got != string(m.Tenant) {
			t.Errorf("tenant is %v", got)
		}
		if got := fields["amount"]; got != m.Amount.Minor {
			t.Errorf("amount is %v", got)
		}
		again, err := avro.Marshal(schema, fields)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, value[5:]) {
			t.Error("the library encodes the decoded fields to other bytes")
		}
		var got card.Message
		if _, err := dec.Decode(append(bytes.Clone(value[:5]), again...), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m.Transaction, got.Transaction); diff != "" {
			t.Errorf("transaction (-sent +received):\n%s", diff)
		}
	}
}

// TestSchemaIsFrozen fails when the schema of a version that is on streams is edited: a
// change is a new version with defaults for what it adds.
func TestSchemaIsFrozen(t *testing.T) {
	const v1 = "e16065f6"
	if got := fmt.Sprintf("%x", avro.MustParse(wire.Schema()).Fingerprint())[:8]; got != v1 {
		t.Errorf("fingerprint of schema version 1 begins with %s, want %s", got, v1)
	}
}

func TestTextThatLooksLikeACardNumberIsMasked(t *testing.T) {
	ctx := context.Background()
	k := keyring(t, "ownera")
	m := message(t)
	m.MerchantName = "Shop " + testPAN
	m.MerchantID = testPAN[:15]
	m.CustomerID = testPAN
	m.Program = "4111-1111-1111-1111"
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(ctx, nil, "ownera", m)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(value, []byte(testPAN)) || bytes.Contains(value, []byte("4111-1111-1111-1111")) {
		t.Error("the clear part holds the card number")
	}
	var got card.Message
	if _, err := wire.NewDecoder(k, wire.DecoderConfig{}).Decode(value, &got); err != nil {
		t.Fatal(err)
	}
	if got.MerchantName != "Shop ****************" {
		t.Errorf("merchant name is %q", got.MerchantName)
	}
}

func TestSealIsBoundToItsEvent(t *testing.T) {
	ctx := context.Background()
	k := keyring(t, "ownera", "ownerb")
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(ctx, nil, "ownera", message(t))
	if err != nil {
		t.Fatal(err)
	}
	d := wire.NewDecoder(k, wire.DecoderConfig{})
	decode := func() (*card.Message, []byte) {
		var m card.Message
		sealed, err := d.Decode(value, &m)
		if err != nil {
			t.Fatal(err)
		}
		return &m, sealed
	}
	for name, try := range map[string]func() error{
		"other owner":  func() error { m, s := decode(); return d.Open(ctx, "ownerb", m, s) },
		"other tenant": func() error { m, s := decode(); m.Tenant = "other"; return d.Open(ctx, "ownera", m, s) },
		"other event":  func() error { m, s := decode(); m.EventID[0] ^= 1; return d.Open(ctx, "ownera", m, s) },
		"no such key":  func() error { m, s := decode(); return d.Open(ctx, "nobody", m, s) },
		"changed": func() error {
			m, s := decode()
			s = bytes.Clone(s)
			s[len(s)-1] ^= 1
			return d.Open(ctx, "ownera", m, s)
		},
	} {
		err := try()
		if !errors.Is(err, wire.ErrUnopenable) {
			t.Errorf("%s: error %v, want ErrUnopenable", name, err)
		}
		if err != nil && strings.Contains(err.Error(), testPAN[:8]) {
			t.Errorf("%s: the error shows the card number", name)
		}
	}
	m, s := decode()
	if err := d.Open(ctx, "ownera", m, s); err != nil {
		t.Errorf("the unchanged event does not open: %v", err)
	}
}

func TestProviderOutageIsNotFinal(t *testing.T) {
	ctx := context.Background()
	k := keyring(t, "ownera")
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(ctx, nil, "ownera", message(t))
	if err != nil {
		t.Fatal(err)
	}
	outage := errors.New("key service is away")
	d := wire.NewDecoder(failing{k, outage}, wire.DecoderConfig{})
	var m card.Message
	sealed, err := d.Decode(value, &m)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Open(ctx, "ownera", &m, sealed); !errors.Is(err, outage) || errors.Is(err, wire.ErrUnopenable) {
		t.Errorf("error %v, want the outage and not ErrUnopenable", err)
	}
}

type failing struct {
	keys.Provider
	err error
}

func (f failing) UnwrapDataKey(context.Context, keys.Scope, []byte) (keys.Key, error) {
	return keys.Key{}, f.err
}

func TestDecodeRefuses(t *testing.T) {
	k := keyring(t, "ownera")
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(context.Background(), nil, "ownera", message(t))
	if err != nil {
		t.Fatal(err)
	}
	d := wire.NewDecoder(k, wire.DecoderConfig{})
	var m card.Message
	for n := range value {
		if _, err := d.Decode(value[:n], &m); !errors.Is(err, wire.ErrUndecodable) {
			t.Fatalf("cut to %d bytes: error %v, want ErrUndecodable", n, err)
		}
	}
	if _, err := d.Decode(append(bytes.Clone(value), 0), &m); !errors.Is(err, wire.ErrUndecodable) {
		t.Errorf("one byte too many: error %v, want ErrUndecodable", err)
	}
	other := bytes.Clone(value)
	other[4] = 99
	if _, err := d.Decode(other, &m); !errors.Is(err, wire.ErrUnknownSchema) {
		t.Errorf("schema id 99: error %v, want ErrUnknownSchema", err)
	}
}

func FuzzDecode(f *testing.F) {
	k := keyring(f, "ownera")
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(context.Background(), nil, "ownera", message(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte{0, 0, 0, 0, 1})
	d, batch := wire.NewDecoder(k, wire.DecoderConfig{}), cardlake.NewBatch()
	f.Fuzz(func(t *testing.T, value []byte) {
		var m card.Message
		sealed, err := d.Decode(value, &m)
		if err != nil {
			return
		}
		_ = d.Open(context.Background(), "ownera", &m, sealed)
		var row cardlake.Row
		if _, err := d.DecodeRow(value, &row); err != nil {
			t.Fatal(err)
		}
		row.CardToken, row.IngestedAt, row.Position.Stream = "token", 1, "stream"
		m.CardToken, m.IngestedAt, m.Position.Stream = "token", 1, "stream"
		byRow, byMessage := batch.AppendRow(&row), batch.Append(&m.Transaction)
		if (byRow == nil) != (byMessage == nil) {
			t.Fatalf("the row is %v, the message %v", byRow, byMessage)
		}
		if rec := batch.View(); byRow == nil && !array.RecordEqual(rec.NewSlice(0, 1), rec.NewSlice(1, 2)) {
			t.Fatal("the row is another than the message")
		}
		batch.Reset()
	})
}

func TestDataKeyIsReusedWithinItsBounds(t *testing.T) {
	ctx := context.Background()
	k := keyring(t, "ownera")
	enc := wire.NewEncoder(k, wire.EncoderConfig{Envelope: keys.EnvelopeConfig{MaxMessages: 10}})
	env := keys.NewEnvelopes(k, keys.Seal, keys.EnvelopeConfig{MaxMessages: 10})
	var sealed [][]byte
	for range 25 {
		s, err := env.AppendSealed(ctx, nil, "ownera", []byte("plain"), nil)
		if err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, s)
	}
	nonces := map[string]bool{}
	for _, s := range sealed {
		if out, err := env.Open(ctx, nil, "ownera", s, nil); err != nil || string(out) != "plain" {
			t.Fatalf("opened %q, error %v", out, err)
		}
		nonces[string(s[:len(s)-16-5])] = true
	}
	if got := env.Unwraps(); got != 3 {
		t.Errorf("25 messages of at most 10 a key took %d unwraps, want 3", got)
	}
	if len(nonces) != 25 {
		t.Errorf("25 messages used %d pairs of key and nonce", len(nonces))
	}
	if _, err := enc.Append(ctx, nil, "ownera", message(t)); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkEncode(b *testing.B) {
	ctx := context.Background()
	enc := wire.NewEncoder(keyring(b, "ownera"), wire.EncoderConfig{})
	m := message(b)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = enc.Append(ctx, buf[:0], "ownera", m); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "bytes/event")
}

func BenchmarkDecodeOpen(b *testing.B) {
	ctx := context.Background()
	k := keyring(b, "ownera")
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(ctx, nil, "ownera", message(b))
	if err != nil {
		b.Fatal(err)
	}
	d := wire.NewDecoder(k, wire.DecoderConfig{})
	var m card.Message
	b.ReportAllocs()
	for b.Loop() {
		sealed, err := d.Decode(value, &m)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Open(ctx, "ownera", &m, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeReference decodes the same event, all of its fields, with hamba/avro. It
// opens nothing.
func BenchmarkDecodeReference(b *testing.B) {
	schema := avro.MustParse(wire.Schema())
	k := keyring(b, "ownera")
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(context.Background(), nil, "ownera", message(b))
	if err != nil {
		b.Fatal(err)
	}
	var fields struct {
		EventID         [16]byte  `avro:"event_id"`
		TransactionID   [16]byte  `avro:"transaction_id"`
		EventType       string    `avro:"event_type"`
		Tenant          string    `avro:"tenant"`
		Program         string    `avro:"program"`
		Region          string    `avro:"region"`
		EventTime       time.Time `avro:"event_time"`
		CustomerID      *string   `avro:"customer_id"`
		AccountID       *string   `avro:"account_id"`
		Network         string    `avro:"network"`
		Product         *string   `avro:"product"`
		Amount          int64     `avro:"amount"`
		Currency        string    `avro:"currency"`
		BillingAmount   *int64    `avro:"billing_amount"`
		BillingCurrency *string   `avro:"billing_currency"`
		MerchantID      *string   `avro:"merchant_id"`
		MerchantName    *string   `avro:"merchant_name"`
		MCC             *string   `avro:"mcc"`
		MerchantCity    *string   `avro:"merchant_city"`
		MerchantCountry *string   `avro:"merchant_country"`
		TerminalID      *string   `avro:"terminal_id"`
		AcquirerID      *string   `avro:"acquirer_id"`
		Channel         string    `avro:"channel"`
		EntryMode       string    `avro:"entry_mode"`
		CardPresent     bool      `avro:"card_present"`
		Wallet          *string   `avro:"wallet"`
		ECI             *string   `avro:"eci"`
		ResponseCode    string    `avro:"response_code"`
		Approved        bool      `avro:"approved"`
		DeclineReason   *string   `avro:"decline_reason"`
		ApprovalCode    *string   `avro:"approval_code"`
		CVVResult       *string   `avro:"cvv_result"`
		AVSResult       *string   `avro:"avs_result"`
		PINVerified     *bool     `avro:"pin_verified"`
		LatencyMicros   int32     `avro:"latency_us"`
		MTI             string    `avro:"mti"`
		ProcessingCode  *string   `avro:"processing_code"`
		STAN            *string   `avro:"stan"`
		RRN             *string   `avro:"rrn"`
		Sealed          []byte    `avro:"sealed"`
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := avro.Unmarshal(schema, value[5:], &fields); err != nil {
			b.Fatal(err)
		}
	}
}
