package anomaly

import (
	"fmt"
	"math"
	"slices"
)

// The measures take a score, or a probability, and a label for each row; true is what was looked
// for. Their results do not depend on the order of the rows, nor on how equal scores are sorted.

// group is a set of rows of one score.
type group struct {
	score       float64
	hits, total int
}

// ranked groups rows by score, the highest first, and counts the labelled ones.
func ranked(what string, scores []float64, labels []bool) (groups []group, hits int, err error) {
	if err := checkLabelled(what, scores, labels); err != nil {
		return nil, 0, err
	}
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		switch x, y := scores[a], scores[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	for _, i := range order {
		if len(groups) == 0 || groups[len(groups)-1].score != scores[i] {
			groups = append(groups, group{score: scores[i]})
		}
		g := &groups[len(groups)-1]
		g.total++
		if labels[i] {
			g.hits++
			hits++
		}
	}
	return groups, hits, nil
}

func checkLabelled(what string, scores []float64, labels []bool) error {
	if len(scores) != len(labels) {
		return fmt.Errorf("%s: %d scores of %d labels", what, len(scores), len(labels))
	}
	if len(scores) == 0 {
		return fmt.Errorf("%s: %w: none, at least 1 is needed", what, ErrTooFew)
	}
	if i := notFinite(scores); i >= 0 {
		return fmt.Errorf("%s: score %d: %w", what, i, ErrValue)
	}
	return nil
}

// needBoth says that a measure has no value without rows of both labels.
func needBoth(what string, hits, rows int) error {
	if hits == 0 || hits == rows {
		return fmt.Errorf("%s: %w: %d of %d are labelled, at least 1 of each label is needed", what, ErrTooFew, hits, rows)
	}
	return nil
}

func needHits(what string, hits int) error {
	if hits == 0 {
		return fmt.Errorf("%s: %w: none is labelled, at least 1 is needed", what, ErrTooFew)
	}
	return nil
}

// AUC is the area under the receiver operating characteristic: the probability that a labelled
// row scores higher than another, equal scores counting half (Hanley and McNeil, Radiology
// 143(1), 1982).
func AUC(scores []float64, labels []bool) (float64, error) {
	groups, hits, err := ranked("roc auc", scores, labels)
	if err != nil {
		return 0, err
	}
	if err := needBoth("roc auc", hits, len(labels)); err != nil {
		return 0, err
	}
	var above, pairs float64 // labelled rows above the group; ordered pairs
	for _, g := range groups {
		pairs += float64(g.total-g.hits) * (above + float64(g.hits)/2)
		above += float64(g.hits)
	}
	return pairs / (float64(hits) * float64(len(labels)-hits)), nil
}

// AveragePrecision is the mean, over the labelled rows, of the precision at the row's score: the
// sum of precision times the step of recall, without interpolation.
func AveragePrecision(scores []float64, labels []bool) (float64, error) {
	groups, hits, err := ranked("average precision", scores, labels)
	if err != nil {
		return 0, err
	}
	if err := needHits("average precision", hits); err != nil {
		return 0, err
	}
	var sum float64
	var found, seen int
	for _, g := range groups {
		found += g.hits
		seen += g.total
		sum += float64(g.hits) * float64(found) / float64(seen)
	}
	return sum / float64(hits), nil
}

// hitsAt is how many labelled rows are expected among the k of highest score if equal scores are
// in random order.
func hitsAt(groups []group, k int) float64 {
	var found float64
	for _, g := range groups {
		if k <= g.total {
			return found + float64(g.hits)*float64(k)/float64(g.total)
		}
		found += float64(g.hits)
		k -= g.total
	}
	return found
}

// PrecisionAt is the share of labelled rows among the k of highest score, or among all if there
// are fewer. Of equal scores at the border, it counts what is expected of a random order.
func PrecisionAt(scores []float64, labels []bool, k int) (float64, error) {
	groups, _, err := ranked("precision", scores, labels)
	if err != nil {
		return 0, err
	}
	if k < 1 {
		return 0, fmt.Errorf("precision: at %d rows, at least 1 is needed", k)
	}
	return hitsAt(groups, k) / float64(min(k, len(scores))), nil
}

// RecallAt is the share of the labelled rows that is among the k of highest score, equal scores
// as in [PrecisionAt].
func RecallAt(scores []float64, labels []bool, k int) (float64, error) {
	groups, hits, err := ranked("recall", scores, labels)
	if err != nil {
		return 0, err
	}
	if err := needHits("recall", hits); err != nil {
		return 0, err
	}
	if k < 1 {
		return 0, fmt.Errorf("recall: at %d rows, at least 1 is needed", k)
	}
	return hitsAt(groups, k) / float64(hits), nil
}

// PRPoint is what alerts on every score that is not below Threshold would be.
type PRPoint struct {
	Threshold         float64
	Alerts, Hits      int
	Precision, Recall float64
}

// PRCurve is the precision-recall curve, from the highest threshold to the lowest: a point for
// each distinct score, or at most about points of them, evenly by recall, if points is above 0.
func PRCurve(scores []float64, labels []bool, points int) ([]PRPoint, error) {
	groups, hits, err := ranked("precision-recall curve", scores, labels)
	if err != nil {
		return nil, err
	}
	if err := needHits("precision-recall curve", hits); err != nil {
		return nil, err
	}
	var curve []PRPoint
	var p PRPoint
	kept := -1.0
	for i, g := range groups {
		p.Threshold = g.score
		p.Alerts += g.total
		p.Hits += g.hits
		p.Precision = float64(p.Hits) / float64(p.Alerts)
		p.Recall = float64(p.Hits) / float64(hits)
		if points > 0 && p.Recall-kept < 1/float64(points) && i < len(groups)-1 {
			continue
		}
		kept = p.Recall
		curve = append(curve, p)
	}
	return curve, nil
}

// checkProbabilities says why the values can't be probabilities of the labels.
func checkProbabilities(what string, probabilities []float64, labels []bool) error {
	if err := checkLabelled(what, probabilities, labels); err != nil {
		return err
	}
	for i, p := range probabilities {
		if p < 0 || p > 1 {
			return fmt.Errorf("%s: value %d is no probability", what, i)
		}
	}
	return nil
}

// Brier is the mean squared difference of probability and label (Brier, Monthly Weather Review
// 78(1), 1950): 0 is perfect.
func Brier(probabilities []float64, labels []bool) (float64, error) {
	if err := checkProbabilities("brier score", probabilities, labels); err != nil {
		return 0, err
	}
	var sum float64
	for i, p := range probabilities {
		d := p - number(labels[i])
		sum += d * d
	}
	return sum / float64(len(labels)), nil
}

// LogLoss is the mean surprise of the labels under the probabilities, in nats. Probabilities are
// kept 1e-15 away from 0 and 1, so one sure mistake does not make it infinite.
func LogLoss(probabilities []float64, labels []bool) (float64, error) {
	if err := checkProbabilities("log loss", probabilities, labels); err != nil {
		return 0, err
	}
	const edge = 1e-15
	var sum float64
	for i, p := range probabilities {
		p = min(max(p, edge), 1-edge)
		if labels[i] {
			sum -= math.Log(p)
		} else {
			sum -= math.Log1p(-p)
		}
	}
	return sum / float64(len(labels)), nil
}

// Bin is a set of rows of neighbouring probabilities.
type Bin struct {
	Low, High float64 // the lowest and the highest probability in it
	Mean      float64 // of the probabilities
	Observed  float64 // share of labelled rows
	Rows      int
}

// Calibration sorts the rows by probability into at most bins of about equal size, rows of one
// probability staying together, the lowest first: the points of a reliability diagram.
func Calibration(probabilities []float64, labels []bool, bins int) ([]Bin, error) {
	if bins < 1 {
		return nil, fmt.Errorf("calibration: %d bins, at least 1 is needed", bins)
	}
	if err := checkProbabilities("calibration", probabilities, labels); err != nil {
		return nil, err
	}
	groups, _, err := ranked("calibration", probabilities, labels)
	if err != nil {
		return nil, err
	}
	slices.Reverse(groups)
	var out []Bin
	var bin Bin
	left := len(labels) // rows that are in no finished bin
	for _, g := range groups {
		if bin.Rows == 0 {
			bin.Low = g.score
		}
		bin.High = g.score
		bin.Mean += g.score * float64(g.total)
		bin.Observed += float64(g.hits)
		bin.Rows += g.total
		if bin.Rows*(bins-len(out)) >= left {
			left -= bin.Rows
			bin.Mean /= float64(bin.Rows)
			bin.Observed /= float64(bin.Rows)
			out = append(out, bin)
			bin = Bin{}
		}
	}
	return out, nil
}

// CalibrationError is the mean difference, over the rows, of the probability and the observed
// share of their bin (Naeini, Cooper and Hauskrecht, AAAI 2015: expected calibration error).
func CalibrationError(bins []Bin) float64 {
	var sum, rows float64
	for _, b := range bins {
		sum += math.Abs(b.Mean-b.Observed) * float64(b.Rows)
		rows += float64(b.Rows)
	}
	if rows == 0 {
		return 0
	}
	return sum / rows
}

// number is 1 for true.
func number(label bool) float64 {
	if label {
		return 1
	}
	return 0
}
