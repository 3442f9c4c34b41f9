package boost

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func encoded(t testing.TB) (*Model, Data, []byte) {
	t.Helper()
	d, _ := simulated(3000, 13)
	m := train(t, d, Config{Rounds: 4, ForestTrees: 2, ForestDepth: 5})
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return m, d, b
}

func TestEncoding(t *testing.T) {
	m, d, b := encoded(t)
	var read Model
	if err := read.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(predict(t, m, d), predict(t, &read, d)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(m.Summary(), read.Summary()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(m.Columns(), read.Columns()); diff != "" {
		t.Error(diff)
	}
	_, before, err := m.Contributions(d.Values[:12])
	if err != nil {
		t.Fatal(err)
	}
	_, after, err := read.Contributions(d.Values[:12])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	again, err := read.MarshalBinary()
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("written again, the bytes differ (%v)", err)
	}
}

func TestDamageIsRefused(t *testing.T) {
	_, _, b := encoded(t)
	var m Model
	for i := range b {
		b[i] ^= 0x40
		if err := m.UnmarshalBinary(b); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		b[i] ^= 0x40
	}
	for n := range b {
		if err := m.UnmarshalBinary(b[:n]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("the first %d bytes: %v", n, err)
		}
	}
	if err := m.UnmarshalBinary(append(bytes.Clone(b), 0)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
	if m.nodes != nil {
		t.Error("a refusal changed the model")
	}
}

// seal puts a right checksum at the end of what a fuzzer made up, so that the checks behind it are reached.
func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// TestTreesThatAreNone puts wrong nodes under a right checksum: none may be walked, for a cycle never ends.
func TestTreesThatAreNone(t *testing.T) {
	m, _, _ := encoded(t)
	for name, spoil := range map[string]func(n []node, cover []float32){
		"cycle":          func(n []node, _ []float32) { n[1].left = 1 },
		"child before":   func(n []node, _ []float32) { n[n[0].left].left = -1 },
		"child beyond":   func(n []node, _ []float32) { n[0].left = int32(len(n)) },
		"shared child":   func(n []node, _ []float32) { n[len(n)-1].left = n[0].left },
		"leaf's column":  func(n []node, _ []float32) { n[len(n)-1].column = 1 },
		"column":         func(n []node, _ []float32) { n[0].column = 12 },
		"missing":        func(n []node, _ []float32) { n[0].missing = 2 },
		"cover":          func(_ []node, cover []float32) { cover[1] = 0 },
		"orphans":        func(n []node, _ []float32) { n[0] = node{} },
		"negative cover": func(_ []node, cover []float32) { cover[0] = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			one := tree{nodes: append([]node(nil), m.tree(0)...), cover: append([]float32(nil), m.cover[:len(m.tree(0))]...)}
			if !one.sound(12) {
				t.Fatal("a trained tree is called unsound")
			}
			spoil(one.nodes, one.cover)
			if one.sound(12) {
				t.Error("taken for a tree")
			}
		})
	}
}

func TestNodesThatNobodyReaches(t *testing.T) {
	loop := tree{nodes: []node{{value: 1}, {left: 1}, {value: 1}}, cover: []float32{1, 1, 1}}
	if loop.sound(1) {
		t.Error("a node that is its own child is taken for a tree")
	}
}

func FuzzUnmarshal(f *testing.F) {
	_, _, b := encoded(f)
	f.Add(b[:len(b)-4])
	f.Add([]byte(magic))
	f.Add([]byte(magic + "\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = seal(b)
		var m Model
		if err := m.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if again, err := m.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read and written again, the bytes differ (%v)", err)
		}
		row := make([]float32, len(m.columns))
		if _, err := m.Predict(nil, row); err != nil {
			t.Fatal(err)
		}
	})
}
