package sim_test

import (
	"fmt"
	"time"

	"github.com/cardlake/cardlake/sim"
)

// The first messages of a run, which are the same every time.
func ExampleTraffic() {
	people := sim.NewPopulation(sim.Config{Seed: 1})
	start, err := sim.NewSegment(0, time.Date(2026, 3, 2, 15, 0, 0, 0, time.UTC), 10, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	traffic := sim.NewTraffic(people, sim.Timeline{start})
	var m sim.Message
	for i := range uint64(4) {
		traffic.Message(i, &m)
		fmt.Println(m.MTI, m.Transmitted.Format(time.TimeOnly), m.Program, m.PAN, m.Channel, m.Amount, m.City)
	}
	// Output:
	// 0100 15:00:00 flamenco-card-visa-debit PAN(redacted) pos 31.54 BRL Curitiba
	// 0100 15:00:00 girasol-go-mastercard-credit PAN(redacted) pos 3413.62 ARS Buenos Aires
	// 0100 15:00:00 laguna-bank-visa-prepaid PAN(redacted) pos 383.90 BRL Fortaleza
	// 0100 15:00:00 darien-go-visa-debit PAN(redacted) ecommerce 2291.20 MXN Mexico City
}
