package tokenize

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// Card is one card to be pinned. What a live mint secret makes of its number is both a
// candidate for its token and the index by which the vault knows the card.
type Card struct {
	// Candidates are one for each live mint secret, the newest first.
	Candidates []Token
	// Sealed is the card number's digits, sealed by a keys.Envelopes of purpose keys.Reverse
	// with the associated data ReverseAAD(owner, Candidates[0]).
	Sealed []byte
}

// Pins keeps which token a card has. It is implemented by the vault and by the client of its
// service, and is safe for concurrent use.
type Pins interface {
	// Pin returns each card's token, in order: the one that any of its candidates leads to
	// already, else Candidates[0]. Afterwards all its candidates lead to it. What it returned
	// is durable. It is idempotent, and concurrent callers agree. It keeps nothing of cards.
	Pin(ctx context.Context, owner keys.Owner, cards []Card) ([]Token, error)
}

// ReverseAAD is the associated data under which a card number is sealed for the vault: the
// owner and the card's first candidate, so that neither another tenant nor another card can
// be given the sealed value.
func ReverseAAD(owner keys.Owner, t Token) []byte {
	b := append(make([]byte, 0, 32+len(owner)+maxTokenLen), "cardlake reverse\x00"...)
	b = append(b, owner...)
	return t.append(append(b, 0))
}

// ErrPins says that the vault's answer is not one token for each card.
var ErrPins = errors.New("the vault must answer with a token for each card")

// pinTenants is for how many tenants Settle asks at a time: the first chunks of a worker that
// knows no card yet have unknown ones of nearly every tenant.
const pinTenants = 8

// pinner has unknown cards pinned and remembers them.
type pinner struct {
	pins    Pins
	reverse *keys.Envelopes
	cache   pinCache

	waiting   []waiting
	places    map[Token]int // of waiting, by first candidate
	tokens    []Token       // of waiting
	isSettled bool          // the next to wait is the first of a new queue
}

// waiting is a card that is not known.
type waiting struct {
	owner  keys.Owner
	key    key // of its first candidate
	card   Card
	isDone bool // pinned, or refused for good
}

func newPinner(pins Pins, reverse *keys.Envelopes, cards int) *pinner {
	return &pinner{pins: pins, reverse: reverse, cache: newPinCache(cards), places: map[Token]int{}}
}

func (p *pinner) add(ctx context.Context, m *Minter, pan card.PAN) (int, error) {
	if p.isSettled {
		p.forget()
	}
	first := m.Token(pan)
	if place, isWaiting := p.places[first]; isWaiting {
		return place, nil
	}
	sealed, err := p.reverse.AppendSealed(ctx, nil, m.owner, pan.Digits(), ReverseAAD(m.owner, first))
	if err != nil {
		return 0, fmt.Errorf("seal a card for the vault: %w", err)
	}
	candidates := make([]Token, len(m.mints))
	for i, mint := range m.mints {
		candidates[i] = mint.token(pan)
	}
	place := len(p.waiting)
	p.places[first] = place
	p.waiting = append(p.waiting, waiting{owner: m.owner, key: keyOf(&first.Bits, m.salt), card: Card{candidates, sealed}})
	p.tokens = append(p.tokens, Token{})
	return place, nil
}

// forget empties the queue.
func (p *pinner) forget() {
	clear(p.waiting)
	clear(p.places)
	p.waiting, p.tokens, p.isSettled = p.waiting[:0], p.tokens[:0], false
}

func (p *pinner) settle(ctx context.Context) ([]Token, error) {
	if p.isSettled || len(p.waiting) == 0 {
		return p.tokens, nil
	}
	places := map[keys.Owner][]int{}
	for i := range p.waiting {
		if !p.waiting[i].isDone {
			places[p.waiting[i].owner] = append(places[p.waiting[i].owner], i)
		}
	}
	// A tenant's failure does not stop the others: what they pin need not be asked for again.
	var tenants errgroup.Group
	tenants.SetLimit(pinTenants)
	for owner, places := range places {
		tenants.Go(func() error { return p.pin(ctx, owner, places) })
	}
	if err := tenants.Wait(); err != nil {
		return nil, err
	}
	for i := range p.waiting {
		if w := &p.waiting[i]; !p.tokens[i].IsZero() {
			p.cache.put(w.key, p.tokens[i])
		}
	}
	p.isSettled = true
	return p.tokens, nil
}

// pin pins one tenant's cards and sets their tokens, all or none. It touches no other's.
func (p *pinner) pin(ctx context.Context, owner keys.Owner, places []int) error {
	cards := make([]Card, len(places))
	for i, place := range places {
		cards[i] = p.waiting[place].card
	}
	tokens, err := p.pins.Pin(ctx, owner, cards)
	if errors.Is(err, keys.ErrNoKey) {
		tokens, err = make([]Token, len(cards)), nil
	} else if err == nil {
		err = check(tokens, len(cards))
	}
	if err != nil {
		return fmt.Errorf("pin cards of %s: %w", owner, err)
	}
	for i, place := range places {
		p.tokens[place], p.waiting[place].isDone = tokens[i], true
	}
	return nil
}

func check(tokens []Token, cards int) error {
	if len(tokens) != cards {
		return fmt.Errorf("%w: %d for %d", ErrPins, len(tokens), cards)
	}
	for _, t := range tokens {
		if t.Version < 1 || t.Version > MaxVersion {
			return fmt.Errorf("%w: a version is out of bounds", ErrPins)
		}
	}
	return nil
}
