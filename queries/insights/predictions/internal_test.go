package predictions

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is read does not depend on the order in which the engine gives it.
func TestOrderOfReading(t *testing.T) {
	type row struct {
		customer, mcc string
		zone          int32
		purchase
	}
	d := rand.New(rand.NewPCG(1, 1))
	var rows []row
	for range 2000 {
		rows = append(rows, row{fmt.Sprint("c", d.IntN(40)), fmt.Sprint(d.IntN(700)), 0, purchase{at: 1_700_000_000 + int64(d.IntN(50))*3600, value: float32(d.IntN(5))}})
	}
	make := func(rows []row) *data {
		ids, mccs := map[string]int32{}, map[string]uint16{"": 0}
		var customer []int32
		var bought []purchase
		for _, r := range rows {
			if _, ok := ids[r.customer]; !ok {
				ids[r.customer] = int32(len(ids))
			}
			if _, ok := mccs[r.mcc]; !ok {
				mccs[r.mcc] = uint16(len(mccs))
			}
			r.category = mccs[r.mcc]
			customer, bought = append(customer, ids[r.customer]), append(bought, r.purchase)
		}
		d := &data{}
		d.sort(ids, mccs, slices.Repeat([]int32{0}, len(ids)), customer, bought)
		return d
	}
	want := make(rows)
	if len(want.mccs) != mostCategories || want.mccs[0] != "" || len(want.customers) != 40 {
		t.Fatalf("%d categories, %d customers", len(want.mccs), len(want.customers))
	}
	for range 3 {
		d.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		if diff := cmp.Diff(want, make(rows), cmp.AllowUnexported(data{})); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestZones(t *testing.T) {
	const at = 1_772_000_000
	for _, c := range []struct {
		clock int64
		want  int32
	}{
		{0, 0}, {at, 0}, {at - 3*3600, -3 * 3600}, {at - 3*3600 + 100, -3 * 3600}, {at + 5*3600 + 1800, 5*3600 + 1800},
		{at + 20*3600, 0}, {1, 0}, {at - 14*3600, -14 * 3600}, {at + 14*3600, 14 * 3600},
	} {
		if got := zoneOf(at, c.clock); got != c.want {
			t.Errorf("a clock %d seconds ahead: zone %d, want %d", c.clock-at, got, c.want)
		}
	}
}
