// Package recommend ranks items (merchants) for users (customers) by what they and others
// bought. It holds the methods only: matrices go in, rankings come out. It knows no lake, reads
// no clock, draws no random numbers and logs nothing; equal input gives equal output, bit for
// bit, whatever GOMAXPROCS.
//
// A [Matrix] holds the interactions. Four models score its items for a [Query]:
//
//   - [EASE], a linear autoencoder in closed form (Steck, WWW 2019);
//   - [ItemKNN], neighbours of the user's items (Sarwar et al., WWW 2001);
//   - [Frequency], the user's own habits;
//   - [Popularity], what everybody of the user's group buys.
//
// [Learn] finds the weights with which a [Blend] of them ranks what users did next best, [Ranker]
// turns its scores into lists with reasons, filters and diversity, and [Evaluate] measures any
// model by what was held out.
//
// Items and users are indices from 0; names belong to the caller. Scores are finite: what could
// lead to a NaN or an infinity is an error where it enters. Among equal scores the lower index
// comes first.
package recommend

import (
	"errors"
	"fmt"
	"math"
)

// ErrTooLittle is in the error when there is too little to fit, learn from or evaluate. The rest
// of the error says how much is needed.
var ErrTooLittle = errors.New("recommend: too little data")

// Query is what is known of one user, and which items may be recommended to them. A user need
// not be one of those that a model was fitted to.
type Query struct {
	// Items are the distinct items that the user has, ascending; Weights say how much of each,
	// nil for 1. Neither is changed or kept.
	Items   []int32
	Weights []float32
	// Group is the user's group in [Popularity], such as their country; one that it doesn't
	// know, such as -1, stands for everybody.
	Group int
	// New leaves out the items that the user has.
	New bool
	// Allowed says which items may be recommended, by item; nil for all. It is shared by as
	// many queries as it fits.
	Allowed []bool
}

// check returns an error unless the query fits a model of that many items.
func (q Query) check(items int) error {
	if q.Weights != nil && len(q.Weights) != len(q.Items) {
		return fmt.Errorf("recommend: a query of %d items has %d weights", len(q.Items), len(q.Weights))
	}
	if q.Allowed != nil && len(q.Allowed) != items {
		return fmt.Errorf("recommend: a query allows or denies %d items, the model has %d", len(q.Allowed), items)
	}
	before := int32(-1)
	for _, i := range q.Items {
		if i <= before || int(i) >= items {
			return fmt.Errorf("recommend: a query's items are not ascending and below %d", items)
		}
		before = i
	}
	for _, w := range q.Weights {
		if !(w > 0 && w <= MaxWeight) {
			return fmt.Errorf("recommend: a query has a weight that is not above 0 and at most %g", float64(MaxWeight))
		}
	}
	return nil
}

func (q Query) weight(at int) float32 {
	if q.Weights == nil {
		return 1
	}
	return q.Weights[at]
}

// Model scores items for users. It may be used by several goroutines.
type Model interface {
	// Items is the number of items that are scored.
	Items() int
	// Score sets dst[i] to the score of item i for the user; higher is better, and scores of
	// two models or two users don't compare. It fills all of dst, whose length is Items, also
	// for items that the query doesn't allow.
	Score(dst []float32, q Query)
}

// ReasonKind says why an item is recommended.
type ReasonKind int

const (
	// Popular: many users of the user's group have it, or of all.
	Popular ReasonKind = iota
	// Habit: the user has it.
	Habit
	// Because: users who have another item that this user has tend to have it.
	Because
)

// String is "popular", "habit" or "because".
func (k ReasonKind) String() string {
	switch k {
	case Popular:
		return "popular"
	case Habit:
		return "habit"
	case Because:
		return "because"
	}
	return fmt.Sprintf("ReasonKind(%d)", int(k))
}

// Reason explains one recommendation.
type Reason struct {
	Kind ReasonKind
	// Item is the user's item that speaks most for the recommended one, -1 unless Kind is
	// Because. It is the user's own: a reason tells nobody what another user bought.
	Item int
	// Share is the part of the score that this reason makes up, from 0 to 1.
	Share float64
}

// explainer is a model that gives reasons.
type explainer interface {
	// explain returns the reason of the item's score; ok is false if the model has none.
	explain(q Query, item int) (r Reason, ok bool)
}

// strongest returns the item of the user with the largest weight times effect on a score, and
// whether any speaks for it.
func strongest(q Query, weighted bool, effect func(from int32) float64) (Reason, bool) {
	best, at := 0.0, int32(-1)
	for n, from := range q.Items {
		e := effect(from)
		if weighted {
			e *= float64(q.weight(n))
		}
		if e > best {
			best, at = e, from
		}
	}
	return Reason{Kind: Because, Item: int(at)}, at >= 0
}

// Decay returns what a purchase of that age counts when one that is halfLife older counts half:
// 2^(-age/halfLife), both in the same unit. An age below 0 counts as 0.
func Decay(age, halfLife float64) (float64, error) {
	if !(halfLife > 0) || math.IsInf(halfLife, 0) || math.IsNaN(age) {
		return 0, fmt.Errorf("recommend: decay needs a half-life above 0 and an age")
	}
	return math.Exp2(-max(age, 0) / halfLife), nil
}
