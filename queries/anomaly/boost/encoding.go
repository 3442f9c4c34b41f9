package boost

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A model in bytes: magic, version, the header's length and JSON, the number of trees, then per tree the number of nodes and the nodes,
// at last a CRC-32C of all that. Integers are little-endian. Equal models have equal bytes.
const (
	magic       = "CLBOOST"
	version     = 1
	nodeBytes   = 4 + 4 + 2 + 1 + 4
	prefixBytes = len(magic) + 1 + 4
)

type header struct {
	Columns              []string
	Prior, Scale, Offset float64
	Summary              Summary
}

// ErrDamaged is in the chain of every refusal of bytes that are no whole model of a known version.
var ErrDamaged = errors.New("damaged model")

// MarshalBinary writes the model, everything that Predict, Contributions and Summary need.
func (m *Model) MarshalBinary() ([]byte, error) {
	head, err := json.Marshal(m.header())
	if err != nil {
		return nil, fmt.Errorf("boost: write a model: %w", err)
	}
	le := binary.LittleEndian
	out := make([]byte, 0, prefixBytes+len(head)+8+4*len(m.roots)+nodeBytes*len(m.nodes))
	out = append(append(out, magic...), version)
	out = append(le.AppendUint32(out, uint32(len(head))), head...)
	out = le.AppendUint32(out, uint32(len(m.roots)))
	for k, root := range m.roots {
		nodes := m.tree(k)
		out = le.AppendUint32(out, uint32(len(nodes)))
		for i, n := range nodes {
			out = le.AppendUint32(out, math.Float32bits(n.value))
			out = le.AppendUint32(out, uint32(n.left))
			out = le.AppendUint16(out, n.column)
			out = append(out, n.missing)
			out = le.AppendUint32(out, math.Float32bits(m.cover[int(root)+i]))
		}
	}
	return le.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli))), nil
}

func (m *Model) header() header { return header{m.columns, m.prior, m.scale, m.offset, m.summary} }

// UnmarshalBinary reads what MarshalBinary wrote. It refuses with [ErrDamaged] whatever is not whole, and leaves m as it was then.
func (m *Model) UnmarshalBinary(data []byte) error {
	read, err := decode(data)
	if err != nil {
		return fmt.Errorf("boost: read a model: %w: %w", ErrDamaged, err)
	}
	*m = *read
	return nil
}

func decode(data []byte) (*Model, error) {
	le := binary.LittleEndian
	if len(data) < prefixBytes+4 || string(data[:len(magic)]) != magic {
		return nil, errors.New("no model's beginning")
	}
	if v := data[len(magic)]; v != version {
		return nil, fmt.Errorf("version %d, %d is known", v, version)
	}
	body, sum := data[:len(data)-4], le.Uint32(data[len(data)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil, errors.New("checksum differs")
	}
	r := reader{rest: body[len(magic)+1:]}
	head := r.take(int(r.uint32()))
	var h header
	decoder := json.NewDecoder(bytes.NewReader(head))
	decoder.DisallowUnknownFields()
	if r.short || decoder.Decode(&h) != nil {
		return nil, errors.New("header")
	}
	m := &Model{columns: h.Columns, prior: h.Prior, scale: h.Scale, offset: h.Offset, summary: h.Summary}
	if again, err := json.Marshal(m.header()); err != nil || !bytes.Equal(again, head) {
		return nil, errors.New("header")
	}
	if len(h.Columns) == 0 || len(h.Columns) > maxColumns || !(h.Scale > 0) {
		return nil, errors.New("header")
	}
	for range r.uint32() {
		n := int(r.uint32())
		if r.short || n < 1 || n > len(r.rest)/nodeBytes {
			return nil, errors.New("nodes")
		}
		t := tree{nodes: make([]node, n), cover: make([]float32, n)}
		for i := range t.nodes {
			t.nodes[i].value = math.Float32frombits(r.uint32())
			t.nodes[i].left = int32(r.uint32())
			t.nodes[i].column = r.uint16()
			t.nodes[i].missing = r.byte()
			t.cover[i] = math.Float32frombits(r.uint32())
		}
		if !t.sound(len(h.Columns)) {
			return nil, errors.New("nodes")
		}
		m.add(t)
	}
	if r.short || len(r.rest) != 0 {
		return nil, errors.New("length")
	}
	m.finish()
	return m, nil
}

// deepest is what a tree's depth is bounded by, in training and in what is read.
const deepest = 64

// sound says whether every node but the root is the child of just one before it, values are numbers and leaves are bare.
func (t tree) sound(columns int) bool {
	depth := make([]int, len(t.nodes))
	next := int32(1)
	for i, n := range t.nodes {
		if n.value != n.value || math.IsInf(float64(n.value), 0) || !(t.cover[i] > 0) || t.cover[i] > math.MaxFloat32 {
			return false
		}
		if n.left == 0 {
			if n.column != 0 || n.missing != 0 {
				return false
			}
			continue
		}
		if int(n.column) >= columns || n.missing > 1 || n.left < 0 || n.left+1 >= int32(len(t.nodes)) || n.left <= int32(i) || depth[i] >= deepest {
			return false
		}
		depth[n.left], depth[n.left+1] = depth[i]+1, depth[i]+1
		next += 2
	}
	// As many children as nodes beside the root, and all of those are somebody's: so none is twice.
	for _, d := range depth[1:] {
		if d == 0 {
			return false
		}
	}
	return next == int32(len(t.nodes))
}

type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.short, r.rest = true, nil
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}
