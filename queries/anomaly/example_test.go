package anomaly_test

import (
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/cardlake/cardlake/queries/anomaly"
)

// payments are rows of an amount, a count within the hour and a distance, and a last one that is
// unlike them.
func payments() anomaly.Matrix {
	random := rand.New(rand.NewPCG(1, 1))
	m := anomaly.Matrix{Cols: 3}
	for range 2000 {
		m.Data = append(m.Data, 20+5*random.NormFloat64(), float64(random.IntN(3)), 10*random.ExpFloat64())
	}
	m.Data = append(m.Data, 900, 14, 5)
	return m
}

func Example() {
	rows := payments()
	model, err := anomaly.Fit(rows, anomaly.Config{})
	if err != nil {
		log.Fatal(err)
	}
	scores := make([]float64, rows.Rows())
	if err := model.Score(scores, rows); err != nil {
		log.Fatal(err)
	}
	threshold, err := anomaly.Threshold(scores, 1)
	if err != nil {
		log.Fatal(err)
	}
	for i, s := range scores {
		if s < threshold {
			continue
		}
		why, err := model.Explain(rows.Row(i))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("row %d, once in more than a thousand: %v\n", i, why.Probability < 0.001)
		fmt.Printf("amount %.0f%%, count %.0f%%, distance %.0f%%\n", 100*why.Shares[0], 100*why.Shares[1], 100*why.Shares[2])
	}
	// Output:
	// row 2000, once in more than a thousand: true
	// amount 52%, count 48%, distance 0%
}

// A single detector, run on a matrix with labels and measured.
func ExampleFitForest() {
	rows := payments()
	labels := make([]bool, rows.Rows())
	labels[2000] = true

	forest, err := anomaly.FitForest(rows, anomaly.ForestConfig{Trees: 100, Sample: 256, Seed: 42})
	if err != nil {
		log.Fatal(err)
	}
	scores := make([]float64, rows.Rows())
	if err := forest.Score(scores, rows); err != nil {
		log.Fatal(err)
	}
	auc, err := anomaly.AUC(scores, labels)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f\n", auc)
	// Output: 0.99
}

func ExampleECOD() {
	rows := payments()
	scores, parts, err := anomaly.ECOD(rows)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.2f = %.2f\n", scores[2000], parts.Row(2000))
	// Output: 16.17 = [7.60 7.60 0.96]
}
