package features_test

import (
	"fmt"
	"time"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// A card is used in Bogotá, and seven minutes later in São Paulo.
func Example() {
	s := features.New()
	at := time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC)
	use := func(id byte, country, city string, at time.Time) features.Case {
		e := features.Event{
			ID: [16]byte{id}, Time: at.UnixMicro(), Card: features.KeyOf("tk1_abcdefgh"), Merchant: features.KeyOf("shop in " + city),
			Place: features.PlaceOf(country, city), Channel: features.POS, Entry: features.Chip, Present: true, Amount: 25, Approved: true,
		}
		var v features.Vector
		before, err := s.Next(&e, &v)
		if err != nil {
			fmt.Println(err)
		}
		return features.Case{Vector: &v, Place: e.Place, Before: before}
	}
	use(1, "CO", "BOGOTA D.C.", at)
	c := use(2, "BR", "SAO PAULO", at.Add(7*time.Minute))
	fmt.Println(c.Vector.Pattern())
	for _, r := range c.Reasons(2) {
		fmt.Println(r.Text)
	}
	// Output:
	// impossible_travel
	// used in São Paulo 7 minutes after Bogotá: 4,300 km
	// the card's first use in Brazil
}
