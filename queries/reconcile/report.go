package reconcile

import (
	"fmt"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Status says how far a minute is from complete; a greater one is further. It is written as
// its name.
type Status int

const (
	// Complete: the rows are as many as were counted, with the same sums.
	Complete Status = iota
	// Unconfirmed: rows are there whose totals may still come.
	Unconfirmed
	// Late: rows are missing that may still come.
	Late
	// Wrong: the rows are not what was counted, or were never counted, and nothing more is
	// on its way.
	Wrong
)

var statusNames = [...]string{"complete", "unconfirmed", "late", "wrong"}

// String returns the status's name.
func (s Status) String() string { return statusNames[s] }

// MarshalText returns the status's name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Report is the result of one comparison.
type Report struct {
	At      time.Time `json:"at"`      // when it was made
	Status  Status    `json:"status"`  // the worst of all minutes and gaps
	Tenants []Tenant  `json:"tenants"` // in order of name, but for those of gaps only
	Minutes []Minute  `json:"minutes"` // those that are not complete, by tenant and time
	Gaps    []Gap     `json:"gaps"`
	// Unlisted counts the minutes and gaps over Config.MaxListed.
	Unlisted int `json:"unlisted"`
}

// Tenant counts a tenant's minutes by status, and what they hold.
type Tenant struct {
	Tenant      cardlake.Tenant `json:"tenant"`
	Complete    int64           `json:"complete"`
	Unconfirmed int64           `json:"unconfirmed"`
	Late        int64           `json:"late"`
	Wrong       int64           `json:"wrong"`
	Gaps        int64           `json:"gaps"`
	Rows        int64           `json:"rows"`    // in the lake
	Counted     int64           `json:"counted"` // by the totals
}

// Minute is one minute of a tenant that is not complete.
type Minute struct {
	Tenant cardlake.Tenant `json:"tenant"`
	Minute time.Time       `json:"minute"` // its begin
	Status Status          `json:"status"`
	Sums   []Sums          `json:"sums"` // by currency
}

// Sums are what the lake's rows of a minute and currency add up to, and what was counted.
type Sums struct {
	Currency cardlake.Currency `json:"currency"`
	Lake     Sum               `json:"lake"`
	Totals   Sum               `json:"totals"`
}

// Sum adds up decisions. Amounts are in the currency's major unit, with four decimals.
type Sum struct {
	Events         int64  `json:"events"`
	Approved       int64  `json:"approved"`
	Amount         string `json:"amount"`
	ApprovedAmount string `json:"approved_amount"`
}

// Gap is a run of decisions of one tenant that a processor counted in totals which are not in
// the lake.
type Gap struct {
	Tenant    cardlake.Tenant `json:"tenant"`
	Processor string          `json:"processor"`
	First     int64           `json:"first_sequence"` // the first number that is missing
	Last      int64           `json:"last_sequence"`
	After     time.Time       `json:"after,omitzero"` // minute of the total before; zero at the very begin
	Before    time.Time       `json:"before"`         // minute of the total behind
	Status    Status          `json:"status"`         // Late or Wrong
}

// lacks reports whether the lake has fewer rows than were counted of a currency.
func (m *Minute) lacks() bool {
	for _, s := range m.Sums {
		if s.Lake.Events < s.Totals.Events {
			return true
		}
	}
	return false
}

// Detail says in words what differs.
func (m *Minute) Detail() string {
	var missing, more, counted int64
	var differs []string
	for _, s := range m.Sums {
		counted += s.Totals.Events
		switch d := s.Lake.Events - s.Totals.Events; {
		case d < 0:
			missing -= d
		case d > 0:
			more += d
		case s.Lake != s.Totals:
			differs = append(differs, string(s.Currency))
		}
	}
	if counted == 0 {
		return fmt.Sprintf("no total counts %s", rows(more))
	}
	var parts []string
	if missing > 0 {
		parts = append(parts, rows(missing)+" missing")
	}
	if more > 0 {
		parts = append(parts, rows(more)+" more than counted")
	}
	if len(differs) > 0 {
		parts = append(parts, "sums differ in "+strings.Join(differs, ", "))
	}
	return strings.Join(parts, ", ")
}

func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}
