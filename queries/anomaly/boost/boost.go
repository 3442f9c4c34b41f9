// Package boost learns fraud from labels and says why it suspects a transaction: gradient-boosted decision trees beside a
// random forest, added up in log-odds and calibrated to probabilities.
//
// Boosting is histogram-based (255 bins a column; Ke et al., LightGBM, NeurIPS 2017) with the regularised gain of Chen & Guestrin
// (XGBoost, KDD 2016, equations 5 to 7), leaf-wise growth, and missing values sent to the better side. The forest is Breiman's
// (Machine Learning 2001) on the same histograms. Boosting ranks a whole population better (ROC-AUC), a forest the few rows at its
// very top (average precision), where alerts come from; so both are trained and the model is
//
//	log-odds = scale · (prior + Σ boosted trees + share · forest's mean) + offset
//
// with share chosen from none, some and much by average precision on the validation rows, and scale and offset fitted there (Platt 1999).
// It is one sum of trees, hence one exact explanation: contributions are TreeSHAP's (Lundberg et al., Nature Machine Intelligence
// 2020, algorithm 2), which add up to the log-odds.
//
// Classes are not reweighted: the least hessian of a leaf and L2 keep rare frauds from making extreme leaves, and the probabilities
// need no correction. Labels that arrive weeks late are the subject of [Delay].
//
// Everything depends on the data, the configuration and the seed only, whatever the number of processors.
package boost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
)

// Config is how a model is trained. Zero fields mean the defaults, which are meant for fraud: a few labels among thousands of rows.
type Config struct {
	Rounds       int     // boosted trees at most; default 200
	Patience     int     // rounds without a lower validation loss that end boosting; default 25
	LearningRate float64 // what a boosted tree's leaves are multiplied by; default 0.1
	Leaves       int     // of a boosted tree; default 16
	Depth        int     // of a boosted tree; default 6
	LeafRows     int     // rows that a boosted leaf holds at least; default 5
	LeafHessian  float64 // sum of p·(1−p) that a boosted leaf holds at least; default 0.5
	L2           float64 // added to a leaf's sum of p·(1−p); default 2
	RowShare     float64 // of rows for each boosted tree; default 0.7
	ColumnShare  float64 // of columns for each boosted tree, at least 4 of them; default 0.5

	ForestTrees    int // default 50
	ForestDepth    int // default 24
	ForestLeafRows int // rows that a leaf of the forest holds at least; default 2

	Validation float64 // share of rows, the newest, that rounds and calibration are chosen on; default 0.2
	MinFrauds  int     // frauds below which training is refused; default and least 20
	Seed       uint64  // of every draw
	Workers    int     // goroutines; default GOMAXPROCS; changes no result
}

func (c Config) withDefaults() (Config, error) {
	var faults []error
	count := func(name string, v *int, otherwise, least, most int) {
		if *v == 0 {
			*v = otherwise
		}
		if *v < least || *v > most {
			faults = append(faults, fmt.Errorf("boost: %s %d is not between %d and %d", name, *v, least, most))
		}
	}
	number := func(name string, v *float64, otherwise, least, most float64) {
		if *v == 0 {
			*v = otherwise
		}
		if !(*v >= least && *v <= most) {
			faults = append(faults, fmt.Errorf("boost: %s is not between %g and %g", name, least, most))
		}
	}
	count("Rounds", &c.Rounds, 200, 1, 10_000)
	count("Patience", &c.Patience, 25, 1, 10_000)
	count("Leaves", &c.Leaves, 16, 2, 1024)
	count("Depth", &c.Depth, 6, 1, 64)
	count("LeafRows", &c.LeafRows, 5, 1, math.MaxInt32)
	count("ForestTrees", &c.ForestTrees, 50, 1, 10_000)
	count("ForestDepth", &c.ForestDepth, 24, 1, 64)
	count("ForestLeafRows", &c.ForestLeafRows, 2, 1, math.MaxInt32)
	count("MinFrauds", &c.MinFrauds, leastFrauds, leastFrauds, math.MaxInt32)
	count("Workers", &c.Workers, runtime.GOMAXPROCS(0), 1, 1024)
	number("LearningRate", &c.LearningRate, 0.1, 1e-4, 1)
	number("LeafHessian", &c.LeafHessian, 0.5, 1e-6, 1e9)
	number("L2", &c.L2, 2, 1e-6, 1e9)
	number("RowShare", &c.RowShare, 0.7, 0.01, 1)
	number("ColumnShare", &c.ColumnShare, 0.5, 0.01, 1)
	number("Validation", &c.Validation, 0.2, 0.05, 0.5)
	return c, errors.Join(faults...)
}

const (
	// leastFrauds is how many frauds a model needs: half of them to learn from and ten to be judged by.
	leastFrauds = 20
	// matureExposure is from where on a label counts as final: such rows alone choose and calibrate.
	matureExposure = 0.9
)

// ErrTooFew is in the chain of a refusal for want of labels; its message says how many there are and how many are needed.
var ErrTooFew = errors.New("too few labelled rows")

// Summary is how a training went. Its figures come from the validation rows, which the trees that they judge never saw;
// the model itself is then grown anew from all rows.
type Summary struct {
	Rows, Frauds                     int
	Mature                           int    // rows whose labels are final, or nearly
	Validation                       string // how the validation rows were chosen
	ValidationRows, ValidationFrauds int
	Rounds                           int     // boosted trees
	Boosted, Forest, Model           float64 // average precision of the boosted trees alone, of the forest alone, of what was chosen
	Prevalence                       float64 // average precision of a random order: the share of fraud among the validation rows
	ForestShare                      float64 // what the forest's mean is multiplied by
}

// forestShares are tried in this order; another than the first must do better by shareMargin, for few frauds make average precision uncertain.
var forestShares = [...]float64{12, 0, 48}

const shareMargin = 0.02

// Train learns a model. It refuses with [ErrTooFew] below Config.MinFrauds frauds, or as many genuine rows, with final labels.
func Train(ctx context.Context, data Data, config Config) (*Model, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := data.check(); err != nil {
		return nil, err
	}
	all, mature := make([]uint32, data.Rows()), make([]uint32, 0, data.Rows())
	frauds, matureFrauds := 0, 0
	for i := range all {
		all[i] = uint32(i)
		final := data.exposure(i) >= matureExposure
		if final {
			mature = append(mature, uint32(i))
		}
		if data.Fraud[i] {
			frauds++
			if final {
				matureFrauds++
			}
		}
	}
	if matureFrauds < config.MinFrauds {
		return nil, fmt.Errorf("boost: %w: %d rows with a final label are fraud, at least %d are needed", ErrTooFew, matureFrauds, config.MinFrauds)
	}
	if genuine := len(mature) - matureFrauds; genuine < config.MinFrauds {
		return nil, fmt.Errorf("boost: %w: %d rows with a final label are genuine, at least %d are needed", ErrTooFew, genuine, config.MinFrauds)
	}
	t := &trainer{data: data, config: config, bins: newBins(data, config.Workers), workers: config.Workers}
	fit, validation, how := t.divide(mature, matureFrauds)
	sum := Summary{Rows: data.Rows(), Frauds: frauds, Mature: len(mature), Validation: how, ValidationRows: len(validation)}

	trial, err := t.boost(ctx, fit, validation, config.Rounds)
	if err != nil {
		return nil, err
	}
	forest, err := t.forest(ctx, fit)
	if err != nil {
		return nil, err
	}
	judged := t.judge(validation, trial, forest, &sum)
	scale, offset := t.calibrate(validation, judged)

	final, err := t.boost(ctx, all, nil, len(trial.trees))
	if err != nil {
		return nil, err
	}
	if forest, err = t.forest(ctx, all); err != nil {
		return nil, err
	}
	if sum.ForestShare == 0 {
		forest = nil
	}
	sum.Rounds = len(final.trees)
	for _, tr := range forest {
		for i := range tr.nodes {
			if tr.nodes[i].left == 0 {
				tr.nodes[i].value *= float32(sum.ForestShare / float64(len(forest)))
			}
		}
	}
	m := &Model{columns: append([]string(nil), data.Columns...), summary: sum, prior: final.prior, scale: scale, offset: offset}
	for _, tr := range append(final.trees, forest...) {
		m.add(tr)
	}
	m.finish()
	return m, nil
}

// divide splits rows with final labels into those to fit and those to judge by: the newest, as the model will be used on what is newer still.
// Where the newest hold too few frauds (or nearly all, as in a file sorted by label), the tail is lengthened (or cut) until it holds
// config.Validation of the frauds; where even that leaves no sensible tail, every row is drawn by chance.
func (t *trainer) divide(rows []uint32, frauds int) (fit, validation []uint32, how string) {
	sensible := func(from int) bool {
		held := 0
		for _, r := range rows[from:] {
			if t.data.Fraud[r] {
				held++
			}
		}
		genuine := len(rows) - from - held
		return held >= max(leastFrauds/4, frauds/10) && held <= frauds/2 && genuine >= leastFrauds/4 && from-(frauds-held) >= leastFrauds/4 && 2*from >= len(rows)
	}
	from := len(rows) - int(math.Round(t.config.Validation*float64(len(rows))))
	if !sensible(from) {
		want := int(math.Ceil(t.config.Validation * float64(frauds)))
		for from = len(rows); want > 0; {
			from--
			if t.data.Fraud[rows[from]] {
				want--
			}
		}
	}
	if sensible(from) {
		return rows[:from], rows[from:], fmt.Sprintf("the newest %.0f %% of rows", 100*float64(len(rows)-from)/float64(len(rows)))
	}
	// Frauds and genuine rows are drawn apart, so that both sides hold their share of each.
	var classes [2][]uint32
	for _, r := range rows {
		class := 0
		if t.data.Fraud[r] {
			class = 1
		}
		classes[class] = append(classes[class], r)
	}
	for _, class := range classes {
		slices.SortFunc(class, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(draw(t.config.Seed, -3, int(a)), draw(t.config.Seed, -3, int(b))), cmp.Compare(a, b))
		})
		n := int(math.Ceil(t.config.Validation * float64(len(class))))
		validation, fit = append(validation, class[:n]...), append(fit, class[n:]...)
	}
	slices.Sort(fit)
	slices.Sort(validation)
	return fit, validation, fmt.Sprintf("%.0f %% of rows, drawn by chance", 100*t.config.Validation)
}
