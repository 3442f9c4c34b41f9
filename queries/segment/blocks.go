package segment

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
)

// blockRows is how many rows are worked on together. It is a constant because sums are made per
// block and then over blocks: were it to follow the number of processors, so would the last
// digits of results.
const blockRows = 8192

// blocksOf is the number of blocks that n rows make.
func blocksOf(n int) int { return (n + blockRows - 1) / blockRows }

// eachBlock calls f for every block of n rows, on as many processors as there are, and returns
// when all are done. f must write only to what belongs to its block.
func eachBlock(ctx context.Context, n int, f func(block, from, to int)) error {
	return each(ctx, blocksOf(n), func(b int) { f(b, b*blockRows, min(n, (b+1)*blockRows)) })
}

// each calls f for 0 to n-1, on as many processors as there are.
func each(ctx context.Context, n int, f func(i int)) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			if err := ctx.Err(); err != nil {
				return err
			}
			f(i)
		}
		return ctx.Err()
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(i)
			}
		})
	}
	wait.Wait()
	return ctx.Err()
}

// random is a source of its own for each use of a seed, so that one use does not shift another.
func random(seed, use uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, use)) }

// The uses of a seed.
const (
	forSample uint64 = iota + 1
	forSilhouette
	forMixture
	forStability
	forHalves
	forStart // and the numbers after it, one for each start
)

// sample draws want of n rows without replacement, in ascending order: selection sampling
// (Knuth, The Art of Computer Programming 2, section 3.4.2, algorithm S). All rows if there
// are no more than are wanted.
func sample(n, want int, r *rand.Rand) []int {
	if n <= want {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return all
	}
	rows := make([]int, 0, want)
	for i := 0; len(rows) < want; i++ {
		if r.Float64()*float64(n-i) < float64(want-len(rows)) {
			rows = append(rows, i)
		}
	}
	return rows
}
