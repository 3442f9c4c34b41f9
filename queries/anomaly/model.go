package anomaly

import (
	"fmt"
	"math"
)

// Combination is how the surprises of several detectors become one.
type Combination uint8

const (
	// Average is the weighted mean, which lessens the variance of the detectors (Aggarwal and
	// Sathe: Theoretical Foundations and Algorithms for Outlier Ensembles, SIGKDD Explorations
	// 17(1), 2015). The weights are six parts for the forest, three for the tails and one for the
	// robust distances.
	Average Combination = iota + 1
	// Maximum lessens their bias: it finds what only one detector sees, and their mistakes too.
	Maximum
)

// Config says how a [Model] is fitted. Zero fields mean the defaults, which are those of the
// detectors but for two, because on card transactions, where the rows of most interest are far
// less than one in a hundred, they put more of them first: see the package's benchmarks.
type Config struct {
	Forest  ForestConfig // Sample: 4096
	Tails   TailsConfig  // Method: MethodCOPOD
	Combine Combination  // Average
}

// Detectors is how many detectors a [Model] has.
const Detectors = 3

// The detectors of a model, as an index.
const (
	ofForest = iota
	ofTails
	ofRobust
)

// weights are of [Average]. They are not tuned beyond what two public sets of card transactions
// agree on: the forest is the best single detector, and robust distances alone rank badly where
// columns have heavy tails.
var weights = [Detectors]float64{ofForest: 0.6, ofTails: 0.3, ofRobust: 0.1}

// Model is an isolation forest, tail probabilities and robust distances, fitted to the same
// sample. A row's score is the combination of how surprising each detector's score is among
// those of the sample: ranks, put on a scale that does not end where the sample does.
//
// A Model is immutable and safe for concurrent use.
type Model struct {
	forest  *Forest
	tails   *Tails
	robust  *Robust
	combine Combination
	members [Detectors]*Surprise
	overall *Surprise
}

// Fit fits a model to the rows of m, which is the sample that later rows are compared with. Some
// ten thousand rows tell all that there is to learn of what is common; the tails gain from more.
func Fit(m Matrix, config Config) (*Model, error) {
	if config.Combine == 0 {
		config.Combine = Average
	}
	if config.Combine > Maximum {
		return nil, fmt.Errorf("anomaly model: combination %d is not known", config.Combine)
	}
	if config.Forest.Sample == 0 {
		config.Forest.Sample = 4096
	}
	if config.Tails.Method == 0 {
		config.Tails.Method = MethodCOPOD
	}
	model := &Model{combine: config.Combine}
	var err error
	if model.forest, err = FitForest(m, config.Forest); err != nil {
		return nil, err
	}
	if model.tails, err = FitTails(m, config.Tails); err != nil {
		return nil, err
	}
	if model.robust, err = FitRobust(m); err != nil {
		return nil, err
	}
	scores := make([]float64, m.Rows())
	for d, score := range model.detectors() {
		if err := score(scores, m); err != nil {
			return nil, err
		}
		if model.members[d], err = FitSurprise(scores); err != nil {
			return nil, err
		}
	}
	if err := model.Score(scores, m); err != nil {
		return nil, err
	}
	if model.overall, err = FitSurprise(scores); err != nil {
		return nil, err
	}
	return model, nil
}

func (m *Model) detectors() [Detectors]func([]float64, Matrix) error {
	return [Detectors]func([]float64, Matrix) error{ofForest: m.forest.Score, ofTails: m.tails.Score, ofRobust: m.robust.Score}
}

// Cols says how many columns a row has.
func (m *Model) Cols() int { return m.forest.Cols() }

// Score writes the score of each row of rows, in nats, to dst.
func (m *Model) Score(dst []float64, rows Matrix) error {
	if err := checkScore("anomaly model", dst, rows, m.Cols()); err != nil {
		return err
	}
	inBlocks(m, dst, rows)
	return nil
}

func (m *Model) block(dst []float64, rows Matrix) {
	var room [Detectors][blockRows]float64
	m.forest.block(room[ofForest][:len(dst)], rows)
	m.tails.block(room[ofTails][:len(dst)], rows)
	m.robust.block(room[ofRobust][:len(dst)], rows)
	for i := range dst {
		var surprises [Detectors]float64
		for d := range surprises {
			surprises[d] = m.members[d].Of(room[d][i])
		}
		dst[i] = m.combined(surprises)
	}
}

func (m *Model) combined(surprises [Detectors]float64) float64 {
	var sum, most float64
	for d, s := range surprises {
		sum += weights[d] * s
		most = max(most, s)
	}
	if m.combine == Maximum {
		return most
	}
	return sum
}

// Probability is that of a row of the sample having this score or a higher one: the alarm rate
// to expect of the score as a threshold if nothing changes.
func (m *Model) Probability(score float64) float64 { return m.overall.Probability(score) }

// Explanation says why a row has its score.
type Explanation struct {
	Score       float64
	Probability float64 // of [Model.Probability]
	// Forest, Tails and Robust are the surprises of the detectors, in nats.
	Forest, Tails, Robust float64
	// Shares are the columns' parts in what is unusual. They add up to 1, or are all 0 if no
	// column is unusual.
	Shares []float64
	// Z are the columns' modified z-scores, with their signs: see [Robust].
	Z []float64
}

// Explain scores a row and says what the columns have to do with it. Each detector's account is
// weighed with its surprise and its weight; of the forest it is [Forest.Explain], of the tails what is above
// the expectation of a continuous column, 1 + ln 2, of the robust distances the logarithm of what
// is above one deviation.
func (m *Model) Explain(row []float64) (*Explanation, error) {
	if err := checkExplain("anomaly model", row, row, m.Cols()); err != nil {
		return nil, err
	}
	e := &Explanation{Shares: make([]float64, len(row)), Z: make([]float64, len(row))}
	var surprises [Detectors]float64
	var score [1]float64
	one := Matrix{Data: row, Cols: len(row)}
	for d, of := range m.detectors() {
		if err := of(score[:], one); err != nil {
			return nil, err
		}
		surprises[d] = m.members[d].Of(score[0])
	}
	e.Forest, e.Tails, e.Robust = surprises[ofForest], surprises[ofTails], surprises[ofRobust]
	e.Score = m.combined(surprises)
	e.Probability = m.Probability(e.Score)

	parts := make([]float64, len(row))
	if err := m.forest.Explain(parts, row); err != nil {
		return nil, err
	}
	addShares(e.Shares, parts, weights[ofForest]*e.Forest)
	if err := m.tails.Explain(parts, row); err != nil {
		return nil, err
	}
	for j := range parts {
		parts[j] -= 1 + math.Ln2
	}
	addShares(e.Shares, parts, weights[ofTails]*e.Tails)
	if err := m.robust.Explain(e.Z, row); err != nil {
		return nil, err
	}
	for j, z := range e.Z {
		parts[j] = math.Log(max(math.Abs(z), 1))
	}
	addShares(e.Shares, parts, weights[ofRobust]*e.Robust)
	var sum float64
	for _, s := range e.Shares {
		sum += s
	}
	if sum > 0 {
		for j := range e.Shares {
			e.Shares[j] /= sum
		}
	}
	return e, nil
}

// addShares adds to shares what is positive of parts, as shares of its sum times weight.
func addShares(shares, parts []float64, weight float64) {
	var sum float64
	for _, p := range parts {
		sum += max(p, 0)
	}
	if sum == 0 {
		return
	}
	for j, p := range parts {
		shares[j] += max(p, 0) / sum * weight
	}
}
