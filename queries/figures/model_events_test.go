package figures_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func dayOf(micros int64) time.Time { return timeOf(micros).Truncate(24 * time.Hour) }

// cell is a column of an event as an answer has it.
func cell(e *cardlake.Transaction, name string) any {
	v := viewstest.Value(e, name)
	n, ok := v.(int64)
	switch c := cardlake.Transactions.Column(name); {
	case !ok:
		return v
	case c.Type == cardlake.Decimal18x4:
		return decimal(n)
	case c.Type == cardlake.Timestamp || c.Type == cardlake.TimestampTZ:
		return timeOf(n)
	}
	return n
}

// decimal writes ten-thousandths.
func decimal(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%04d", sign, n/10000, n%10000)
}

func amount(e *cardlake.Transaction) int64 { return viewstest.Value(e, "amount").(int64) }

// over is a rate, nil for nothing divided.
func over[T int | int64](part, whole T) any {
	if whole == 0 {
		return nil
	}
	return float64(part) / float64(whole)
}

type events []*cardlake.Transaction

func (es events) where(keep func(*cardlake.Transaction) bool) (out events) {
	for _, e := range es {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

// in are the requests of the tenant within the range.
func (es events) in(a figures.Args) events {
	return es.where(func(e *cardlake.Transaction) bool {
		at := timeOf(e.EventTime)
		return e.Tenant == a.Tenant && e.EventType == cardlake.Authorization && !at.Before(a.From) && at.Before(a.To)
	})
}

func (es events) approved() events {
	return es.where(func(e *cardlake.Transaction) bool { return e.Approved })
}
func (es events) declined() events {
	return es.where(func(e *cardlake.Transaction) bool { return !e.Approved })
}

func (es events) of(c cardlake.Currency) events {
	return es.where(func(e *cardlake.Transaction) bool { return e.Amount.Currency == c })
}

func (es events) sum() (n int64) {
	for _, e := range es {
		n += amount(e)
	}
	return n
}

// different counts the values of a column, nil for none.
func (es events) different(column string) any {
	seen := map[any]bool{}
	for _, e := range es {
		if v := cell(e, column); v != nil {
			seen[v] = true
		}
	}
	if len(seen) == 0 {
		return nil
	}
	return len(seen)
}

func (es events) last(column string) any {
	var last any
	for _, e := range es {
		if v := cell(e, column); v != nil && (last == nil || fmt.Sprint(v) > fmt.Sprint(last)) {
			last = v
		}
	}
	return last
}

// groups are the events by the line of a key.
func (es events) groups(key func(*cardlake.Transaction) []any) (keys map[string][]any, groups map[string]events) {
	keys, groups = map[string][]any{}, map[string]events{}
	for _, e := range es {
		k := key(e)
		keys[line(k...)] = k
		groups[line(k...)] = append(groups[line(k...)], e)
	}
	return keys, groups
}

// each makes a line of each group, the key first.
func (es events) each(key func(*cardlake.Transaction) []any, rest func(events) []any) (lines []string) {
	keys, groups := es.groups(key)
	for name, of := range groups {
		if cells := rest(of); cells != nil {
			lines = append(lines, line(append(slices.Clone(keys[name]), cells...)...))
		}
	}
	return lines
}

// requested are the cells of most figures of requests.
func requested(of events) []any {
	yes := of.approved()
	return []any{len(of), len(yes), len(of) - len(yes), over(len(yes), len(of)), decimal(of.sum()), decimal(yes.sum())}
}

func classOf(code string) string {
	for class, codes := range map[string]string{
		"cardholder": "14 17 18 38 39 42 44 51 52 53 54 55 61 65 70 75 1A", "issuer": "01 02 05 15 33 36 46 57 58 62 78 85 93", "fraud": "04 07 34 35 37 41 43 59 63 66 67 82 N7",
		"technical": "03 06 09 12 13 19 20 21 22 23 24 25 26 27 28 29 30 31 40 56 60 64 68 76 77 86 90 91 92 94 95 96",
	} {
		if slices.Contains(strings.Fields(codes), code) {
			return class
		}
	}
	return "other"
}

// grained is the begin of the hour, day, week or month.
func grained(micros int64, grain string) time.Time {
	at := dayOf(micros)
	switch grain {
	case "hour":
		return timeOf(micros).Truncate(time.Hour)
	case "week":
		return at.AddDate(0, 0, -(int(at.Weekday())+6)%7)
	case "month":
		return at.AddDate(0, 0, 1-at.Day())
	}
	return at
}

// step is the bucket of an amount, in ten-thousandths: its begin and its end.
func step(n int64) (from, to any) {
	begin := int64(0)
	for power := int64(10_000); power <= 10_000_000*10_000; power *= 10 {
		for _, digit := range []int64{1, 2, 5} {
			if next := digit * power; n < next {
				return decimal(begin), decimal(next)
			} else {
				begin = next
			}
		}
	}
	return decimal(begin), nil
}

// divided is the mean of amounts.
func divided(sum int64, n int) any {
	if n == 0 {
		return nil
	}
	return float64(sum) / 10_000 / float64(n)
}

// span is the first and the last instant.
func (es events) span() (first, last time.Time) {
	least, greatest := es[0].EventTime, es[0].EventTime
	for _, e := range es {
		least, greatest = min(least, e.EventTime), max(greatest, e.EventTime)
	}
	return timeOf(least), timeOf(greatest)
}

func keyOf(columns ...string) func(*cardlake.Transaction) []any {
	return func(e *cardlake.Transaction) (cells []any) {
		for _, c := range columns {
			cells = append(cells, cell(e, c))
		}
		return cells
	}
}
