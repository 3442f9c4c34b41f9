package cardlake

import (
	"encoding/json"
	"errors"
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

// Offset is how far a partition has been read. Offsets of one partition are compared by
// Next; the Mark of two equal ones is the same.
type Offset struct {
	// Next numbers the next record: Kafka's offset; on Kinesis, how many records the shard
	// had before it.
	Next int64
	// Mark is what the source needs beside the number to go on from here: on Kinesis the last
	// record's sequence number, or the end of the shard. Empty on Kafka.
	Mark string
}

// Positions maps each stream partition to where its next record begins. A partition that is
// absent has not been read at all.
type Positions map[StreamPartition]Offset

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
		fmt.Fprintf(&b, "%s:%d", sp, p[sp].Next)
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

// offsetText is an offset in JSON: the number alone, or an array of number and mark.
type offsetText Offset

func (o offsetText) MarshalJSON() ([]byte, error) {
	if o.Mark == "" {
		return strconv.AppendInt(nil, o.Next, 10), nil
	}
	return json.Marshal([2]any{o.Next, o.Mark})
}

func (o *offsetText) UnmarshalJSON(text []byte) error {
	if len(text) == 0 || text[0] != '[' {
		return json.Unmarshal(text, &o.Next)
	}
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("an offset has %d parts", len(pair))
	}
	if err := json.Unmarshal(pair[1], &o.Mark); err != nil {
		return err
	}
	if o.Mark == "" {
		return errors.New("an offset has an empty mark")
	}
	return json.Unmarshal(pair[0], &o.Next)
}

// MarshalText writes the positions as a JSON object of stream to partition to offset, keys
// in order: the form kept in a snapshot's summary. An offset with a mark is the array of both.
func (p Positions) MarshalText() ([]byte, error) {
	byStream := map[string]map[string]offsetText{}
	for sp, off := range p {
		m := byStream[sp.Stream]
		if m == nil {
			m = map[string]offsetText{}
			byStream[sp.Stream] = m
		}
		m[strconv.Itoa(int(sp.Partition))] = offsetText(off)
	}
	return json.Marshal(byStream)
}

// UnmarshalText reads what MarshalText wrote.
func (p *Positions) UnmarshalText(text []byte) error {
	var byStream map[string]map[string]offsetText
	if err := json.Unmarshal(text, &byStream); err != nil {
		return fmt.Errorf("positions: %w", err)
	}
	out := Positions{}
	for stream, parts := range byStream {
		for part, off := range parts {
			n, err := strconv.ParseInt(part, 10, 32)
			if err != nil || n < 0 || off.Next < 0 || strconv.FormatInt(n, 10) != part {
				return fmt.Errorf("positions: stream %q has partition %q at offset %d", stream, part, off.Next)
			}
			out[StreamPartition{stream, int32(n)}] = Offset(off)
		}
	}
	*p = out
	return nil
}
