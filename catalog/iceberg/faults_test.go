package iceberg

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// faulty stands between a catalog and its store and pointers. It makes one operation of both
// go wrong, counted from when it is armed.
type faulty struct {
	*memoryStore
	memoryPointers *memoryPointers

	mu     sync.Mutex
	left   int // operations until the fault
	kind   faultKind
	isDead bool   // crashed: nothing happens any more
	during func() // run instead of a fault, before the operation
}

type faultKind int

const (
	noFault       faultKind = iota
	faultBefore             // the operation fails, and was not done
	faultAfter              // it fails, and was done
	crashBefore             // the process ends
	crashAfter              // the process ends when it is done
	swapUnclear             // as faultBefore; of a swap nobody knows
	swapDone                // as faultAfter; of a swap nobody knows
	somethingElse           // another process works meanwhile
	faultKinds
)

var errInjected = errors.New("injected")

// arm makes the n-th operation from now on go wrong.
func (f *faulty) arm(kind faultKind, n int, during func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.kind, f.during, f.isDead = n, kind, during, false
}

// next says what goes wrong with an operation: before it, and after it.
func (f *faulty) next() (before, after error, kind faultKind) {
	f.mu.Lock()
	if f.isDead {
		f.mu.Unlock()
		return errInjected, nil, crashBefore
	}
	f.left--
	if f.left != 0 || f.kind == noFault {
		f.mu.Unlock()
		return nil, nil, noFault
	}
	kind = f.kind
	switch kind {
	case faultBefore, swapUnclear:
		before = errInjected
	case faultAfter, swapDone:
		after = errInjected
	case crashBefore:
		f.isDead, before = true, errInjected
	case crashAfter:
		f.isDead, after = true, errInjected
	}
	f.mu.Unlock()
	if kind == somethingElse {
		f.during()
	}
	return before, after, kind
}

func (f *faulty) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	before, after, _ := f.next()
	if before != nil {
		return before
	}
	return errors.Join(f.memoryStore.Put(ctx, name, owner, body), after)
}

func (f *faulty) Open(ctx context.Context, name string) (objects.Object, error) {
	before, after, _ := f.next()
	if err := errors.Join(before, after); err != nil {
		return nil, err
	}
	return f.memoryStore.Open(ctx, name)
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		for info, err := range f.memoryStore.List(ctx, prefix) {
			before, after, _ := f.next()
			if !yield(info, errors.Join(err, before, after)) {
				return
			}
		}
	}
}

func (f *faulty) Delete(ctx context.Context, name string) error {
	before, after, _ := f.next()
	if before != nil {
		return before
	}
	return errors.Join(f.memoryStore.Delete(ctx, name), after)
}

func (f *faulty) load(ctx context.Context, def *cardlake.Table) (string, error) {
	before, after, _ := f.next()
	if err := errors.Join(before, after); err != nil {
		return "", err
	}
	return f.memoryPointers.load(ctx, def)
}

func (f *faulty) create(ctx context.Context, def *cardlake.Table, root, location string) (bool, error) {
	return f.memoryPointers.create(ctx, def, root, location)
}

func (f *faulty) swap(ctx context.Context, def *cardlake.Table, from, to string) (outcome, error) {
	before, after, kind := f.next()
	how := failed
	if kind == swapUnclear || kind == swapDone || kind == crashAfter {
		how = unknown
	}
	if before != nil {
		return how, before
	}
	o, err := f.memoryPointers.swap(ctx, def, from, to)
	if after != nil {
		return how, after
	}
	return o, err
}

func (f *faulty) Close() error { return nil }

// memoryPointers are pointers in memory.
type memoryPointers struct {
	mu sync.Mutex
	at map[string]string
}

func (p *memoryPointers) load(_ context.Context, def *cardlake.Table) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.at[def.FullName()]
	if !ok {
		return "", ErrNoTable
	}
	return at, nil
}

func (p *memoryPointers) create(_ context.Context, def *cardlake.Table, _, location string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.at[def.FullName()]; ok {
		return false, nil
	}
	p.at[def.FullName()] = location
	return true, nil
}

func (p *memoryPointers) swap(_ context.Context, def *cardlake.Table, from, to string) (outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at[def.FullName()] != from {
		return lost, nil
	}
	p.at[def.FullName()] = to
	return swapped, nil
}

func newFaulty() *faulty {
	return &faulty{memoryStore: newStore(), memoryPointers: &memoryPointers{at: map[string]string{}}}
}

// open is another process.
func (f *faulty) open(t testing.TB, history int) *Table {
	t.Helper()
	at, err := newLocations("")
	if err != nil {
		t.Fatal(err)
	}
	c := &Catalog{pointers: f, store: f, locations: at, history: history, grace: 1, log: discard}
	return mustTable(t, c, cardlake.Transactions)
}
