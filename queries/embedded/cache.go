package embedded

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps files, as far as they were decrypted, for the next statements: those read last, up
// to a number of bytes, and none for longer than an age. Objects never change, so a name is
// enough.
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
	file  *dataFile
	bytes int64 // when it was last looked at
	born  time.Time
}

func newCache(limit int64, age time.Duration) *cache {
	return &cache{limit: limit, age: age, now: time.Now, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }, byName: map[string]*list.Element{}, order: list.New()}
}

// take returns the file, held for the caller, and nil if it is not there.
func (c *cache) take(name string) *dataFile {
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

// keep keeps the file too, or learns that there is more of it.
func (c *cache) keep(file *dataFile) {
	bytes := file.held()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byName[file.name]
	switch {
	case e != nil && e.Value.(*cached).file != file: // another statement was faster
		return
	case bytes > c.limit:
		if e != nil {
			c.drop(e)
		}
		return
	case e == nil:
		file.hold()
		e = c.order.PushFront(&cached{file: file, born: c.now()})
		c.byName[file.name] = e
	default:
		c.order.MoveToFront(e)
	}
	f := e.Value.(*cached)
	c.bytes += bytes - f.bytes
	f.bytes = bytes
	for c.bytes > c.limit {
		c.drop(c.order.Back())
	}
	if !c.isSwept {
		c.isSwept = true
		c.after(c.age, c.sweep)
	}
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

// clear drops everything.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.order.Len() > 0 {
		c.drop(c.order.Back())
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
	delete(c.byName, f.file.name)
	c.bytes -= f.bytes
	_ = f.file.Close() // of memory; nothing was to be written
}
