package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/writers/objects"
)

// memPins pins cards to tokens of a version that no mint secret has, after some failures.
type memPins struct {
	failures atomic.Int64
	cards    atomic.Int64
	calls    atomic.Int64
	noKey    bool
}

func (m *memPins) Pin(_ context.Context, _ keys.Owner, cards []tokenize.Card) ([]tokenize.Token, error) {
	if m.failures.Add(-1) >= 0 {
		return nil, errors.New("vault is away")
	}
	if m.noKey {
		return nil, keys.ErrNoKey
	}
	m.calls.Add(1)
	m.cards.Add(int64(len(cards)))
	var out []tokenize.Token
	for _, c := range cards {
		out = append(out, tokenize.Token{Version: 77, Bits: c.Candidates[0].Bits})
	}
	return out, nil
}

// tokens counts the committed rows whose token begins so.
func (l *lake) tokens(prefix string) (n int) {
	l.t.Helper()
	for _, f := range l.transactions.files() {
		body, err := objects.ReadAll(context.Background(), l.store, f.Name)
		if err != nil {
			l.t.Fatal(err)
		}
		rows, err := parquet.Read[struct {
			CardToken string `parquet:"card_token"`
		}](bytes.NewReader(body), int64(len(body)))
		if err != nil {
			l.t.Fatal(err)
		}
		for _, row := range rows {
			if strings.HasPrefix(row.CardToken, prefix) {
				n++
			}
		}
	}
	return n
}

// Every row has the token that the vault pinned, and a card is pinned once, though the vault
// is away at first.
func TestRowsHaveTheVaultsTokens(t *testing.T) {
	const events = 300
	l := newLake(t, 3)
	l.fill(events)
	pins := &memPins{}
	pins.failures.Store(3)
	deps := l.deps(l.keys)
	deps.Pins = pins
	w := ingest.New(deps, ingest.Config{WindowRows: 100, WindowAge: 20 * time.Millisecond})
	l.runUntil(w, l.caughtUp)
	l.checkOnce(events)
	if s := w.Stats(); s.PinRetries != 3 || pins.cards.Load() != 7 || s.Rows != events {
		t.Errorf("%d retries, %d cards pinned, %d rows; want 3, 7, %d", s.PinRetries, pins.cards.Load(), s.Rows, events)
	}
	if n := l.tokens("tk77_"); n != events {
		t.Errorf("%d rows have the vault's token, want %d", n, events)
	}
}

// A tenant whose keys are gone in the vault has rejected records.
func TestVaultWithoutKeysRejects(t *testing.T) {
	l := newLake(t, 1)
	l.fill(20)
	deps := l.deps(l.keys)
	deps.Pins = &memPins{noKey: true}
	w := ingest.New(deps, ingest.Config{WindowRows: 100, WindowAge: 20 * time.Millisecond})
	l.runUntil(w, func() bool { return l.rejected.at().Holds(l.stream.ends()) || w.Stats().Rejected["unopenable"] == 20 })
	if s := w.Stats(); s.Rows != 0 || s.Rejected["unopenable"] != 20 {
		t.Errorf("%d rows, %v rejected", s.Rows, s.Rejected)
	}
}
