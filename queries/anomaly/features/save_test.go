package features_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

func saved(t testing.TB, s *features.State) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// TestResume saves and reads the state time and again on the way.
func TestResume(t *testing.T) {
	in := invented(11, 3000, 90)
	whole := features.New()
	want := vectors(t, whole, in)
	s := features.New()
	for i := 0; i < len(in); i += 250 {
		part := in[i:min(i+250, len(in))]
		if got := vectors(t, s, part); !slices.Equal(got, want[i:i+len(part)]) {
			t.Fatalf("the events from %d on have other features after the state was saved and read", i)
		}
		body := saved(t, s)
		if !bytes.Equal(body, saved(t, s)) {
			t.Fatal("a state is saved in two ways")
		}
		var err error
		if s, err = features.Read(bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(body, saved(t, s)) {
			t.Fatal("a state that was read is saved in another way")
		}
	}
	if !bytes.Equal(saved(t, s), saved(t, whole)) {
		t.Error("the same events give another state once it was saved on the way")
	}
	var v features.Vector
	if _, err := s.Next(&in[len(in)-1], &v); !errors.Is(err, features.ErrOrder) {
		t.Errorf("the last event again after resuming: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	s := features.New()
	vectors(t, s, invented(12, 300, 5))
	body := saved(t, s)
	refused := func(what string, b []byte) {
		t.Helper()
		if _, err := features.Read(bytes.NewReader(b)); !errors.Is(err, features.ErrDamaged) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for n := 0; n < len(body); n += 1 + n/50 {
		refused("cut off", body[:n])
	}
	for i := 0; i < len(body); i += 7 {
		b := bytes.Clone(body)
		b[i] ^= 1 << (i % 8)
		refused("a flipped bit", b)
	}
	refused("something behind it", append(bytes.Clone(body), 0))
	refused("another version", bytes.Replace(body, []byte("features 1"), []byte("features 2"), 1))
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestWriteFails(t *testing.T) {
	s := features.New()
	vectors(t, s, invented(13, 300, 5))
	n := len(saved(t, s))
	for _, left := range []int{0, n / 2, n - 1} {
		if _, err := s.WriteTo(&full{left}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("with room for %d bytes: %v", left, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, n := range []int{0, 3, 40} {
		s := features.New()
		vectors(f, s, invented(14, n, 2))
		body := saved(f, s)
		f.Add(body)
		f.Add(body[:len(body)*2/3])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := features.Read(bytes.NewReader(body))
		if err != nil {
			return
		}
		if !bytes.Equal(saved(t, s), body) {
			t.Error("what was read is saved in another way")
		}
	})
}
