package canary

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// readers are functions that read text which may be a card number in the wrong place.
func readers(t *testing.T) map[string]func(string) error {
	t.Helper()
	dir := t.TempDir()
	inFile := func(read func(path string) error) func(string) error {
		return func(text string) error {
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			return read(path)
		}
	}
	header := "pan,tenant,program,network,product,customer_id,account_id,expiry,status,currency,limit\n"
	issued := func(text string) (err error) {
		for _, failed := range card.ReadIssued(strings.NewReader(text)) {
			err = errors.Join(err, failed)
		}
		return err
	}
	return map[string]func(string) error{
		"ParsePAN":           func(s string) error { _, err := card.ParsePAN(s); return err },
		"ReadIssued":         func(s string) error { return issued(s) },
		"ReadIssued, a line": func(s string) error { return issued(header + strings.Repeat(s+",", 10) + s + "\n") },
		"ReadIINs":           func(s string) error { _, err := card.ReadIINs(strings.NewReader(s)); return err },
		"ReadIINs, a line": func(s string) error {
			_, err := card.ReadIINs(strings.NewReader("brand,lo,hi,lengths,luhn,source\n" + strings.Repeat(s+",", 5) + s))
			return err
		},
		"PAN.MarshalText": func(s string) error {
			p, err := card.ParsePAN(s)
			if err == nil {
				_, err = p.MarshalText()
			}
			return err
		},
		"ParseToken": func(s string) error { _, err := tokenize.ParseToken(s); return err },
		"ParseToken, long": func(s string) error {
			_, err := tokenize.ParseToken("tk" + s + "_" + strings.Repeat("a", 32))
			return err
		},
		"EventID":   func(s string) error { _, err := cardlake.ParseEventID(s); return err },
		"Tenant":    func(s string) error { return cardlake.Tenant(s).Validate() },
		"StorageID": func(s string) error { return cardlake.StorageID(s).Validate() },
		"tenant of register": func(s string) error {
			r, err := catalog.OpenTenants(filepath.Join(dir, "tenants.json"))
			if err == nil {
				_, err = r.Lookup(cardlake.Tenant(s))
				_, created := r.Create(cardlake.Tenant(s), "BR", "BRL", time.Now())
				err = errors.Join(err, created)
			}
			return err
		},
		"register of tenants": inFile(func(p string) error { _, err := catalog.OpenTenants(p); return err }),
		"event": func(s string) error {
			var m card.Message
			_, err := wire.NewDecoder(nil, wire.DecoderConfig{}).Decode([]byte(s), &m)
			_, framed := wire.NewDecoder(nil, wire.DecoderConfig{}).Decode(append([]byte{0, 0, 0, 0, 1}, s...), &m)
			return errors.Join(err, framed)
		},
		"control total": func(s string) error {
			var total cardlake.ControlTotal
			return wire.NewTotalDecoder(wire.TotalDecoderConfig{}).Decode(append([]byte{0, 0, 0, 0, 2}, s...), &total)
		},
		"rejected payload": func(s string) error { _, _, err := ingest.ParsePayload([]byte("\xff\x01" + s)); return err },
		"message":          func(s string) error { var v iso8583.View; return v.Parse([]byte(s)) },
		"message, a field": func(s string) error {
			var b iso8583.Builder
			b.SetText(0, "0100")
			b.SetText(3, s)
			_, err := b.Append(nil)
			return err
		},
		"sub-elements":           func(s string) error { return iso8583.EachSubElement([]byte(s), func(int, []byte) {}) },
		"address of the service": func(s string) error { _, err := detokenize.NewClient(s, nil, detokenize.ClientConfig{}); return err },
		"format-preserving token": func(s string) error {
			formatter, _, err := tokenize.OpenFormatter(context.Background(), liveThatDies{}, "owner")
			if err != nil {
				return err
			}
			p, err := card.ParsePAN(s)
			if err != nil {
				return err
			}
			_, err = formatter.AppendToken(nil, p)
			return err
		},
		"sealed value": func(s string) error {
			ring := ringWithout{}
			_, err := keys.NewEnvelopes(ring, keys.Seal, keys.EnvelopeConfig{}).Open(context.Background(), nil, "owner", []byte(s), nil)
			return err
		},
	}
}

// ringWithout is a keyring without keys.
type ringWithout struct{}

func (ringWithout) NewDataKey(context.Context, keys.Scope) (keys.Key, []byte, error) {
	return keys.Key{}, nil, keys.ErrNoKey
}

func (ringWithout) UnwrapDataKey(context.Context, keys.Scope, []byte) (keys.Key, error) {
	return keys.Key{}, keys.ErrNoKey
}

func (ringWithout) Live(context.Context, keys.Scope) ([]keys.Secret, error) {
	return nil, keys.ErrNoKey
}

// crashing is a process that is about to die with a card number in its hands.
type crashing struct {
	all     canaries
	digits  string
	message *card.Message
	issued  card.Issued
}

func newCrashing(t *testing.T) *crashing {
	t.Helper()
	c := &crashing{}
	c.digits = c.all.pan("the process")
	p, err := card.ParsePAN(c.digits)
	if err != nil {
		t.Fatal(err)
	}
	c.message = &card.Message{PAN: p, Transaction: cardlake.Transaction{
		Tenant: aurora, EventType: cardlake.Authorization, Network: cardlake.Visa, Channel: cardlake.POS, MTI: "0100", ResponseCode: "00",
		Amount: cardlake.Money{Minor: 1, Currency: "BRL"},
	}}
	c.issued = card.Issued{PAN: p, Tenant: aurora, AccountID: "acc-a"}
	return c
}

// ringThatDies is a keyring in which the process dies.
type ringThatDies struct{ ringWithout }

func (ringThatDies) NewDataKey(context.Context, keys.Scope) (keys.Key, []byte, error) {
	panic("the key service's client failed")
}

func (c *crashing) parse() error {
	_, err := card.ParsePAN(c.digits + "x")
	return err
}

func (c *crashing) encode() {
	_, err := wire.NewEncoder(ringThatDies{}, wire.EncoderConfig{}).Append(context.Background(), nil, "owner", c.message)
	panic(err)
}

func (c *crashing) decode() {
	_, err := wire.NewDecoder(ringThatDies{}, wire.DecoderConfig{}).Decode([]byte("\x00\x00\x00\x00\x01"+c.digits), c.message)
	panic(err)
}

// liveThatDies has one mint secret.
type liveThatDies struct{ ringThatDies }

func (liveThatDies) Live(context.Context, keys.Scope) ([]keys.Secret, error) {
	return []keys.Secret{{Version: 1, Key: keys.NewKey()}}, nil
}

func (c *crashing) tokenise() {
	ring := liveThatDies{}
	tokenizer := tokenize.NewPinned(ring, nil, keys.NewEnvelopes(ring, keys.Reverse, keys.EnvelopeConfig{}), tokenize.Config{})
	minter, err := tokenizer.Minter(context.Background(), "owner", time.Now())
	if err == nil {
		_, err = minter.Queue(context.Background(), c.message.PAN)
	}
	panic(err)
}

func (liveThatDies) Secret(context.Context, keys.Scope) (int, keys.Key, error) {
	return 1, keys.NewKey(), nil
}
