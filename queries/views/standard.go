package views

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
)

// Question is one that a tenant's dashboard asks.
type Question struct {
	Name string // for URLs and metrics: lower-case letters and hyphens
	Doc  string
	// SQL has the arguments by name, in braces: {tenant}. See Args.
	SQL string
}

// Args are what a question is asked of. Which of them it takes is in Question.Takes.
type Args struct {
	Tenant cardlake.Tenant // {tenant}
	// Day is a UTC day: {day}, and the same day of the week before, {week_before}; its begin and
	// the next day's are the instants {begin} and {end}.
	Day time.Time
	// Limit is how many rows at most, 1 to MaxLimit; 0 means 20: {limit}
	Limit int
	// Before and BeforeID are event_time and event_id of a page's last row, the next page's
	// {before} and {before_id}. Zero means the first page, which ends with the day.
	Before   time.Time
	BeforeID cardlake.EventID
	Purchase cardlake.EventID // a transaction_id: {purchase}
	// Card is a card token, of at most 64 letters, digits and underscores: {card}
	Card string
}

// MaxLimit is the largest Args.Limit.
const MaxLimit = 1000

// arguments are what stands for each name, as a literal of the portable dialect.
var arguments = map[string]func(Args) (string, error){
	"tenant": func(a Args) (string, error) { return quote(string(a.Tenant)), a.Tenant.Validate() },
	"day":    func(a Args) (string, error) { return dateOf(a.Day) },
	"week_before": func(a Args) (string, error) {
		return dateOf(a.Day.AddDate(0, 0, -7))
	},
	"begin": func(a Args) (string, error) { return instantOf(a.Day) },
	"end":   func(a Args) (string, error) { return instantOf(a.Day.AddDate(0, 0, 1)) },
	"limit": func(a Args) (string, error) {
		switch {
		case a.Limit == 0:
			return "20", nil
		case a.Limit < 0 || a.Limit > MaxLimit:
			return "", fmt.Errorf("limit must be from 1 to %d", MaxLimit)
		}
		return strconv.Itoa(a.Limit), nil
	},
	"before": func(a Args) (string, error) {
		if a.Before.IsZero() {
			return instantOf(a.Day.AddDate(0, 0, 1))
		}
		return literal(a.Before)
	},
	"before_id": func(a Args) (string, error) { return quote(a.BeforeID.String()), nil },
	"purchase": func(a Args) (string, error) {
		if a.Purchase == (cardlake.EventID{}) {
			return "", errors.New("purchase is missing: it is a transaction_id")
		}
		return quote(a.Purchase.String()), nil
	},
	"card": func(a Args) (string, error) {
		if len(a.Card) == 0 || len(a.Card) > 64 || strings.ContainsFunc(a.Card, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return "", errors.New("card must be a token of 1 to 64 letters, digits and underscores")
		}
		return quote(a.Card), nil
	},
}

// day checks that the time is a UTC day within the calendar of all engines.
func day(t time.Time) error {
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 || !t.Truncate(24*time.Hour).Equal(t) {
		return errors.New("day must be the begin of a UTC day from 1970 on")
	}
	return nil
}

func dateOf(t time.Time) (string, error) {
	return "DATE " + quote(t.UTC().Format(time.DateOnly)), day(t)
}

func instantOf(t time.Time) (string, error) {
	if err := day(t); err != nil {
		return "", err
	}
	return literal(t)
}

func literal(t time.Time) (string, error) {
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return "", errors.New("before must be an instant from 1970 on")
	}
	return "CAST(" + quote(t.Format("2006-01-02 15:04:05.000000+00:00")) + " AS TIMESTAMP WITH TIME ZONE)", nil
}

// Takes returns the names of the arguments that the question takes, in the order in which they
// are first named.
func (q Question) Takes() []string {
	var names []string
	for rest := q.SQL; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return names
		}
		name, after, _ := strings.Cut(after, "}")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		rest = after
	}
}

// For returns the statement that asks the question. Arguments are literals that are made of
// checked values: no text of a caller is in it but a tenant's name and a card's token, which
// can't hold more than letters, digits, hyphens and underscores. An error names the argument
// that is wrong, and not what it holds.
func (q Question) For(a Args) (string, error) {
	var pairs []string
	for _, name := range q.Takes() {
		argument, ok := arguments[name]
		if !ok {
			return "", fmt.Errorf("question %s: there is no argument %q", q.Name, name)
		}
		value, err := argument(a)
		if err != nil {
			return "", fmt.Errorf("question %s: %w", q.Name, err)
		}
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(q.SQL), nil
}

// QuestionNamed returns the question of Standard, and false if there is none of the name.
func QuestionNamed(name string) (Question, bool) {
	i := slices.IndexFunc(Standard, func(q Question) bool { return q.Name == name })
	if i < 0 {
		return Question{}, false
	}
	return Standard[i], true
}

// Standard are the questions of a tenant's dashboard. Their rows have an order without ties.
// They read views only: whoever may read any of cards.transactions may ask them all, and columns
// that are not given are NULL.
var Standard = []Question{
	{
		Name: "approvals-by-hour",
		Doc:  "Requests, approvals and amounts of each hour of a day.",
		SQL: `SELECT hour, currency, requests, approved, approval_rate, requested_amount, approved_amount
FROM views.approvals_by_hour
WHERE tenant = {tenant} AND day = {day}
ORDER BY hour, currency`,
	},
	{
		Name: "top-decline-reasons",
		Doc:  "Why requests of a day were declined, the most frequent reasons first.",
		SQL: `SELECT response_code, meaning, decline_reason, CAST(sum(declined) AS BIGINT) AS requests_declined
FROM views.declines
WHERE tenant = {tenant} AND day = {day}
GROUP BY response_code, meaning, decline_reason
ORDER BY requests_declined DESC, response_code, decline_reason
LIMIT {limit}`,
	},
	{
		Name: "approvals-by-country",
		Doc:  "Requests, approvals and amounts of a day by the merchant's country.",
		SQL:  byQuestion("approvals_by_country", "merchant_country"),
	},
	{
		Name: "approvals-by-channel",
		Doc:  "Requests, approvals and amounts of a day by channel.",
		SQL:  byQuestion("approvals_by_channel", "channel"),
	},
	{
		Name: "approvals-by-entry-mode",
		Doc:  "Requests, approvals and amounts of a day by how the card was read.",
		SQL:  byQuestion("approvals_by_entry_mode", "entry_mode"),
	},
	{
		Name: "approvals-by-bin",
		Doc:  "Requests, approvals and amounts of a day by the first digits of the card number.",
		SQL:  byQuestion("approvals_by_bin", "bin"),
	},
	{
		Name: "top-merchants",
		Doc:  "The merchants with the most approved requests of a day.",
		SQL: `SELECT merchant_id, merchant_name, mcc, merchant_country, currency, requests, approved, approval_rate, approved_amount, cards
FROM views.merchant_daily
WHERE tenant = {tenant} AND day = {day} AND requests > 0
ORDER BY approved DESC, merchant_id, currency
LIMIT {limit}`,
	},
	{
		Name: "cards",
		Doc:  "Active, new and dormant cards as of a day, in windows of 1, 7 and 30 days. No rows on a day without an approved request.",
		SQL: `SELECT window_days, active_cards, new_cards, dormant_cards
FROM views.active_cards
WHERE tenant = {tenant} AND day = {day}
ORDER BY window_days`,
	},
	{
		Name: "latest-events",
		Doc:  "A page of a day's events, the newest first.",
		SQL: `SELECT event_time, event_id, transaction_id, event_type, approved, response_code, decline_reason, amount, currency,
  merchant_name, merchant_country, channel, entry_mode, card_token, last4
FROM views.events
WHERE tenant = {tenant} AND event_time >= {begin} AND event_time < {end}
  AND (event_time < {before} OR event_time = {before} AND event_id < {before_id})
ORDER BY event_time DESC, event_id DESC
LIMIT {limit}`,
	},
	{
		Name: "purchase",
		Doc:  "The life of one purchase: its events, in the order in which they happened.",
		SQL: `SELECT event_time, event_id, event_type, approved, response_code, decline_reason, approval_code, amount, currency, billing_amount, billing_currency,
  merchant_id, merchant_name, merchant_city, merchant_country, terminal_id, channel, entry_mode, card_present, card_token, last4
FROM views.events
WHERE tenant = {tenant} AND transaction_id = {purchase}
ORDER BY event_time, event_id`,
	},
	{
		Name: "card",
		Doc:  "The newest events of one card.",
		SQL: `SELECT event_time, event_id, transaction_id, event_type, approved, response_code, decline_reason, amount, currency,
  merchant_name, merchant_country, channel, entry_mode
FROM views.events
WHERE tenant = {tenant} AND card_token = {card}
ORDER BY event_time DESC, event_id DESC
LIMIT {limit}`,
	},
	{
		Name: "day-and-week-before",
		Doc:  "A day beside the same day of the week before.",
		SQL:  weekQuestion("{day}") + "\nUNION ALL\n" + weekQuestion("{week_before}") + "\nORDER BY currency, day",
	},
}

// weekQuestion reads one day: of a condition on both, engines read all days between them.
func weekQuestion(day string) string {
	return `SELECT day, currency, requests, approved, approval_rate, approved_amount,
  reversed_amount, cleared_amount, refunded_amount, charged_back_amount, cards, merchants
FROM views.tenant_daily
WHERE tenant = {tenant} AND day = ` + day
}

// byQuestion reads one of the views approvals_by_*.
func byQuestion(view, column string) string {
	return "SELECT " + column + `, currency, requests, approved, approval_rate, requested_amount, approved_amount
FROM views.` + view + `
WHERE tenant = {tenant} AND day = {day}
ORDER BY requests DESC, ` + column + `, currency
LIMIT {limit}`
}
