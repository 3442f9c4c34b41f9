package changes

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

// Sealer encrypts and authenticates.
type Sealer interface {
	AppendSealed(ctx context.Context, dst []byte, owner keys.Owner, plain, aad []byte) ([]byte, error)
	Open(ctx context.Context, dst []byte, owner keys.Owner, sealed, aad []byte) ([]byte, error)
}

// maxCursor bounds a cursor's text: some thousand partitions.
const maxCursor = 64 << 10

// digits is a space for each digit of the greatest offset.
const digits = "                   "

// cursor is where a reader is.
type cursor struct {
	// snapshot is the one that was read, for people: nothing depends on it.
	snapshot int64
	// sequence is that of a commit all of whose rows, and those of commits before it, the reader
	// has.
	sequence int64
	// told is the Sequence of the newest snapshot of whose removals the reader knows.
	told int64
	// positions are those before which the reader has every row.
	positions cardlake.Positions
}

// cursorBody is a cursor as it is sealed.
type cursorBody struct {
	Sequence  int64              `json:"q"`
	Told      int64              `json:"t"`
	Positions cardlake.Positions `json:"p"`
}

// cursors seals and opens cursors: the snapshot's id, a dot, and the rest in base64 (RFC 4648
// section 5), sealed under the lake's key and bound to the table and the id.
type cursors struct{ Sealer }

func aad(table *cardlake.Table, snapshot int64) []byte {
	return fmt.Appendf(nil, "cardlake changes cursor\x00%s\x00%d", table.FullName(), snapshot)
}

func (s cursors) seal(ctx context.Context, table *cardlake.Table, c cursor) (string, error) {
	positions := make(cardlake.Positions, len(c.positions))
	for p, at := range c.positions {
		positions[p] = cardlake.Offset{Next: at.Next} // marks are for sources
	}
	plain, err := json.Marshal(cursorBody{c.sequence, c.told, positions})
	if err != nil {
		return "", err
	}
	// As long as if every offset had all its digits: the length of a cursor tells nothing of how
	// many events there were. Space behind a value means nothing in JSON (RFC 8259 section 2).
	for _, at := range positions {
		plain = append(plain, digits[len(strconv.FormatInt(at.Next, 10)):]...)
	}
	sealed, err := s.AppendSealed(ctx, nil, keys.Lake, plain, aad(table, c.snapshot))
	if err != nil {
		return "", fmt.Errorf("seal cursor: %w", err)
	}
	return strconv.FormatInt(c.snapshot, 10) + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// open reads a cursor. What is wrong with it is ErrCursor, whatever it is.
func (s cursors) open(ctx context.Context, table *cardlake.Table, text string) (cursor, error) {
	id, encoded, _ := strings.Cut(text, ".")
	snapshot, err := strconv.ParseInt(id, 10, 64)
	if err != nil || len(text) > maxCursor || strconv.FormatInt(snapshot, 10) != id {
		return cursor{}, ErrCursor
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return cursor{}, ErrCursor
	}
	plain, err := s.Open(ctx, nil, keys.Lake, sealed, aad(table, snapshot))
	if err != nil {
		if ctx.Err() != nil {
			return cursor{}, err
		}
		return cursor{}, fmt.Errorf("%w (%w)", ErrCursor, err)
	}
	var body cursorBody
	if err := json.Unmarshal(plain, &body); err != nil {
		return cursor{}, ErrCursor
	}
	return cursor{snapshot: snapshot, sequence: body.Sequence, told: body.Told, positions: body.Positions}, nil
}
