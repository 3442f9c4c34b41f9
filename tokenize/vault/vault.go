// Package vault keeps which token a card has, and the card number behind it, sealed: the one
// place from which a token leads back to a number.
//
// The vault is a set of entries for each owner, named by what a mint secret makes of a card
// number. There are three kinds:
//
//   - a pin: this is a card's token; the entry holds the number, sealed under purpose
//     keys.Reverse and bound to owner and token;
//   - an index: a live secret of another version makes this of a card number whose token is
//     another entry;
//   - a retired token: the card has another token since a mint secret was compromised. It
//     holds no card number, only its successor: all of them are the crosswalk.
//
// So one card leads to one token, whichever live secret it is presented with, because an
// entry's name is unique in the store: whoever is first decides, and nothing is locked. Every
// decision is read, made and written on condition that the entries it changes are still what
// was read; otherwise it is made again.
//
// Entries hold 128-bit keyed hashes (tokens) and sealed values, nothing else. Pinning needs
// no key at all; who pins cannot reveal. No error names more than a token.
package vault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

var (
	// ErrUnknownToken says that the owner has no card with the token.
	ErrUnknownToken = errors.New("unknown token")
	// ErrRetired says that the card has another token since its mint secret was compromised.
	// The error is a RetiredError.
	ErrRetired = errors.New("token was retired")
	// ErrConflict says that what must be one card has two tokens already. Only a fault leads
	// there: a mint secret was destroyed before every card was indexed under the next.
	// Retokenise gives such a card one token again.
	ErrConflict = errors.New("one card has two tokens")
	// ErrDamaged says that an entry is not as it was written: its sealed value was changed,
	// cut or exchanged with another's, or the entry cannot be read.
	ErrDamaged = errors.New("entry of the vault is damaged")
	// ErrCard says that a card cannot be pinned as it was presented.
	ErrCard = errors.New("card needs at least one candidate and a sealed number")
	// ErrOwner says that the owner's name cannot be kept.
	ErrOwner = errors.New("owner must be 1 to 255 bytes of UTF-8 without zero bytes")
	// ErrSecret says that a mint secret is not the owner's newest.
	ErrSecret = errors.New("mint secret is not the newest that this vault's tokens were made with")
	// ErrBusy says that another process runs the same job for the same owner.
	ErrBusy = errors.New("another process runs this job")
	// ErrNotIndexed says that cards could be lost if the version were forgotten.
	ErrNotIndexed = errors.New("no complete pass found every card under a newer mint secret; run Reindex until it changes nothing")
)

// RetiredError is ErrRetired with the token that the card has now.
type RetiredError struct{ Successor tokenize.Token }

func (e *RetiredError) Error() string { return "token was retired for " + e.Successor.String() }

// Is makes it ErrRetired.
func (e *RetiredError) Is(target error) bool { return target == ErrRetired }

// Config tunes a vault.
type Config struct {
	// Batch is how many entries a job reads and writes at a time, and what an interrupted
	// job does again at most; 1,000 if zero.
	Batch int
}

// Vault pins cards in a store. It is safe for concurrent use, and so are several vaults on a
// store that more than one process can open.
type Vault struct {
	store Store
	batch int
}

// New returns a vault on the store, which its opener closes.
func New(store Store, cfg Config) *Vault {
	if cfg.Batch == 0 {
		cfg.Batch = 1000
	}
	return &Vault{store: store, batch: cfg.Batch}
}

var _ tokenize.Pins = (*Vault)(nil)

// attempts is how often a decision is made anew. Each time somebody else has changed one of
// its entries, which happens to an entry a few times in its life.
const attempts = 64

// again makes a decision until it does not rest on what has changed meanwhile.
func again(ctx context.Context, decide func() error) error {
	for n := 1; ; n++ {
		err := decide()
		if !errors.Is(err, ErrChanged) || n == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(time.Duration(min(n*n, 100)) * 500 * time.Microsecond)):
		}
	}
}

func checkOwner(owner keys.Owner) error {
	if len(owner) == 0 || len(owner) > 255 || !utf8.ValidString(string(owner)) || strings.IndexByte(string(owner), 0) >= 0 {
		return ErrOwner
	}
	return nil
}

// view is the entries that a decision rests on, as they were read and as it changes them.
type view map[tokenize.Token]*viewed

type viewed struct {
	entry
	old []byte // as it is in the store
	set bool   // differs from old
}

// load reads the entries of the tokens and all they lead to. Entries that lead on are read
// later than those before them, so a view can be of two moments; root notices where it
// matters.
func (v *Vault) load(ctx context.Context, owner keys.Owner, tokens []tokenize.Token) (view, error) {
	seen := make(view, len(tokens))
	for len(tokens) > 0 {
		missing := make([]tokenize.Token, 0, len(tokens))
		for _, t := range tokens {
			if _, ok := seen[t]; !ok {
				seen[t] = nil
				missing = append(missing, t)
			}
		}
		values, err := v.store.Read(ctx, owner, missing)
		if err != nil {
			return nil, err
		}
		tokens = tokens[:0:0]
		for i, t := range missing {
			e, err := parseEntry(values[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t, err)
			}
			seen[t] = &viewed{entry: e, old: values[i]}
			if e.kind == index || e.kind == retired {
				tokens = append(tokens, e.leads)
			}
		}
	}
	return seen, nil
}

// root follows t to a card's token; it is zero when the vault does not know t. ErrChanged
// says that t leads nowhere: the view's parts were read before and after a change.
func (w view) root(t tokenize.Token) (tokenize.Token, error) {
	for hops := 0; hops <= len(w); hops++ {
		e := w[t]
		switch {
		case e == nil:
			return tokenize.Token{}, fmt.Errorf("index of a card leads nowhere: %w: %w", ErrDamaged, ErrChanged)
		case e.kind == pin:
			return t, nil
		case e.kind == absent && hops == 0:
			return tokenize.Token{}, nil
		case e.kind == absent:
			return tokenize.Token{}, fmt.Errorf("index of a card leads nowhere: %w: %w", ErrDamaged, ErrChanged)
		}
		t = e.leads
	}
	return tokenize.Token{}, fmt.Errorf("index of a card leads to itself: %w: %w", ErrDamaged, ErrChanged)
}

// put changes an entry of the view.
func (w view) put(t tokenize.Token, e entry) {
	w[t].entry, w[t].set = e, true
}

// keep has the write fail if an entry is no longer what was read: an index must not be left
// that leads to a card which was forgotten meanwhile.
func (w view) keep(t tokenize.Token) { w[t].set = true }

// changes returns what write has to do, in the order of tokens.
func (w view) changes() []Change {
	var out []Change
	for t, e := range w {
		if e.set {
			out = append(out, Change{Token: t, Old: e.old, New: e.encode()})
		}
	}
	return sortChanges(out)
}
