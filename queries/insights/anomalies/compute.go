package anomalies

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/anomaly"
	"github.com/cardlake/cardlake/queries/anomaly/features"
	"github.com/cardlake/cardlake/queries/insights"
)

// list finds the days of the history. That begins with a month, so that it begins anew once a
// month only.
func (r *run) list(ctx context.Context, version string) error {
	back := r.AsOf.AddDate(0, 0, -r.history)
	from := dateOf(time.Date(back.Year(), back.Month(), 1, 0, 0, 0, 0, time.UTC))
	chain := insights.ID("days", version, from.String(), fmt.Sprint(features.Features, r.budget, r.warm, r.refit))
	err := r.Each(ctx, `SELECT epoch_us(date_trunc('day', event_time)), count(*), epoch_us(max(ingested_at)), CAST(bit_xor(hash(event_id, card_token)) AS VARCHAR)
		FROM cards.transactions WHERE event_type = 'authorization' AND event_time >= `+insights.Time(from.Time())+` AND event_time < `+insights.Time(r.AsOf)+` GROUP BY 1 ORDER BY 1`,
		func(row []any) error {
			d := &day{date: dateOf(time.UnixMicro(row[0].(int64))), events: int(row[1].(int64))}
			chain = insights.ID("day", chain, d.date.String(), fmt.Sprint(row[1:]...))
			d.chain = chain
			r.days = append(r.days, d)
			return nil
		})
	if err == nil && len(r.days) == 0 {
		err = insights.Refuse("authorizations of the tenant in the last days", "none")
	}
	return err
}

// Keys of checkpoints.
func dayKey(d date) string         { return "day-" + d.String() }
func stateKey(d date) string       { return "state-" + d.String() }
func partKey(d date, n int) string { return stateKey(d) + "." + strconv.Itoa(n) }

// keptStates is how many of the last days have their state kept, beside one in four weeks: that of
// a million cards has half a gigabyte.
const keptStates = 3

func (r *run) keepsState(d date) bool {
	return d > r.days[len(r.days)-1].date-keptStates || d%28 == 0
}

// rowsAtOnce bounds the rows of the days that one statement reads. A statement has a cost of its
// own, and sorts all its rows.
const rowsAtOnce = 300_000

// compute brings all days up to date, and forgets the checkpoints of others.
func (r *run) compute(ctx context.Context) error {
	known, err := r.load(ctx)
	if err != nil {
		return err
	}
	p := &pass{run: r, boundary: -1}
	if err := p.resume(ctx, known); err != nil {
		return err
	}
	for p.next < len(r.days) {
		r.Report("features", int64(p.next), int64(len(r.days)))
		first, rows := r.days[p.next], 0
		end := p.next
		for end < len(r.days) && (end == p.next || rows+r.days[end].events <= rowsAtOnce) {
			rows += r.days[end].events
			end++
		}
		if err := p.begin(); err != nil {
			return err
		}
		if err := each(ctx, r.Task, first.date, r.days[end-1].date+1, p.rates, func(e *features.Event) error { return p.add(ctx, e) }); err != nil {
			return fmt.Errorf("days from %s on: %w", first.date, err)
		}
		for p.next < end {
			if err := p.finish(ctx); err != nil {
				return err
			}
		}
	}
	return r.forget(ctx)
}

// load reads the kept days that still hold and returns how many there are without a gap.
func (r *run) load(ctx context.Context) (int, error) {
	for i, d := range r.days {
		body, err := r.Load(ctx, dayKey(d.date))
		if ctx.Err() != nil {
			return 0, err
		}
		if err != nil || d.unmarshal(body) != nil {
			return i, nil // it is made anew, whatever it was
		}
	}
	return len(r.days), nil
}

// forget removes checkpoints of days that are not kept.
func (r *run) forget(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, d := range r.days {
		wanted[dayKey(d.date)] = true
		wanted[stateKey(d.date)] = r.keepsState(d.date)
	}
	saved, err := r.Saved(ctx)
	if err != nil {
		return err
	}
	for _, key := range saved {
		of, _, _ := strings.Cut(key, ".") // of a part
		if (strings.HasPrefix(key, "day-") || strings.HasPrefix(key, "state-")) && !wanted[of] {
			if err := r.Forget(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// boundary is the date from which on the model holds that scores day i: the first scored day, or
// so many refits later.
func (r *run) boundary(i int) date {
	start := r.days[0].date + date(r.warm)
	if r.days[i].date < start {
		return r.days[0].date
	}
	return r.days[i].date - (r.days[i].date-start)%date(r.refit)
}

// screen learns from the sample before the boundary of day i how far from usual figures are; nil
// if that is too small.
func (r *run) screen(i int) (*anomaly.Robust, error) {
	rows := reference(r.days, r.boundary(i))
	if len(rows) < leastReference {
		return nil, nil
	}
	return anomaly.FitRobust(matrix(rows))
}

// pass goes through days of events.
type pass struct {
	*run
	state *features.State
	rates rates
	next  int // index of the day that is on its way

	boundary date            // before which screen has learned
	robust   *anomaly.Robust // nil while too little is known
	keep     *keeper
	rows     []row // that have not been offered yet
	matrix   anomaly.Matrix
	scores   []float64
}

// block is how many events are screened at once.
const block = 512

// begin makes ready for the next day.
func (p *pass) begin() (err error) {
	if b := p.run.boundary(p.next); b != p.boundary {
		p.boundary = b
		if p.robust, err = p.screen(p.next); err != nil {
			return err
		}
	}
	p.keep = newKeeper(p.budget)
	if p.rows == nil {
		p.rows = make([]row, 0, block)
		p.matrix = anomaly.Matrix{Data: make([]float64, block*len(seen)), Cols: len(seen)}
		p.scores = make([]float64, block)
	}
	return nil
}

// add takes an event, of the day that is on its way or of a later one.
func (p *pass) add(ctx context.Context, e *features.Event) error {
	for cardlake.DayOf(e.Time) != p.days[p.next].date {
		if err := p.finish(ctx); err != nil {
			return err
		}
		if err := p.begin(); err != nil {
			return err
		}
	}
	p.rows = p.rows[:len(p.rows)+1]
	to := &p.rows[len(p.rows)-1]
	before, err := p.state.Next(e, &to.features)
	if errors.Is(err, features.ErrOrder) {
		p.rows = p.rows[:len(p.rows)-1] // rows come in order, so it is a row that is there twice
		return nil
	}
	if err != nil {
		return err
	}
	to.id, to.time, to.card, to.merchant, to.place, to.before, to.why = e.ID, e.Time, e.Card, e.Merchant, e.Place, before, 0
	if len(p.rows) == block {
		return p.offer()
	}
	return nil
}

// offer screens the rows and offers them to be kept.
func (p *pass) offer() error {
	if p.robust == nil {
		clear(p.scores)
	} else {
		for i := range p.rows {
			look(p.matrix.Row(i), &p.rows[i].features)
		}
		part := anomaly.Matrix{Data: p.matrix.Data[:len(p.rows)*p.matrix.Cols], Cols: p.matrix.Cols}
		if err := p.robust.Score(p.scores[:len(p.rows)], part); err != nil {
			return err
		}
	}
	for i := range p.rows {
		signal := 0.0
		if p.robust != nil {
			for _, name := range patterns {
				signal = max(signal, p.rows[i].features.Signal(name))
			}
		}
		p.keep.offer(&p.rows[i], p.scores[i], signal)
	}
	p.rows = p.rows[:0]
	return nil
}

// finish ends the day that is on its way.
func (p *pass) finish(ctx context.Context) error {
	d := p.days[p.next]
	if err := p.offer(); err != nil {
		return err
	}
	d.rows = p.keep.rows()
	p.keep = newKeeper(p.budget)
	p.next++
	if err := p.Save(ctx, dayKey(d.date), d.marshal()); err != nil || !p.keepsState(d.date) {
		return err
	}
	return p.saveState(ctx, d)
}

var patterns = features.Known()
