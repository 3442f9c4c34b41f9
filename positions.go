package cardlake

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// StreamPartition is one ordered part of a stream: a Kafka topic's partition or a Kinesis
// stream's shard.
type StreamPartition struct {
	Stream    string
	Partition int32
}

// String is "stream/partition".
func (p StreamPartition) String() string { return p.Stream + "/" + strconv.Itoa(int(p.Partition)) }

// Position is the place of one record on a stream.
type Position struct {
	StreamPartition
	Offset int64
}

// String is "stream/partition:offset".
func (p Position) String() string {
	return p.StreamPartition.String() + ":" + strconv.FormatInt(p.Offset, 10)
}

// Positions maps each stream partition to the offset of the next record to read. A
// partition that is absent has not been read at all.
type Positions map[StreamPartition]int64

// Clone returns an independent copy.
func (p Positions) Clone() Positions { return maps.Clone(p) }

// Merge returns a copy of p in which the partitions of q have q's positions.
func (p Positions) Merge(q Positions) Positions {
	out := make(Positions, len(p)+len(q))
	maps.Copy(out, p)
	maps.Copy(out, q)
	return out
}

// Equal reports whether both hold the same partitions at the same offsets.
func (p Positions) Equal(q Positions) bool { return maps.Equal(p, q) }

// Holds reports whether every partition of q is at the same offset in p. A partition that
// is absent from p is at offset 0.
func (p Positions) Holds(q Positions) bool {
	for sp, off := range q {
		if p[sp] != off {
			return false
		}
	}
	return true
}

// String lists the positions in order, as "stream/0:12 stream/1:40".
func (p Positions) String() string {
	var b strings.Builder
	for i, sp := range p.sorted() {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s:%d", sp, p[sp])
	}
	return b.String()
}

func (p Positions) sorted() []StreamPartition {
	return slices.SortedFunc(maps.Keys(p), func(a, b StreamPartition) int {
		if c := strings.Compare(a.Stream, b.Stream); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
}

// MarshalText writes the positions as a JSON object of stream to partition to offset, keys
// in order: the form kept in a snapshot's summary.
func (p Positions) MarshalText() ([]byte, error) {
	byStream := map[string]map[string]int64{}
	for sp, off := range p {
		m := byStream[sp.Stream]
		if m == nil {
			m = map[string]int64{}
			byStream[sp.Stream] = m
		}
		m[strconv.Itoa(int(sp.Partition))] = off
	}
	return json.Marshal(byStream)
}

// UnmarshalText reads what MarshalText wrote.
func (p *Positions) UnmarshalText(text []byte) error {
	var byStream map[string]map[string]int64
	if err := json.Unmarshal(text, &byStream); err != nil {
		return fmt.Errorf("positions: %w", err)
	}
	out := Positions{}
	for stream, parts := range byStream {
		for part, off := range parts {
			n, err := strconv.ParseInt(part, 10, 32)
			if err != nil || n < 0 || off < 0 {
				return fmt.Errorf("positions: stream %q has partition %q at offset %d", stream, part, off)
			}
			out[StreamPartition{stream, int32(n)}] = off
		}
	}
	*p = out
	return nil
}
