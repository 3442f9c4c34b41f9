package sim

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets that are at most 1/16 wide of their value, in
// microseconds. The zero Histogram is ready; it is safe for concurrent use.
type Histogram struct {
	counts [64 * 16]atomic.Uint64
	max    atomic.Int64
}

// Add counts one duration; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	us := max(0, d.Microseconds())
	h.counts[bucketOf(uint64(us))].Add(1)
	for {
		old := h.max.Load()
		if us <= old || h.max.CompareAndSwap(old, us) {
			return
		}
	}
}

// bucketOf numbers values below 32 by themselves, then 16 buckets for each power of two.
func bucketOf(us uint64) int {
	if us < 32 {
		return int(us)
	}
	shift := bits.Len64(us) - 5
	return shift*16 + int(us>>shift)
}

// Quantile returns the least upper bound of the buckets that hold the fraction q of the
// durations, 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	var total uint64
	var counts [len(h.counts)]uint64
	for i := range counts {
		counts[i] = h.counts[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return 0
	}
	rank := max(1, uint64(q*float64(total)+.5))
	for i, n := range counts {
		if n >= rank {
			return min(upper(i), h.Max())
		}
		rank -= n
	}
	return h.Max()
}

// Max returns the longest duration.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) * time.Microsecond }

func upper(i int) time.Duration {
	if i < 32 {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/16 - 1
	return time.Duration(uint64(i-shift*16+1)<<shift-1) * time.Microsecond
}
