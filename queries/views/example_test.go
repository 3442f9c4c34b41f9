package views_test

import (
	"fmt"
	"time"

	"github.com/cardlake/cardlake/queries/views"
)

// A question's statement is made of checked arguments, and goes through the gateway like any other.
func ExampleQuestion_For() {
	q, _ := views.QuestionNamed("cards")
	fmt.Println(q.Takes())
	sql, err := q.For(views.Args{Tenant: "aurora", Day: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)})
	fmt.Println(sql, err)
	_, err = q.For(views.Args{Tenant: "aurora' OR 'a' = 'a"})
	fmt.Println(err)
	// Output:
	// [tenant day]
	// SELECT window_days, active_cards, new_cards, dormant_cards
	// FROM views.active_cards
	// WHERE tenant = 'aurora' AND day = DATE '2026-03-02'
	// ORDER BY window_days <nil>
	// question cards: tenant name must be 1 to 40 of a-z, 0-9 and -, begin with a letter, and have at most 6 digits in a row
}
