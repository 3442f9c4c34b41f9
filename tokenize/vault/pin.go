package vault

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// MaxSealed is the most bytes a sealed card number may have: several times what any key
// service's wrapped data key needs.
const MaxSealed = 4096

// Pin implements tokenize.Pins. The errors ErrCard, ErrOwner and ErrConflict are final; any
// other is the store's and may pass. On error nothing was acknowledged, and pinning the same
// cards again does no harm.
func (v *Vault) Pin(ctx context.Context, owner keys.Owner, cards []tokenize.Card) ([]tokenize.Token, error) {
	if err := checkOwner(owner); err != nil {
		return nil, fmt.Errorf("pin: %w", err)
	}
	n := 0
	for i := range cards {
		if err := checkCard(&cards[i]); err != nil {
			return nil, fmt.Errorf("pin card %d of %d: %w", i+1, len(cards), err)
		}
		n += len(cards[i].Candidates)
	}
	candidates := make([]tokenize.Token, 0, n)
	for i := range cards {
		candidates = append(candidates, cards[i].Candidates...)
	}
	var out []tokenize.Token
	err := again(ctx, func() (err error) {
		out, err = v.pin(ctx, owner, cards, candidates)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pin for %s: %w", owner, err)
	}
	return out, nil
}

func checkCard(c *tokenize.Card) error {
	if len(c.Candidates) == 0 || len(c.Sealed) < keys.Overhead || len(c.Sealed) > MaxSealed {
		return ErrCard
	}
	for _, t := range c.Candidates {
		if t.Version < 1 || t.Version > tokenize.MaxVersion {
			return fmt.Errorf("%w: candidate has version %d", ErrCard, t.Version)
		}
	}
	return nil
}

// pin decides once. Cards of the batch are taken one after the other, so that two which are
// the same card lead to one token.
func (v *Vault) pin(ctx context.Context, owner keys.Owner, cards []tokenize.Card, candidates []tokenize.Token) ([]tokenize.Token, error) {
	seen, err := v.load(ctx, owner, candidates)
	if err != nil {
		return nil, err
	}
	out := make([]tokenize.Token, len(cards))
	for i := range cards {
		c := &cards[i]
		var token tokenize.Token
		for _, t := range c.Candidates {
			found, err := seen.root(t)
			if err != nil {
				return nil, err
			}
			if !found.IsZero() && !token.IsZero() && found != token {
				return nil, fmt.Errorf("%w: %s and %s", ErrConflict, token, found)
			}
			if !found.IsZero() {
				token = found
			}
		}
		if token.IsZero() {
			token = c.Candidates[0]
			seen.put(token, entry{kind: pin, data: c.Sealed})
		}
		for _, t := range c.Candidates {
			if seen[t].kind == absent {
				seen.put(t, entry{kind: index, leads: token})
				seen.keep(token)
			}
		}
		out[i] = token
	}
	changes := seen.changes()
	if len(changes) == 0 {
		return out, nil
	}
	return out, v.store.Write(ctx, owner, changes)
}
