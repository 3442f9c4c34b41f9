package vault

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// The names of jobs, at most 16 bytes.
const (
	reindexJob    = "reindex"
	retokeniseJob = "retokenise"
	resealJob     = "reseal"
)

// Reindex is the rotation of a mint secret: it indexes every pinned card under the newest
// one, and every card keeps its token. The order of a rotation:
//
//  1. the keyring makes a new version of the secret, beside the old one;
//  2. wait for as long as workers and vaults keep secrets and known cards; from then on new
//     cards come with candidates of both versions;
//  3. Reindex, Since that moment, until a pass has changed nothing;
//  4. destroy the old version in the keyring, wait as before, and ForgetVersion: workers that
//     still know the old version would bring its index entries back.
//
// ErrConflict at the end of a pass says that cards have two tokens; ErrSecret that newest is
// older than, or not the same as, the secret of a pinned token.
func (v *Vault) Reindex(ctx context.Context, pass Pass, newest keys.Secret) (Progress, error) {
	m := tokenize.NewMinter(newest.Version, newest.Key)
	return v.run(ctx, pass, job{reindexJob, newest.Version, 0, func(ctx context.Context, pins []opened, p *Progress) (view, error) {
		w, tokens, err := v.minted(ctx, pass.Owner, m, pins)
		if err != nil {
			return nil, err
		}
		for i, t := range tokens {
			found, err := w.root(t)
			switch {
			case err != nil:
				return nil, err
			case found.IsZero():
				w.put(t, entry{kind: index, leads: pins[i].token})
				w.keep(pins[i].token)
				p.Changed++
			case found != pins[i].token:
				p.Conflicts++
			}
		}
		return w, nil
	}})
}

// Retokenise answers the compromise of a mint secret: every card gets the token that the
// newest secret makes of it, its number is sealed for that token, and the old token stays as
// a retired one that leads to it. From then on Pin returns the new token, whichever live
// secret a card is presented with. Cards that had two tokens get one.
//
// The order is that of Reindex. Crosswalk then tells what to rewrite in the lake. ErrSecret
// says that newest is older than, or not the same as, the secret of a pinned token.
func (v *Vault) Retokenise(ctx context.Context, pass Pass, newest keys.Secret) (Progress, error) {
	m := tokenize.NewMinter(newest.Version, newest.Key)
	return v.run(ctx, pass, job{retokeniseJob, newest.Version, newest.Version, func(ctx context.Context, pins []opened, p *Progress) (view, error) {
		w, tokens, err := v.minted(ctx, pass.Owner, m, pins)
		if err != nil {
			return nil, err
		}
		for i, t := range tokens {
			switch w[t].kind {
			case pin: // presented with the newest secret only, or the batch's other token of this card
			case absent, index:
				sealed, err := seal(ctx, pass, t, &pins[i])
				if err != nil {
					return nil, err
				}
				w.put(t, entry{kind: pin, data: sealed})
			default:
				return nil, fmt.Errorf("%w: %s was retired", ErrSecret, t)
			}
			w.put(pins[i].token, entry{kind: retired, leads: t})
			p.Changed++
		}
		return w, nil
	}})
}

// Reseal seals every card number anew, after the keyring has made a new version of the
// owner's key of purpose keys.Reverse. Begin it, Since that moment, when no process keeps a
// data key that was made before: keys.EnvelopeConfig's MaxAge after the rotation. After a
// finished pass nothing is sealed under the old version, which can be destroyed. It also
// brings cards that were pinned over months under few data keys. Each pass changes every
// card.
func (v *Vault) Reseal(ctx context.Context, pass Pass) (Progress, error) {
	return v.run(ctx, pass, job{resealJob, 0, 0, func(ctx context.Context, pins []opened, p *Progress) (view, error) {
		w := make(view, len(pins))
		for i := range pins {
			sealed, err := seal(ctx, pass, pins[i].token, &pins[i])
			if err != nil {
				return nil, err
			}
			w[pins[i].token] = &viewed{entry: entry{kind: pin, data: sealed}, old: pins[i].value, set: true}
		}
		p.Changed += len(pins)
		return w, nil
	}})
}

func seal(ctx context.Context, pass Pass, t tokenize.Token, o *opened) ([]byte, error) {
	sealed, err := pass.Reverse.AppendSealed(ctx, nil, pass.Owner, o.pan.Digits(), tokenize.ReverseAAD(pass.Owner, t))
	if err != nil {
		return nil, fmt.Errorf("seal the card of %s: %w", t, err)
	}
	return sealed, nil
}

// ForgetVersion drops the index entries of a destroyed mint secret's version and returns how
// many there were. Tokens of that version stay: they are the names of cards. ErrNotIndexed
// says that no finished pass of Reindex or Retokenise with a later version has found that
// nothing is left.
func (v *Vault) ForgetVersion(ctx context.Context, owner keys.Owner, version int) (int, error) {
	if err := checkOwner(owner); err != nil {
		return 0, fmt.Errorf("forget version: %w", err)
	}
	isProven := false
	for _, name := range []string{reindexJob, retokeniseJob} {
		s, _, err := v.readState(ctx, owner, name)
		if err != nil {
			return 0, fmt.Errorf("forget version for %s: %w", owner, err)
		}
		isProven = isProven || s.isProof() && s.Version > version
	}
	if !isProven {
		return 0, fmt.Errorf("forget version %d for %s: %w", version, owner, ErrNotIndexed)
	}
	n, err := v.remove(ctx, owner, func(r Row, k kind) bool { return r.Token.Version == version && k == index },
		endOf(version-1), endOf(version))
	if err != nil {
		return n, fmt.Errorf("forget version %d for %s: %w", version, owner, err)
	}
	return n, nil
}
