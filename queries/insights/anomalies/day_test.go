package anomalies

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

func someRows(n int, seed uint64) []row {
	d := rand.New(rand.NewPCG(seed, 1))
	out := make([]row, n)
	for i := range out {
		r := &out[i]
		for k := range r.id {
			r.id[k] = byte(d.Uint32())
		}
		r.time, r.card, r.merchant, r.place, r.before, r.why = int64(i)*1000, features.Key(d.Uint64()), features.Key(d.Uint64()), 7, 3, why(1+d.IntN(15))
		for f := range r.features {
			r.features[f] = float32(d.IntN(5))
		}
	}
	return out
}

// TestTop compares with sorting, in any order of offers.
func TestTop(t *testing.T) {
	rows := someRows(500, 1)
	value := func(r *row) float64 { return float64(r.features[0]) }
	want := slices.Clone(rows)
	slices.SortFunc(want, func(a, b row) int { return cmp.Or(cmp.Compare(value(&b), value(&a)), slices.Compare(a.id[:], b.id[:])) })
	for _, size := range []int{0, 1, 7, 100, 500, 900} {
		d := rand.New(rand.NewPCG(2, uint64(size)))
		top := top{size: size}
		for _, i := range d.Perm(len(rows)) {
			r := rows[i]
			top.offer(value(&r), &r)
			r = row{} // what is kept is a copy
		}
		var got []row
		for _, e := range top.entries {
			got = append(got, *e.row)
		}
		slices.SortFunc(got, func(a, b row) int { return cmp.Or(cmp.Compare(value(&b), value(&a)), slices.Compare(a.id[:], b.id[:])) })
		if !slices.Equal(got, want[:min(size, len(want))]) {
			t.Errorf("the best %d are others", size)
		}
	}
}

// TestSampleIsEven draws from events whose ids differ in few bits.
func TestSampleIsEven(t *testing.T) {
	k := newKeeper(1)
	rows := someRows(6000, 3)
	for i := range rows {
		rows[i].id = [16]byte{15: byte(i), 14: byte(i >> 8)}
		k.offer(&rows[i], 0, 0)
	}
	drawn, low := 0, 0
	for _, r := range k.rows() {
		if r.why&sampled != 0 {
			drawn++
			if r.time < 3_000_000 {
				low++
			}
		}
	}
	if drawn != sampleADay || low < 110 || low > 190 {
		t.Errorf("%d drawn, %d of them of the first half", drawn, low)
	}
}

func TestDayIsKept(t *testing.T) {
	d := day{date: 20_500, events: 1234, chain: "abcdefghijklmnopabcdefghijklmnop", rows: someRows(20, 4)}
	body := d.marshal()
	got := day{date: d.date, chain: d.chain}
	if err := got.unmarshal(body); err != nil || got.events != d.events || !slices.Equal(got.rows, d.rows) {
		t.Fatalf("read %d rows of %d: %v", len(got.rows), len(d.rows), err)
	}
	other := day{chain: "bbcdefghijklmnopabcdefghijklmnop"}
	if other.unmarshal(body) == nil {
		t.Error("a day of other rows is taken")
	}
	for i := 0; i < len(body); i += 11 {
		flipped := slices.Clone(body)
		flipped[i] ^= 1
		if got.unmarshal(flipped) == nil || got.unmarshal(body[:i]) == nil {
			t.Fatalf("a day that was damaged at byte %d is taken", i)
		}
	}
}

func FuzzDay(f *testing.F) {
	d := day{chain: "abc", rows: someRows(2, 5)}
	f.Add(d.marshal())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		got := day{chain: "abc"}
		if got.unmarshal(body) == nil && !slices.Equal(got.marshal(), body) {
			t.Error("what was read is written in another way")
		}
	})
}
