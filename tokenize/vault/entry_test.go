package vault

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// FuzzEntry reads any value: it is refused or written again as it was.
func FuzzEntry(f *testing.F) {
	token := tokenize.Token{Version: 7, Bits: [16]byte{1, 2, 3}}
	for _, e := range []entry{{}, {kind: pin, data: []byte("sealed")}, {kind: index, leads: token}, {kind: retired, leads: token}, {kind: note, data: []byte("{}")}} {
		f.Add(e.encode())
	}
	f.Add([]byte{'i', 0})
	f.Add([]byte{'x'})
	f.Add(entry{kind: index}.encode())
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := parseEntry(value)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("error %v, want ErrDamaged", err)
			}
			return
		}
		if again := e.encode(); !bytes.Equal(again, value) {
			t.Errorf("%q is written again as %q", value, again)
		}
	})
}

// contended is a store on which somebody else is always first.
type contended struct{ Store }

func (contended) Read(_ context.Context, _ keys.Owner, tokens []tokenize.Token) ([][]byte, error) {
	return make([][]byte, len(tokens)), nil
}
func (contended) Write(context.Context, keys.Owner, []Change) error { return ErrChanged }

// TestContentionEnds shows that a decision is not made anew for ever, nor after its context.
func TestContentionEnds(t *testing.T) { synctest.Test(t, testContentionEnds) }

func testContentionEnds(t *testing.T) {
	cards := []tokenize.Card{{Candidates: []tokenize.Token{{Version: 1}}, Sealed: make([]byte, 100)}}
	v := New(contended{}, Config{})
	if _, err := v.Pin(t.Context(), "ownera", cards); !errors.Is(err, ErrChanged) {
		t.Errorf("error %v, want ErrChanged", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Pin(ctx, "ownera", cards); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want Canceled", err)
	}
}

// loop is a store in which entries lead nowhere.
type loop struct{ contended }

func (loop) Read(_ context.Context, _ keys.Owner, tokens []tokenize.Token) ([][]byte, error) {
	out := make([][]byte, len(tokens))
	for i, t := range tokens {
		switch t.Version {
		case 1, 2: // lead to each other
			out[i] = entry{kind: index, leads: tokenize.Token{Version: 3 - t.Version}}.encode()
		case 3: // leads to what is absent
			out[i] = entry{kind: retired, leads: tokenize.Token{Version: 9}}.encode()
		}
	}
	return out, nil
}

func TestDamagedIndexesAreNamed(t *testing.T) { synctest.Test(t, testDamagedIndexesAreNamed) }

func testDamagedIndexesAreNamed(t *testing.T) {
	v := New(loop{}, Config{})
	for _, version := range []int{1, 3} {
		token := tokenize.Token{Version: version}
		if _, err := v.Current(t.Context(), "ownera", token); !errors.Is(err, ErrDamaged) {
			t.Errorf("error %v, want ErrDamaged", err)
		}
	}
}
