package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// Sealed returns the sealed card number of a token: purpose keys.Reverse, associated data
// tokenize.ReverseAAD(owner, token). The errors are ErrUnknownToken, ErrRetired (a
// RetiredError), ErrOwner, ErrDamaged, or the store's.
//
// A retired token is not followed: the number behind it is the successor's, and who asks
// about a token that a compromise has retired shall know it. Sealed for the successor is how
// to ask.
func (v *Vault) Sealed(ctx context.Context, owner keys.Owner, token tokenize.Token) ([]byte, error) {
	var out []byte
	err := v.resolve(ctx, owner, token, func(w view, root tokenize.Token) error {
		switch w[token].kind {
		case pin:
			out = w[token].data
			return nil
		case retired:
			return &RetiredError{Successor: root}
		}
		return ErrUnknownToken
	})
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", token, err)
	}
	return out, nil
}

// Current returns the token that a token's card has now: itself, or what the crosswalk says.
// The errors are Sealed's but for ErrRetired.
func (v *Vault) Current(ctx context.Context, owner keys.Owner, token tokenize.Token) (tokenize.Token, error) {
	var out tokenize.Token
	err := v.resolve(ctx, owner, token, func(w view, root tokenize.Token) error {
		if k := w[token].kind; k != pin && k != retired {
			return ErrUnknownToken
		}
		out = root
		return nil
	})
	if err != nil {
		return tokenize.Token{}, fmt.Errorf("look up %s: %w", token, err)
	}
	return out, nil
}

// resolve reads a token and what it leads to.
func (v *Vault) resolve(ctx context.Context, owner keys.Owner, token tokenize.Token, use func(w view, root tokenize.Token) error) error {
	if err := checkOwner(owner); err != nil {
		return err
	}
	if token.Version < 1 || token.Version > tokenize.MaxVersion {
		return ErrUnknownToken
	}
	return again(ctx, func() error {
		w, err := v.load(ctx, owner, []tokenize.Token{token})
		if err != nil {
			return err
		}
		root, err := w.root(token)
		if err != nil {
			return err
		}
		return use(w, root)
	})
}

// Reveal returns the card number behind a token, which the caller clears. The envelopes are
// of purpose keys.Reverse. Besides Sealed's errors there are ErrDamaged, if the sealed value
// is not what was pinned for this owner and token, and the key service's: keys.ErrNoKey once
// the owner's key was destroyed.
func (v *Vault) Reveal(ctx context.Context, reverse *keys.Envelopes, owner keys.Owner, token tokenize.Token) (card.PAN, error) {
	sealed, err := v.Sealed(ctx, owner, token)
	if err != nil {
		return card.PAN{}, err
	}
	var pan card.PAN
	if err := open(ctx, reverse, owner, token, sealed, &pan); err != nil {
		return card.PAN{}, fmt.Errorf("reveal %s: %w", token, err)
	}
	return pan, nil
}

// open opens a sealed card number into pan's own memory.
func open(ctx context.Context, reverse *keys.Envelopes, owner keys.Owner, token tokenize.Token, sealed []byte, pan *card.PAN) error {
	var buf [32]byte
	defer clear(buf[:])
	digits, err := reverse.Open(ctx, buf[:0], owner, sealed, tokenize.ReverseAAD(owner, token))
	switch {
	case errors.Is(err, keys.ErrOpen), errors.Is(err, keys.ErrUnwrap):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return err
	}
	if pan.Set(digits) != nil {
		return fmt.Errorf("%w: it holds no card number", ErrDamaged)
	}
	return nil
}
