package sim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeJournal(t *testing.T, dir string, recs []record) []byte {
	t.Helper()
	j, err := openJournal(dir, func(record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		j.add(r)
		if err := j.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func someRecords() []record {
	return []record{
		{kind: 'H', header: header{Config{Seed: 1 << 63, Tenants: 12, CardsTotal: 240}, true}},
		{kind: 'S', segment: Segment{0, monday.UnixNano(), 600_000, 1000}},
		{kind: 'R', number: 150},
		{kind: 'A', number: 149, code: [2]byte{'0', '0'}},
		{kind: 'A', number: 2, code: [2]byte{'5', '1'}},
		{kind: 'S', segment: Segment{150, monday.UnixNano() + 1e12, 100, 1000}},
		{kind: 'R', number: 1 << 40},
	}
}

func TestJournalKeepsWholeFramesOfATornFile(t *testing.T) {
	dir := t.TempDir()
	recs := someRecords()
	data := writeJournal(t, dir, recs)
	ends := []int{0}
	for at := 0; at < len(data); {
		at += frameHead + int(data[at+3])
		ends = append(ends, at)
	}
	for cut := range len(data) + 1 {
		for _, padding := range []int{0, 5} { // a power failure may leave zeros
			if err := os.WriteFile(filepath.Join(dir, "journal"), append(bytes.Clone(data[:cut]), make([]byte, padding)...), 0o600); err != nil {
				t.Fatal(err)
			}
			whole := 0
			for whole+1 < len(ends) && ends[whole+1] <= cut {
				whole++
			}
			var got []record
			j, err := openJournal(dir, func(r record) error { got = append(got, r); return nil })
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			// What is written next must be readable again.
			j.add(record{kind: 'R', number: 77})
			if err := j.close(); err != nil {
				t.Fatal(err)
			}
			want := append(append([]record(nil), recs[:whole]...), record{kind: 'R', number: 77})
			got = nil
			if j, err = openJournal(dir, func(r record) error { got = append(got, r); return nil }); err != nil {
				t.Fatalf("cut at %d, written on: %v", cut, err)
			}
			j.close()
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{}, header{})); diff != "" {
				t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
			}
		}
	}
}

func TestJournalDamagedInTheMiddleIsRefused(t *testing.T) {
	dir := t.TempDir()
	data := writeJournal(t, dir, someRecords())
	data[frameHead] ^= 1
	if err := os.WriteFile(filepath.Join(dir, "journal"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir, func(record) error { return nil }); !errors.Is(err, ErrJournal) {
		t.Errorf("error is %v", err)
	}
}

func TestJournalOfAnotherPopulation(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir, NewPopulation(Config{Seed: 1, Tenants: 3, CardsTotal: 100}), RunConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, r.p, RunConfig{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, NewPopulation(Config{Seed: 2, Tenants: 3, CardsTotal: 200}), RunConfig{})
	if !errors.Is(err, ErrJournal) || !strings.Contains(err.Error(), "seed was 1 and is now 2") ||
		!strings.Contains(err.Error(), "cards was 100 and is now 200") || strings.Contains(err.Error(), "tenants was") {
		t.Errorf("error is %v", err)
	}
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	j, err := openJournal(dir, func(record) error { return nil })
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range someRecords() {
		j.add(r)
	}
	if err := j.close(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add(append(bytes.Clone(data), 0, 0, 0, 0, 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		good, err := readJournal(bytes.NewReader(data), func(record) error { return nil })
		if good < 0 || good > int64(len(data)) {
			t.Fatalf("%d of %d bytes are whole frames (%v)", good, len(data), err)
		}
		// What is whole reads the same again.
		if n, err := readJournal(bytes.NewReader(data[:good]), func(record) error { return nil }); n != good || err != nil {
			t.Fatalf("%d bytes read back as %d, %v", good, n, err)
		}
	})
}

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(.99) != 0 {
		t.Error("an empty histogram has a quantile")
	}
	for us := range 100_000 {
		h.Add(timeOf(us))
	}
	for _, q := range []float64{.001, .01, .5, .99, .999} {
		got, want := float64(h.Quantile(q).Microseconds()), q*100_000
		if got < want*.99-1 || got > want*1.07+1 {
			t.Errorf("quantile %g is %g, want about %g", q, got, want)
		}
	}
	if h.Max() != timeOf(99_999) || h.Quantile(1) != h.Max() {
		t.Errorf("max is %s, the last quantile %s", h.Max(), h.Quantile(1))
	}
	for i := range bucketOf(1 << 52) {
		if bucketOf(uint64(upper(i).Microseconds())) != i {
			t.Fatalf("bucket %d ends at %s, which is in another", i, upper(i))
		}
	}
}
