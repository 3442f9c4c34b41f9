package audit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What another process wrote and anchored, and somebody took away as a whole, is missed by a
// process that has its own segment still: it neither writes on nor puts its head over the anchor.
func TestASharedLogMissesASegmentThatIsTakenAway(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	anchor := FileAnchor(filepath.Join(t.TempDir(), "head"))
	service := shared(t, dir, ring, Config{Anchor: anchor, AnchorAfter: time.Millisecond})
	fill(t, service, 3)
	other := shared(t, dir, ring, Config{Anchor: anchor})
	fill(t, other, 2)
	closed(t, other)
	if err := os.Remove(filepath.Join(dir, segmentName(2))); err != nil {
		t.Fatal(err)
	}
	var err error
	for until := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(until); time.Sleep(time.Millisecond) {
		err = service.Append(t.Context(), record(1))
	}
	if !errors.Is(err, ErrTruncated) {
		t.Errorf("the service wrote on: %v", err)
	}
	if err := service.Close(); !errors.Is(err, ErrTruncated) {
		t.Errorf("it closed as if nothing were missing: %v", err)
	}
	saved, err := anchor.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: saved}); got.Break == nil {
		t.Errorf("%d lines hold together, and those of the segment are gone", got.Lines)
	}
}
