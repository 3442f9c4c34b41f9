package views_test

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// The model: every view's definition once more, in plain Go, one event at a time. Rows are lines
// as [line] writes them.
var models = map[string]func([]*cardlake.Transaction) []string{
	"events":                  modelEvents,
	"transactions":            modelTransactions,
	"approvals_by_hour":       modelApprovals(func(e *cardlake.Transaction) any { return timeOf(e.EventTime).Truncate(time.Hour) }),
	"approvals_by_country":    modelApprovals(columnOf("merchant_country")),
	"approvals_by_channel":    modelApprovals(columnOf("channel")),
	"approvals_by_mcc":        modelApprovals(columnOf("mcc")),
	"approvals_by_bin":        modelApprovals(columnOf("bin")),
	"approvals_by_entry_mode": modelApprovals(columnOf("entry_mode")),
	"approvals_by_network":    modelApprovals(columnOf("network")),
	"declines":                modelDeclines,
	"tenant_daily":            modelTenantDaily,
	"merchant_daily":          modelMerchantDaily,
	"active_cards":            modelActiveCards,
	"active_cards_by_month":   modelActiveCardsByMonth,
	"interchange_estimate":    modelInterchange,
	"chargebacks":             modelChargebacks,

	"insight_runs":      modelInsights(cardlake.Runs, "", "tenant", "job", "run_id", "as_of", "snapshot", "version", "parameters", "rows_read", "rows_written", "published_at", "principal", "card"),
	"alerts":            modelAlerts,
	"segments":          modelInsights(cardlake.Segments, "segment", "tenant", "as_of", "segment_id", "name", "description", "state", "customers", "share", "value", "currency", "previous_customers", "shift", "map_x", "map_y", "centre", "run_id"),
	"segments_by_day":   modelSegmentsByDay,
	"customer_segments": modelInsights(cardlake.CustomerSegments, "segment", "tenant", "as_of", "customer_id", "segment_id", "probability", "previous_segment_id", "distance", "recency_days", "frequency", "monetary", "currency", "run_id"),
	"predictions":       modelInsights(cardlake.Predictions, "predict", "tenant", "as_of", "customer_id", "frequency", "recency_days", "age_days", "alive", "purchases_30", "purchases_60", "purchases_90", "value_30", "value_60", "value_90", "currency", "next_mcc", "next_mcc_probability", "next_purchase_at", "run_id"),
	"recommendations":   modelInsights(cardlake.Recommendations, "recommend", "tenant", "as_of", "customer_id", "mode", "position", "merchant_id", "merchant_name", "mcc", "offer_id", "score", "reason", "run_id"),
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func dayOf(micros int64) time.Time { return timeOf(micros).Truncate(24 * time.Hour) }

func monthOf(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) }

func columnOf(name string) func(e *cardlake.Transaction) any {
	return func(e *cardlake.Transaction) any { return cell(e, name) }
}

// cell is a column's value as an answer has it.
func cell(e *cardlake.Transaction, name string) any {
	v := viewstest.Value(e, name)
	n, ok := v.(int64)
	switch c := cardlake.Transactions.Column(name); {
	case !ok:
		return v
	case c.Type == cardlake.Decimal18x4:
		return decimal(n)
	case c.Type == cardlake.Timestamp || c.Type == cardlake.TimestampTZ:
		return timeOf(n)
	}
	return n
}

// decimal writes ten-thousandths.
func decimal(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%04d", sign, n/10000, n%10000)
}

func amount(e *cardlake.Transaction) int64 {
	n, ok := e.Amount.Scale4()
	if !ok {
		panic("an amount without currency")
	}
	return n
}

// divided is a rate, nil for nothing divided.
func divided(part, whole int64) any {
	if whole == 0 {
		return nil
	}
	return float64(part) / float64(whole)
}

// group is a set of events that agree in the key's cells.
type group struct {
	key    []any
	events []*cardlake.Transaction
}

func groups(events []*cardlake.Transaction, key func(*cardlake.Transaction) []any) []*group {
	byKey := map[string]*group{}
	var out []*group
	for _, e := range events {
		k := key(e)
		g := byKey[line(k...)]
		if g == nil {
			g = &group{key: k}
			byKey[line(k...)] = g
			out = append(out, g)
		}
		g.events = append(g.events, e)
	}
	return out
}

func where(events []*cardlake.Transaction, keep func(*cardlake.Transaction) bool) []*cardlake.Transaction {
	var out []*cardlake.Transaction
	for _, e := range events {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

func is(event cardlake.EventType) func(*cardlake.Transaction) bool {
	return func(e *cardlake.Transaction) bool { return e.EventType == event }
}

func approved(event cardlake.EventType) func(*cardlake.Transaction) bool {
	return func(e *cardlake.Transaction) bool { return e.EventType == event && e.Approved }
}

func sum(events []*cardlake.Transaction) (n int64) {
	for _, e := range events {
		n += amount(e)
	}
	return n
}

func different(events []*cardlake.Transaction, column string) int {
	seen := map[any]bool{}
	for _, e := range events {
		if v := cell(e, column); v != nil {
			seen[v] = true
		}
	}
	return len(seen)
}

func modelEvents(events []*cardlake.Transaction) []string {
	var out []string
	for _, e := range events {
		var cells []any
		for _, c := range viewNamed("events").Columns {
			if c.Name == "day" {
				cells = append(cells, dayOf(e.EventTime))
				continue
			}
			cells = append(cells, cell(e, c.Name))
		}
		out = append(out, line(cells...))
	}
	return out
}

// purchase is what came of one purchase.
type purchase struct {
	opening, first                                       *cardlake.Transaction
	status                                               string
	events, others                                       int
	last                                                 int64
	at                                                   map[string]int64 // by stage, of what was approved; and declined
	authorized, reversed, cleared, refunded, chargedBack int64
	net                                                  int64
	billingAuthorized, billingNet                        any
}

// purchases replays each purchase.
func purchases(events []*cardlake.Transaction) []*purchase {
	var out []*purchase
	for _, g := range groups(events, func(e *cardlake.Transaction) []any { return []any{e.Tenant, e.TransactionID} }) {
		slices.SortFunc(g.events, func(a, b *cardlake.Transaction) int {
			return cmp.Or(cmp.Compare(a.EventTime, b.EventTime), cmp.Compare(a.EventID.String(), b.EventID.String()))
		})
		p := &purchase{opening: g.events[0], events: len(g.events), at: map[string]int64{}}
		if i := slices.IndexFunc(g.events, is(cardlake.Authorization)); i >= 0 {
			p.opening = g.events[i]
		}
		amounts, billed := map[cardlake.EventType]int64{}, map[cardlake.EventType]int64{}
		for _, e := range g.events {
			p.last = max(p.last, e.EventTime)
			if e.Amount.Currency != p.opening.Amount.Currency {
				p.others++
			}
			if !e.Approved {
				if _, ok := p.at["declined"]; !ok && e.EventType == cardlake.Authorization {
					p.at["declined"] = e.EventTime
				}
				continue
			}
			if _, ok := p.at[string(e.EventType)]; !ok {
				p.at[string(e.EventType)] = e.EventTime
			}
			if e.Amount.Currency == p.opening.Amount.Currency {
				amounts[e.EventType] += amount(e)
			}
			if n, ok := e.BillingAmount.Scale4(); ok && e.BillingAmount.Currency == p.opening.BillingAmount.Currency {
				billed[e.EventType] += n
			}
		}
		net := func(of map[cardlake.EventType]int64) (kept, net int64) {
			kept = of[cardlake.Authorization] - min(of[cardlake.Authorization], of[cardlake.Reversal])
			if p.has(cardlake.Clearing) {
				kept = of[cardlake.Clearing]
			}
			return kept, kept - of[cardlake.Refund] - of[cardlake.Chargeback]
		}
		kept, left := net(amounts)
		p.net = left
		if p.opening.BillingAmount.Currency != "" {
			_, n := net(billed)
			p.billingAuthorized, p.billingNet = decimal(billed[cardlake.Authorization]), decimal(n)
		}
		p.authorized, p.cleared = amounts[cardlake.Authorization], amounts[cardlake.Clearing]
		p.reversed = min(p.authorized, amounts[cardlake.Reversal])
		p.refunded, p.chargedBack = amounts[cardlake.Refund], amounts[cardlake.Chargeback]
		switch {
		case p.has(cardlake.Chargeback):
			p.status = "charged_back"
		case p.has(cardlake.Refund):
			p.status = "refunded"
			if p.refunded < kept {
				p.status = "partially_refunded"
			}
		case p.has(cardlake.Clearing):
			p.status = "cleared"
		case p.has(cardlake.Authorization) && p.has(cardlake.Reversal):
			p.status = "reversed"
			if p.reversed < p.authorized {
				p.status = "partially_reversed"
			}
		case p.has(cardlake.Authorization):
			p.status = "authorized"
		case p.has("declined"):
			p.status = "declined"
		case p.has(cardlake.Reversal):
			p.status = "reversed"
		default:
			p.status = "declined"
		}
		out = append(out, p)
	}
	return out
}

func (p *purchase) has(event cardlake.EventType) bool {
	_, ok := p.at[string(event)]
	return ok
}

// when is the instant of a stage, nil if it was not reached.
func (p *purchase) when(event cardlake.EventType) any {
	if !p.has(event) {
		return nil
	}
	return timeOf(p.at[string(event)])
}

func modelTransactions(events []*cardlake.Transaction) []string {
	var out []string
	for _, p := range purchases(events) {
		o := p.opening
		cells := []any{
			o.Tenant, o.TransactionID, p.status, dayOf(o.EventTime), timeOf(o.EventTime), timeOf(p.last), p.events, p.others,
			p.when(cardlake.Authorization), p.when("declined"), p.when(cardlake.Reversal), p.when(cardlake.Clearing), p.when(cardlake.Refund), p.when(cardlake.Chargeback),
			o.Amount.Currency, decimal(p.authorized), decimal(p.reversed), decimal(p.cleared), decimal(p.refunded), decimal(p.chargedBack), decimal(p.net),
			cell(o, "billing_currency"), p.billingAuthorized, p.billingNet,
		}
		for _, name := range []string{
			"program", "card_token", "bin", "last4", "customer_id", "account_id", "network", "product", "merchant_id", "merchant_name", "mcc",
			"merchant_city", "merchant_country", "channel", "entry_mode", "card_present", "wallet", "response_code", "decline_reason", "approval_code",
		} {
			cells = append(cells, cell(o, name))
		}
		out = append(out, line(cells...))
	}
	return out
}

// requests are the cells of authorisation requests among the events.
func requests(events []*cardlake.Transaction) []any {
	all, yes := where(events, is(cardlake.Authorization)), where(events, approved(cardlake.Authorization))
	return []any{
		len(all), len(yes), len(all) - len(yes), divided(int64(len(yes)), int64(len(all))), decimal(sum(all)), decimal(sum(yes)),
	}
}

func modelApprovals(by func(*cardlake.Transaction) any) func([]*cardlake.Transaction) []string {
	return func(events []*cardlake.Transaction) []string {
		var out []string
		for _, g := range groups(where(events, is(cardlake.Authorization)), func(e *cardlake.Transaction) []any {
			return []any{e.Tenant, dayOf(e.EventTime), by(e), e.Amount.Currency}
		}) {
			out = append(out, line(append(g.key, requests(g.events)...)...))
		}
		return out
	}
}

func modelDeclines(events []*cardlake.Transaction) []string {
	meanings := map[string]any{"51": "not sufficient funds", "54": "expired card", "05": "do not honour", "25": "unable to locate record on file"}
	var out []string
	for _, g := range groups(events, func(e *cardlake.Transaction) []any {
		return []any{e.Tenant, dayOf(e.EventTime), e.ResponseCode, meanings[e.ResponseCode], cell(e, "decline_reason"), e.Amount.Currency}
	}) {
		no := where(g.events, func(e *cardlake.Transaction) bool { return e.EventType == cardlake.Authorization && !e.Approved })
		if len(no) > 0 {
			out = append(out, line(append(g.key, len(no), different(no, "card_token"), decimal(sum(no)))...))
		}
	}
	return out
}

// movements are the cells of what a daily view has besides requests.
func movements(events []*cardlake.Transaction) []any {
	cells := requests(events)
	for _, event := range []cardlake.EventType{cardlake.Reversal, cardlake.Clearing, cardlake.Refund, cardlake.Chargeback} {
		of := where(events, approved(event))
		cells = append(cells, len(of), decimal(sum(of)))
	}
	return cells
}

func modelTenantDaily(events []*cardlake.Transaction) []string {
	var out []string
	for _, g := range groups(events, func(e *cardlake.Transaction) []any { return []any{e.Tenant, dayOf(e.EventTime), e.Amount.Currency} }) {
		var merchants any
		if n := different(g.events, "merchant_id"); n > 0 {
			merchants = n
		}
		out = append(out, line(append(append(g.key, merchants, different(g.events, "card_token")), movements(g.events)...)...))
	}
	return out
}

func modelMerchantDaily(events []*cardlake.Transaction) []string {
	var out []string
	for _, g := range groups(events, func(e *cardlake.Transaction) []any {
		return []any{e.Tenant, dayOf(e.EventTime), cell(e, "merchant_id"), e.Amount.Currency}
	}) {
		cells := g.key
		for _, name := range []string{"merchant_name", "mcc", "merchant_country"} {
			var last any
			for _, e := range g.events {
				if v, ok := cell(e, name).(string); ok && (last == nil || v > last.(string)) {
					last = v
				}
			}
			cells = append(cells, last)
		}
		out = append(out, line(append(append(cells, different(g.events, "card_token")), movements(g.events)...)...))
	}
	return out
}

// activity is the days on which each of a tenant's cards has an approved authorisation.
func activity(events []*cardlake.Transaction) map[cardlake.Tenant]map[string][]time.Time {
	out := map[cardlake.Tenant]map[string][]time.Time{}
	for _, e := range where(events, approved(cardlake.Authorization)) {
		if out[e.Tenant] == nil {
			out[e.Tenant] = map[string][]time.Time{}
		}
		out[e.Tenant][e.CardToken] = append(out[e.Tenant][e.CardToken], dayOf(e.EventTime))
	}
	return out
}

func modelActiveCards(events []*cardlake.Transaction) []string {
	var out []string
	for tenant, cards := range activity(events) {
		days := map[time.Time]bool{}
		for _, of := range cards {
			for _, d := range of {
				days[d] = true
			}
		}
		for day := range days {
			for _, window := range []int{1, 7, 30} {
				begin := day.AddDate(0, 0, 1-window)
				active, fresh, dormant := 0, 0, 0
				for _, of := range cards {
					inside, before := false, false
					for _, d := range of {
						inside = inside || !d.Before(begin) && !d.After(day)
						before = before || d.Before(begin)
					}
					if inside {
						active++
					}
					if inside && !before {
						fresh++
					}
					if before && !inside {
						dormant++
					}
				}
				out = append(out, line(tenant, day, window, active, fresh, dormant))
			}
		}
	}
	return out
}

func modelActiveCardsByMonth(events []*cardlake.Transaction) []string {
	var out []string
	for tenant, cards := range activity(events) {
		active, fresh := map[time.Time]int{}, map[time.Time]int{}
		for _, days := range cards {
			first := monthOf(slices.MinFunc(days, time.Time.Compare))
			fresh[first]++
			seen := map[time.Time]bool{}
			for _, d := range days {
				if m := monthOf(d); !seen[m] {
					seen[m] = true
					active[m]++
				}
			}
		}
		for m, n := range active {
			out = append(out, line(tenant, m, n, fresh[m]))
		}
	}
	return out
}

func modelInterchange(events []*cardlake.Transaction) []string {
	countries := " AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK "
	type base struct {
		key       []any
		opening   *cardlake.Transaction
		purchases int
		amount    int64
	}
	bases := map[string]*base{}
	for _, p := range purchases(events) {
		o := p.opening
		if p.net <= 0 || o.Channel == cardlake.ATM {
			continue
		}
		var isDomestic any
		if o.BillingAmount.Currency != "" {
			isDomestic = o.BillingAmount.Currency == o.Amount.Currency
		}
		key := []any{o.Tenant, dayOf(o.EventTime), o.Network, cell(o, "product"), o.CardPresent, cell(o, "merchant_country"), isDomestic, o.Amount.Currency}
		b := bases[line(key...)]
		if b == nil {
			b = &base{key: key, opening: o}
			bases[line(key...)] = b
		}
		b.purchases++
		b.amount += p.net
	}
	var out []string
	for _, b := range bases {
		var rate, basis, estimate any
		market := b.opening.MerchantCountry
		if market != "" && strings.Contains(countries, " "+market+" ") {
			market = "EEA"
		}
		for _, r := range views.Rates() {
			if (r.Market == market || r.Market == "*" && rate == nil) && r.IsDomestic == b.key[6] && r.Network == b.opening.Network && r.Product == b.opening.Product && r.CardPresent == b.opening.CardPresent {
				rate, basis = r.Rate, r.Basis
				product, _ := new(big.Rat).SetString(r.Rate)
				product.Mul(product, big.NewRat(b.amount, 10000))
				estimate = product.FloatString(4) // rounds half away from zero
			}
		}
		out = append(out, line(append(b.key, b.purchases, decimal(b.amount), rate, basis, estimate)...))
	}
	return out
}

func modelChargebacks(events []*cardlake.Transaction) []string {
	type month struct {
		key                      []any
		all, back, days, longest int64
		bought, charged          int64
	}
	months := map[string]*month{}
	for _, p := range purchases(events) {
		if !p.has(cardlake.Authorization) && !p.has(cardlake.Clearing) && !p.has(cardlake.Chargeback) {
			continue
		}
		key := []any{p.opening.Tenant, monthOf(timeOf(p.opening.EventTime)), p.opening.Network, p.opening.Amount.Currency}
		m := months[line(key...)]
		if m == nil {
			m = &month{key: key, longest: -1 << 62}
			months[line(key...)] = m
		}
		m.all++
		m.charged += p.chargedBack
		if p.has(cardlake.Clearing) {
			m.bought += p.cleared
		} else {
			m.bought += p.authorized - p.reversed
		}
		if p.has(cardlake.Chargeback) {
			days := int64(dayOf(p.at["chargeback"]).Sub(dayOf(p.opening.EventTime)) / (24 * time.Hour))
			m.back++
			m.days += days
			m.longest = max(m.longest, days)
		}
	}
	var out []string
	for _, m := range months {
		var longest any
		if m.back > 0 {
			longest = m.longest
		}
		out = append(out, line(append(m.key, m.all, m.back, divided(m.back, m.all), decimal(m.bought), decimal(m.charged), divided(m.days, m.back), longest)...))
	}
	return out
}
