package predictions

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/predict"
)

// data is a tenant's purchases, by customer and time. Days are counted from 1970-01-01 UTC.
type data struct {
	customers []string // ascending
	visits    predict.Visits
	value     []float32 // of each purchase in the main currency, 0 if it is billed in another
	mccs      []string  // by category, ascending; "" is that of purchases whose own is not told apart
	currency  string    // the main one; "" if nothing is billed

	first, last int64 // days of the first and last purchase
	end         int64 // of the data, in seconds, exclusive

	// Of a customer's purchases of one day only the first daily are here; so many were left out.
	daily   int
	leftOut int64
}

// opens are the authorisations that are purchases, but for those that were reversed.
const opens = `event_type = 'authorization' AND approved AND event_id = transaction_id AND amount > 0
  AND customer_id IS NOT NULL AND channel <> 'atm' AND (mcc IS NULL OR mcc NOT IN ('6010', '6011'))`

// purchase is a purchase while it is read.
type purchase struct {
	at       int64 // seconds
	value    float32
	category uint16
}

// read reads the purchases, in no order: what follows from them does not depend on it.
//
// HAVING leaves out what changes nothing. It is there for DuckDB to take the reversals for fewer
// than the purchases, and so to hold the former in memory for the join.
func read(ctx context.Context, t *insights.Task) (d *data, err error) {
	d = &data{end: t.AsOf.Add(time.Second - time.Microsecond).Unix()}
	opens := opens + ` AND event_time < ` + insights.Time(t.AsOf)
	err = t.Each(ctx, `SELECT billing_currency FROM cards.transactions WHERE `+opens+` AND billing_currency IS NOT NULL
GROUP BY billing_currency ORDER BY count(*) DESC, billing_currency LIMIT 1`, func(row []any) error {
		d.currency = strings.Clone(row[0].(string))
		return nil
	})
	if err != nil {
		return nil, err
	}
	result, err := t.Query(ctx, `WITH undone AS (
  SELECT transaction_id, sum(amount) AS amount FROM cards.transactions
  WHERE event_type = 'reversal' AND approved GROUP BY transaction_id HAVING sum(amount) > 0
)
SELECT customer_id, epoch_us(event_time) // 1000000 AS at, coalesce(epoch_us(local_time) // 1000000, 0) AS clock, coalesce(mcc, '') AS mcc,
  CASE WHEN billing_currency = `+insights.Text(d.currency)+` AND billing_amount > 0
    THEN CAST(round(10000 * CAST(billing_amount AS DOUBLE) * (1 - CAST(coalesce(u.amount, 0) AS DOUBLE) / CAST(p.amount AS DOUBLE))) AS BIGINT)
    ELSE 0 END AS value
FROM (SELECT transaction_id, customer_id, event_time, local_time, mcc, amount, billing_amount, billing_currency
  FROM cards.transactions WHERE `+opens+`) AS p
LEFT JOIN undone AS u ON u.transaction_id = p.transaction_id
WHERE u.amount IS NULL OR u.amount < p.amount`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()

	ids := map[string]int32{}
	mccs := map[string]uint16{"": 0}
	var zones []int32
	var zoneAt []int64 // of the purchase that a zone is taken from: the customer's first
	customer := make([]int32, 0, t.Rows)
	bought := make([]purchase, 0, t.Rows)
	for {
		batch, err := result.NextBatch()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		names, isText := batch.Column(0).(*array.String)
		at, isAt := batch.Column(1).(*array.Int64)
		clock, isClock := batch.Column(2).(*array.Int64)
		kinds, isKind := batch.Column(3).(*array.String)
		value, isValue := batch.Column(4).(*array.Int64)
		if !(isText && isAt && isClock && isKind && isValue) {
			batch.Release()
			return nil, errors.New("the purchases have columns of other types than were asked for")
		}
		for i := range int(batch.NumRows()) {
			id, ok := ids[names.Value(i)]
			if !ok {
				id = int32(len(ids))
				ids[strings.Clone(names.Value(i))] = id
				zones, zoneAt = append(zones, 0), append(zoneAt, 1<<62)
			}
			kind, ok := mccs[kinds.Value(i)]
			if !ok && len(mccs) <= math.MaxUint16 {
				kind = uint16(len(mccs))
				mccs[strings.Clone(kinds.Value(i))] = kind
			}
			z := zoneOf(at.Value(i), clock.Value(i))
			if s := at.Value(i); s < zoneAt[id] || s == zoneAt[id] && z < zones[id] {
				zones[id], zoneAt[id] = z, s
			}
			customer = append(customer, id)
			bought = append(bought, purchase{at.Value(i), float32(float64(value.Value(i)) / 10_000), kind})
		}
		batch.Release()
		t.Report("reading purchases", int64(len(bought)), t.Rows)
	}
	d.sort(ids, mccs, zones, customer, bought)
	return d, nil
}

// zoneOf is how far a clock is ahead of UTC, to a quarter of an hour. A clock that no zone of
// the world has is UTC's.
func zoneOf(at, clock int64) int32 {
	const quarter, most = 900, 14 * 3600
	ahead := clock - at
	if clock == 0 || ahead < -most || ahead > most {
		return 0
	}
	return int32((ahead+most+quarter/2)/quarter*quarter - most)
}

// sort puts the purchases in the order of customers and times, and customers and categories in
// that of their names.
func (d *data) sort(ids map[string]int32, mccs map[string]uint16, zones []int32, customer []int32, bought []purchase) {
	d.customers = make([]string, 0, len(ids))
	for name := range ids {
		d.customers = append(d.customers, name)
	}
	slices.Sort(d.customers)
	place := make([]int32, len(ids))
	d.visits.Zone = make([]int32, len(ids))
	for i, name := range d.customers {
		place[ids[name]] = int32(i)
		d.visits.Zone[i] = zones[ids[name]]
	}
	kind := d.categories(mccs, bought)

	start := make([]int64, len(ids)+1)
	for _, c := range customer {
		start[place[c]+1]++
	}
	for i := range d.customers {
		start[i+1] += start[i]
	}
	sorted := make([]purchase, len(bought))
	fill := slices.Clone(start)
	for i, p := range bought {
		p.category = kind[p.category]
		at := &fill[place[customer[i]]]
		sorted[*at] = p
		*at++
	}
	for i := range d.customers {
		own := sorted[start[i]:start[i+1]]
		slices.SortFunc(own, func(a, b purchase) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.category, b.category), cmp.Compare(a.value, b.value))
		})
	}
	d.take(start, sorted)
	if len(sorted) > 0 {
		d.first, d.last = slices.Min(d.visits.Time)/secondsPerDay, slices.Max(d.visits.Time)/secondsPerDay
	}
}

const (
	// leastDaily is how many purchases of a customer's day always count.
	leastDaily = 5
	// rareDay is the share of customers' days that may have more purchases than count.
	rareDay = 0.001
)

// take takes the purchases, but of a customer's day no more than nearly all days have: a card
// that is tried a hundred times in an hour would decide the rate of all customers.
func (d *data) take(start []int64, sorted []purchase) {
	days := func(do func(customer int, from, to int64)) {
		for i := range d.customers {
			for from := start[i]; from < start[i+1]; {
				to := from + 1
				for to < start[i+1] && sorted[to].at/secondsPerDay == sorted[from].at/secondsPerDay {
					to++
				}
				do(i, from, to)
				from = to
			}
		}
	}
	const most = 1000
	var by [most + 1]int // days by their purchases
	all := 0
	days(func(_ int, from, to int64) {
		by[min(most, to-from)]++
		all++
	})
	d.daily = most
	for more := by[most]; d.daily > leastDaily && float64(more) <= rareDay*float64(all); more += by[d.daily] {
		d.daily--
	}
	d.visits.Start = make([]int64, 1, len(start))
	d.visits.Time, d.visits.Category = make([]int64, 0, len(sorted)), make([]uint16, 0, len(sorted))
	d.value = make([]float32, 0, len(sorted))
	customer := 0
	days(func(i int, from, to int64) {
		for ; customer < i; customer++ {
			d.visits.Start = append(d.visits.Start, int64(len(d.value)))
		}
		for _, p := range sorted[from:min(to, from+int64(d.daily))] {
			d.visits.Time, d.visits.Category, d.value = append(d.visits.Time, p.at), append(d.visits.Category, p.category), append(d.value, p.value)
		}
	})
	d.visits.Start = append(d.visits.Start, int64(len(d.value)))
	d.leftOut = int64(len(sorted) - len(d.value))
}

// mostCategories is how many merchant categories are told apart. ISO 18245 has about 900, of which
// a tenant's customers use some hundreds.
const mostCategories = 512

// categories chooses those that are told apart, the most frequent ones, and returns the category
// of each number that mccs gives.
func (d *data) categories(mccs map[string]uint16, bought []purchase) (kind []uint16) {
	count := make([]int, len(mccs))
	for _, p := range bought {
		count[p.category]++
	}
	names := slices.Sorted(maps.Keys(mccs))
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(min(1, len(a)), min(1, len(b))), cmp.Compare(count[mccs[b]], count[mccs[a]]))
	})
	d.mccs = slices.Clone(names[:min(len(names), mostCategories)])
	slices.Sort(d.mccs)
	kind = make([]uint16, len(mccs))
	for i, name := range d.mccs {
		kind[mccs[name]] = uint16(i)
	}
	return kind
}

const secondsPerDay = 86_400

// days is the length of the history, the first and last day included.
func (d *data) days() int64 {
	if len(d.customers) == 0 {
		return 0
	}
	return d.last - d.first + 1
}

// usualDays is days, but for a few purchases, at most one in a hundred, that lie so long before all others
// that a clock must have been wrong.
func (d *data) usualDays() int64 {
	sorted := slices.Sorted(slices.Values(d.visits.Time))
	if usual := d.last - sorted[len(sorted)/100]/secondsPerDay + 1; usual < d.days()/4 {
		return usual
	}
	return d.days()
}

// until is the first purchase of a customer that is not before an end, in seconds.
func (d *data) until(customer int, end int64) int64 {
	from, to := d.visits.Start[customer], d.visits.Start[customer+1]
	n, _ := slices.BinarySearch(d.visits.Time[from:to], end)
	return from + int64(n)
}

// known reports whether a customer had purchased before an end.
func (d *data) known(customer int, end int64) bool {
	return d.visits.Time[d.visits.Start[customer]] < end
}

// history is that of a customer who is known before an end. It has the resolution of a day, so
// that customers have histories in common: purchases are taken to be at noon, and those of the
// first day, after the first, a third of a day after it, which is how far apart two instants of
// a day are on average.
func (d *data) history(customer int, end int64) predict.History {
	from, to := d.visits.Start[customer], d.visits.Start[customer+1]
	if last := d.visits.Time[to-1]; last >= end {
		to = d.until(customer, end)
	}
	first, last := d.visits.Time[from]/secondsPerDay, d.visits.Time[to-1]/secondsPerDay
	h := predict.History{X: int(to - from - 1), Tx: float64(last - first)}
	if h.X > 0 && last == first {
		h.Tx = 1. / 3
	}
	h.T = max(h.Tx, float64(end)/secondsPerDay-float64(first)-.5)
	return h
}

// histories are those of all customers who are known before an end, in their order.
func (d *data) histories(end int64) []predict.History {
	out := make([]predict.History, 0, len(d.customers))
	for i := range d.customers {
		if d.known(i, end) {
			out = append(out, d.history(i, end))
		}
	}
	return out
}

// values are what the same customers spent on a purchase, on average.
func (d *data) values(end int64) predict.Values {
	var v predict.Values
	for i := range d.customers {
		if !d.known(i, end) {
			continue
		}
		n, sum := 0, 0.0
		for _, value := range d.value[d.visits.Start[i]:d.until(i, end)] {
			if value > 0 {
				n++
				sum += float64(value)
			}
		}
		v.N, v.Mean = append(v.N, n), append(v.Mean, sum/float64(max(1, n)))
	}
	return v
}
