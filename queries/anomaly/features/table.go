package features

import (
	"cmp"
	"slices"
)

// table finds records by key: open addressing with linear probing over records that lie in
// chunks, so that growing copies none of them.
type table[T any] struct {
	slots  []slot // a power of two of them
	chunks [][]record[T]
	used   uint32 // records handed out so far, in use or free
	free   []uint32
	hand   uint32 // the record that the sweep looks at next
}

type record[T any] struct {
	key   Key
	last  uint32 // second of the latest use
	value T
}

// slot says where a key's record is; its key is None if it is empty.
type slot struct {
	key Key
	at  uint32
}

const chunk = 1 << 10

func (t *table[T]) record(i uint32) *record[T] { return &t.chunks[i/chunk][i%chunk] }

// get returns the record of the key, nil if there is none or it has been silent for a month.
func (t *table[T]) get(key Key, now uint32) *record[T] {
	if key == None || len(t.slots) == 0 {
		return nil
	}
	i, ok := t.find(key)
	if !ok {
		return nil
	}
	r := t.record(t.slots[i].at)
	if now-r.last > month {
		return nil
	}
	return r
}

// find returns where the key is, or the place for it.
func (t *table[T]) find(key Key) (int, bool) {
	mask := len(t.slots) - 1
	for i := int(key) & mask; ; i = (i + 1) & mask {
		switch t.slots[i].key {
		case key:
			return i, true
		case None:
			return i, false
		}
	}
}

// use notes the use of a key and returns its record: the one that get has returned, or a new one
// if that is nil.
func (t *table[T]) use(r *record[T], key Key, now uint32) *record[T] {
	if r != nil {
		r.last = now
		return r
	}
	if len(t.slots) > 0 {
		if i, ok := t.find(key); ok {
			r := t.record(t.slots[i].at)
			*r = record[T]{key: key, last: now} // was silent for a month
			return r
		}
	}
	t.sweep(now)
	return t.insert(key, now)
}

// insert makes a record for a key that has none.
func (t *table[T]) insert(key Key, last uint32) *record[T] {
	if 4*t.size() >= 3*len(t.slots) {
		t.grow()
	}
	k := t.used
	if n := len(t.free); n > 0 {
		k, t.free = t.free[n-1], t.free[:n-1]
	} else {
		if k%chunk == 0 {
			t.chunks = append(t.chunks, make([]record[T], chunk))
		}
		t.used++
	}
	i, _ := t.find(key)
	t.slots[i] = slot{key, k}
	r := t.record(k)
	r.key, r.last = key, last
	return r
}

func (t *table[T]) grow() {
	t.slots = make([]slot, max(64, 2*len(t.slots)))
	for k := range t.used {
		if r := t.record(k); r.key != None {
			i, _ := t.find(r.key)
			t.slots[i] = slot{r.key, k}
		}
	}
}

// sweep looks at two records and drops those that have been silent for a month. It runs once
// for each new record, so that the table never has more than twice the live ones for long.
func (t *table[T]) sweep(now uint32) {
	for range min(2, t.used) {
		if t.hand++; t.hand >= t.used {
			t.hand = 0
		}
		if r := t.record(t.hand); r.key != None && now-r.last > month {
			t.drop(r.key)
			*r = record[T]{}
			t.free = append(t.free, t.hand)
		}
	}
}

// drop empties the key's slot and moves up what was pushed on by it.
func (t *table[T]) drop(key Key) {
	i, _ := t.find(key)
	mask := len(t.slots) - 1
	for j := i; ; {
		j = (j + 1) & mask
		if t.slots[j].key == None {
			break
		}
		// The one at j may move to i unless its own place lies in (i, j].
		if home := int(t.slots[j].key) & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
}

// live returns the records that are not silent for a month, by key.
func (t *table[T]) live(now uint32) []*record[T] {
	var in []*record[T]
	for k := range t.used {
		if r := t.record(k); r.key != None && now-r.last <= month {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b *record[T]) int { return cmp.Compare(a.key, b.key) })
	return in
}

func (t *table[T]) size() int { return int(t.used) - len(t.free) }
