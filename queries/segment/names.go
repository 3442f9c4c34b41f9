package segment

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Word is what to call customers who lean one way in a feature. Any of its parts may be empty.
type Word struct {
	Adjective string // "frequent"
	Noun      string // in the plural: "travellers"
	Does      string // after "they" or "who": "buy abroad"
}

// Trait is the words for a feature.
type Trait struct {
	Feature   string
	High, Low Word
}

// Vocabulary is the traits there are words for. Adjectives stand in a name in its order.
type Vocabulary []Trait

// Spending is the vocabulary for card spending, in the manner of RFM analysis (Hughes,
// Strategic Database Marketing, 1994): how recent, how frequent, how much; then how.
var Spending = Vocabulary{
	{"recency", Word{"lapsed", "", "have not bought for long"}, Word{"active", "", "bought lately"}},
	{"frequency", Word{"frequent", "", "buy often"}, Word{"occasional", "", "buy seldom"}},
	{"monetary", Word{"high-value", "", "spend much"}, Word{"low-value", "", "spend little"}},
	{"ticket", Word{"big-ticket", "", "spend much at a time"}, Word{"small-ticket", "", "spend little at a time"}},
	{"declined", Word{"often declined", "", "are often declined"}, Word{"", "", "are seldom declined"}},
	{"ecommerce", Word{"", "online shoppers", "buy online"}, Word{"", "in-store shoppers", "buy in person"}},
	{"atm", Word{"", "cash users", "take out cash"}, Word{"", "", "seldom take out cash"}},
	{"night", Word{"", "night-time spenders", "buy at night"}, Word{"", "daytime spenders", "buy by day"}},
	{"weekend", Word{"", "weekend shoppers", "buy at weekends"}, Word{"", "weekday shoppers", "buy on weekdays"}},
	{"cross_border", Word{"", "travellers", "buy abroad"}, Word{"", "", "buy at home"}},
	{"merchants", Word{"", "roamers", "buy from many merchants"}, Word{"", "regulars", "buy from few merchants"}},
	{"categories", Word{"", "all-round shoppers", "buy many kinds of things"}, Word{"", "", "buy few kinds of things"}},
}

// How many standard deviations a segment must lean for a word to be used of it.
const (
	worthSaying    = 0.4
	worthTheirName = 0.5 // for the noun: what they are, not only how
)

// word is a word for a segment, with how much it leans that way.
type word struct {
	Word
	trait int
	lean  float64
}

// words are those for a segment, the strongest first.
func (v Vocabulary) words(features []string, p Profile) []word {
	var out []word
	for at, t := range v {
		j := slices.Index(features, t.Feature)
		if j < 0 || j >= len(p.Lean) || math.Abs(p.Lean[j]) < worthSaying {
			continue
		}
		w := word{t.High, at, p.Lean[j]}
		if p.Lean[j] < 0 {
			w.Word = t.Low
		}
		if w.Word != (Word{}) {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b word) int { return cmp.Compare(math.Abs(b.lean), math.Abs(a.lean)) })
	return out
}

// Names calls each segment by what sets it apart from all customers: the two strongest adjectives
// and the strongest noun, as in "Lapsed high-value travellers". No two names are equal: where
// two segments would share one, the smaller is told apart by what else it does, or else by a
// number. Where kept has a name, it stays. features are the names of the profiles' columns.
func (v Vocabulary) Names(features []string, profiles []Profile, kept []string) ([]string, error) {
	if kept != nil && len(kept) != len(profiles) {
		return nil, fmt.Errorf("segment: names of %d segments kept, there are %d", len(kept), len(profiles))
	}
	names, taken := make([]string, len(profiles)), map[string]bool{}
	for s, name := range kept {
		if name != "" && !taken[name] {
			names[s], taken[name] = name, true
		}
	}
	order := make([]int, len(profiles))
	for s := range order {
		order[s] = s
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(profiles[b].Size, profiles[a].Size) })
	for _, s := range order {
		if names[s] == "" {
			names[s] = v.name(features, profiles[s], taken)
			taken[names[s]] = true
		}
	}
	return names, nil
}

// name is the first name for a segment that is not taken.
func (v Vocabulary) name(features []string, p Profile, taken map[string]bool) string {
	words := v.words(features, p)
	var adjectives []word
	noun, used := "customers", map[int]bool{}
	for _, w := range words {
		switch {
		case w.Adjective != "" && len(adjectives) < 2:
			adjectives = append(adjectives, w)
			used[w.trait] = true
		case w.Noun != "" && noun == "customers" && math.Abs(w.lean) >= worthTheirName:
			noun = w.Noun
			used[w.trait] = true
		}
	}
	slices.SortFunc(adjectives, func(a, b word) int { return cmp.Compare(a.trait, b.trait) })
	var parts []string
	for _, w := range adjectives {
		parts = append(parts, w.Adjective)
	}
	if len(used) == 0 {
		parts = []string{"typical"}
	}
	name := capital(strings.Join(append(parts, noun), " "))
	if !taken[name] {
		return name
	}
	for _, w := range words {
		if longer := name + " who " + w.Does; !used[w.trait] && w.Does != "" && !taken[longer] {
			return longer
		}
	}
	for n := 2; ; n++ {
		if numbered := fmt.Sprintf("%s %d", name, n); !taken[numbered] {
			return numbered
		}
	}
}

// Describe says in a sentence what sets a segment apart, with the standard deviations by which it
// does.
func (v Vocabulary) Describe(features []string, p Profile) string {
	var does []string
	for _, w := range v.words(features, p) {
		if w.Does != "" && len(does) < 4 {
			does = append(does, fmt.Sprintf("%s (%+.1f)", w.Does, w.lean))
		}
	}
	switch n := len(does); n {
	case 0:
		return "They are much like all customers."
	case 1:
		return "They " + does[0] + "."
	default:
		return "They " + strings.Join(does[:n-1], ", ") + " and " + does[n-1] + "."
	}
}

func capital(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
