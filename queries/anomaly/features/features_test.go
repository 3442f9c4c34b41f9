package features_test

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

func compare(a, b *features.Event) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
}

// vectors computes what s tells of the events.
func vectors(t testing.TB, s *features.State, in []features.Event) []features.Vector {
	t.Helper()
	out := make([]features.Vector, len(in))
	for i := range in {
		if _, err := s.Next(&in[i], &out[i]); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	return out
}

// TestReference compares every feature of every event with what follows from the list of all
// earlier events, and makes sure that every feature has had something to tell.
func TestReference(t *testing.T) {
	in := invented(1, 2500, 100)
	r := &reference{events: in}
	got := vectors(t, features.New(), in)
	least, most := got[0], got[0]
	for i := range in {
		want := r.next(i)
		for f := range features.Feature(features.Features) {
			g, w := got[i][f], want[f]
			if math.Abs(float64(g-w)) > 2e-5*math.Max(1, math.Abs(float64(w))) {
				t.Fatalf("event %d: %s is %g, from the events before it follows %g", i, f, g, w)
			}
			least[f], most[f] = min(least[f], g), max(most[f], g)
		}
	}
	for f := range features.Feature(features.Features) {
		if least[f] == most[f] {
			t.Errorf("%s is always %g: it is not tested", f, least[f])
		}
	}
}

// TestNothingOfTheFuture removes, alters and adds later events.
func TestNothingOfTheFuture(t *testing.T) {
	in := invented(2, 1500, 60)
	want := vectors(t, features.New(), in)
	d := rand.New(rand.NewPCG(3, 3))
	other := invented(4, 1500, 60)
	for range 20 {
		at := d.IntN(len(in))
		changed := slices.Clone(in[:at+1])
		for i := at + 1; i < len(in); i++ {
			switch d.IntN(4) {
			case 0: // removed
			case 1:
				e := other[d.IntN(len(other))]
				e.Time, e.ID = in[i].Time, in[i].ID
				changed = append(changed, e)
			case 2:
				e := in[i]
				e.ID[15] = 1
				changed = append(changed, in[i], e)
			default:
				changed = append(changed, in[i])
			}
		}
		got := vectors(t, features.New(), changed)
		for i := range at + 1 {
			if got[i] != want[i] {
				t.Fatalf("event %d has other features once what follows event %d is changed", i, at)
			}
		}
	}
}

// TestReversalsLeaveNoTrace leaves them out.
func TestReversalsLeaveNoTrace(t *testing.T) {
	in := invented(5, 1500, 60)
	with := vectors(t, features.New(), in)
	var rest []features.Event
	var want []features.Vector
	for i := range in {
		if !in[i].Reversal {
			rest, want = append(rest, in[i]), append(want, with[i])
		}
	}
	if got := vectors(t, features.New(), rest); !slices.Equal(got, want) {
		t.Error("reversals change the features of other events")
	}
}

func TestRefuses(t *testing.T) {
	first := features.Event{Time: 1e15, ID: [16]byte{5}}
	for name, tt := range map[string]struct {
		change func(*features.Event)
		order  bool
	}{
		"an earlier time":        {func(e *features.Event) { e.Time-- }, true},
		"the same event":         {func(e *features.Event) {}, true},
		"a smaller id":           {func(e *features.Event) { e.ID[0] = 4 }, true},
		"a time before 1970":     {func(e *features.Event) { e.Time = -1 }, false},
		"a time after 2106":      {func(e *features.Event) { e.Time = 5e15 }, false},
		"an amount below 0":      {func(e *features.Event) { e.Time++; e.Amount = -1 }, false},
		"no number as an amount": {func(e *features.Event) { e.Time++; e.Amount = math.NaN() }, false},
		"an infinite amount":     {func(e *features.Event) { e.Time++; e.Amount = math.Inf(1) }, false},
		"an unknown place":       {func(e *features.Event) { e.Time++; e.Place = 60_000 }, false},
		"an unknown entry mode":  {func(e *features.Event) { e.Time++; e.Entry = 100 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := features.New()
			var v features.Vector
			e := first
			if _, err := s.Next(&e, &v); err != nil {
				t.Fatal(err)
			}
			tt.change(&e)
			if _, err := s.Next(&e, &v); err == nil || errors.Is(err, features.ErrOrder) != tt.order {
				t.Errorf("got %v", err)
			}
			e = first
			e.Time += 10
			if _, err := s.Next(&e, &v); err != nil {
				t.Errorf("the next good event: %v", err)
			}
		})
	}
}

// TestFinite gives what is least and most of everything.
func TestFinite(t *testing.T) {
	s := features.New()
	d := rand.New(rand.NewPCG(9, 9))
	var v features.Vector
	for i := range 3000 {
		e := features.Event{Time: int64(i) * int64(d.IntN(2)+1) * 1e6, Card: features.Key(d.IntN(3)), Merchant: features.Key(d.IntN(2)), Terminal: features.Key(d.IntN(2)),
			BIN: features.Key(d.IntN(2)), Amount: []float64{0, 1e-300, 1e18, 5}[d.IntN(4)], Approved: d.IntN(2) == 0, Present: d.IntN(2) == 0, Place: features.Place(d.IntN(300))}
		e.Time = int64(i) * 1e6
		e.ID[0] = byte(i)
		if _, err := s.Next(&e, &v); err != nil {
			t.Fatal(err)
		}
		for f, x := range v {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				t.Fatalf("event %d: %s is %g", i, features.Feature(f), x)
			}
		}
	}
}

func TestKeyOf(t *testing.T) {
	seen := map[features.Key][]string{}
	for _, parts := range [][]string{{"a"}, {"b"}, {"ab"}, {"a", "b"}, {"b", "a"}, {"abcdefgh"}, {"abcdefgh", "i"}, {"abcdefghi"}, {"a\x00"}, {"a\x00\x00"}} {
		k := features.KeyOf(parts...)
		if k == features.None || seen[k] != nil || k != features.KeyOf(parts...) {
			t.Errorf("%q has key %d, as %q", parts, k, seen[k])
		}
		seen[k] = parts
	}
	if features.KeyOf("") != features.None || features.KeyOf("a", "") != features.None {
		t.Error("a missing name has a key")
	}
}

func TestDefinitions(t *testing.T) {
	seen := map[string]bool{}
	for i, name := range features.Names() {
		d := features.Feature(i).Definition()
		if seen[name] || name == "" || d.Unit == "" || d.Meaning == "" {
			t.Errorf("feature %d, %q: %+v", i, name, d)
		}
		seen[name] = true
	}
	for f, name := range map[features.Feature]string{
		features.CardSince: "card_since", features.MerchantDeviation: "merchant_deviation", features.TerminalSurge: "terminal_surge",
		features.CompromiseCards: "compromise_cards", features.Weekend: "weekend", features.CardDays: "card_days", features.MerchantDeclined30D: "merchant_declined_30d",
	} {
		if f.String() != name {
			t.Errorf("feature %d is named %s, want %s", f, f, name)
		}
	}
}
