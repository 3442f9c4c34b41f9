package boost

import (
	"sync"
	"sync/atomic"
)

// each calls work(worker, i) for every i below n from at most workers goroutines and waits for all of them.
// What work does must depend on i alone (worker picks scratch space), so that the outcome is the same for any number of workers.
func each(n, workers int, work func(worker, i int)) {
	workers = min(workers, n)
	if workers <= 1 {
		for i := range n {
			work(0, i)
		}
		return
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(w, i)
			}
		})
	}
	group.Wait()
}

// draw is a number in [0, 1) that depends on nothing but its arguments: sampling by it needs no order of calls.
// The mixing is SplitMix64's (Steele, Lea & Flood, OOPSLA 2014).
func draw(seed uint64, stream, i int) float64 {
	z := mix(seed + uint64(stream)*0x9e3779b97f4a7c15)
	return float64(mix(z+uint64(i)*0x9e3779b97f4a7c15)>>11) / (1 << 53)
}

func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
