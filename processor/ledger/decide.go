package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/outbox"
)

// Reasons for which a request is declined, as the lake shows them.
const (
	ReasonUnknownCard       = "unknown_card"
	ReasonExpired           = "expired"
	ReasonBlocked           = "blocked"
	ReasonStolen            = "stolen"
	ReasonVelocity          = "velocity"
	ReasonCurrency          = "billing_currency_unresolved"
	ReasonInsufficientFunds = "insufficient_funds"
	ReasonReversedBefore    = "reversed_before"
	ReasonNoOriginal        = "original_not_found"
	ReasonAlreadyReversed   = "already_reversed"
)

// Authorization is a request to hold money.
type Authorization struct {
	Event   cardlake.EventID
	Card    Card
	Expiry  string         // YYMM as the message has it; empty if it has none
	Amount  cardlake.Money // in the merchant's currency
	Billing cardlake.Money // in the currency to be billed, as far as the message tells
	At      time.Time
}

// Reversal is a request to give a hold back.
type Reversal struct {
	Event    cardlake.EventID
	Original cardlake.EventID // of the authorization to be undone
	Card     Card
	// Keep is what stays held of the original's amount, in its minor units: 0 unless the
	// purchase was completed in part.
	Keep int64
	// Advice says that the sender does not ask but tell: it is accepted although the
	// original is unknown, and an original that comes later is declined.
	Advice bool
	Amount cardlake.Money // as the event shows it; for the control totals only
	At     time.Time
}

// Decision is the answer to either.
type Decision struct {
	Code     string         // DE 39
	Approval string         // DE 38: six characters when an authorization is approved, else empty
	Reason   string         // empty if approved
	Billing  cardlake.Money // held or given back; zero if no account is concerned
	// Repeat says that the event had been decided before: Code and Approval are those of
	// then, nothing changed and no event was emitted.
	Repeat bool
}

// Approved reports whether the answer is yes.
func (d Decision) Approved() bool { return d.Code == iso8583.Approved }

// Emit makes the event that announces a decision. It runs while the account is locked. The
// ledger copies the value before it calls Emit again from the same goroutine.
type Emit func(Decision) ([]byte, error)

// Authorize decides on a request and makes the decision, the account's new state and the
// event durable before it returns. After an error nothing was decided.
func (l *Ledger) Authorize(ctx context.Context, a Authorization, emit Emit) (Decision, error) {
	t := txn{l: l, event: a.Event, card: &a.Card, amount: a.Amount.Minor, counted: a.Amount, at: a.At}
	return t.run(ctx, func() (Decision, error) { return t.authorize(&a) }, emit)
}

// Reverse undoes an authorization, once, and makes that durable before it returns. After
// an error nothing was decided.
func (l *Ledger) Reverse(ctx context.Context, r Reversal, emit Emit) (Decision, error) {
	t := txn{l: l, event: r.Event, card: &r.Card, reversal: true, counted: r.Amount, at: r.At}
	return t.run(ctx, func() (Decision, error) { return t.reverse(&r) }, emit)
}

// txn is one decision on its way: what it reads is fixed by the stripes it holds, what it
// writes is in the batch.
type txn struct {
	l        *Ledger
	b        *pebble.Batch
	event    cardlake.EventID
	card     *Card
	amount   int64
	reversal bool
	counted  cardlake.Money
	at       time.Time
}

func (t *txn) run(ctx context.Context, decide func() (Decision, error), emit Emit) (Decision, error) {
	if err := ctx.Err(); err != nil {
		return Decision{}, err
	}
	l := t.l
	t.b = l.db.NewBatch()
	d, seq, err := t.apply(decide, emit)
	if err != nil {
		return Decision{}, errors.Join(fmt.Errorf("decide: %w", err), t.b.Close())
	}
	if d.Repeat {
		// The first message's batch may be visible but not yet on the disk; a record
		// behind it in the log cannot be synced without it.
		if err := errors.Join(t.b.Close(), l.db.LogData(nil, pebble.Sync)); err != nil {
			return Decision{}, fmt.Errorf("decide: %w", err)
		}
		return d, nil
	}
	if err := t.b.SyncWait(); err != nil {
		// Others have seen the decision, and the disk has not: nothing that they
		// decided on it may be answered.
		l.cfg.Fatal(fmt.Errorf("write the log: %w", err))
	}
	l.outbox.Release(seq, true)
	if err := t.b.Close(); err != nil {
		return Decision{}, fmt.Errorf("decide: %w", err)
	}
	return d, nil
}

// apply decides and makes the batch visible, and returns the event's place in the outbox.
func (t *txn) apply(decide func() (Decision, error), emit Emit) (Decision, uint64, error) {
	defer t.l.lock(t.event[:], t.card.account())()
	if stored, err := t.decision(t.event); err != nil {
		return Decision{}, 0, err
	} else if stored != nil {
		return Decision{Code: stored.code, Approval: stored.approval, Repeat: true}, 0, nil
	}
	d, err := decide()
	if err != nil {
		return d, 0, err
	}
	event, err := emit(d)
	if err != nil {
		return d, 0, fmt.Errorf("event: %w", err)
	}
	s := stored{
		code: d.Code, approval: d.Approval, reversal: t.reversal, card: t.card.Key, amount: t.amount, billed: d.Billing.Minor,
	}
	if err := t.remember(append([]byte{eventPrefix}, t.event[:]...), s.encode()); err != nil {
		return d, 0, err
	}
	seq, err := t.l.outbox.Add(t.b, outbox.Record{Key: t.card.Key[:], Value: event, Time: t.at})
	if err != nil {
		return d, 0, err
	}
	err = t.count(seq, d.Approved())
	if err == nil {
		err = t.l.db.ApplyNoSyncWait(t.b, pebble.Sync)
	}
	if err != nil {
		t.l.outbox.Release(seq, false)
		return d, 0, err
	}
	return d, seq, nil
}

func (t *txn) authorize(a *Authorization) (Decision, error) {
	decline := func(code, reason string, billing cardlake.Money) (Decision, error) {
		return Decision{Code: code, Reason: reason, Billing: billing}, nil
	}
	c := t.card
	if !c.Issued {
		return decline(iso8583.InvalidCardNumber, ReasonUnknownCard, cardlake.Money{})
	}
	var billing cardlake.Money
	if a.Billing.Currency == c.Currency {
		billing = a.Billing
	}
	if _, err := t.l.get(undoneKey(t.event, c.Key)); err == nil {
		// The sender has undone this purchase and counts on its not existing. 12, invalid
		// transaction, is final and takes no card away; 94, duplicate transmission, would
		// say that the purchase was seen and its first answer holds.
		return decline(iso8583.InvalidTransaction, ReasonReversedBefore, billing)
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return Decision{}, err
	}
	// A card is good until the last day of its month.
	if a.Expiry != "" && a.Expiry != c.Expiry || c.Expiry < a.At.UTC().Format("0601") {
		return decline(iso8583.ExpiredCard, ReasonExpired, billing)
	}
	switch c.Status {
	case card.Active:
	case card.Stolen:
		return decline(iso8583.StolenCardPickUp, ReasonStolen, billing)
	default:
		return decline(iso8583.RestrictedCard, ReasonBlocked, billing)
	}
	if ok, err := t.velocity(); err != nil {
		return Decision{}, err
	} else if !ok {
		return decline(iso8583.ExceedsFrequencyLimit, ReasonVelocity, billing)
	}
	if billing.Currency == "" {
		return decline(iso8583.InvalidTransaction, ReasonCurrency, cardlake.Money{})
	}
	acc, err := t.l.Account(*c)
	if err != nil {
		return Decision{}, err
	}
	if billing.Minor < 0 || billing.Minor > acc.Limit-acc.Held {
		return decline(iso8583.NotSufficientFunds, ReasonInsufficientFunds, billing)
	}
	acc.Held += billing.Minor
	if err := t.b.Set(c.account(), encodeAccount(acc), nil); err != nil {
		return Decision{}, err
	}
	return Decision{Code: iso8583.Approved, Approval: approvalCode(), Billing: billing}, nil
}

// velocity notes the authorization and reports whether the card may have it. What it
// refuses does not count: a card is free again a minute after its last counted one.
func (t *txn) velocity() (bool, error) {
	most := t.l.cfg.MaxPerMinute
	if most < 0 {
		return true, nil
	}
	key := append([]byte{velocityPrefix}, t.card.Key[:]...)
	v, err := t.l.get(key)
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return false, err
	}
	since := t.at.Add(-time.Minute).UnixMicro()
	kept := v[:0]
	for ; len(v) >= 8; v = v[8:] {
		if int64(binary.BigEndian.Uint64(v)) > since {
			kept = append(kept, v[:8]...)
		}
	}
	if len(kept)/8 >= most {
		return false, nil
	}
	kept = binary.BigEndian.AppendUint64(kept, uint64(t.at.UnixMicro()))
	return true, t.b.Set(key, kept, nil)
}

func (t *txn) reverse(r *Reversal) (Decision, error) {
	c := t.card
	if !c.Issued {
		return Decision{Code: iso8583.InvalidCardNumber, Reason: ReasonUnknownCard}, nil
	}
	orig, err := t.decision(r.Original)
	if err != nil {
		return Decision{}, err
	}
	if orig != nil && (orig.card != c.Key || orig.reversal) {
		orig = nil // a reversal may undo its own card's authorizations only
	}
	undone := undoneKey(r.Original, c.Key)
	switch {
	case orig != nil && orig.code == iso8583.Approved:
		if _, err := t.l.get(undone); err == nil {
			return Decision{Code: iso8583.DuplicateTransmission, Reason: ReasonAlreadyReversed}, nil
		} else if !errors.Is(err, pebble.ErrNotFound) {
			return Decision{}, err
		}
		acc, err := t.l.Account(*c)
		if err != nil {
			return Decision{}, err
		}
		back := min(orig.billed-keep(orig, r.Keep), acc.Held)
		acc.Held -= back
		if err := t.b.Set(c.account(), encodeAccount(acc), nil); err != nil {
			return Decision{}, err
		}
		return Decision{Code: iso8583.Approved, Billing: cardlake.Money{Minor: back, Currency: c.Currency}}, t.remember(undone, nil)
	case r.Advice && orig == nil:
		return Decision{Code: iso8583.Approved}, t.remember(undone, nil)
	case r.Advice: // of a purchase that was declined: nothing is held
		return Decision{Code: iso8583.Approved}, nil
	default:
		return Decision{Code: iso8583.UnableToLocateRecord, Reason: ReasonNoOriginal}, nil
	}
}

// keep is the part of the original's billed amount that stays held when keepAmount of its
// amount does, rounded up: what is given back is never more than the sender asked for.
func keep(orig *stored, keepAmount int64) int64 {
	if keepAmount <= 0 || orig.amount <= 0 {
		return 0
	}
	if keepAmount >= orig.amount {
		return orig.billed
	}
	n := new(big.Int).Mul(big.NewInt(orig.billed), big.NewInt(keepAmount))
	n.Add(n, big.NewInt(orig.amount-1))
	return n.Div(n, big.NewInt(orig.amount)).Int64()
}

func undoneKey(original cardlake.EventID, card Key) []byte {
	return append(append([]byte{undonePrefix}, original[:]...), card[:]...)
}

// remember sets a key that Forget deletes once the retention is over.
func (t *txn) remember(key, value []byte) error {
	index := binary.BigEndian.AppendUint64([]byte{timePrefix}, uint64(t.at.UnixMicro()))
	return errors.Join(t.b.Set(key, value, nil), t.b.Set(append(index, key...), nil, nil))
}

// approvalLetters spell approval codes: no digit, so that none can be part of what looks
// like a card number, and no letter that is read as a digit.
const approvalLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ"

func approvalCode() string {
	var b [6]byte
	for i := range b {
		b[i] = approvalLetters[rand.IntN(len(approvalLetters))]
	}
	return string(b[:])
}

// stored is a decision as repeats and reversals need it.
type stored struct {
	code     string
	approval string
	reversal bool
	card     Key
	amount   int64 // in minor units of the merchant's currency
	billed   int64 // in minor units of the account's currency
}

const storedSize = 1 + 1 + 2 + 6 + 16 + 8 + 8

func (s *stored) encode() []byte {
	out := make([]byte, storedSize)
	out[0] = recordVersion
	if s.reversal {
		out[1] = 1
	}
	copy(out[2:4], s.code)
	copy(out[4:10], s.approval)
	copy(out[10:26], s.card[:])
	binary.BigEndian.PutUint64(out[26:], uint64(s.amount))
	binary.BigEndian.PutUint64(out[34:], uint64(s.billed))
	return out
}

// decision returns the stored decision on an event, nil if there is none.
func (t *txn) decision(event cardlake.EventID) (*stored, error) {
	v, closer, err := t.l.db.Get(append([]byte{eventPrefix}, event[:]...))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	if len(v) != storedSize || v[0] != recordVersion {
		return nil, errRecord
	}
	s := &stored{
		code: string(v[2:4]), reversal: v[1] == 1, card: Key(v[10:26]),
		amount: int64(binary.BigEndian.Uint64(v[26:])), billed: int64(binary.BigEndian.Uint64(v[34:])),
	}
	if v[4] != 0 {
		s.approval = string(v[4:10])
	}
	return s, nil
}
