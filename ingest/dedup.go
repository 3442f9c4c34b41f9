package ingest

import (
	"encoding/binary"

	"github.com/cardlake/cardlake"
)

// dedup remembers the event ids of the last stretch of event time, so that a repeated
// event is dropped. It holds two generations: when the newest event is a window's length
// past the young generation's first, the young becomes the old and the old is forgotten. So
// an id is remembered for at least one window and at most two.
type dedup struct {
	length     int64 // microseconds of event time
	young, old idSet
	start      int64 // event time at which young began
}

func newDedup(length int64) *dedup { return &dedup{length: length} }

// has reports whether the id is remembered.
func (w *dedup) has(id cardlake.EventID) bool { return w.old.has(id) || w.young.has(id) }

// add remembers the id and reports whether it was new.
func (w *dedup) add(id cardlake.EventID, eventTime int64) bool {
	if w.old.has(id) {
		return false
	}
	if !w.young.add(id) {
		return false
	}
	if w.start == 0 {
		w.start = eventTime
	}
	if eventTime-w.start >= w.length {
		w.old, w.young = w.young, w.old
		w.young.reset()
		w.start = eventTime
	}
	return true
}

// touch brings into the processor's caches what add of the id will look at. The sets are far
// larger than the caches, and the memory answers several questions at once: touching many ids
// before adding them takes a fraction of the time. What it returns is of no use, but to keep
// the compiler from leaving it out.
func (w *dedup) touch(id cardlake.EventID) (b byte) {
	if len(w.old.slots) > 0 {
		b += w.old.slots[w.old.first(id)][0]
	}
	if len(w.young.slots) > 0 {
		b += w.young.slots[w.young.first(id)][0]
	}
	return b
}

func (w *dedup) reset() {
	w.young.reset()
	w.old.reset()
	w.start = 0
}

func (w *dedup) len() int { return w.young.n + w.old.n }

// idSet is a set of event ids in one open-addressed table of 16 bytes a slot. Event ids are
// uniform, so eight of their bytes are the hash. The zero id marks a free slot; no event has
// it (its version bits are not zero).
type idSet struct {
	slots []cardlake.EventID
	n     int
}

const minSlots = 1 << 10

// first returns the index at which the search for the id begins.
func (s *idSet) first(id cardlake.EventID) int {
	return int(binary.LittleEndian.Uint64(id[8:])>>8) & (len(s.slots) - 1) // byte 8 has the fixed variant bits
}

// slot returns the index of the id, or of the free slot where it belongs.
func (s *idSet) slot(id cardlake.EventID) int {
	mask := len(s.slots) - 1
	i := s.first(id)
	for s.slots[i] != (cardlake.EventID{}) && s.slots[i] != id {
		i = (i + 1) & mask
	}
	return i
}

func (s *idSet) has(id cardlake.EventID) bool {
	return s.n > 0 && s.slots[s.slot(id)] == id
}

func (s *idSet) add(id cardlake.EventID) bool {
	if len(s.slots) == 0 {
		s.slots = make([]cardlake.EventID, minSlots)
	}
	i := s.slot(id)
	if s.slots[i] == id {
		return false
	}
	s.slots[i] = id
	if s.n++; s.n*4 > len(s.slots)*3 {
		grown := idSet{slots: make([]cardlake.EventID, 2*len(s.slots)), n: s.n}
		for _, id := range s.slots {
			if id != (cardlake.EventID{}) {
				grown.slots[grown.slot(id)] = id
			}
		}
		*s = grown
	}
	return true
}

func (s *idSet) reset() {
	clear(s.slots)
	s.n = 0
}
