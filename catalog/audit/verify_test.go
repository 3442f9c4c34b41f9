package audit

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/keys"
)

// Each thing that somebody may do to the files is found, by those who have the keys and the
// anchor; what the chain alone finds is found without them.
func TestVerifyFinds(t *testing.T) {
	ring, other := &keyring{}, &keyring{}
	original, head := threeSegments(t, ring)
	name := func(n int) string { return segmentName(n) }
	splitLines := func(b []byte) [][]byte {
		ls := bytes.SplitAfter(bytes.Clone(b), []byte("\n"))
		return ls[:len(ls)-1] // what follows the last end of line: nothing
	}
	edit := func(n int, change func(ls [][]byte) [][]byte) func(map[string][]byte) {
		return func(all map[string][]byte) {
			all[name(n)] = bytes.Join(change(splitLines(all[name(n)])), nil)
		}
	}
	forge := func(all map[string][]byte, ring *keyring) {
		clear(all)
		dir := t.TempDir()
		for range 3 {
			l := open(t, dir, ring, Config{})
			fill(t, l, 4)
			closed(t, l)
		}
		maps.Copy(all, files(t, dir))
	}
	for _, c := range []struct {
		name   string
		change func(all map[string][]byte)
		chain  bool   // the chain alone finds it
		where  string // beginning of the break
	}{
		{"a line taken out", edit(2, func(ls [][]byte) [][]byte { return slices.Delete(ls, 2, 3) }), true, "audit-00000002.jsonl, line 3"},
		{"a segment's first line taken out", edit(2, func(ls [][]byte) [][]byte { return ls[1:] }), true, "audit-00000002.jsonl, line 1"},
		{"a segment's last line taken out", edit(2, func(ls [][]byte) [][]byte { return ls[:len(ls)-1] }), true, "audit-00000003.jsonl, line 1"},
		{"two lines swapped", edit(1, func(ls [][]byte) [][]byte { ls[2], ls[3] = ls[3], ls[2]; return ls }), true, "audit-00000001.jsonl, line 3"},
		{"a line doubled", edit(1, func(ls [][]byte) [][]byte { return slices.Insert(ls, 2, ls[2]) }), true, "audit-00000001.jsonl, line 4"},
		{"a line of another segment put in", func(all map[string][]byte) {
			all[name(3)] = append(all[name(3)], splitLines(all[name(1)])[2]...)
		}, true, "audit-00000003.jsonl, line 7"},
		{"a segment taken out", func(all map[string][]byte) { delete(all, name(2)) }, true, "audit-00000002.jsonl, line 1"},
		{"the first segment taken out", func(all map[string][]byte) { delete(all, name(1)) }, true, "audit-00000001.jsonl, line 1"},
		{"segments swapped", func(all map[string][]byte) { all[name(1)], all[name(2)] = all[name(2)], all[name(1)] }, true, "audit-00000001.jsonl, line 1"},
		{"a segment emptied", func(all map[string][]byte) { all[name(2)] = nil }, true, "audit-00000002.jsonl, line 1"},
		{"a line cut off in the middle of the log", func(all map[string][]byte) { all[name(2)] = all[name(2)][:len(all[name(2)])-9] }, true, "audit-00000002.jsonl, line 6"},
		{"a line that is none", edit(3, func(ls [][]byte) [][]byte { return append(ls, []byte("{}\n")) }), true, "audit-00000003.jsonl, line 7"},

		{"a line changed, with a hash of its own", edit(1, func(ls [][]byte) [][]byte {
			p, err := parseLine(bytes.TrimSuffix(ls[2], []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			p.entry.Actor = "somebody else"
			if ls[2], _, err = appendLine(nil, &p.entry, keys.NewKey()); err != nil {
				t.Fatal(err)
			}
			return ls
		}), true, "audit-00000001.jsonl, line 3"},

		{"the last segment taken out", func(all map[string][]byte) { delete(all, name(3)) }, false, "audit-00000002.jsonl, line 0"},
		{"the last line taken out", edit(3, func(ls [][]byte) [][]byte { return ls[:len(ls)-1] }), false, "audit-00000003.jsonl, line 0"},
		{"the last line cut off", func(all map[string][]byte) { all[name(3)] = all[name(3)][:len(all[name(3)])-1] }, false, "audit-00000003.jsonl, line 0"},
		{"all of it taken out", func(all map[string][]byte) { clear(all) }, false, "audit-00000001.jsonl, line 0"},
		{"all of it written anew, without the keys", func(all map[string][]byte) { forge(all, other) }, false, "audit-00000001.jsonl, line 1"},
		{"all of it written anew, by a holder of the keys", func(all map[string][]byte) { forge(all, ring) }, false, "audit-00000003.jsonl, line 6"},
		{"a line changed and chained anew, without the keys", func(all map[string][]byte) {
			rechain(t, all, 2, 3, func(e *Entry) { e.Actor = "somebody else" })
		}, false, "audit-00000002.jsonl, line 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := files(t, original)
			c.change(all)
			dir := write(t, all)
			got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: head})
			if got.Break == nil || !strings.HasPrefix(got.Break.String(), c.where) {
				t.Errorf("break is %v, want %s", got.Break, c.where)
			}
			got = verify(t, dir, VerifyConfig{})
			if (got.Break != nil) != c.chain || got.IsSealed {
				t.Errorf("the chain alone: break is %v, want one: %t; sealed %t", got.Break, c.chain, got.IsSealed)
			}
		})
	}
}

// rechain changes a line and makes every hash after it right, with seals that it can't make.
func rechain(t *testing.T, all map[string][]byte, segment, line int, change func(*Entry)) {
	t.Helper()
	prev := ""
	for n := segment; ; n++ {
		text, ok := all[segmentName(n)]
		if !ok {
			return
		}
		var out []byte
		for i, l := range bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
			p, err := parseLine(l)
			if err != nil {
				t.Fatal(err)
			}
			if n == segment && i < line {
				out = append(append(out, l...), '\n')
				prev = p.hash
				continue
			}
			if n == segment && i == line {
				change(&p.entry)
			}
			p.entry.Prev = prev
			if out, prev, err = appendLine(out, &p.entry, keys.NewKey()); err != nil {
				t.Fatal(err)
			}
		}
		all[segmentName(n)] = out
	}
}

func TestVerifyFromTheOldestThatRetentionLeft(t *testing.T) {
	ring := &keyring{}
	dir, head := threeSegments(t, ring)
	if err := os.Remove(filepath.Join(dir, segmentName(1))); err != nil {
		t.Fatal(err)
	}
	if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: head, First: 2}); got.Break != nil || got.Lines != 12 {
		t.Errorf("%d lines, break %v", got.Lines, got.Break)
	}
}

func TestVerifyNeedsItsKeys(t *testing.T) {
	ring := &keyring{}
	dir, _ := threeSegments(t, ring)
	ring.err = errors.New("out of reach")
	if _, err := Verify(t.Context(), dir, VerifyConfig{Keys: ring}); !errors.Is(err, ring.err) {
		t.Errorf("error %v", err)
	}
}
