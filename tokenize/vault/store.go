package vault

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// Store keeps a vault's entries: small opaque values, named by owner and token. It is safe
// for concurrent use; vaulttest.Run is what an implementation has to pass.
type Store interface {
	// Read returns the values of the tokens, in order, nil for those that are absent. What
	// it returns is durable.
	Read(ctx context.Context, owner keys.Owner, tokens []tokenize.Token) ([][]byte, error)
	// Write makes all the changes or none of them, and returns when they are durable.
	// ErrChanged says that none was made because an entry is not what a change expects. After
	// any other error they were all made or none was. Changes are in the order of tokens,
	// each of another token.
	Write(ctx context.Context, owner keys.Owner, changes []Change) error
	// Scan returns the owner's first rows after a token, limit at most, in the order of
	// tokens: by version, then by bits. What it returns is durable.
	Scan(ctx context.Context, owner keys.Owner, after tokenize.Token, limit int) ([]Row, error)
}

// Change replaces the value Old of a token with New; nil is absence, of either.
type Change struct {
	Token    tokenize.Token
	Old, New []byte
}

// Row is one entry of a store.
type Row struct {
	Token tokenize.Token
	Value []byte
}

// ErrChanged says that an entry is not what a change expects.
var ErrChanged = errors.New("entry was changed meanwhile")

// Format is the layout of entries. A store keeps the one it was made with.
const Format = 1

// ErrFormat says that a newer program wrote the store.
var ErrFormat = errors.New("store has a newer format: use the release that wrote it, or a later one")

// CheckFormat refuses a store of a format that this program does not know.
func CheckFormat(stored int) error {
	if stored < 1 || stored > Format {
		return fmt.Errorf("%w (%d, this program knows %d)", ErrFormat, stored, Format)
	}
	return nil
}

// Compare orders tokens as a store does.
func Compare(a, b tokenize.Token) int {
	return cmp.Or(cmp.Compare(a.Version, b.Version), bytes.Compare(a.Bits[:], b.Bits[:]))
}

func sortChanges(c []Change) []Change {
	slices.SortFunc(c, func(a, b Change) int { return Compare(a.Token, b.Token) })
	return c
}
