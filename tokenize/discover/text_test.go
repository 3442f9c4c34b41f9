package discover

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Numbers at and around the edges of pieces are found once each, at their places, whether
// lines end or not and however the reader hands out its bytes.
func TestScanAcrossPieces(t *testing.T) {
	d := NewDetector(DetectorConfig{})
	for _, filler := range []string{"lorem ipsum ", "lorem ipsum\n", "x;1;", "\x00\xfe\x01\xfc"} {
		for shift := range 24 {
			var b bytes.Buffer
			var want []int64
			for b.Len() < 3*pieceSize {
				edge := (b.Len()/pieceSize+1)*pieceSize - lookahead - 12 + shift
				for b.Len() < edge {
					b.WriteString(filler)
				}
				for range 2 {
					b.WriteString("card: ")
					want = append(want, int64(b.Len()))
					b.WriteString("4111 1111 1111 1111 /")
				}
				b.WriteString(strings.Repeat(filler, lookahead/len(filler)+2))
			}
			for name, r := range map[string]io.Reader{"whole": bytes.NewReader(b.Bytes()), "halves": iotest.HalfReader(bytes.NewReader(b.Bytes()))} {
				var got []int64
				if err := d.Scan(r, Place{}, func(f Detection) bool {
					got = append(got, f.Offset)
					return true
				}); err != nil {
					t.Fatal(err)
				}
				if len(got) != len(want) {
					t.Fatalf("%q, shift %d, %s: %d found, want %d", filler, shift, name, len(got), len(want))
				}
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%q, shift %d, %s: found at %d, want %d", filler, shift, name, got[i], want[i])
					}
				}
			}
		}
	}
}

func TestScanTellsLinesAndColumns(t *testing.T) {
	in := strings.Repeat("some line of a log\n", 100_000) + "x " + visaNumber + "\n"
	var got []Detection
	if err := NewDetector(DetectorConfig{}).Scan(strings.NewReader(in), Place{Path: "f"}, func(f Detection) bool {
		got = append(got, f)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Line != 100_001 || got[0].Column != 3 || got[0].Offset != int64(strings.Index(in, visaNumber)) {
		t.Errorf("got %+v", got)
	}
}

func TestScanReturnsTheReadersErrorAfterSearching(t *testing.T) {
	broken := errors.New("broken")
	n := 0
	err := NewDetector(DetectorConfig{}).Scan(io.MultiReader(strings.NewReader("x "+visaNumber+"\n"), iotest.ErrReader(broken)), Place{}, func(Detection) bool { n++; return true })
	if !errors.Is(err, broken) || n != 1 {
		t.Errorf("got %v, %d found", err, n)
	}
}

func TestScanStopsWhenTold(t *testing.T) {
	n := 0
	err := NewDetector(DetectorConfig{}).Scan(strings.NewReader(strings.Repeat(visaNumber+"\n", 10)), Place{}, func(Detection) bool { n++; return false })
	if err != nil || n != 1 {
		t.Errorf("got %v, %d told", err, n)
	}
}
