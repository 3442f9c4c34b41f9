package live

import (
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
)

const (
	// maxAhead is how far beyond the clock a row may be: clocks differ a little.
	maxAhead = time.Minute
	// maxNames bounds the channels, reasons and currencies of a tenant that are told apart.
	// Whatever comes beyond counts as other.
	maxNames = 64
)

// other is what stands for names beyond maxNames.
const other = "other"

// series is the seconds of one tenant, a ring: the length is that of all seconds that may be
// added to, so that each has a place of its own.
type series struct {
	buckets []bucket
	newest  int64  // second that was added to
	changed uint64 // seq of the newest change

	channels, reasons, currencies names
}

// bucket is one second.
type bucket struct {
	second             int64
	changed            uint64 // seq of its newest change
	requests, approved int64
	channels, reasons  []tally
	amounts            []sum // of approved requests
}

// tally counts a name, sum adds amounts up in ten-thousandths.
type (
	tally struct {
		name uint16
		n    uint32
	}
	sum struct {
		name  uint16
		total decimal128.Num
	}
)

func newSeries(seconds int) *series { return &series{buckets: make([]bucket, seconds)} }

// add counts row i, an authorisation request of that second.
func (s *series) add(seq uint64, second int64, r *rowsOf, i int) {
	b := &s.buckets[second%int64(len(s.buckets))]
	if b.second != second {
		*b = bucket{second: second, channels: b.channels[:0], reasons: b.reasons[:0], amounts: b.amounts[:0]}
	}
	b.changed, s.changed, s.newest = seq, seq, max(s.newest, second)
	b.requests++
	if channel := r.channel.at(i); channel != "" {
		b.channels = count(b.channels, s.channels.of(channel))
	}
	if r.approved.Value(i) {
		b.approved++
		b.amounts = addUp(b.amounts, s.currencies.of(r.currency.at(i)), r.amount.Value(i))
	} else if reason := r.reason.at(i); reason != "" {
		b.reasons = count(b.reasons, s.reasons.of(reason))
	}
}

func count(ts []tally, name uint16) []tally {
	for i := range ts {
		if ts[i].name == name {
			ts[i].n++
			return ts
		}
	}
	return append(ts, tally{name, 1})
}

func addUp(ss []sum, name uint16, amount decimal128.Num) []sum {
	for i := range ss {
		if ss[i].name == name {
			ss[i].total = ss[i].total.Add(amount)
			return ss
		}
	}
	return append(ss, sum{name, amount})
}

// names gives each of a few names a number.
type names struct {
	list   []string
	number map[string]uint16
}

// of returns the name's number. A new name is copied: it lies in the memory of an answer.
func (n *names) of(name string) uint16 {
	if number, ok := n.number[name]; ok {
		return number
	}
	if len(n.list) >= maxNames {
		if name == other {
			return maxNames
		}
		return n.of(other)
	}
	if n.number == nil {
		n.number = map[string]uint16{}
	}
	number := uint16(len(n.list))
	name = strings.Clone(name)
	n.list, n.number[name] = append(n.list, name), number
	return number
}

// name is that of the number.
func (n *names) name(number uint16) string {
	if int(number) < len(n.list) {
		return n.list[number]
	}
	return other
}

// since returns the seconds that changed after seq and are not older than oldest, in order.
func (s *series) since(seq uint64, oldest int64) []Second {
	if s.changed <= seq {
		return nil
	}
	var out []Second
	// The newest may be anywhere in the ring: what follows it is the oldest.
	for second := s.newest - int64(len(s.buckets)) + 1; second <= s.newest; second++ {
		if second < oldest {
			continue
		}
		if b := &s.buckets[second%int64(len(s.buckets))]; b.second == second && b.changed > seq {
			out = append(out, s.second(b))
		}
	}
	return out
}

func (s *series) second(b *bucket) Second {
	out := Second{
		At: time.Unix(b.second, 0).UTC(), Requests: b.requests, Approved: b.approved, Declined: b.requests - b.approved,
		Amounts: make(map[cardlake.Currency]Amount, len(b.amounts)), Channels: make(map[string]int64, len(b.channels)), Reasons: make(map[string]int64, len(b.reasons)),
	}
	for _, a := range b.amounts {
		out.Amounts[cardlake.Currency(s.currencies.name(a.name))] = Amount{a.total}
	}
	for _, t := range b.channels {
		out.Channels[s.channels.name(t.name)] += int64(t.n)
	}
	for _, t := range b.reasons {
		out.Reasons[s.reasons.name(t.name)] += int64(t.n)
	}
	return out
}
