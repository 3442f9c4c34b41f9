package sim

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// Segment is a part of a run in which messages follow one another at a steady rate: message
// First is due at Start, message First+n n/rate*speed later. The instants are those of the
// simulated calendar.
type Segment struct {
	First uint64
	Start int64 // nanoseconds since the epoch
	Rate  int64 // messages in 1000 real seconds
	Speed int64 // simulated milliseconds for a real second
}

// NewSegment makes a segment from a rate in messages a second and a speed in simulated
// seconds a second, both kept to a thousandth.
func NewSegment(first uint64, start time.Time, rate, speed float64) (Segment, error) {
	var errs []error
	if !(rate >= .001 && rate <= 1e6) {
		errs = append(errs, fmt.Errorf("rate: %g is not from 0.001 to 1,000,000 messages a second", rate))
	}
	if !(speed >= .001 && speed <= 1e6) {
		errs = append(errs, fmt.Errorf("speed: %g is not from 0.001 to 1,000,000", speed))
	}
	s := Segment{First: first, Start: start.UnixNano(), Rate: int64(math.Round(rate * 1000)), Speed: int64(math.Round(speed * 1000))}
	return s, errors.Join(errs...)
}

// at returns the instant at which a message of the segment is due on the calendar.
func (s Segment) at(number uint64) int64 {
	return s.Start + muldiv(number-s.First, s.Speed*1e9, s.Rate)
}

// wait returns how long after the segment's first message another is due on the real clock.
func (s Segment) wait(n uint64) time.Duration { return time.Duration(muldiv(n, 1e12, s.Rate)) }

// messages returns how many messages fall into a real duration, given in seconds.
func (s Segment) messages(seconds float64) uint64 { return uint64(seconds * float64(s.Rate) / 1000) }

// muldiv is n*num/den on 128 bits, the largest int64 if the result does not fit.
func muldiv(n uint64, num, den int64) int64 {
	hi, lo := bits.Mul64(n, uint64(num))
	if hi >= uint64(den) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(den))
	return int64(min(q, math.MaxInt64))
}

// Timeline is the segments of a run, in order of First; the first begins at message 0.
type Timeline []Segment

// of returns the segment that message number belongs to.
func (t Timeline) of(number uint64) Segment {
	i := len(t) - 1
	for i > 0 && t[i].First > number {
		i--
	}
	return t[i]
}
