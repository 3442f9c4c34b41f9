package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

// Card is what the ledger knows of a card number.
type Card struct {
	Key    Key
	Issued bool // whether this number was issued; if not, only what its first digits tell is set

	Tenant  cardlake.Tenant
	Program string // empty for a number that was not issued, when several programmes share its first digits
	Network cardlake.Network
	Product cardlake.Product

	CustomerID string
	AccountID  string
	Expiry     string // YYMM
	Status     card.Status
	Currency   cardlake.Currency // the account's
}

// account is the key of what decisions on the card must not change at the same time: its
// account, or for a number that was never issued the number itself.
func (c *Card) account() []byte {
	if !c.Issued {
		return c.Key[:]
	}
	k := append([]byte{accountPrefix}, c.Tenant...)
	k = append(k, 0)
	return append(k, c.AccountID...)
}

// issuer is what the first digits of a number tell.
type issuer struct {
	tenant  cardlake.Tenant // empty if several tenants share the digits
	program string
	network cardlake.Network
	product cardlake.Product
}

// merge keeps what both have in common.
func (i issuer) merge(j issuer) issuer {
	if i.tenant != j.tenant || i.network != j.network {
		return issuer{}
	}
	if i.program != j.program {
		i.program = ""
	}
	if i.product != j.product {
		i.product = ""
	}
	return i
}

// KeyOf returns the look-up key of a card number.
func (l *Ledger) KeyOf(pan card.PAN) Key {
	sum := l.mac("cardlake processor card 1\x00", pan.Digits())
	return Key(sum[:16])
}

// Find returns the card with the number. For a number that was never issued it returns the
// programme known by its first 8 or 6 digits, with Issued false, or ErrNoIssuer.
func (l *Ledger) Find(pan card.PAN) (Card, error) {
	key := l.KeyOf(pan)
	v, closer, err := l.db.Get(append([]byte{cardPrefix}, key[:]...))
	if err == nil {
		c, derr := decodeCard(v)
		c.Key = key
		if err := errors.Join(derr, closer.Close()); err != nil {
			return Card{}, fmt.Errorf("find card: %w", err)
		}
		return c, nil
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return Card{}, fmt.Errorf("find card: %w", err)
	}
	l.binMu.RLock()
	defer l.binMu.RUnlock()
	for _, n := range []int{8, 6} {
		if pan.Len() < n {
			continue
		}
		if i := l.bins[string(pan.Digits()[:n])]; i.tenant != "" {
			return Card{Key: key, Tenant: i.tenant, Program: i.program, Network: i.network, Product: i.product}, nil
		}
	}
	return Card{}, ErrNoIssuer
}

// Account is the state of an account, in minor units of its currency.
type Account struct {
	Limit int64 // credit limit, or what was paid in
	Held  int64 // approved and not reversed; 0 <= Held <= Limit
}

// Account returns the state of an issued card's account.
func (l *Ledger) Account(c Card) (Account, error) {
	v, err := l.get(c.account())
	if err != nil {
		return Account{}, fmt.Errorf("account: %w", err)
	}
	return decodeAccount(v)
}

// Imported counts what Import did.
type Imported struct {
	Cards    int // cards read
	New      int // of them, numbers the ledger did not know
	Accounts int // accounts opened
}

// Import provisions cards. A card that is already there gets the new identity, expiry and
// status; an account that is already there keeps its limit and what it holds, so importing
// the same cards again changes nothing. It stops at the first error; what was counted
// before it is imported. Errors name the field, never its content.
func (l *Ledger) Import(ctx context.Context, cards iter.Seq2[card.Issued, error]) (Imported, error) {
	l.importing.Lock()
	defer l.importing.Unlock()
	var done, n Imported
	b := l.db.NewIndexedBatch()
	defer func() { b.Close() }()
	bins := map[string]issuer{}
	flush := func() error {
		for digits, i := range bins {
			if err := b.Set(append([]byte{binPrefix}, digits...), encodeIssuer(i), nil); err != nil {
				return err
			}
		}
		if err := b.Commit(pebble.Sync); err != nil {
			return err
		}
		l.binMu.Lock()
		for digits, i := range bins {
			l.bins[digits] = i
		}
		l.binMu.Unlock()
		clear(bins)
		done = n
		err := b.Close()
		b = l.db.NewIndexedBatch()
		return err
	}
	for c, err := range cards {
		if err == nil {
			err = l.importCard(b, bins, &c, &n)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && n.Cards%1000 == 0 {
			err = flush()
		}
		if err != nil {
			return done, fmt.Errorf("import cards: %w", err)
		}
	}
	if err := flush(); err != nil {
		return done, fmt.Errorf("import cards: %w", err)
	}
	return done, nil
}

func (l *Ledger) importCard(b *pebble.Batch, bins map[string]issuer, in *card.Issued, n *Imported) error {
	c := Card{
		Key: l.KeyOf(in.PAN), Issued: true, Tenant: in.Tenant, Program: in.Program, Network: in.Network, Product: in.Product,
		CustomerID: in.CustomerID, AccountID: in.AccountID, Expiry: in.Expiry, Status: in.Status, Currency: in.Currency,
	}
	switch {
	case in.PAN.IsZero():
		return errors.New("pan: missing")
	case c.AccountID == "":
		return errors.New("account_id: missing")
	case in.Limit < 0:
		return errors.New("limit: negative")
	}
	key := append([]byte{cardPrefix}, c.Key[:]...)
	switch old, err := batchGet(b, key); {
	case errors.Is(err, pebble.ErrNotFound):
		n.New++
	case err != nil:
		return err
	default:
		have, err := decodeCard(old)
		if err != nil {
			return err
		}
		if have.Tenant != c.Tenant {
			return errors.New("tenant: the card was issued by another tenant")
		}
	}
	if err := b.Set(key, encodeCard(&c), nil); err != nil {
		return err
	}
	switch _, err := batchGet(b, c.account()); {
	case errors.Is(err, pebble.ErrNotFound):
		if err := b.Set(c.account(), encodeAccount(Account{Limit: in.Limit}), nil); err != nil {
			return err
		}
		n.Accounts++
	case err != nil:
		return err
	}
	for _, digits := range []int{6, 8} {
		bin := string(in.PAN.Digits()[:digits])
		i := issuer{c.Tenant, c.Program, c.Network, c.Product}
		have, ok := bins[bin]
		if !ok {
			have, ok = l.bins[bin] // written by Import only
		}
		if ok {
			i = i.merge(have)
		}
		bins[bin] = i
	}
	n.Cards++
	return nil
}

func batchGet(b *pebble.Batch, key []byte) ([]byte, error) {
	v, closer, err := b.Get(key)
	if err != nil {
		return nil, err
	}
	v = append([]byte(nil), v...)
	return v, closer.Close()
}

func (l *Ledger) loadIssuers() error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{binPrefix}, UpperBound: []byte{binPrefix + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		i, err := decodeIssuer(it.Value())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		l.bins[string(it.Key()[1:])] = i
	}
	return it.Close()
}

// Stored records are a version byte and then strings behind their lengths, or fixed fields.
const recordVersion = 1

var errRecord = errors.New("stored record is damaged or of a later version")

func encodeStrings(fields ...string) []byte {
	out := []byte{recordVersion}
	for _, f := range fields {
		out = binary.AppendUvarint(out, uint64(len(f)))
		out = append(out, f...)
	}
	return out
}

func decodeStrings(v []byte, fields ...*string) error {
	if len(v) == 0 || v[0] != recordVersion {
		return errRecord
	}
	// One copy for all fields: v is the store's memory.
	s, at := string(v), 1
	for _, f := range fields {
		n, w := binary.Uvarint(v[at:])
		if w <= 0 || n > uint64(len(v)-at-w) {
			return errRecord
		}
		at += w
		*f = s[at : at+int(n)]
		at += int(n)
	}
	if at != len(v) {
		return errRecord
	}
	return nil
}

func encodeCard(c *Card) []byte {
	return encodeStrings(string(c.Tenant), c.Program, string(c.Network), string(c.Product), c.CustomerID, c.AccountID,
		c.Expiry, string(c.Status), string(c.Currency))
}

func decodeCard(v []byte) (Card, error) {
	c := Card{Issued: true}
	err := decodeStrings(v, (*string)(&c.Tenant), &c.Program, (*string)(&c.Network), (*string)(&c.Product), &c.CustomerID,
		&c.AccountID, &c.Expiry, (*string)(&c.Status), (*string)(&c.Currency))
	return c, err
}

func encodeIssuer(i issuer) []byte {
	return encodeStrings(string(i.tenant), i.program, string(i.network), string(i.product))
}

func decodeIssuer(v []byte) (issuer, error) {
	var i issuer
	err := decodeStrings(v, (*string)(&i.tenant), &i.program, (*string)(&i.network), (*string)(&i.product))
	return i, err
}

func encodeAccount(a Account) []byte {
	out := binary.BigEndian.AppendUint64([]byte{recordVersion}, uint64(a.Limit))
	return binary.BigEndian.AppendUint64(out, uint64(a.Held))
}

func decodeAccount(v []byte) (Account, error) {
	if len(v) != 17 || v[0] != recordVersion {
		return Account{}, errRecord
	}
	return Account{int64(binary.BigEndian.Uint64(v[1:])), int64(binary.BigEndian.Uint64(v[9:]))}, nil
}
