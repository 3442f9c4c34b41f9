package predict

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// Visits is the purchases of many customers, in flat slices. Customer i made the purchases
// Start[i] to Start[i+1]-1, in the order of time; Start has one element more than there are
// customers.
type Visits struct {
	Start    []int64
	Time     []int64  // seconds since 1970-01-01 00:00 UTC
	Category []uint16 // below the number of categories that the model is told
	// Zone is how many seconds each customer's clock is ahead of UTC; nil is UTC for all.
	Zone []int32
}

// MaxCategories is the largest number of categories that a model takes.
const MaxCategories = 2048

func (v Visits) check(categories int) error {
	if categories < 2 || categories > MaxCategories {
		return fmt.Errorf("predict: next: %d categories, want 2 to %d", categories, MaxCategories)
	}
	if len(v.Start) < 2 {
		return fmt.Errorf("predict: next: %w: there are no customers", ErrTooFew)
	}
	n := int64(len(v.Time))
	if v.Zone != nil && len(v.Zone) != v.customers() {
		return fmt.Errorf("predict: next: %d zones for %d customers", len(v.Zone), v.customers())
	}
	if len(v.Category) != len(v.Time) || v.Start[0] != 0 || v.Start[len(v.Start)-1] != n {
		return fmt.Errorf("predict: next: %d times, %d categories and customers from %d to %d do not agree", n, len(v.Category), v.Start[0], v.Start[len(v.Start)-1])
	}
	for i := range v.customers() {
		from, to := v.Start[i], v.Start[i+1]
		if from > to || to > n {
			return fmt.Errorf("predict: next: customer %d ends before the start", i)
		}
		for j := from; j < to; j++ {
			if int(v.Category[j]) >= categories {
				return fmt.Errorf("predict: next: customer %d has category %d of %d", i, v.Category[j], categories)
			}
			if j > from && v.Time[j] < v.Time[j-1] {
				return fmt.Errorf("predict: next: customer %d: the purchases are not in the order of time", i)
			}
		}
	}
	return nil
}

func (v Visits) customers() int { return len(v.Start) - 1 }

func (v Visits) zone(customer int) int64 {
	if v.Zone == nil {
		return 0
	}
	return int64(v.Zone[customer])
}

// quantiles are points in time before which such shares of all purchases lie, by a sample; all of
// them lie before that of 1.
func (v Visits) quantiles(shares ...float64) []int64 {
	step := len(v.Time)/(1<<20) + 1
	sample := make([]int64, 0, len(v.Time)/step+1)
	for i := 0; i < len(v.Time); i += step {
		sample = append(sample, v.Time[i])
	}
	slices.Sort(sample)
	at := make([]int64, len(shares))
	for i, s := range shares {
		if s >= 1 {
			at[i] = slices.Max(v.Time) + 1
		} else {
			at[i] = sample[int(s*float64(len(sample)))]
		}
	}
	return at
}

// slots are the hours of a weekday and of a day at the weekend.
const slots = 48

func slotOf(seconds int64) int {
	day := floorDiv(seconds, 86400)
	hour := int(seconds-day*86400) / 3600
	// 1970-01-01 was a Thursday: days 2 and 3 of the week that began with it are the weekend.
	if w := day - 7*floorDiv(day, 7); w == 2 || w == 3 {
		return 24 + hour
	}
	return hour
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Gaps, the times between two purchases, are told apart by quarters of an octave, from a minute
// to 400 days; what is shorter or longer shares the first or last.
const (
	gapsPerOctave = 4
	leastGap      = 60.0
	gaps          = 78
)

// gapEdges are where the classes begin, in seconds, and where the last one ends for those who
// need an end.
var gapEdges = func() (edges [gaps + 1]float64) {
	for class := 1; class <= gaps; class++ {
		edges[class] = leastGap * math.Exp2(float64(class-1)/gapsPerOctave)
	}
	return edges
}()

func gapOf(seconds int64) uint16 {
	low, high := 0, gaps // the class is at least low and below high
	for low+1 < high {
		if middle := (low + high) / 2; float64(seconds) > gapEdges[middle] {
			low = middle
		} else {
			high = middle
		}
	}
	return uint16(low)
}

// none is the symbol of a purchase that has none, as the gap before the first.
const none = math.MaxUint16

// symbols gives the symbol of purchase j of a customer whose purchases begin at first.
type symbols func(v *Visits, first, j int64) uint16

func category(v *Visits, _, j int64) uint16 { return v.Category[j] }

func gap(v *Visits, first, j int64) uint16 {
	if j == first {
		return none
	}
	return gapOf(v.Time[j] - v.Time[j-1])
}

// seen is the class of how much is known of a customer: none, 1, 2 to 3, 4 to 7 and so on.
func seen(n int) int { return min(bits.Len(uint(n)), levels-1) }

const levels = 9
