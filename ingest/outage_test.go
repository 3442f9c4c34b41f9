package ingest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
)

// The key service fails once while a record that cannot be decoded is sealed.
func TestUndecodableIsSealedAfterAnOutage(t *testing.T) {
	l := newLake(t, 1)
	l.stream.append(0, []byte("no event"))
	l.stream.append(0, l.event(1))
	var calls atomic.Int64
	w := ingest.New(l.deps(sealOutage{l.keys, &calls}), ingest.Config{WindowAge: 20 * time.Millisecond, Grace: time.Second})
	l.runUntil(w, l.caughtUp)
	if n := w.Stats().Rejected["undecodable"]; n != 1 {
		t.Errorf("%d undecodable, %v", n, w.Stats().Rejected)
	}
}

// gatedPins is a vault that is away until it is let go on.
type gatedPins struct {
	tokenize.Pins
	away  atomic.Bool
	asked atomic.Int64
}

func (g *gatedPins) Pin(ctx context.Context, owner keys.Owner, cards []tokenize.Card) ([]tokenize.Token, error) {
	g.asked.Add(1)
	if g.away.Load() {
		return nil, errors.New("vault is away")
	}
	return g.Pins.Pin(ctx, owner, cards)
}

// The vault is away for an hour, and meanwhile the mint secret is rotated as "cardlake-vault
// rotate" does it: the new version, ten minutes' wait, Reindex, the old version destroyed and
// forgotten. (With a store in a folder the service must be stopped for that.) A worker that
// waits for the vault all the time must not pin with the secret that is gone.
func TestWorkerThatWaitsOutARotation(t *testing.T) {
	l := newLake(t, 1)
	r, err := l.tenants.Lookup(testTenant)
	if err != nil {
		t.Fatal(err)
	}
	scope := keys.Scope{Owner: keys.OwnerOf(r.StorageID), Purpose: keys.Mint}
	store, err := pebblestore.Open(t.TempDir(), pebblestore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	v := vault.New(store, vault.Config{})
	pins := &gatedPins{Pins: v}
	pins.away.Store(true)
	var ahead atomic.Int64
	deps := l.deps(l.keys)
	deps.Pins = pins
	w := ingest.New(deps, ingest.Config{WindowRows: 1, WindowAge: 20 * time.Millisecond, Grace: time.Second, Now: func() time.Time { return now.Add(time.Duration(ahead.Load())) }})
	l.stream.append(0, l.event(0))
	stage := 0
	l.runUntil(w, func() bool {
		switch {
		case stage == 0 && pins.asked.Load() > 1:
			stage = 1
			if _, err := l.keys.Rotate(t.Context(), scope); err != nil {
				t.Fatal(err)
			}
			ahead.Store(int64(10 * time.Minute))
			live, err := l.keys.Live(t.Context(), scope)
			if err != nil {
				t.Fatal(err)
			}
			pass := vault.Pass{Owner: scope.Owner, Reverse: keys.NewEnvelopes(l.keys, keys.Reverse, keys.EnvelopeConfig{})}
			if p, err := v.Reindex(t.Context(), pass, live[0]); err != nil || p.Changed != 0 {
				t.Fatal(p, err)
			}
			if err := l.keys.DestroyVersion(t.Context(), scope, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := v.ForgetVersion(t.Context(), scope.Owner, 1); err != nil {
				t.Fatal(err)
			}
			pins.away.Store(false)
		case stage == 1 && l.caughtUp():
			stage = 2
			l.stream.append(0, l.event(7)) // the same card
		}
		return stage == 2 && l.caughtUp()
	})
	if old, n := l.tokens("tk1_"), l.tokens("tk"); old != 0 || n != 2 {
		t.Errorf("%d of %d rows have a token of the destroyed secret", old, n)
	}
	if c, err := v.Count(t.Context(), scope.Owner); err != nil || c.Cards != 1 {
		t.Errorf("one card has %d tokens in the vault, error %v", c.Cards, err)
	}
}

// A record that was rejected for a field does not make the same event, sent again as it should be, a duplicate.
func TestRejectedIsNoDuplicate(t *testing.T) {
	l := newLake(t, 1)
	l.stream.append(0, l.invalid(0))
	l.stream.append(0, l.event(0))
	w := l.worker(ingest.Config{})
	l.runUntil(w, l.caughtUp)
	if n := l.rows()[eventID(0)]; n != 1 {
		t.Errorf("the event is there %d times; %d duplicates, %v rejected", n, w.Stats().Duplicates, w.Stats().Rejected)
	}
}
