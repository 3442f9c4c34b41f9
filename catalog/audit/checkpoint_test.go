package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
)

// Checkpoints come while lines are written, a while after the last one, and at the end of each
// segment; never one upon another.
func TestCheckpointsFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, dir, signer := &keyring{}, t.TempDir(), newTestSigner(t)
		l := open(t, dir, ring, Config{Signer: signer, CheckpointAfter: time.Minute})
		want := []string{ActionOpen}
		const line = "detokenise.collect"
		fill(t, l, 2)
		want = append(want, line, line)
		time.Sleep(59 * time.Second)
		fill(t, l, 1)
		want = append(want, line)
		time.Sleep(2 * time.Second) // the timer
		synctest.Wait()
		want = append(want, ActionCheckpoint)
		time.Sleep(time.Hour)
		synctest.Wait()
		fill(t, l, 1)
		want = append(want, line)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want = append(want, ActionCheckpoint)
		closed(t, l)
		want = append(want, ActionClose, ActionCheckpoint)
		if d := cmp.Diff(want, actions(t, dir, Filter{})); d != "" {
			t.Error(d)
		}
		r := verify(t, dir, VerifyConfig{Keys: ring, Public: []ed25519.PublicKey{signer.Public()}, Anchor: l.Head()})
		if r.Break != nil || r.Checkpoints != 3 || r.Unsigned != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// A process that is killed signs no more; the next one does, however much later.
func TestCheckpointsAfterAKill(t *testing.T) {
	ring, dir, signer := &keyring{}, t.TempDir(), newTestSigner(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg := Config{Signer: signer, Now: func() time.Time { return now }}
	for range 3 {
		l := shared(t, dir, ring, cfg)
		fill(t, l, 2)
		die(l)
		now = now.Add(24 * time.Hour)
	}
	l := shared(t, dir, ring, cfg)
	fill(t, l, 1)
	r := verify(t, dir, VerifyConfig{Keys: ring, Public: []ed25519.PublicKey{signer.Public()}})
	if r.Break != nil || r.Checkpoints != 3 || r.Unsigned != 0 {
		t.Errorf("%+v", r)
	}
	closed(t, l)
}

// A shared log is signed unless it is told not to be.
func TestSharedLogsAreSigned(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	for range 2 {
		l, err := OpenShared(t.Context(), dir, ring, Config{Actor: "tester"})
		if err != nil {
			t.Fatal(err)
		}
		closed(t, l)
	}
	public, err := PublicKeys(dir)
	if err != nil || len(public) != 1 {
		t.Fatal(public, err)
	}
	if r := verify(t, dir, VerifyConfig{Public: public}); r.Break != nil || r.Checkpoints != 2 {
		t.Errorf("%+v", r)
	}
}

// A segment that ends by its size or its day ends signed.
func TestSegmentsEndSigned(t *testing.T) {
	ring, dir, signer := &keyring{}, t.TempDir(), newTestSigner(t)
	l := open(t, dir, ring, Config{Signer: signer, SegmentBytes: 1500})
	fill(t, l, 6)
	closed(t, l)
	all := files(t, dir)
	if len(all) < 3 {
		t.Fatalf("%d segments", len(all))
	}
	for name, text := range all {
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		p, err := parseLine(lines[len(lines)-1])
		if err != nil || p.entry.Action != ActionCheckpoint {
			t.Errorf("%s ends with %s", name, p.entry.Action)
		}
	}
	if r := verify(t, dir, VerifyConfig{Public: []ed25519.PublicKey{signer.Public()}}); r.Break != nil || r.Checkpoints != len(all) {
		t.Errorf("%+v", r)
	}
}

// The public key alone finds what a forger does who has everything but the signing key, the
// seals' keys included; and what one does who has that too, as long as a checkpoint was kept.
func TestCheckpointsAreHeldAgainstTheLog(t *testing.T) {
	ring, signer := &keyring{}, newTestSigner(t)
	public := []ed25519.PublicKey{signer.Public()}
	make := func(s *Signer) (string, []SignedHead) {
		dir := t.TempDir()
		for range 2 {
			l := open(t, dir, ring, Config{Signer: s})
			fill(t, l, 2)
			closed(t, l)
		}
		var heads []SignedHead
		tail := TailOf(Dir(dir), VerifyConfig{Public: []ed25519.PublicKey{s.Public()}})
		if err := tail.Each(t.Context(), func(l Line) bool {
			if l.Statement != nil {
				heads = append(heads, *l.Statement)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return dir, heads
	}
	dir, heads := make(signer)
	if len(heads) != 2 {
		t.Fatalf("%d checkpoints", len(heads))
	}
	known := []Head{heads[0].Head, heads[1].Head}
	if r := verify(t, dir, VerifyConfig{Public: public, Known: known}); r.Break != nil {
		t.Error(r.Break)
	}
	broken := func(name string, r Report, what string) {
		t.Helper()
		if r.Break == nil || !strings.Contains(r.Break.What, what) {
			t.Errorf("%s: %v", name, r.Break)
		}
	}
	forged, _ := make(newTestSigner(t))
	broken("signed by another key", verify(t, forged, VerifyConfig{Public: public}), "public keys that are trusted")
	anew, _ := make(signer)
	if r := verify(t, anew, VerifyConfig{Public: public}); r.Break != nil {
		t.Error("who has the signing key can write a log anew: without a head that was kept nothing shows it")
	}
	broken("written anew with the signing key", verify(t, anew, VerifyConfig{Public: public, Known: known[:1]}), "a known head")

	all := files(t, dir)
	rechain(t, all, 1, 1, func(e *Entry) { e.Actor = "somebody else" })
	broken("a line changed and all chained anew", verify(t, write(t, all), VerifyConfig{Public: public}), "public keys that are trusted")

	// Lines for longer than a checkpoint may be late: cut off at a checkpoint and gone on with.
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	long := t.TempDir()
	l := open(t, long, ring, Config{Signer: signer, Now: func() time.Time { return now }})
	fill(t, l, 1)
	closed(t, l)
	l = open(t, long, ring, Config{Now: func() time.Time { return now }})
	fill(t, l, 1)
	now = now.Add(time.Hour)
	fill(t, l, 1)
	if r := verify(t, long, VerifyConfig{Public: public}); r.Break != nil {
		t.Errorf("a writer that was stopped for an hour: %v", r.Break)
	}
	for range 4 {
		now = now.Add(time.Minute)
		fill(t, l, 1)
	}
	closed(t, l)
	broken("not signed for six minutes", verify(t, long, VerifyConfig{Public: public}), "no checkpoint has signed")

	all = files(t, dir)
	for name, text := range all {
		all[name] = bytes.ReplaceAll(text, []byte(`"checkpoint":{`), []byte(`"checkpaint":{`))
	}
	for n := 1; n <= 2; n++ {
		rechain(t, all, n, 0, func(*Entry) {})
	}
	broken("signatures taken out", verify(t, write(t, all), VerifyConfig{Public: public}), "without a signature")
}

func TestSignedHeadHoldsAllItSays(t *testing.T) {
	signer := newTestSigner(t)
	good := signer.sign(Head{Log: "abc", Seq: 7, Hash: strings.Repeat("a", 64)}, stamp(time.Now()))
	if err := good.Verify(newTestSigner(t).Public(), signer.Public()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*SignedHead){
		"log":       func(s *SignedHead) { s.Log = "abd" },
		"seq":       func(s *SignedHead) { s.Seq++ },
		"hash":      func(s *SignedHead) { s.Hash = strings.Repeat("b", 64) },
		"time":      func(s *SignedHead) { s.Time = s.Time.Add(time.Microsecond) },
		"signature": func(s *SignedHead) { s.Signature = strings.Repeat("a", 128) },
		"short":     func(s *SignedHead) { s.Signature = s.Signature[:126] },
		"no letter": func(s *SignedHead) { s.Signature = "z" + s.Signature[1:] },
	} {
		s := good
		change(&s)
		if err := s.Verify(signer.Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := good.Verify(); !errors.Is(err, ErrSignature) {
		t.Errorf("no key: error %v", err)
	}
}

// A log's signer is the same however often and by whom it is opened, and another after it was
// rotated; what it signed before still verifies.
func TestSignerIsKept(t *testing.T) {
	ring, dir := &keyring{}, filepath.Join(t.TempDir(), "log")
	open := func() *Signer {
		t.Helper()
		s, err := OpenSigner(t.Context(), dir, ring)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := open()
	if !first.Public().Equal(open().Public()) {
		t.Error("another key was made")
	}
	if err := RotateSigner(t.Context(), dir, ring); err != nil {
		t.Fatal(err)
	}
	second := open()
	public, err := PublicKeys(dir)
	if err != nil || len(public) != 2 || !public[0].Equal(second.Public()) || !public[1].Equal(first.Public()) || first.Public().Equal(second.Public()) {
		t.Errorf("%d keys, error %v", len(public), err)
	}
	text, err := MarshalPublic(public...)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePublic(append([]byte("a comment\n"), text...))
	if d := cmp.Diff(public, again); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []string{"", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePublic([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	// The file says another public key than the wrapped key makes.
	path := filepath.Join(dir, signerName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"another id": bytes.Replace(good, []byte(KeyID(second.Public())), []byte(KeyID(first.Public())), 1),
		"not JSON":   good[:20],
		"no key":     []byte("{}"),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSigner(t.Context(), dir, ring); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := OpenSigner(t.Context(), t.TempDir(), &keyring{err: keys.ErrNoKey}); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("error %v", err)
	}
}

func TestSignerShowsNoKey(t *testing.T) {
	s := newTestSigner(t)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %x %d", s, s, s, s, s, struct{ S *Signer }{s})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "signer", s, "in", struct{ S *Signer }{s})
	secret := **s.private
	for _, shown := range []string{fmt.Sprintf("%x", []byte(secret[:4])), fmt.Sprintf("%d %d", secret[0], secret[1]), string(secret[:4])} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("%q is shown", shown)
		}
	}
}

func TestPruneNeedsAWholeLog(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	for range 3 {
		l := open(t, dir, ring, Config{})
		fill(t, l, 1)
		closed(t, l)
	}
	l := shared(t, dir, ring, Config{})
	defer closed(t, l)
	path := filepath.Join(dir, segmentName(3))
	if err := replace(path, func(b []byte) []byte { return bytes.Replace(b, []byte("ana"), []byte("eva"), 1) }); err != nil {
		t.Fatal(err)
	}
	mayGo := func(context.Context, Closed) error { return nil }
	if gone, err := l.Prune(t.Context(), time.Now().Add(time.Hour), VerifyConfig{Keys: ring}, mayGo); !errors.Is(err, ErrBreak) || len(gone) > 0 || len(files(t, dir)) != 4 {
		t.Errorf("%d are gone, error %v", len(gone), err)
	}
}
