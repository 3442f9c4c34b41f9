package features

// Windows are rings of buckets. A window covers the bucket of the moment and the full buckets
// before it, so that the one of an hour reaches back 50 to 60 minutes, that of a day 22 to 24
// hours, that of a week 6 to 7 days and that of a month 27 to 30 days: never more than its name.
const (
	inHour = iota
	inDay
	inWeek
	inMonth
	spans
	slots = 6 + 12 + 7 + 10
)

var tiers = [spans]struct{ width, n, at uint32 }{
	inHour:  {10 * minute, 6, 0},
	inDay:   {2 * hour, 12, 6},
	inWeek:  {day, 7, 18},
	inMonth: {3 * day, 10, 25},
}

// counter is a number of a bucket: it stops at its largest value.
type counter interface{ ~uint16 | ~uint32 }

func increase[N counter](n *N) {
	if *n+1 != 0 {
		*n++
	}
}

// window counts the events of one card, merchant, terminal or BIN.
type window[N counter] struct {
	at       uint32 // the second to which the rings are turned
	count    [slots]N
	declined [slots]N
	sum      [slots]float32
}

// totals is what a window holds for each span.
type totals struct {
	count, declined [spans]float32
	sum             [spans]float32
}

// turn empties the buckets that have begun anew by now.
func (w *window[N]) turn(now uint32) {
	for i := range tiers {
		t := &tiers[i]
		from, to := w.at/t.width, now/t.width
		if from == to {
			break // wider buckets are multiples of narrower ones
		}
		for b := max(from+1, to-min(to, t.n-1)); b <= to; b++ {
			k := t.at + b%t.n
			w.count[k], w.declined[k], w.sum[k] = 0, 0, 0
		}
	}
	w.at = now
}

// add counts an event at the moment to which the window is turned.
func (w *window[N]) add(amount float32, declined bool) {
	for i := range tiers {
		t := &tiers[i]
		k := t.at + w.at/t.width%t.n
		increase(&w.count[k])
		if declined {
			increase(&w.declined[k])
		}
		w.sum[k] += amount
	}
}

func (w *window[N]) totals(out *totals) {
	for i := range tiers {
		t := &tiers[i]
		var count, declined uint32
		var sum float32
		for k := t.at; k < t.at+t.n; k++ {
			count += uint32(w.count[k])
			declined += uint32(w.declined[k])
			sum += w.sum[k]
		}
		out.count[i], out.declined[i], out.sum[i] = float32(count), float32(declined), sum
	}
}

// tenDays counts by days, over ten of them: 9 to 10 days.
type tenDays struct {
	at    uint32
	count [10]uint32
}

func (d *tenDays) turn(now uint32) {
	const n = uint32(len(d.count))
	from, to := d.at/day, now/day
	if from != to {
		for b := max(from+1, to-min(to, n-1)); b <= to; b++ {
			d.count[b%n] = 0
		}
	}
	d.at = now
}

func (d *tenDays) add() { increase(&d.count[d.at/day%uint32(len(d.count))]) }

func (d *tenDays) total() (sum uint32) {
	for _, n := range d.count {
		sum += n
	}
	return sum
}
