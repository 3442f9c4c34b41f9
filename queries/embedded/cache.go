package embedded

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps decrypted files for the next statements: those read last, up to a number of
// bytes, and none for longer than an age. Objects never change, so a name is enough.
type cache struct {
	limit int64
	age   time.Duration
	now   func() time.Time
	after func(time.Duration, func()) // time.AfterFunc

	mu     sync.Mutex
	byName map[string]*list.Element
	order  *list.List // of *cached, the one read last in front
	bytes  int64
	// isSwept says that a sweep is due.
	isSwept bool
}

type cached struct {
	name  string
	file  *memfd
	bytes int64
	born  time.Time
}

func newCache(limit int64, age time.Duration) *cache {
	return &cache{limit: limit, age: age, now: time.Now, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }, byName: map[string]*list.Element{}, order: list.New()}
}

// take returns the file, held for the caller, and nil if it is not there.
func (c *cache) take(name string) *memfd {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byName[name]
	if e == nil {
		return nil
	}
	f := e.Value.(*cached)
	if c.now().Sub(f.born) > c.age {
		c.drop(e)
		return nil
	}
	c.order.MoveToFront(e)
	f.file.hold()
	return f.file
}

// add keeps the file too.
func (c *cache) add(name string, file *memfd, bytes int64) {
	if c.limit <= 0 || bytes > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName[name] != nil {
		return
	}
	for c.bytes+bytes > c.limit {
		c.drop(c.order.Back())
	}
	if !c.isSwept {
		c.isSwept = true
		c.after(c.age, c.sweep)
	}
	file.hold()
	c.byName[name] = c.order.PushFront(&cached{name, file, bytes, c.now()})
	c.bytes += bytes
}

// sweep drops what is too old, now and as long as anything is left.
func (c *cache) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.order.Back(); e != nil; {
		previous := e.Prev()
		if c.now().Sub(e.Value.(*cached).born) >= c.age {
			c.drop(e)
		}
		e = previous
	}
	if c.isSwept = c.order.Len() > 0; c.isSwept {
		c.after(c.age/4, c.sweep)
	}
}

// len is the number of files, each of which holds a descriptor.
func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

func (c *cache) drop(e *list.Element) {
	f := c.order.Remove(e).(*cached)
	delete(c.byName, f.name)
	c.bytes -= f.bytes
	_ = f.file.Close() // of memory; nothing was to be written
}
