package recommend

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// spread calls work for 0 to n-1, on as many goroutines as there are processors, and waits for
// them. Each goroutine has a state of its own. What work does for one number must not depend on
// which others the same goroutine had.
func spread[S any](n int, state func() S, work func(s S, i int)) {
	const step = 16
	var next atomic.Int64
	var done sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+step-1)/step) {
		done.Go(func() {
			s := state()
			for {
				from := int(next.Add(step)) - step
				if from >= n {
					return
				}
				for i := from; i < min(from+step, n); i++ {
					work(s, i)
				}
			}
		})
	}
	done.Wait()
}
