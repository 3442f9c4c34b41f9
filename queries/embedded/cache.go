package embedded

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps things for the next statements: those used last, up to a number of bytes, and none
// that is older than an age.
type cache[K comparable, V cacheable] struct {
	limit int64
	age   time.Duration
	now   func() time.Time
	after func(time.Duration, func()) // time.AfterFunc

	mu    sync.Mutex
	byKey map[K]*list.Element
	order *list.List // of *cached[K, V], the one used last in front
	bytes int64
	// isSwept says that a sweep is due.
	isSwept bool
}

// cacheable is what a cache keeps. It may grow while it is kept.
type cacheable interface {
	comparable
	held() int64     // bytes in memory
	born() time.Time // when what is oldest in it was decrypted
	hold()           // keeps it for one more Close
	Close() error
}

type cached[K comparable, V cacheable] struct {
	key   K
	value V
	bytes int64 // when it was last looked at
}

func newCache[K comparable, V cacheable](limit int64, age time.Duration) *cache[K, V] {
	return &cache[K, V]{limit: limit, age: age, now: time.Now, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }, byKey: map[K]*list.Element{}, order: list.New()}
}

// take returns the value, held for the caller, and false if it is not there.
func (c *cache[K, V]) take(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return value, false
	}
	v := e.Value.(*cached[K, V]).value
	if c.now().Sub(v.born()) > c.age {
		c.drop(e)
		return value, false
	}
	c.order.MoveToFront(e)
	v.hold()
	return v, true
}

// keep keeps the value too, or learns that there is more of it.
func (c *cache[K, V]) keep(key K, value V) {
	bytes := value.held()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	switch {
	case e != nil && e.Value.(*cached[K, V]).value != value: // another statement was faster
		return
	case bytes > c.limit:
		if e != nil {
			c.drop(e)
		}
		return
	case e == nil:
		value.hold()
		e = c.order.PushFront(&cached[K, V]{key: key, value: value})
		c.byKey[key] = e
	default:
		c.order.MoveToFront(e)
	}
	v := e.Value.(*cached[K, V])
	c.bytes += bytes - v.bytes
	v.bytes = bytes
	for c.bytes > c.limit {
		c.drop(c.order.Back())
	}
	if !c.isSwept {
		c.isSwept = true
		c.after(c.age, c.sweep)
	}
}

// sweep drops what is too old, now and as long as anything is left.
func (c *cache[K, V]) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Back(); e != nil; {
		previous := e.Prev()
		if c.now().Sub(e.Value.(*cached[K, V]).value.born()) >= c.age {
			c.drop(e)
		}
		e = previous
	}
	if c.isSwept = c.order.Len() > 0; c.isSwept {
		c.after(c.age/4, c.sweep)
	}
}

// clear drops everything.
func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}

// len is how many there are.
func (c *cache[K, V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

func (c *cache[K, V]) drop(e *list.Element) {
	v := c.order.Remove(e).(*cached[K, V])
	delete(c.byKey, v.key)
	c.bytes -= v.bytes
	_ = v.value.Close() // of memory; nothing was to be written
}
