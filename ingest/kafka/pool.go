package kafka

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pool lends the client the memory of a fetch, decompressed bytes and records, again and
// again: without it each record costs about a kilobyte of garbage, half of it here. A fetch's
// memory comes back when all its records are recycled, which is at the Poll after theirs.
// It implements kgo.PoolDecompressBytes and kgo.PoolRecords.
type pool struct {
	bytes   free[byte]
	records free[kgo.Record]
}

// maxFree bounds how many slices of a kind wait for their next use. The client fetches ahead
// one fetch from each broker, of few batches.
const maxFree = 64

// free is a list of slices that are not in use.
type free[T any] struct {
	mu   sync.Mutex
	list [][]T
}

// get returns the newest slice that is large enough, nil if there is none.
func (f *free[T]) get(n int) []T {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.list) - 1; i >= 0; i-- {
		if s := f.list[i]; cap(s) >= n {
			last := len(f.list) - 1
			f.list[i], f.list[last] = f.list[last], nil
			f.list = f.list[:last]
			return s
		}
	}
	return nil
}

func (f *free[T]) put(s []T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < maxFree {
		f.list = append(f.list, s)
	}
}

// GetDecompressBytes guesses that events shrink to half; the client lets a slice grow.
func (p *pool) GetDecompressBytes(compressed []byte, _ kgo.CompressionCodecType) []byte {
	n := 2 * len(compressed)
	if s := p.bytes.get(n); s != nil {
		return s
	}
	return make([]byte, 0, n)
}

func (p *pool) PutDecompressBytes(b []byte) {
	if cap(b) <= maxPooledBytes {
		p.bytes.put(b)
	}
}

// maxPooledBytes keeps a batch of exceptional size from staying for ever.
const maxPooledBytes = 4 << 20

func (p *pool) GetRecords(n int) []kgo.Record {
	if s := p.records.get(n); s != nil {
		return s
	}
	return make([]kgo.Record, n)
}

func (p *pool) PutRecords(r []kgo.Record) { p.records.put(r) }
