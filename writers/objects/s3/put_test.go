package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// inParts makes small bodies go in parts.
func inParts(c *s3.Config) { c.MultipartSize, c.PartSize = 1, 5<<20 }

// shapes are the two ways that a body goes.
var shapes = map[string]func(*s3.Config){"Whole": func(*s3.Config) {}, "InParts": inParts}

// content is long enough to go in parts.
var content = []byte("content")

func mustPut(tb testing.TB, s objects.Store, name string, body []byte) {
	tb.Helper()
	if err := s.Put(tb.Context(), name, owner, body); err != nil {
		tb.Fatal(err)
	}
}

// names returns what is in the store, in the service's order.
func names(tb testing.TB, s objects.Store) (names []string) {
	tb.Helper()
	for info, err := range s.List(tb.Context(), "") {
		if err != nil {
			tb.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func noUploads(tb testing.TB, l lake) {
	tb.Helper()
	if n, err := l.Uploads(l.bucket); n != 0 || err != nil {
		tb.Errorf("%d unfinished uploads, %v", n, err)
	}
}

func TestEveryPutNamesTheOwnersKey(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for shape, change := range shapes {
		t.Run(shape, func(t *testing.T) {
			l := newLake(t, server)
			l.RequireKey(l.bucket, "data/", l.keys[owner])
			s := l.store(t, change)
			body := bytes.Repeat([]byte("PAR1 synthetic content "), 5000)
			mustPut(t, s, "data/x", body)
			put := false
			for _, r := range l.Requests() {
				if r.Operation != "PutObject" && r.Operation != "CreateMultipartUpload" {
					continue
				}
				put = true
				want := map[string]string{
					"X-Amz-Server-Side-Encryption":                    "aws:kms",
					"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id":     l.keys[owner],
					"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true",
				}
				for name, value := range want {
					if got := r.Header.Get(name); got != value {
						t.Errorf("%s: %s is %q, want %q", r.Operation, name, got, value)
					}
				}
				if diff := cmp.Diff(map[string]string{s3.OwnerContext: string(owner)}, r.Context); diff != "" {
					t.Errorf("%s: encryption context (-want +got):\n%s", r.Operation, diff)
				}
			}
			if !put {
				t.Error("nothing was put")
			}
			stored, err := l.Stored(l.bucket, "data/x")
			if err != nil || bytes.Contains(stored, body[:16]) {
				t.Errorf("the content lies in clear (%v)", err)
			}
			// Another owner's key is refused for that path, and it is not said to exist.
			err = s.Put(t.Context(), "data/y", objectstest.OtherOwner, body)
			if err == nil || errors.Is(err, objects.ErrExists) || errors.Is(err, keys.ErrNoKey) {
				t.Errorf("another owner's put: %v", err)
			}
			if err := s.Put(t.Context(), "data/y", "stranger", body); !errors.Is(err, keys.ErrNoKey) {
				t.Errorf("put of an owner without a key: %v, want ErrNoKey", err)
			}
			noUploads(t, l)
		})
	}
}

func TestNoBucketKeys(t *testing.T) {
	l := newLake(t, s3test.Start(t, s3test.Config{}))
	mustPut(t, l.store(t, func(c *s3.Config) { c.NoBucketKeys = true }), "x", nil)
	if got := l.Requests()[0].Header.Get("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"); got != "false" {
		t.Errorf("bucket key %q", got)
	}
}

// A tenant's data goes with its key, and nobody else's.
func TestKeysThatCannotBeUsed(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for state, end := range map[string]func(*s3test.KMS, string){
		"Disabled":  (*s3test.KMS).Disable,
		"ToBeGone":  (*s3test.KMS).ScheduleDeletion,
		"Destroyed": (*s3test.KMS).Delete,
	} {
		for shape, change := range shapes {
			t.Run(state+"/"+shape, func(t *testing.T) {
				l := newLake(t, server)
				s := l.store(t, func(c *s3.Config) { change(c); c.Window = 100 })
				mustPut(t, s, "x", objectstest.Bytes(1000))
				if err := s.Put(t.Context(), "other", objectstest.OtherOwner, content); err != nil {
					t.Fatal(err)
				}
				o, err := s.Open(t.Context(), "x")
				if err != nil {
					t.Fatal(err)
				}
				defer o.Close()
				end(l.KMS, l.keys[owner])
				if _, err := o.ReadAt(make([]byte, 10), 500); !errors.Is(err, keys.ErrNoKey) {
					t.Errorf("ReadAt: %v, want ErrNoKey", err)
				}
				if _, err := s.Open(t.Context(), "x"); !errors.Is(err, keys.ErrNoKey) {
					t.Errorf("Open: %v, want ErrNoKey", err)
				}
				if err := s.Put(t.Context(), "y", owner, content); !errors.Is(err, keys.ErrNoKey) {
					t.Errorf("Put: %v, want ErrNoKey", err)
				}
				if got, err := objects.ReadAll(t.Context(), s, "other"); !bytes.Equal(got, content) || err != nil {
					t.Errorf("another owner's object: %q, %v", got, err)
				}
				// What cannot be read any more can be listed and removed.
				if err := s.Delete(t.Context(), "x"); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff([]string{"other"}, names(t, s)); diff != "" {
					t.Errorf("objects (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// A service that does not do what it was asked keeps nothing.
func TestServiceThatDoesNotEncrypt(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for _, c := range []struct{ shape, operation string }{
		{"Whole", "PutObject"}, {"InParts", "CreateMultipartUpload"}, {"InParts", "CompleteMultipartUpload"},
	} {
		for _, kind := range []s3test.Kind{s3test.NoKey, s3test.WrongKey} {
			t.Run(c.operation+"/"+kind.String(), func(t *testing.T) {
				l := newLake(t, server)
				s := l.store(t, shapes[c.shape])
				l.Inject(s3test.Fault{Operation: c.operation, Kind: kind})
				if err := s.Put(t.Context(), "x", owner, content); !errors.Is(err, s3.ErrNotEncrypted) {
					t.Errorf("Put: %v, want ErrNotEncrypted", err)
				}
				if got := names(t, s); len(got) != 0 {
					t.Errorf("left behind: %q", got)
				}
				noUploads(t, l)
			})
		}
	}
}

// A put whose answer was lost is found out: done means done, and another's is another's.
func TestUnknownOutcome(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for shape, change := range shapes {
		last := map[string]string{"Whole": "PutObject", "InParts": "CompleteMultipartUpload"}[shape]
		for _, kind := range []s3test.Kind{s3test.ErrorAfter, s3test.ResetAfter} {
			t.Run(fmt.Sprintf("%s/%s", shape, kind), func(t *testing.T) {
				l := newLake(t, server)
				s := l.store(t, change)
				l.Inject(s3test.Fault{Operation: last, Kind: kind})
				mustPut(t, s, "x", content)
				// The same bytes of another call are not its own.
				if err := s.Put(t.Context(), "x", owner, content); !errors.Is(err, objects.ErrExists) {
					t.Errorf("second Put: %v, want ErrExists", err)
				}
				l.Inject(s3test.Fault{Operation: last, Kind: s3test.Error})
				if err := s.Put(t.Context(), "x", owner, content); !errors.Is(err, objects.ErrExists) {
					t.Errorf("failed Put of a name that is taken: %v, want ErrExists", err)
				}
				l.Inject(s3test.Fault{Operation: last, Kind: s3test.Conflict})
				if err := s.Put(t.Context(), "y", owner, content); err == nil || errors.Is(err, objects.ErrExists) {
					t.Errorf("Put that met a conflict: %v, want an error to try again", err)
				}
				mustPut(t, s, "y", content)

				// While the question cannot be answered, the put has failed; the next says
				// that the name is taken.
				l.Inject(s3test.Fault{Operation: last, Kind: kind})
				l.Inject(s3test.Fault{Operation: "HeadObject", Kind: s3test.Error, Times: 3})
				if err := s.Put(t.Context(), "z", owner, content); err == nil || errors.Is(err, objects.ErrExists) {
					t.Errorf("Put without any answer: %v", err)
				}
				if err := s.Put(t.Context(), "z", owner, content); !errors.Is(err, objects.ErrExists) {
					t.Errorf("Put after it: %v, want ErrExists", err)
				}
				noUploads(t, l)
			})
		}
	}
}

// Put makes one attempt of what its caller repeats.
func TestOneLayerRetries(t *testing.T) {
	l := newLake(t, s3test.Start(t, s3test.Config{}))
	s := l.store(t, nil)
	l.Inject(s3test.Fault{Operation: "PutObject", Kind: s3test.SlowDown})
	if err := s.Put(t.Context(), "x", owner, nil); err == nil {
		t.Error("Put hid the service's wish to slow down")
	}
	puts := 0
	for _, r := range l.Requests() {
		if r.Operation == "PutObject" {
			puts++
			if r.Header.Get("If-None-Match") != "*" {
				t.Error("a put without a condition")
			}
		}
	}
	if puts != 1 {
		t.Errorf("%d puts, want 1", puts)
	}
	l.Inject(s3test.Fault{Operation: "PutObject", Kind: s3test.Denied})
	if err := s.Put(t.Context(), "x", owner, nil); err == nil {
		t.Error("Put hid a refusal")
	}
	if r := l.Requests(); len(r) != 1 {
		t.Errorf("a clear refusal was followed by %d requests", len(r)-1)
	}
}

func TestManyParts(t *testing.T) {
	l := newLake(t, s3test.Start(t, s3test.Config{}))
	s := l.store(t, func(c *s3.Config) { inParts(c); c.Parallel = 2 })
	body := objectstest.Bytes(12<<20 + 3)
	// A part that fails is put again, the others are not.
	l.Inject(s3test.Fault{Operation: "UploadPart", Skip: 1, Kind: s3test.Reset})
	mustPut(t, s, "x", body)
	parts := 0
	for _, r := range l.Requests() {
		if r.Operation == "UploadPart" {
			parts++
		}
	}
	if parts != 4 {
		t.Errorf("%d parts were put, want 3 and one again", parts)
	}
	if got, err := objects.ReadAll(t.Context(), s, "x"); err != nil || !bytes.Equal(got, body) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	noUploads(t, l)
}

func TestFailedPartsAreAborted(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for what, run := range map[string]func(context.Context, lake, *s3.Store) error{
		"Part": func(ctx context.Context, l lake, s *s3.Store) error {
			l.Inject(s3test.Fault{Operation: "UploadPart", Kind: s3test.Error, Times: 100})
			return s.Put(ctx, "x", owner, objectstest.Bytes(11<<20))
		},
		"Cancelled": func(ctx context.Context, l lake, s *s3.Store) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stalled := l.Inject(s3test.Fault{Operation: "UploadPart", Kind: s3test.Stall, Skip: 1})
			done := make(chan error, 1)
			go func() { done <- s.Put(ctx, "x", owner, objectstest.Bytes(11<<20)) }()
			for stalled() == 0 && len(done) == 0 {
				time.Sleep(time.Millisecond)
			}
			cancel()
			return <-done
		},
	} {
		t.Run(what, func(t *testing.T) {
			l := newLake(t, server)
			s := l.store(t, inParts)
			if err := run(t.Context(), l, s); err == nil {
				t.Error("Put succeeded")
			}
			noUploads(t, l)
			if got := names(t, s); len(got) != 0 {
				t.Errorf("left behind: %q", got)
			}
		})
	}
}
