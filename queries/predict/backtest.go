package predict

import (
	"fmt"
	"math"
)

// Accuracy says how well the next category was predicted.
type Accuracy struct {
	Top1, Top3 float64 // share of purchases whose category was the most probable, one of the three
	MRR        float64 // mean of 1/rank of the category that came
	LogLoss    float64 // mean of -log of the probability it had, in nats
}

// Fold is the predictions of one part of a rolling origin: the model learnt from the purchases
// before From and predicted every one of [From, To) from the customer's purchases before it.
type Fold struct {
	From, To    int64
	Predictions int

	Model Accuracy
	// What the model has to beat. The log loss is that of the best mixture with the frequency of
	// all customers, learnt as the model's weights are: alone they would rule out what came.
	Last     Accuracy // same category as last time
	Own      Accuracy // the customer's most frequent one
	Frequent Accuracy // the most frequent one of all customers

	// Mean absolute error of the time until the purchase, in seconds: of the median, of the
	// customer's last gap, of the customer's mean gap. They are over the GapPredictions purchases
	// before which a gap was known.
	GapPredictions             int
	GapModel, GapLast, GapMean float64
	// GapInside is the share of times between the tenth and the nine tenths: 0.8 is right.
	GapInside float64
}

// mostPredictions is about how many purchases of a fold are predicted, evenly over the customers.
const mostPredictions = 200_000

// Backtest predicts what is known already: the last 40 % of the purchases in folds, each by a
// model of what came before.
func Backtest(v Visits, categories, folds int) ([]Fold, error) {
	if err := v.check(categories); err != nil {
		return nil, err
	}
	if err := v.enough(); err != nil {
		return nil, err
	}
	if folds < 1 || folds > 20 {
		return nil, fmt.Errorf("predict: backtest: %d folds, want 1 to 20", folds)
	}
	var out []Fold
	for i := range folds {
		from := .6 + .4*float64(i)/float64(folds)
		at := v.quantiles(.75*from, from, .6+.4*float64(i+1)/float64(folds))
		if at[0] >= at[1] || at[1] >= at[2] {
			continue // too many purchases at one time
		}
		if f := backtest(&v, categories, at[0], at[1], at[2]); f.Predictions > 0 {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("predict: backtest: %w: the last 40 %% of the time have no purchase after a customer's first, longer data are needed", ErrTooFew)
	}
	return out, nil
}

// tally sums up what is predicted of a chunk of customers.
type tally struct {
	n, gaps                    int
	by                         [4]Accuracy // sums; of LogLoss: of log p
	gapModel, gapLast, gapMean float64
	inside                     int
}

func backtest(v *Visits, categories int, heldOut, from, to int64) Fold {
	n := newNext(categories)
	sayings := n.categories.fit(v, heldOut, from)
	n.gaps.fit(v, heldOut, from)
	last := weigh(sayings, [experts]bool{anySymbol: true, frequency: true, sameAgain: true})
	own := weigh(sayings, [experts]bool{anySymbol: true, frequency: true, ownFrequency: true})
	all := weigh(sayings, [experts]bool{anySymbol: true, frequency: true})

	count := 0
	for i := range v.customers() {
		for j := v.Start[i] + 1; j < v.Start[i+1]; j++ {
			if t := v.Time[j]; t >= from && t < to {
				count++
			}
		}
	}
	step := count/mostPredictions + 1
	customers := (v.customers() + step - 1) / step
	tallies := make([]tally, (customers+chunk-1)/chunk)
	inChunks(customers, func(at, begin, end int) {
		y := &tallies[at]
		c, g := n.categories.memory(), n.gaps.memory()
		p, pg := make([]float32, categories), make([]float32, gaps)
		for i := begin; i < end; i++ {
			k := i * step
			c.forget(v.zone(k))
			g.forget(v.zone(k))
			start := v.Start[k]
			for j := start; j < v.Start[k+1] && v.Time[j] < to; j++ {
				s := v.Category[j]
				if j > start && v.Time[j] >= from {
					y.n++
					level := seen(c.n)
					n.categories.mix(c, &n.categories.weights[level], p)
					y.by[0].add(rank(p, s), p[s])
					y.by[1].add(c.rankBy(&n.categories, sameAgain, s, p), n.categories.probability(c, &last[level], s))
					y.by[2].add(c.rankBy(&n.categories, ownFrequency, s, p), n.categories.probability(c, &own[level], s))
					y.by[3].add(c.rankBy(&n.categories, frequency, s, p), n.categories.probability(c, &all[level], s))
					if g.n > 0 {
						y.gaps++
						gone := float64(v.Time[j] - v.Time[j-1])
						n.gaps.mix(g, &n.gaps.weights[seen(g.n)], pg)
						early, median, late := gapQuantiles(pg, 0)
						y.gapModel += math.Abs(gone - median)
						y.gapLast += math.Abs(gone - float64(v.Time[j-1]-v.Time[j-2]))
						y.gapMean += math.Abs(gone - float64(v.Time[j-1]-v.Time[start])/float64(j-1-start))
						if gone >= early && gone <= late {
							y.inside++
						}
					}
				}
				c.observe(s, v.Time[j])
				g.observe(gap(v, start, j), v.Time[j])
			}
		}
	})
	var sum tally
	for i := range tallies {
		y := &tallies[i]
		sum.n += y.n
		sum.gaps += y.gaps
		sum.inside += y.inside
		sum.gapModel += y.gapModel
		sum.gapLast += y.gapLast
		sum.gapMean += y.gapMean
		for k := range sum.by {
			a, b := &sum.by[k], &y.by[k]
			a.Top1, a.Top3, a.MRR, a.LogLoss = a.Top1+b.Top1, a.Top3+b.Top3, a.MRR+b.MRR, a.LogLoss+b.LogLoss
		}
	}
	f := Fold{From: from, To: to, Predictions: sum.n, GapPredictions: sum.gaps}
	for k, a := range []*Accuracy{&f.Model, &f.Last, &f.Own, &f.Frequent} {
		*a = sum.by[k].over(float64(max(1, sum.n)))
	}
	m := float64(max(1, sum.gaps))
	f.GapModel, f.GapLast, f.GapMean, f.GapInside = sum.gapModel/m, sum.gapLast/m, sum.gapMean/m, float64(sum.inside)/m
	return f
}

func (a *Accuracy) add(rank int, p float32) {
	if rank == 1 {
		a.Top1++
	}
	if rank <= 3 {
		a.Top3++
	}
	a.MRR += 1 / float64(rank)
	a.LogLoss += math.Log(max(float64(p), 1e-30))
}

func (a Accuracy) over(n float64) Accuracy {
	return Accuracy{Top1: a.Top1 / n, Top3: a.Top3 / n, MRR: a.MRR / n, LogLoss: -a.LogLoss / n}
}

// rank is the place of symbol s by probability, 1 the first; of equal ones the lower is first.
func rank(p []float32, s uint16) int {
	r := 1
	for i, x := range p {
		if x > p[s] || x == p[s] && i < int(s) {
			r++
		}
	}
	return r
}

// rankBy is the place of symbol s by what one expert says, and where that is equal, by how
// frequent it is over all customers.
func (m *memory) rankBy(c *chain, expert int, s uint16, scratch []float32) int {
	var w [experts]float64
	w[expert], w[frequency] = 1, max(w[frequency], 1e-4)
	c.mix(m, &w, scratch)
	return rank(scratch, s)
}

// probability is that of one symbol.
func (c *chain) probability(m *memory, w *[experts]float64, s uint16) float32 {
	var p [experts]float32
	c.say(m, int(s), &p)
	sum := 0.0
	for e := range p {
		sum += w[e] * float64(p[e])
	}
	return float32(sum)
}
