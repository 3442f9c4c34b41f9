package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
)

// plainRing wraps data keys by nothing.
type plainRing struct{}

func (plainRing) NewDataKey(context.Context, keys.Scope) (keys.Key, []byte, error) {
	k := keys.NewKey()
	return k, bytes.Clone(k.Bytes()), nil
}

func (plainRing) UnwrapDataKey(_ context.Context, _ keys.Scope, wrapped []byte) (keys.Key, error) {
	k, err := keys.KeyFrom(bytes.Clone(wrapped))
	if err != nil {
		return k, keys.ErrUnwrap
	}
	return k, nil
}

// written is a log of several segments, whose lines 1, 2, … are of actors in turn: each process
// writes so many, and between them are the log's own.
func written(t *testing.T, processes, lines int) (dir string, anchor audit.FileAnchor) {
	t.Helper()
	dir, anchor = t.TempDir(), audit.FileAnchor(filepath.Join(t.TempDir(), "head"))
	for p := range processes {
		log, err := audit.OpenShared(t.Context(), dir, plainRing{}, audit.Config{Actor: "test", Anchor: anchor})
		if err != nil {
			t.Fatal(err)
		}
		for i := range lines {
			outcome := audit.Allowed
			if i%3 == 2 {
				outcome = audit.Refused
			}
			r := audit.Record{Actor: []string{"operator/ana", "auditor/bea"}[i%2], Action: "query", Resource: fmt.Sprint(p*lines + i), Outcome: outcome}
			if err := log.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, anchor
}

// pages reads all of a trail, page by page.
func pages(t *testing.T, trail *auditTrail, f audit.Filter, limit int) (out []string) {
	t.Helper()
	for before := uint64(0); ; {
		page, err := trail.Newest(t.Context(), f, before, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Lines) > limit {
			t.Fatalf("a page of %d lines", len(page.Lines))
		}
		for _, l := range page.Lines {
			out = append(out, fmt.Sprintf("%d %s %s", l.Seq, l.Action, l.Resource))
		}
		if page.Next == 0 {
			return out
		}
		if before > 0 && page.Next >= before {
			t.Fatalf("page %d after %d", page.Next, before)
		}
		before = page.Next
	}
}

// TestTrailIsTheLogBackwards: whatever the size of its pages, and the filter.
func TestTrailIsTheLogBackwards(t *testing.T) {
	dir, anchor := written(t, 5, 7)
	for _, f := range []audit.Filter{{}, {Actor: "auditor/bea"}, {Outcome: audit.Refused}, {Action: "audit."}, {Actor: "nobody"}} {
		var want []string
		for e, err := range audit.Read(t.Context(), dir, f) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%d %s %s", e.Seq, e.Action, e.Resource))
		}
		slices.Reverse(want)
		for _, limit := range []int{1, 2, 7, 1000} {
			trail := newAuditTrail(dir, anchor, plainRing{}, time.Now)
			if d := cmp.Diff(want, pages(t, trail, f, limit)); d != "" {
				t.Errorf("%+v by %d:\n%s", f, limit, d)
			}
			// When there is no time, a call looks at one segment.
			trail.now = func() func() time.Time {
				at := time.Now()
				return func() time.Time { at = at.Add(time.Hour); return at }
			}()
			if d := cmp.Diff(want, pages(t, trail, f, limit)); d != "" {
				t.Errorf("%+v by %d, in haste:\n%s", f, limit, d)
			}
		}
	}
}

func TestTrailOfNoLog(t *testing.T) {
	trail := newAuditTrail(filepath.Join(t.TempDir(), "none"), audit.FileAnchor(filepath.Join(t.TempDir(), "head")), plainRing{}, time.Now)
	if page, err := trail.Newest(t.Context(), audit.Filter{}, 0, 10); err != nil || len(page.Lines) > 0 || page.Next != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

// change puts text in place of other in a segment.
func change(t *testing.T, dir string, number int, old, text string) {
	t.Helper()
	path := filepath.Join(dir, audit.SegmentName(number))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(content, []byte(old)) {
		t.Fatalf("segment %d has no %q", number, old)
	}
	if err := os.WriteFile(path, bytes.Replace(content, []byte(old), []byte(text), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTrailIsVerified: a line that was changed, or a segment that another has the place of, is
// never told.
func TestTrailIsVerified(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a line":   func(t *testing.T, dir string) { change(t, dir, 2, "operator/ana", "operator/eve") },
		"its seal": func(t *testing.T, dir string) { change(t, dir, 2, `"seal":"`, `"seal":"a`) },
		"a segment": func(t *testing.T, dir string) {
			content, err := os.ReadFile(filepath.Join(dir, audit.SegmentName(2)))
			if err == nil {
				lines := bytes.SplitAfter(content, []byte("\n"))
				err = os.WriteFile(filepath.Join(dir, audit.SegmentName(2)), bytes.Join(lines[:4], nil), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, anchor := written(t, 3, 6)
			spoil(t, dir)
			trail := newAuditTrail(dir, anchor, plainRing{}, time.Now)
			page, err := trail.Newest(t.Context(), audit.Filter{}, 0, 1000)
			if !errors.Is(err, audit.ErrBreak) || len(page.Lines) > 0 {
				t.Errorf("%d lines, %v", len(page.Lines), err)
			}
			// What is behind it holds together.
			if page, err := trail.Newest(t.Context(), audit.Filter{}, 0, 3); err != nil || len(page.Lines) != 3 {
				t.Errorf("of the newest segment %d lines, %v", len(page.Lines), err)
			}
		})
	}
}

// TestTrailLooks: a look verifies what is new, knows what was done last, and finds a break and an
// end that is cut off.
func TestTrailLooks(t *testing.T) {
	dir, anchor := written(t, 2, 3)
	trail := newAuditTrail(dir, anchor, plainRing{}, time.Now)
	defer trail.close()
	log, err := audit.OpenShared(t.Context(), dir, plainRing{}, audit.Config{Actor: "test", Anchor: anchor})
	if err != nil {
		t.Fatal(err)
	}
	do := func(action string, outcome audit.Outcome) {
		t.Helper()
		if err := log.Append(t.Context(), audit.Record{Actor: "operator/ana", Action: action, Resource: "cards.transactions", Outcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	do("maintain.compact.done", audit.Allowed)
	trail.look(t.Context())
	do("maintain.expire.done", audit.Failed)
	do("retention.enforce", audit.Allowed)
	trail.look(t.Context())
	head := log.Head()
	if trail.err != nil || trail.report.Head != head || trail.report.Lines == 0 {
		t.Errorf("verified %+v, %v, want to %d", trail.report, trail.err, head.Seq)
	}
	var known []string
	for task, last := range trail.last {
		known = append(known, task+" "+last.by)
	}
	slices.Sort(known)
	if d := cmp.Diff([]string{"compact operator/ana", "retention operator/ana"}, known); d != "" {
		t.Error(d)
	}
	h := &health{healthParts: healthParts{Trail: trail}}
	if a, m := h.audit(time.Now()); a.Status != "ok" || a.Line != head.Seq || m.Status != "attention" || m.Tasks[0].Due || !m.Tasks[1].Due {
		t.Errorf("%+v, %+v", a, m)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	fresh := newAuditTrail(dir, anchor, plainRing{}, time.Now)
	defer fresh.close()
	numbers, err := audit.Dir(dir).Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	change(t, dir, numbers[len(numbers)-1], "retention.enforce", "retention.enforcf")
	fresh.look(t.Context())
	if a, _ := (&health{healthParts: healthParts{Trail: fresh}}).audit(time.Now()); a.Status != "failing" || a.Break == "" || !strings.Contains(a.Notes[0].Code, "broken") {
		t.Errorf("of a broken log %+v", a)
	}
	change(t, dir, numbers[len(numbers)-1], "retention.enforcf", "retention.enforce")
	path := filepath.Join(dir, audit.SegmentName(numbers[len(numbers)-1]))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	if err := os.WriteFile(path, bytes.Join(lines[:len(lines)-1], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := newAuditTrail(dir, anchor, plainRing{}, time.Now)
	defer cut.close()
	cut.look(t.Context())
	if a, _ := (&health{healthParts: healthParts{Trail: cut}}).audit(time.Now()); a.Status != "failing" || a.Notes[0].Code != "audit_truncated" {
		t.Errorf("of a log that is cut off %+v, %v", a, cut.err)
	}
}
