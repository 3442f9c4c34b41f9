package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/tokenize"
)

// The way of rows, from the stream's bytes to a batch, gives what the way of messages gives.
func TestRowsAreMessages(t *testing.T) {
	ctx := context.Background()
	s := newStream(t, 3, 2000)
	decoder, tokenizer := wire.NewDecoder(s.ring, wire.DecoderConfig{}), tokenize.New(s.ring, tokenize.Config{})
	byRow, byMessage := cardlake.NewBatch(), cardlake.NewBatch()
	var row cardlake.Row
	var pan card.PAN
	var m card.Message
	for n, value := range s.values {
		// The stream's memory is used again.
		memory := bytes.Clone(value)
		sealed, err := decoder.DecodeRow(memory, &row)
		if err != nil {
			t.Fatal(err)
		}
		owner := s.owners[s.tenants[cardlake.Tenant(row.Text(cardlake.TextTenant))]]
		if err := decoder.OpenRow(ctx, owner, &row, sealed, &pan); err != nil {
			t.Fatal(err)
		}
		minter, err := tokenizer.Minter(ctx, owner, s.now)
		if err != nil {
			t.Fatal(err)
		}
		minter.ApplyRow(&row, pan)
		row.IngestedAt, row.Position = int64(n+1), cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards"}, Offset: int64(n)}
		if err := byRow.AppendRow(&row); err != nil {
			t.Fatal(err)
		}
		clear(memory)

		sealed, err = decoder.Decode(value, &m)
		if err != nil {
			t.Fatal(err)
		}
		if err := decoder.Open(ctx, owner, &m, sealed); err != nil {
			t.Fatal(err)
		}
		minter.Apply(&m)
		m.IngestedAt, m.Position = row.IngestedAt, row.Position
		if err := byMessage.Append(&m.Transaction); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := byRow.Record()
	if err != nil {
		t.Fatal(err)
	}
	messages, err := byMessage.Record()
	if err != nil {
		t.Fatal(err)
	}
	if !array.RecordEqual(rows, messages) {
		t.Error("rows and messages give different records")
	}
}

// DecodeRow leaves alone what an event does not carry, and gives no more than the clear part.
func TestDecodeRow(t *testing.T) {
	k := keyring(t, "ownera")
	want := message(t)
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(context.Background(), nil, "ownera", want)
	if err != nil {
		t.Fatal(err)
	}
	d := wire.NewDecoder(k, wire.DecoderConfig{})
	row := cardlake.Row{CardToken: "token", BIN: "bin", Last4: "last", IngestedAt: 7, Position: cardlake.Position{Offset: 8}}
	sealed, err := d.DecodeRow(value, &row)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(row.Data[:cap(row.Data)], sealed) {
		t.Error("the row reaches the sealed card number")
	}
	want.CardToken, want.BIN, want.Last4, want.IngestedAt, want.Position.Offset = "token", "bin", "last", 7, 8
	var got cardlake.Transaction
	row.Transaction(&got)
	if diff := cmp.Diff(want.Transaction, got); diff != "" {
		t.Errorf("transaction (-sent +received):\n%s", diff)
	}
}

// What an encoder other than ours may write: lengths with more bytes than they need, texts
// longer than a byte can tell, empty strings where a null would do.
func TestDecodeForeignForms(t *testing.T) {
	k := keyring(t, "ownera")
	m := message(t)
	value, err := wire.NewEncoder(k, wire.EncoderConfig{}).Append(context.Background(), nil, "ownera", m)
	if err != nil {
		t.Fatal(err)
	}
	d := wire.NewDecoder(k, wire.DecoderConfig{})
	long := bytes.Repeat([]byte("x"), 100)
	for name, c := range map[string]struct {
		old, new string
		change   func(*cardlake.Transaction)
	}{
		"padded text length": {"\x14aurora-pay", "\x94\x00aurora-pay", nil},
		"padded optional":    {"\x02\x08cu-1", "\x02\x88\x00cu-1", nil},
		"long text":          {"\x14aurora-pay", "\xc8\x01" + string(long), func(t *cardlake.Transaction) { t.Tenant = cardlake.Tenant(long) }},
		"long optional":      {"\x02\x08cu-1", "\x02\xc8\x01" + string(long), func(t *cardlake.Transaction) { t.CustomerID = string(long) }},
		"empty optional":     {"\x02\x08cu-1", "\x02\x00", func(t *cardlake.Transaction) { t.CustomerID = "" }},
	} {
		changed := bytes.Replace(value, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(changed, value) {
			t.Fatalf("%s: the event has no %q", name, c.old)
		}
		want := m.Transaction
		if c.change != nil {
			c.change(&want)
		}
		var got card.Message
		if _, err := d.Decode(changed, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got.Transaction); diff != "" {
			t.Errorf("%s (-sent +received):\n%s", name, diff)
		}
	}
	for name, c := range map[string]struct{ old, new, field string }{
		"negative length":  {"\x02\x08cu-1", "\x02\x07cu-1", "customer_id"},
		"unknown branch":   {"\x02\x08cu-1", "\x04\x08cu-1", "customer_id"},
		"negative branch":  {"\x02\x08cu-1", "\x01\x08cu-1", "customer_id"},
		"endless length":   {"\x14aurora-pay", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "tenant"},
		"not UTF-8":        {"\x02\x08cu-1", "\x02\x08cu-\xff", "customer_id"},
		"not UTF-8 at all": {"\x14aurora-pay", "\x14aurora\xe9pay", "tenant"},
	} {
		changed := bytes.Replace(value, []byte(c.old), []byte(c.new), 1)
		var got card.Message
		_, err := d.Decode(changed, &got)
		if !errors.Is(err, wire.ErrUndecodable) || !bytes.Contains(fmt.Append(nil, err), []byte("field "+c.field+" ")) {
			t.Errorf("%s: error %v, want ErrUndecodable of %s", name, err, c.field)
		}
	}
}
