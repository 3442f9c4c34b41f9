package predict_test

import (
	"fmt"

	"github.com/cardlake/cardlake/queries/predict"
)

func Example() {
	// The parameters that Fader, Hardie and Lee found for 2,357 customers of an online shop of
	// 1997, with time in weeks.
	m := predict.BGNBD{R: 0.243, Alpha: 4.414, A: 0.793, B: 2.426}
	value := predict.GammaGamma{P: 6.25, Q: 3.74, Gamma: 15.44}

	// One of them came back twice, the last time after 30.43 of the 38.86 weeks of observation,
	// and spent 22.35 dollars each time.
	h := predict.History{X: 2, Tx: 30.43, T: 38.86}
	purchases := m.Expected(h, 39)
	fmt.Printf("alive with a probability of %.2f\n", m.Alive(h))
	fmt.Printf("expected in 39 weeks: %.2f purchases, %.2f dollars\n", purchases, purchases*value.Expected(h.X, 22.35))
	// Output:
	// alive with a probability of 0.73
	// expected in 39 weeks: 1.23 purchases, 30.24 dollars
}
