package segment_test

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake/queries/segment"
)

func Example() {
	// Days since the last purchase, purchases, spending, and the share spent abroad.
	raw := segment.Matrix{Rows: 15, Cols: 4, Data: []float64{
		1, 40, 900, 0.0, 2, 44, 950, 0.1, 1, 38, 870, 0.0, 3, 41, 990, 0.0, 2, 39, 910, 0.0,
		60, 3, 80, 0.0, 75, 2, 60, 0.0, 66, 3, 95, 0.1, 71, 2, 50, 0.0, 64, 4, 70, 0.0,
		9, 12, 2500, 0.9, 11, 14, 2700, 0.8, 8, 11, 2400, 0.9, 12, 13, 2900, 1.0, 10, 12, 2600, 0.9,
	}}
	columns := []segment.Column{{Name: "recency"}, {Name: "frequency"}, {Name: "monetary"}, {Name: "cross_border"}}
	preparation, x, err := segment.Prepare(raw, columns)
	if err != nil {
		fmt.Println(err)
		return
	}
	choice, err := segment.Choose(context.Background(), x, segment.ChooseConfig{Least: 2, Most: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	profiles, err := segment.Profiles(preparation, x, choice.Partition)
	if err != nil {
		fmt.Println(err)
		return
	}
	names, err := segment.Spending.Names(preparation.Kept(), profiles, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for s, name := range names {
		fmt.Printf("%s (%d): %s\n", name, profiles[s].Size, segment.Spending.Describe(preparation.Kept(), profiles[s]))
	}
	// Output:
	// Active frequent customers (5): They buy often (+1.4), bought lately (-0.8) and buy at home (-0.7).
	// Active high-value travellers (5): They buy abroad (+1.4), spend much (+1.3) and bought lately (-0.6).
	// Lapsed low-value customers (5): They have not bought for long (+1.4), spend little (-1.1), buy seldom (-1.0) and buy at home (-0.7).
}
