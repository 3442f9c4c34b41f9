package s3_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

func mustOpen(tb testing.TB, s objects.Store, name string) objects.Object {
	tb.Helper()
	o, err := s.Open(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { o.Close() })
	return o
}

// reads returns how many times content was asked for.
func reads(l lake) (n int) {
	for _, r := range l.Requests() {
		if r.Operation == "GetObject" {
			n++
		}
	}
	return n
}

func TestReadsAreFew(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	l := newLake(t, server)
	s := l.store(t, func(c *s3.Config) { c.Window = 1 << 20 })
	body := objectstest.Bytes(3 << 20)
	mustPut(t, s, "small", body[:1<<20])
	mustPut(t, s, "large", body)
	l.Requests()

	for _, c := range []struct {
		what, name string
		want       int
		read       func(o objects.Object) error
	}{
		{"an object within the window, in any order", "small", 1, func(o objects.Object) error {
			for off := int64(1<<20 - 100); off > 0; off -= 100_000 {
				if _, err := o.ReadAt(make([]byte, 100), off); err != nil {
					return err
				}
			}
			return nil
		}},
		{"a larger one in order, in small steps", "large", 3, func(o objects.Object) error {
			got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
			if err == nil && !bytes.Equal(got, body) {
				return errors.New("wrong bytes")
			}
			return err
		}},
		{"its end, then what is beside it", "large", 2, func(o objects.Object) error {
			for _, off := range []int64{3<<20 - 8, 3<<20 - 1000, 3<<20 - 500} {
				if _, err := o.ReadAt(make([]byte, 8), off); err != nil && err != io.EOF {
					return err
				}
			}
			return nil
		}},
	} {
		o := mustOpen(t, s, c.name)
		if err := c.read(o); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		// Beside the end is read in two: only what lies behind the first offset comes along.
		if got := reads(l); got > c.want+1 || c.name == "small" && got != 1 {
			t.Errorf("%s: %d requests, want %d", c.what, got, c.want)
		}
	}
}

// A content that was damaged on its way is read again; one that stays so is reported.
func TestDamagedContent(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	l := newLake(t, server)
	s := l.store(t, nil)
	body := objectstest.Bytes(100_000)
	mustPut(t, s, "x", body)
	l.Inject(s3test.Fault{Operation: "GetObject", Kind: s3test.CorruptBody, Times: 2})
	if got, err := objects.ReadAll(t.Context(), s, "x"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("damaged twice: read %d bytes, %v", len(got), err)
	}
	l.Inject(s3test.Fault{Operation: "GetObject", Kind: s3test.CorruptBody, Times: 3})
	if _, err := s.Open(t.Context(), "x"); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("damaged three times: %v, want ErrCorrupt", err)
	}
	l.Inject(s3test.Fault{Operation: "GetObject", Kind: s3test.CorruptUnchecked, Times: 3})
	if _, err := s.Open(t.Context(), "x"); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("damaged by a service that tells no checksum: %v, want ErrCorrupt", err)
	}
	l.Inject(s3test.Fault{Operation: "GetObject", Kind: s3test.TruncatedBody, Times: 3})
	if _, err := s.Open(t.Context(), "x"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("cut three times: %v", err)
	}

	// Beyond the window, whoever reads in order finds out at the end.
	small := l.store(t, func(c *s3.Config) { c.Window = 30_000 })
	for what, read := range map[string]func(objects.Object) error{
		"in steps": func(o objects.Object) error {
			_, err := io.Copy(io.Discard, io.NewSectionReader(o, 0, o.Size()))
			return err
		},
		"at once": func(o objects.Object) error {
			_, err := o.ReadAt(make([]byte, o.Size()), 0)
			return err
		},
		"once more after a reading that was good": func(o objects.Object) error {
			l.Heal()
			if _, err := o.ReadAt(make([]byte, o.Size()), 0); err != nil {
				return err
			}
			l.Inject(s3test.Fault{Operation: "GetObject", Kind: s3test.CorruptBody})
			_, err := o.ReadAt(make([]byte, o.Size()), 0)
			return err
		},
	} {
		l.Inject(s3test.Fault{Operation: "GetObject", Skip: 2, Kind: s3test.CorruptBody})
		if err := read(mustOpen(t, small, "x")); !errors.Is(err, objects.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
		l.Heal()
	}
}

// An open object is one object: not what came in its place.
func TestChangedWhileOpen(t *testing.T) {
	l := newLake(t, s3test.Start(t, s3test.Config{}))
	s := l.store(t, func(c *s3.Config) { c.Window = 1000 })
	mustPut(t, s, "x", objectstest.Bytes(10_000))
	o := mustOpen(t, s, "x")
	if err := s.Delete(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 10), 5000); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("deleted: %v, want ErrNotFound", err)
	}
	mustPut(t, s, "x", objectstest.Bytes(10_001))
	if _, err := o.ReadAt(make([]byte, 10), 5000); !errors.Is(err, objects.ErrCorrupt) {
		t.Errorf("replaced: %v, want ErrCorrupt", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadAt(make([]byte, 10), 8000); err == nil {
		t.Error("a closed object was read")
	}
}
