package figures_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// models are figures once more, in plain Go, row by row; their order is not looked at.
var models = map[string]func(d *data, a figures.Args) []string{
	"totals": func(d *data, a figures.Args) []string {
		all := events(d.events).where(func(e *cardlake.Transaction) bool { return e.Tenant == a.Tenant })
		all = all.where(func(e *cardlake.Transaction) bool {
			return !timeOf(e.EventTime).Before(a.From) && timeOf(e.EventTime).Before(a.To)
		})
		return all.each(keyOf("currency"), func(of events) []any {
			is := func(t cardlake.EventType) events {
				return of.where(func(e *cardlake.Transaction) bool { return e.EventType == t })
			}
			asked := is(cardlake.Authorization)
			cells := requested(asked)
			cells = append(cells, divided(asked.approved().sum(), len(asked.approved())))
			for _, t := range []cardlake.EventType{cardlake.Reversal, cardlake.Clearing, cardlake.Refund, cardlake.Chargeback} {
				yes := is(t).approved()
				cells = append(cells, len(yes), decimal(yes.sum()))
			}
			return cells
		})
	},
	"billed-totals": func(d *data, a figures.Args) []string {
		billed := events(d.events).in(a).approved().where(func(e *cardlake.Transaction) bool { return e.BillingAmount.Currency != "" })
		return billed.each(keyOf("billing_currency"), func(of events) []any {
			sum, far := int64(0), int64(0)
			foreign := 0
			for _, e := range of {
				n := viewstest.Value(e, "billing_amount").(int64)
				if sum += n; e.Amount.Currency != e.BillingAmount.Currency {
					foreign++
					far += n
				}
			}
			return []any{len(of), decimal(sum), divided(sum, len(of)), foreign, over(foreign, len(of)), decimal(far)}
		})
	},
	"volume": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).each(func(e *cardlake.Transaction) []any {
			return []any{grained(e.EventTime, cmp.Or(a.Values["grain"], "day")), e.Amount.Currency}
		}, requested)
	},
	"approval-parts": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a)
		return all.each(func(e *cardlake.Transaction) []any {
			if e.Approved {
				return []any{"approved"}
			}
			return []any{classOf(e.ResponseCode)}
		}, func(of events) []any { return []any{len(of), over(len(of), len(all))} })
	},
	"by-hour-and-weekday": func(d *data, a figures.Args) []string {
		clock := func(e *cardlake.Transaction) int64 {
			if a.Values["clock"] == "terminal" {
				return e.LocalTime
			}
			return e.EventTime
		}
		known := events(d.events).in(a).where(func(e *cardlake.Transaction) bool { return clock(e) != 0 })
		return known.each(func(e *cardlake.Transaction) []any {
			at := timeOf(clock(e))
			return []any{(int(at.Weekday())+6)%7 + 1, at.Hour()}
		}, func(of events) []any { return []any{len(of), len(of.approved()), over(len(of.approved()), len(of))} })
	},
	"by-country": modelCut("merchant_country"), "by-channel": modelCut("channel"), "by-bin": modelCut("bin"), "by-product": modelCut("product"),
	"by-wallet": modelCut("wallet"), "by-entry-mode": modelCut("entry_mode"), "by-mcc": modelCut("mcc"), "by-network": modelCut("network"),
	"by-program": modelCut("program"), "by-city": modelCut("merchant_city"),
	"by-authentication": func(d *data, a figures.Args) []string {
		online := events(d.events).in(a).where(func(e *cardlake.Transaction) bool { return e.Channel == cardlake.Ecommerce })
		return online.each(func(e *cardlake.Transaction) []any {
			how := map[string]string{"05": "authenticated", "02": "authenticated", "06": "attempted", "01": "attempted", "07": "none", "00": "none"}[e.ECI]
			return []any{cmp.Or(how, "unknown"), e.Amount.Currency}
		}, func(of events) []any { return append(requested(of), over(len(of), len(online))) })
	},
	"ticket-size": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).of(cardlake.Currency(a.Values["currency"])).each(func(e *cardlake.Transaction) []any {
			from, to := step(amount(e))
			return []any{from, to}
		}, func(of events) []any {
			yes := of.approved()
			return []any{len(of), len(yes), over(len(yes), len(of)), decimal(yes.sum())}
		})
	},
	"ticket-quantiles": func(d *data, a figures.Args) []string {
		of := events(d.events).in(a).approved().of(cardlake.Currency(a.Values["currency"]))
		var amounts []int64
		for _, e := range of {
			amounts = append(amounts, amount(e))
		}
		slices.Sort(amounts)
		cells := []any{len(of)}
		for _, percent := range []int{10, 25, 50, 75, 90, 99} {
			cells = append(cells, decimal(amounts[max((len(amounts)*percent+99)/100, 1)-1]))
		}
		return []string{line(cells...)}
	},
	"declines-over-time": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a)
		at := func(e *cardlake.Transaction) time.Time {
			return grained(e.EventTime, cmp.Or(a.Values["grain"], "day"))
		}
		return all.declined().each(func(e *cardlake.Transaction) []any { return []any{at(e), classOf(e.ResponseCode)} }, func(of events) []any {
			then := all.where(func(e *cardlake.Transaction) bool { return at(e).Equal(at(of[0])) })
			return []any{len(of), len(then), over(len(of), len(then))}
		})
	},
	"decline-reasons": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a).declined()
		meanings := map[string]any{}
		for _, c := range views.ResponseCodes() {
			meanings[c.Code] = c.Meaning
		}
		return all.each(func(e *cardlake.Transaction) []any {
			return []any{e.ResponseCode, meanings[e.ResponseCode], classOf(e.ResponseCode), cell(e, "decline_reason")}
		}, func(of events) []any { return []any{len(of), over(len(of), len(all)), of.different("card_token")} })
	},
	"declined-value": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).declined().each(func(e *cardlake.Transaction) []any {
			return []any{classOf(e.ResponseCode), e.Amount.Currency}
		}, func(of events) []any { return []any{len(of), decimal(of.sum())} })
	},
	"declines-by-country": modelDeclines("merchant_country"), "declines-by-merchant": modelDeclines("merchant_id", "merchant_name"), "declines-by-bin": modelDeclines("bin"),
	"declines-by-mcc": modelDeclines("mcc"), "declines-by-channel": modelDeclines("channel"), "declines-by-product": modelDeclines("product"),
	"declines-by-hour-and-reason": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).declined().each(func(e *cardlake.Transaction) []any {
			return []any{timeOf(e.EventTime).Hour(), e.ResponseCode, cell(e, "decline_reason"), classOf(e.ResponseCode)}
		}, func(of events) []any { return []any{len(of)} })
	},
	"declined-cards": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).each(keyOf("card_token"), func(of events) []any {
			no := of.declined()
			if len(no) == 0 {
				return nil
			}
			first, last := no.span()
			return []any{of.last("last4"), of.last("bin"), len(of), len(no), len(of) - len(no), of.different("merchant_id"), first, last}
		})
	},
	"decline-recovery": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a).where(func(e *cardlake.Transaction) bool { return e.MerchantID != "" })
		attempts, recovered := map[string]int{}, map[string]int{}
		place := func(e *cardlake.Transaction) []any { return []any{e.CardToken, e.MerchantID, dayOf(e.EventTime)} }
		_, groups := all.declined().groups(func(e *cardlake.Transaction) []any { return append(place(e), e.ResponseCode) })
		for _, of := range groups {
			first, _ := of.span()
			class := classOf(of[0].ResponseCode)
			attempts[class]++
			if slices.ContainsFunc(all.approved(), func(e *cardlake.Transaction) bool {
				return line(place(e)...) == line(place(of[0])...) && timeOf(e.EventTime).After(first)
			}) {
				recovered[class]++
			}
		}
		var lines []string
		for class, n := range attempts {
			lines = append(lines, line(class, n, recovered[class], over(recovered[class], n)))
		}
		return lines
	},
	"card-base": func(d *data, a figures.Args) []string {
		idle, _ := strconv.Atoi(cmp.Or(a.Values["idle"], "30"))
		before := a
		before.From, before.To = a.From.AddDate(0, 0, -idle), a.From
		was, is := events(d.events).in(before).approved(), events(d.events).in(a).approved()
		_, old := was.groups(keyOf("card_token"))
		_, now := is.groups(keyOf("card_token"))
		back := 0
		for card := range now {
			if len(old[card]) > 0 {
				back++
			}
		}
		return []string{line(len(now), back, len(now)-back, len(old)-back, len(is), over(len(is), len(now)))}
	},
	"cards-over-time": func(d *data, a figures.Args) []string {
		from := a
		from.From = a.From.AddDate(0, 0, -30)
		uses := map[string]map[time.Time]bool{}
		for _, e := range events(d.events).in(from).approved() {
			if uses[e.CardToken] == nil {
				uses[e.CardToken] = map[time.Time]bool{}
			}
			uses[e.CardToken][dayOf(e.EventTime)] = true
		}
		var lines []string
		for day := a.From; day.Before(a.To); day = day.AddDate(0, 0, 1) {
			active, week, month, fresh, lapsed, touched := 0, 0, 0, 0, 0, false
			for _, days := range uses {
				within := func(begin, end int) bool { // days before day, both included
					for n := begin; n <= end; n++ {
						if days[day.AddDate(0, 0, -n)] {
							return true
						}
					}
					return false
				}
				if within(0, 0) {
					active++
					if !within(1, 100) {
						fresh++
					}
				}
				if within(0, 6) {
					week++
				}
				if within(0, 29) {
					month++
				}
				if !within(0, 29) && within(30, 30) {
					lapsed++
				}
				touched = touched || within(0, 0) || within(7, 7) && !within(0, 6) || within(30, 30) && !within(0, 29)
			}
			if touched {
				lines = append(lines, line(day, active, week, month, fresh, lapsed))
			}
		}
		return lines
	},
	"card-activity": func(d *data, a figures.Args) []string {
		begins := []int{1, 2, 3, 5, 10, 20, 50, 100}
		cards, purchases := map[int]int{}, map[int]int{}
		_, groups := events(d.events).in(a).approved().groups(keyOf("card_token"))
		for _, of := range groups {
			i, found := slices.BinarySearch(begins, len(of))
			if !found {
				i--
			}
			cards[i]++
			purchases[i] += len(of)
		}
		var lines []string
		for i, n := range cards {
			var last any
			if i+1 < len(begins) {
				last = begins[i+1] - 1
			}
			lines = append(lines, line(begins[i], last, n, purchases[i], over(n, len(groups))))
		}
		return lines
	},
	"card-concentration": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a).approved().of(cardlake.Currency(a.Values["currency"]))
		_, groups := all.groups(keyOf("card_token"))
		cards := slices.SortedFunc(maps.Keys(groups), func(x, y string) int {
			return cmp.Or(cmp.Compare(groups[y].sum(), groups[x].sum()), strings.Compare(x, y))
		})
		sums, counts := map[int]int64{}, map[int]int{}
		for i, card := range cards {
			size, more := len(cards)/10, len(cards)%10 // the first deciles have one more
			decile := i / (size + 1)
			if i >= more*(size+1) {
				decile = more + (i-more*(size+1))/max(size, 1)
			}
			counts[decile+1]++
			sums[decile+1] += groups[card].sum()
		}
		var lines []string
		for decile, n := range counts {
			lines = append(lines, line(decile, n, decimal(sums[decile]), over(sums[decile], all.sum())))
		}
		return lines
	},
	"card-retention": func(d *data, a figures.Args) []string {
		_, groups := events(d.events).in(a).approved().groups(keyOf("card_token"))
		type place struct {
			cohort time.Time
			after  int
		}
		cards := map[place]int{}
		for _, of := range groups {
			weeks := map[time.Time]bool{}
			for _, e := range of {
				weeks[grained(e.EventTime, "week")] = true
			}
			first := slices.MinFunc(slices.Collect(maps.Keys(weeks)), time.Time.Compare)
			for week := range weeks {
				cards[place{first, int(week.Sub(first).Hours()) / 24 / 7}]++
			}
		}
		var lines []string
		for p, n := range cards {
			lines = append(lines, line(p.cohort, p.after, n, over(n, cards[place{p.cohort, 0}])))
		}
		return lines
	},
	"cards-by-product": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).approved().each(keyOf("product", "network"), func(of events) []any {
			cards := of.different("card_token").(int)
			return []any{cards, len(of), over(len(of), cards)}
		})
	},
	"top-cards": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).of(cardlake.Currency(a.Values["currency"])).each(keyOf("card_token"), func(of events) []any {
			_, last := of.span()
			yes := of.approved()
			return []any{of.last("bin"), of.last("last4"), of.last("customer_id"), len(of), len(yes), len(of) - len(yes), decimal(yes.sum()), of.different("merchant_id"), of.different("merchant_country"), last}
		})
	},
	"top-merchants": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a)
		_, groups := all.groups(keyOf("merchant_id", "currency"))
		var lines []string
		for _, of := range groups {
			cells := append([]any{cell(of[0], "merchant_id"), of.last("merchant_name"), of.last("mcc"), of.last("merchant_country"), of[0].Amount.Currency}, requested(of)[:4]...)
			yes := of.approved()
			lines = append(lines, line(append(cells, decimal(yes.sum()), over(len(yes), len(all.approved())))...))
		}
		return lines
	},
	"merchant-concentration": func(d *data, a figures.Args) []string {
		all := events(d.events).in(a).approved().of(cardlake.Currency(a.Values["currency"])).where(func(e *cardlake.Transaction) bool { return e.MerchantID != "" })
		_, groups := all.groups(keyOf("merchant_id"))
		names := slices.SortedFunc(maps.Keys(groups), func(x, y string) int {
			return cmp.Or(cmp.Compare(groups[y].sum(), groups[x].sum()), strings.Compare(x, y))
		})
		var lines []string
		for _, top := range []int{1, 5, 10, 20, 50, 100, 1 << 30} {
			name, sum, n := fmt.Sprint("top_", top), int64(0), min(top, len(names))
			if top == 1<<30 {
				name = "all"
			}
			for _, m := range names[:n] {
				sum += groups[m].sum()
			}
			lines = append(lines, line(name, n, decimal(sum), over(sum, all.sum())))
		}
		return lines
	},
	"new-merchants": func(d *data, a figures.Args) []string {
		before := a
		before.From, before.To = a.From.AddDate(0, 0, -30), a.From
		_, old := events(d.events).in(before).groups(keyOf("merchant_id"))
		return events(d.events).in(a).each(keyOf("merchant_id"), func(of events) []any {
			if of[0].MerchantID == "" || len(old[of[0].MerchantID]) > 0 {
				return nil
			}
			first, _ := of.span()
			yes := of.approved()
			return []any{of.last("merchant_name"), of.last("mcc"), of.last("merchant_country"), first, len(of), len(yes), len(of) - len(yes), of.different("card_token")}
		})
	},
	"merchants-by-mcc": func(d *data, a figures.Args) []string {
		return events(d.events).in(a).each(keyOf("mcc", "currency"), func(of events) []any {
			yes := of.approved()
			return []any{of.different("merchant_id"), len(of), len(yes), over(len(yes), len(of)), decimal(yes.sum()), divided(yes.sum(), len(yes))}
		})
	},
}

func modelCut(column string) func(*data, figures.Args) []string {
	return func(d *data, a figures.Args) []string {
		all := events(d.events).in(a)
		if c := a.Values["currency"]; c != "" {
			all = all.of(cardlake.Currency(c))
		}
		return all.each(keyOf(column, "currency"), func(of events) []any { return append(requested(of), over(len(of), len(all))) })
	}
}

func modelDeclines(column string, about ...string) func(*data, figures.Args) []string {
	return func(d *data, a figures.Args) []string {
		return events(d.events).in(a).each(keyOf(column), func(of events) []any {
			var cells []any
			for _, c := range about {
				cells = append(cells, of.last(c))
			}
			no := of.declined()
			cells = append(cells, len(of), len(no), over(len(no), len(of)))
			for _, class := range []string{"cardholder", "issuer", "fraud", "technical", "other"} {
				cells = append(cells, len(no.where(func(e *cardlake.Transaction) bool { return classOf(e.ResponseCode) == class })))
			}
			return cells
		})
	}
}

// TestFiguresAreWhatTheModelSays compares figures with their definition in plain Go, on random
// purchases, over all of the days and over some in the middle.
func TestFiguresAreWhatTheModelSays(t *testing.T) {
	d := newData(7, 500, 24)
	s := newSite(t, d).as(t, queriestest.Everything)
	for _, name := range slices.Sorted(maps.Keys(models)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := figure(t, name)
			for _, middle := range []bool{false, true} {
				a := argsOf(f, d)
				for _, p := range f.Params {
					if p.Name == "limit" {
						a.Values["limit"] = "500"
					}
				}
				if middle {
					a.From, a.To = begin.AddDate(0, 0, 6), begin.AddDate(0, 0, 15)
					for name, v := range map[string]string{"grain": "week", "clock": "terminal"} {
						if slices.ContainsFunc(f.Params, func(p figures.Param) bool { return p.Name == name }) && name != "declines-by-hour-and-reason" {
							a.Values[name] = v
						}
					}
					if name == "declines-by-hour-and-reason" {
						delete(a.Values, "clock")
					}
				}
				want, got := models[name](d, a), ask(t, s, statement(t, f, a)).lines
				slices.Sort(want)
				slices.Sort(got)
				if diff := gocmp.Diff(want, got); diff != "" || len(want) == 0 {
					t.Errorf("%d rows (-model +figure):\n%.2500s", len(want), diff)
				}
			}
		})
	}
}

// TestPeriodsAddUp: counts and sums of two ranges are those of both together.
func TestPeriodsAddUp(t *testing.T) {
	d := newData(8, 300, 5)
	s := newSite(t, d).as(t, queriestest.Everything)
	f := figure(t, "totals")
	middle := begin.AddDate(0, 0, 2)
	sums := func(from, to time.Time) map[string]int64 {
		a := argsOf(f, d)
		a.From, a.To = from, to
		got := ask(t, s, statement(t, f, a))
		out := map[string]int64{}
		for i, cells := range got.rows {
			for c, column := range got.columns {
				if n, ok := cells[c].(int64); ok {
					out[fmt.Sprint(got.at(t, "currency")[i], " ", column.Name)] += n
				}
			}
		}
		return out
	}
	want := sums(begin, end)
	got := sums(begin, middle)
	for name, n := range sums(middle, end) {
		got[name] += n
	}
	if diff := gocmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("(-whole +parts):\n%s", diff)
	}
}

// TestCardsOnTheEdge: cards that are used again just within a window, at its end, or after it.
func TestCardsOnTheEdge(t *testing.T) {
	d := newData(11, 20, 5)
	first := *events(d.events).where(func(e *cardlake.Transaction) bool { return e.EventType == cardlake.Authorization }).approved()[0]
	d.events = nil
	for i, gap := range []int64{0, 6, 7, 8, 29, 30, 31} {
		for _, day := range []int64{40, 40 + gap} {
			e := first
			e.CardToken, e.EventTime = fmt.Sprint("tk1_", i), begin.UnixMicro()+day*micros
			d.events = append(d.events, &e)
		}
	}
	a := figures.Args{Tenant: first.Tenant, From: begin.AddDate(0, 0, 38), To: begin.AddDate(0, 0, 110)}
	got := ask(t, newSite(t, d).as(t, queriestest.Everything), statement(t, figure(t, "cards-over-time"), a)).lines
	if diff := gocmp.Diff(models["cards-over-time"](d, a), got); diff != "" || len(got) < 8 {
		t.Errorf("(-model +figure):\n%s", diff)
	}
}
