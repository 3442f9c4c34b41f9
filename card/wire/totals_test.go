package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
)

func controlTotal() *cardlake.ControlTotal {
	return &cardlake.ControlTotal{
		Region: "south", Processor: "abcdefghijklmnop", Tenant: "aurora", Minute: 1_772_000_040_000_000, Events: 5, Approved: 3,
		Amount: cardlake.Money{Minor: 12_345, Currency: "MXN"}, ApprovedAmount: cardlake.Money{Minor: -45, Currency: "MXN"},
		FirstSequence: 8, LastSequence: 12, EmittedAt: 1_772_000_115_000_001,
	}
}

func appendTotal(t testing.TB, id uint32) []byte {
	t.Helper()
	value, err := wire.AppendTotal(nil, id, controlTotal())
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTotalRoundTrip(t *testing.T) {
	value := appendTotal(t, 0)
	var got cardlake.ControlTotal
	if err := wire.NewTotalDecoder(wire.TotalDecoderConfig{}).Decode(value, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*controlTotal(), got); diff != "" {
		t.Errorf("control total (-sent +received):\n%s", diff)
	}
	value = appendTotal(t, 700)
	if err := wire.NewTotalDecoder(wire.TotalDecoderConfig{SchemaVersions: map[uint32]int{700: 1}}).Decode(value, &got); err != nil {
		t.Errorf("under a registry's id: %v", err)
	}
}

func TestTotalAvroLibraryAgrees(t *testing.T) {
	schema := avro.MustParse(wire.TotalSchema())
	value := appendTotal(t, 0)
	var fields map[string]any
	if err := avro.Unmarshal(schema, value[5:], &fields); err != nil {
		t.Fatal(err)
	}
	if fields["tenant"] != "aurora" || fields["approved_amount"] != int64(-45) || fields["last_sequence"] != int64(12) {
		t.Errorf("the library decodes %v", fields)
	}
	again, err := avro.Marshal(schema, fields)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, value[5:]) {
		t.Error("the library encodes the decoded fields to other bytes")
	}
}

// TestTotalSchemaIsFrozen fails when the schema of a version that is on streams is edited: a
// change is a new version with defaults for what it adds.
func TestTotalSchemaIsFrozen(t *testing.T) {
	const v1 = "80c68c3d"
	if got := fmt.Sprintf("%x", avro.MustParse(wire.TotalSchema()).Fingerprint())[:8]; got != v1 {
		t.Errorf("fingerprint of the control totals' schema version 1 begins with %s, want %s", got, v1)
	}
}

// TestFramesTellKinds tells events and control totals of one stream apart.
func TestFramesTellKinds(t *testing.T) {
	k := keyring(t, "ownera")
	event, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(t.Context(), nil, "ownera", message(t))
	if err != nil {
		t.Fatal(err)
	}
	events, totals := wire.NewDecoder(k, wire.DecoderConfig{}), wire.NewTotalDecoder(wire.TotalDecoderConfig{})
	total := appendTotal(t, 0)
	if !totals.Is(total) || totals.Is(event) || totals.Is(nil) || totals.Is(total[:4]) || totals.Is(append([]byte{1}, total[1:]...)) {
		t.Error("a frame is taken for another kind")
	}
	var m card.Message
	if _, err := events.Decode(total, &m); !errors.Is(err, wire.ErrUnknownSchema) {
		t.Errorf("a control total decoded as an event: %v", err)
	}
	var c cardlake.ControlTotal
	if err := totals.Decode(event, &c); !errors.Is(err, wire.ErrUnknownSchema) {
		t.Errorf("an event decoded as a control total: %v", err)
	}
}

func TestAppendTotalRefuses(t *testing.T) {
	for i, change := range []func(*cardlake.ControlTotal){
		func(c *cardlake.ControlTotal) { c.Tenant = "" },
		func(c *cardlake.ControlTotal) { c.ApprovedAmount.Currency = "CLP" },
		func(c *cardlake.ControlTotal) { c.Region = string(make([]byte, 2000)) },
	} {
		c := controlTotal()
		change(c)
		if got, err := wire.AppendTotal([]byte("before"), 0, c); err == nil || string(got) != "before" {
			t.Errorf("case %d: error %v, %d bytes", i, err, len(got))
		}
	}
}

func TestTotalDecodeRefuses(t *testing.T) {
	value := appendTotal(t, 0)
	d := wire.NewTotalDecoder(wire.TotalDecoderConfig{})
	var c cardlake.ControlTotal
	for n := range value {
		if err := d.Decode(value[:n], &c); !errors.Is(err, wire.ErrUndecodable) {
			t.Fatalf("cut to %d bytes: error %v, want ErrUndecodable", n, err)
		}
	}
	for _, tail := range []int{1, 2000} {
		if err := d.Decode(append(bytes.Clone(value), make([]byte, tail)...), &c); !errors.Is(err, wire.ErrUndecodable) {
			t.Errorf("%d bytes too many: error %v, want ErrUndecodable", tail, err)
		}
	}
}

func FuzzDecodeTotal(f *testing.F) {
	f.Add(appendTotal(f, 0))
	f.Add([]byte{0, 0, 0, 0, 2})
	d := wire.NewTotalDecoder(wire.TotalDecoderConfig{})
	f.Fuzz(func(t *testing.T, value []byte) {
		var c, again cardlake.ControlTotal
		if d.Decode(value, &c) != nil || c.Tenant == "" {
			return
		}
		encoded, err := wire.AppendTotal(nil, 0, &c)
		if err != nil {
			return
		}
		// Text that looks like a card number is masked: the second time it does not any more.
		if err := d.Decode(encoded, &again); err != nil {
			t.Fatal(err)
		}
		if twice, err := wire.AppendTotal(nil, 0, &again); err != nil || !bytes.Equal(twice, encoded) {
			t.Errorf("encoded again it differs: %v", err)
		}
	})
}
