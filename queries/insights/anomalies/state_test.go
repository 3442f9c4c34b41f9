package anomalies

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

func TestPartsAreReadAsTheyWereWritten(t *testing.T) {
	for _, size := range []int{0, 1, partSize - 1, partSize, 2*partSize + 7} {
		want := make([]byte, size)
		for i, r := 0, rand.New(rand.NewPCG(uint64(size), 1)); i < size; i += 1 + r.IntN(1000) {
			want[i] = byte(r.Uint32())
		}
		var parts [][]byte
		w := &partWriter{save: func(n int, body []byte) error {
			if n != len(parts) || len(body) > 2*partSize {
				t.Errorf("part %d of %d bytes after %d parts", n, len(body), len(parts))
			}
			parts = append(parts, bytes.Clone(body))
			return nil
		}}
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1<<16)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.flush(); err != nil || w.parts != len(parts) || size > partSize && len(parts) < 2 {
			t.Errorf("%d bytes: %d parts of %d, %v", size, w.parts, len(parts), err)
		}
		r := &partReader{parts: w.parts, load: func(n int) ([]byte, error) { return parts[n], nil }}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
	}
	lost := errors.New("lost")
	r := &partReader{parts: 2, load: func(n int) ([]byte, error) { return []byte{1}, []error{nil, lost}[n] }}
	if _, err := io.ReadAll(r); !errors.Is(err, lost) {
		t.Errorf("a part that is lost gave %v", err)
	}
}
