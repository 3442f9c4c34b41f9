package s3_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

func all(objects.Version) bool { return true }

func TestPurge(t *testing.T) {
	server := s3test.Start(t, s3test.Config{PageSize: 7})
	for name, change := range map[string]func(*s3.Config){
		"Whole": nil, "InParts": inParts, "InFolder": func(c *s3.Config) { c.Prefix = "some/folder" },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, server)
			l.bucket = server.VersionedBucket(t)
			s := l.store(t, change)
			for i := range 25 { // each put, deleted and put again, and every other deleted again
				name := fmt.Sprintf("data/a/%02d", i)
				for n := range 2 {
					mustPut(t, s, name, []byte("body"))
					if n == 0 || i%2 == 0 {
						if err := s.Delete(t.Context(), name); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			mustPut(t, s, "data/ab", []byte("another"))
			if v, m := server.Versions(l.bucket, ""); v != 51 || m != 38 {
				t.Fatalf("%d versions and %d markers", v, m)
			}
			var seen []objects.Version
			if n, err := s.Purge(t.Context(), "data/", func(v objects.Version) bool { seen = append(seen, v); return false }); n != 0 || err != nil {
				t.Errorf("purged %d, %v", n, err)
			}
			// Noncurrent contents alone: what is there stays.
			n, err := s.Purge(t.Context(), "data/a/", func(v objects.Version) bool { return !v.IsCurrent && !v.IsMarker })
			if n != 38 || err != nil {
				t.Errorf("purged %d, %v", n, err)
			}
			if len(names(t, s)) != 13 {
				t.Errorf("there are %v", names(t, s))
			}
			if n, err := s.Purge(t.Context(), "data/a/", all); n != 12+38 || err != nil {
				t.Errorf("purged %d, %v", n, err)
			}
			if v, m := server.Versions(l.bucket, ""); v != 1 || m != 0 {
				t.Errorf("%d versions and %d markers are left", v, m)
			}
			if got := names(t, s); len(got) != 1 || got[0] != "data/ab" {
				t.Errorf("there are %v", got)
			}
		})
	}
	t.Run("WithoutVersions", func(t *testing.T) {
		l := newLake(t, server)
		s := l.store(t, nil)
		for i := range 10 {
			mustPut(t, s, fmt.Sprint("a/", i), []byte("body"))
		}
		mustPut(t, s, "b", []byte("body"))
		if n, err := s.Purge(t.Context(), "a/", all); n != 10 || err != nil || len(names(t, s)) != 1 {
			t.Errorf("purged %d, %v; there are %v", n, err, names(t, s))
		}
	})
}

// TestPurgeNeverRevives: while a purge goes on, and wherever it is stopped, a deleted object
// is not there again.
func TestPurgeNeverRevives(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for skip := range 4 {
		l := newLake(t, server)
		l.bucket = server.VersionedBucket(t)
		s := l.store(t, func(c *s3.Config) { c.Attempts = 1 })
		for i := range 5 {
			name := fmt.Sprint("a/", i)
			mustPut(t, s, name, []byte("body"))
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		operation := []string{"DeleteObjects", "ListObjectVersions"}[skip%2]
		server.Inject(s3test.Fault{Operation: operation, Skip: skip / 2, Kind: s3test.ErrorAfter})
		if _, err := s.Purge(t.Context(), "a/", all); err == nil {
			t.Errorf("%d: the fault is not told", skip)
		}
		server.Heal()
		if got := names(t, s); len(got) != 0 {
			t.Errorf("%d: there are again %v", skip, got)
		}
		if _, err := s.Purge(t.Context(), "a/", all); err != nil {
			t.Error(err)
		}
		if v, m := server.Versions(l.bucket, ""); v != 0 || m != 0 {
			t.Errorf("%d versions and %d markers are left", v, m)
		}
	}
}

func TestPurgeOfSomeThatFail(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	l := newLake(t, server)
	l.bucket = server.LockedBucket(t)
	locked := l.store(t, func(c *s3.Config) { c.Lock = s3.Lock{Mode: s3.Governance, Keep: time.Hour} })
	s := l.store(t, nil)
	for i := range 20 {
		to := s
		if i == 11 {
			to = locked
		}
		mustPut(t, to, fmt.Sprintf("a/%02d", i), []byte("body"))
	}
	server.FailVersions(8) // more than the errors told, fewer than go wrong twice
	n, err := s.Purge(t.Context(), "a/", all)
	if n != 19 || !errors.Is(err, objects.ErrLocked) || !strings.Contains(fmt.Sprint(err), "a/11") {
		t.Errorf("purged %d, %v", n, err)
	}
	mustPut(t, s, "b", []byte("body"))
	server.FailVersions(100)
	if n, err := s.Purge(t.Context(), "b", all); n != 0 || err == nil || errors.Is(err, objects.ErrLocked) {
		t.Errorf("purged %d, %v", n, err)
	}
	server.FailVersions(0)
	server.Advance(2 * time.Hour)
	if n, err := s.Purge(t.Context(), "", all); n != 2 || err != nil {
		t.Errorf("purged %d when the time is over, %v", n, err)
	}
}

func TestLock(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	for name, change := range map[string]func(*s3.Config){"Whole": func(*s3.Config) {}, "InParts": inParts} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, server)
			lock := func(c *s3.Config) { change(c); c.Lock = s3.Lock{Mode: s3.Compliance, Keep: 365 * 24 * time.Hour} }
			if err := l.store(t, lock).Put(t.Context(), "a", owner, []byte("body")); err == nil {
				t.Error("a bucket without Object Lock took a locked object")
			}
			l.bucket = server.LockedBucket(t)
			s := l.store(t, lock)
			mustPut(t, s, "audit/1", []byte("record"))
			// Delete hides it and destroys nothing.
			if err := s.Delete(t.Context(), "audit/1"); err != nil {
				t.Fatal(err)
			}
			defer server.Advance(-366 * 24 * time.Hour)
			server.Advance(364 * 24 * time.Hour)
			if n, err := s.Purge(t.Context(), "audit/", func(v objects.Version) bool { return !v.IsMarker }); n != 0 || !errors.Is(err, objects.ErrLocked) {
				t.Errorf("purged %d, %v", n, err)
			}
			if v, _ := server.Versions(l.bucket, "audit/"); v != 1 {
				t.Errorf("%d versions", v)
			}
			server.Advance(2 * 24 * time.Hour)
			if n, err := s.Purge(t.Context(), "audit/", all); n != 2 || err != nil {
				t.Errorf("purged %d when the time is over, %v", n, err)
			}
		})
	}
	t.Run("Ignored", func(t *testing.T) {
		l := newLake(t, server)
		l.bucket = server.LockedBucket(t)
		server.IgnoreLocks(true)
		defer server.IgnoreLocks(false)
		s := l.store(t, func(c *s3.Config) { c.Lock = s3.Lock{Mode: s3.Governance, Keep: time.Hour} })
		if err := s.Put(t.Context(), "a", owner, []byte("body")); !errors.Is(err, s3.ErrNotLocked) {
			t.Errorf("put: %v", err)
		}
	})
	for _, bad := range []s3.Lock{{Mode: "NONE", Keep: time.Hour}, {Mode: s3.Governance}, {Keep: time.Hour}, {Mode: s3.Compliance, Keep: -1}} {
		if err := (s3.Config{Bucket: "lake", Lock: bad}).Validate(); err == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
