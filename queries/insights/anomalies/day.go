package anomalies

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// day is what is kept of a day.
type day struct {
	date   date
	events int
	chain  string // belongs to the rows of this day and of all before it, and to how they are read
	rows   []row  // in order of time and id
}

// row is an event that is kept.
type row struct {
	id             cardlake.EventID
	time           int64
	card, merchant features.Key
	place, before  features.Place
	why            why
	features       features.Vector
}

// why an event is kept.
type why uint8

const (
	sampled   why = 1 << iota // for the days after it to compare with
	candidate                 // for an alert
	dear                      // of the day's amounts farthest above the cards' own: a baseline
	frequent                  // of the day's most used cards: a baseline
	whys      = iota
)

const (
	sampleADay = 300
	// candidates of a day for each alert that it may have, by screening and by rules each.
	candidatesAnAlert = 5
)

// sample is the part that was drawn without looking at the features.
func (d *day) sample() (out []*row) {
	for i := range d.rows {
		if d.rows[i].why&sampled != 0 {
			out = append(out, &d.rows[i])
		}
	}
	return out
}

// keeper picks what is kept of a day.
type keeper struct {
	tops [whys]top
	more top // candidates by rules
}

func newKeeper(budget int) *keeper {
	k := &keeper{}
	k.tops[0].size, k.tops[1].size, k.more.size = sampleADay, candidatesAnAlert*budget, candidatesAnAlert*budget
	k.tops[2].size, k.tops[3].size = budget, budget
	return k
}

// offer takes the row if it is among the best for some purpose. Screened is how far its figures
// are from the usual, signal how well it fits a known pattern; both are 0 while nothing is known.
func (k *keeper) offer(r *row, screened, signal float64) {
	// The lowest of the hashes of ids are a sample that does not depend on anything else.
	k.tops[0].offer(-float64(spread(r.id)), r)
	if screened > 0 {
		k.tops[1].offer(screened, r)
	}
	if signal > 0 {
		k.more.offer(signal, r)
	}
	k.tops[2].offer(float64(r.features[features.CardDeviation]), r)
	k.tops[3].offer(float64(r.features[features.CardCount1H]), r)
}

// spread is an event id as a number that is evenly distributed.
func spread(id cardlake.EventID) uint64 {
	x := binary.LittleEndian.Uint64(id[:8]) ^ binary.LittleEndian.Uint64(id[8:])
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return (x ^ x>>31) >> 11 // exact as a float64
}

func (k *keeper) rows() []row {
	all := map[cardlake.EventID]*row{}
	for i := range k.tops {
		for _, e := range k.tops[i].entries {
			k.add(all, e.row, 1<<i)
		}
	}
	for _, e := range k.more.entries {
		k.add(all, e.row, candidate)
	}
	out := make([]row, 0, len(all))
	for _, r := range all {
		out = append(out, *r)
	}
	slices.SortFunc(out, compare)
	return out
}

func (k *keeper) add(all map[cardlake.EventID]*row, r *row, w why) {
	if all[r.id] == nil {
		all[r.id] = r
	}
	all[r.id].why |= w
}

func compare(a, b row) int {
	return cmp.Or(cmp.Compare(a.time, b.time), slices.Compare(a.id[:], b.id[:]))
}

// top keeps the entries of the greatest values, of equal ones those of the lowest ids: a heap
// with the least on top.
type top struct {
	size    int
	entries []entry
}

type entry struct {
	value float64
	row   *row
}

func (e entry) below(o entry) bool {
	return e.value < o.value || e.value == o.value && slices.Compare(e.row.id[:], o.row.id[:]) > 0
}

// offer copies the row if it is kept.
func (t *top) offer(value float64, r *row) {
	e := entry{value, r}
	if len(t.entries) == t.size {
		if t.size == 0 || !t.entries[0].below(e) {
			return
		}
		*t.entries[0].row = *r
		e.row = t.entries[0].row
		t.entries[0] = e
		t.down()
		return
	}
	kept := *r
	e.row = &kept
	t.entries = append(t.entries, e)
	for i := len(t.entries) - 1; i > 0; {
		parent := (i - 1) / 2
		if !t.entries[i].below(t.entries[parent]) {
			break
		}
		t.entries[i], t.entries[parent] = t.entries[parent], t.entries[i]
		i = parent
	}
}

func (t *top) down() {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.entries); child++ {
			if t.entries[child].below(t.entries[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		t.entries[i], t.entries[least] = t.entries[least], t.entries[i]
		i = least
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDay = errors.New("is no kept day")

const rowBytes = 16 + 8 + 8 + 8 + 2 + 2 + 1 + 4*features.Features

// marshal writes what is kept of the day, its date apart.
func (d *day) marshal() []byte {
	b := make([]byte, 0, len(d.chain)+16+len(d.rows)*rowBytes)
	b = append(b, d.chain...)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.events))
	for i := range d.rows {
		r := &d.rows[i]
		b = append(b, r.id[:]...)
		for _, x := range []uint64{uint64(r.time), uint64(r.card), uint64(r.merchant)} {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(r.place))
		b = binary.LittleEndian.AppendUint16(b, uint16(r.before))
		b = append(b, byte(r.why))
		for _, x := range r.features {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unmarshal reads what marshal wrote, if it is whole and belongs to the day's chain.
func (d *day) unmarshal(b []byte) error {
	if len(b) < crc32.Size {
		return errDay
	}
	b, sum := b[:len(b)-crc32.Size], binary.LittleEndian.Uint32(b[len(b)-crc32.Size:])
	if crc32.Checksum(b, castagnoli) != sum {
		return errDay
	}
	n := len(d.chain) + 8
	if len(b) < n || string(b[:len(d.chain)]) != d.chain || (len(b)-n)%rowBytes != 0 {
		return errDay
	}
	d.events = int(binary.LittleEndian.Uint64(b[len(d.chain):]))
	d.rows = make([]row, (len(b)-n)/rowBytes)
	b = b[n:]
	for i := range d.rows {
		r := &d.rows[i]
		copy(r.id[:], b)
		r.time, r.card, r.merchant = int64(binary.LittleEndian.Uint64(b[16:])), features.Key(binary.LittleEndian.Uint64(b[24:])), features.Key(binary.LittleEndian.Uint64(b[32:]))
		r.place, r.before = features.Place(binary.LittleEndian.Uint16(b[40:])), features.Place(binary.LittleEndian.Uint16(b[42:]))
		r.why = why(b[44])
		for f := range r.features {
			r.features[f] = math.Float32frombits(binary.LittleEndian.Uint32(b[45+4*f:]))
		}
		b = b[rowBytes:]
	}
	return nil
}
