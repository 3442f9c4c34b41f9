package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"
)

// inMemory is a log whose segments are bytes.
type inMemory map[int][]byte

func (m inMemory) Numbers(context.Context) ([]int, error) { return slices.Sorted(maps.Keys(m)), nil }

func (m inMemory) Open(_ context.Context, number int) (io.ReadSeekCloser, error) {
	b, ok := m[number]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return struct {
		*bytes.Reader
		io.Closer
	}{bytes.NewReader(b), io.NopCloser(nil)}, nil
}

// smallLog is a signed log of three segments, and where its lines begin.
func smallLog(t *testing.T) (log inMemory, ring *keyring, public ed25519.PublicKey, head Head) {
	t.Helper()
	ring = &keyring{}
	signer := newTestSigner(t)
	dir := t.TempDir()
	for range 3 {
		l := shared(t, dir, ring, Config{Signer: signer, Origin: "h"})
		if err := l.Append(t.Context(), Record{Actor: "a", Action: "query", Resource: "r", Outcome: Allowed, Numbers: map[string]int64{"rows": 5}}); err != nil {
			t.Fatal(err)
		}
		closed(t, l)
		head = l.Head()
	}
	log = inMemory{}
	for n := range 3 {
		log[n+1] = files(t, dir)[segmentName(n+1)]
	}
	return log, ring, signer.Public(), head
}

// linesIn are a segment's lines with their ends.
func linesIn(b []byte) [][]byte {
	ls := bytes.SplitAfter(b, []byte("\n"))
	return ls[:len(ls)-1]
}

// TestEveryChangeIsFound does everything that can be done to a log at one place: with the
// seals' keys and the anchor; with the public key and a checkpoint that was kept; and with
// nothing, which finds all but what is cut off the end, and the seals of the lines.
func TestEveryChangeIsFound(t *testing.T) {
	log, ring, public, head := smallLog(t)
	lines := 0
	for _, b := range log {
		lines += len(linesIn(b))
	}
	// The last line is a checkpoint: what an auditor kept of it is the line before.
	signed := Head{Log: head.Log, Seq: head.Seq - 1}
	tail := TailOf(log, VerifyConfig{Public: []ed25519.PublicKey{public}})
	err := tail.Each(t.Context(), func(l Line) bool {
		if l.Statement != nil {
			signed = l.Statement.Head
		}
		return true
	})
	if err != nil || signed.Seq != head.Seq-1 {
		t.Fatal(err, signed)
	}
	configs := []VerifyConfig{
		{Keys: ring, Anchor: head},
		{Public: []ed25519.PublicKey{public}, Known: []Head{signed, head}},
		{},
	}
	names := []string{"seals and anchor", "checkpoints", "the chain alone"}
	for i, cfg := range configs {
		if r, err := VerifySegments(t.Context(), log, cfg); err != nil || r.Break != nil || r.Lines != uint64(lines) {
			t.Fatalf("%s, unchanged: %+v, error %v", names[i], r, err)
		}
	}
	tried := 0
	// want says which of the configurations must find it.
	check := func(what string, changed inMemory, want [3]bool) {
		t.Helper()
		tried++
		for i, cfg := range configs {
			r, err := VerifySegments(t.Context(), changed, cfg)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if want[i] && r.Break == nil {
				t.Errorf("%s does not find %s", names[i], what)
			}
			if r.Break != nil && (r.Break.Segment == "" || r.Break.What == "") {
				t.Errorf("%s: %s is found nowhere: %+v", names[i], what, r.Break)
			}
		}
	}
	all := [3]bool{true, true, true}
	with := func(number int, b []byte) inMemory {
		out := maps.Clone(log)
		out[number] = b
		return out
	}
	last := len(log)
	for number, b := range log {
		from := 0
		for n, line := range linesIn(b) {
			seal := from + len(line) - 1 - len(lineEnd) - hashLen
			isEnd := number == last && n == len(linesIn(b))-1
			for i := from; i < from+len(line); i++ {
				changed := bytes.Clone(b)
				changed[i] ^= 1 << (i % 8)
				// Only who can unwrap the key can tell a seal's letters from others. Without the
				// end of its line, the last line is not written yet.
				inSeal := i >= seal && i < seal+hashLen && changed[i] != '\n'
				check(fmt.Sprintf("byte %d of segment %d", i, number), with(number, changed), [3]bool{true, !inSeal, !inSeal && !(isEnd && i == from+len(line)-1)})
			}
			from += len(line)
		}
		// Cut at each byte. A whole line less at the end of all is not to be seen in the chain.
		for i := range b {
			check(fmt.Sprintf("segment %d cut at byte %d", number, i), with(number, b[:i]), [3]bool{true, true, number < last})
		}
		ls := linesIn(b)
		for i := range ls {
			gone := slices.Delete(slices.Clone(ls), i, i+1)
			isEnd := number == last && i == len(ls)-1
			check(fmt.Sprintf("line %d of segment %d gone", i+1, number), with(number, bytes.Join(gone, nil)), [3]bool{true, true, !isEnd})
			check(fmt.Sprintf("line %d of segment %d doubled", i+1, number), with(number, bytes.Join(slices.Insert(slices.Clone(ls), i, ls[i]), nil)), all)
			for j := range i {
				swapped := slices.Clone(ls)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				check(fmt.Sprintf("lines %d and %d of segment %d swapped", j+1, i+1, number), with(number, bytes.Join(swapped, nil)), all)
			}
			for other, ob := range log {
				if other == number {
					continue
				}
				for j, line := range linesIn(ob) {
					moved := slices.Clone(ls)
					moved[i] = line
					check(fmt.Sprintf("line %d of segment %d in place of line %d of %d", j+1, other, i+1, number), with(number, bytes.Join(moved, nil)), all)
				}
			}
		}
		gone := maps.Clone(log)
		delete(gone, number)
		check(fmt.Sprintf("segment %d gone", number), gone, [3]bool{true, true, number < last})
		for other := range log {
			if other < number {
				swapped := maps.Clone(log)
				swapped[number], swapped[other] = log[other], log[number]
				check(fmt.Sprintf("segments %d and %d swapped", other, number), swapped, all)
				check(fmt.Sprintf("segment %d in place of %d", other, number), with(number, log[other]), all)
			}
		}
	}
	check("all gone", inMemory{}, [3]bool{true, true, false})
	t.Logf("%d changes of %d lines", tried, lines)
}

// While a log is written and followed, the same holds at every line that is added.
func TestATailFindsWhatChangesBehindIt(t *testing.T) {
	log, ring, _, _ := smallLog(t)
	tail := TailOf(log, VerifyConfig{Keys: ring})
	defer tail.Close()
	count := 0
	if err := tail.Each(t.Context(), func(Line) bool { count++; return count < 3 }); err != nil {
		t.Fatal(err)
	}
	log[1] = append(bytes.Clone(log[1]), linesIn(log[1])[0]...)
	for range 2 {
		if err := tail.Each(t.Context(), func(Line) bool { count++; return true }); !errors.Is(err, ErrBreak) || tail.Report().Break == nil {
			t.Errorf("error %v after %d lines", err, count)
		}
	}
	if count != len(linesIn(log[1]))-1 {
		t.Errorf("%d lines were given", count)
	}
}
