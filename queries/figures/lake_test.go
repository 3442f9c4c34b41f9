package figures_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views/viewstest"
)

// data is what a lake of the tests holds.
type data struct {
	events []*cardlake.Transaction
	rows   map[*cardlake.Table][]viewstest.Row
}

const micros = int64(24 * time.Hour / time.Microsecond) // of a day

// newData returns purchases of the tenants of queriestest on so many days next to each other, and
// what jobs made of them, with runs that are superseded and one that was never published.
func newData(seed uint64, purchases, days int) *data {
	d := &data{events: viewstest.Events(seed, purchases), rows: map[*cardlake.Table][]viewstest.Row{}}
	r := rand.New(rand.NewPCG(seed, 8))
	epoch := begin.UnixMicro()
	const spread = 120 // more than the days of viewstest
	for _, e := range d.events {
		since := e.EventTime - epoch
		e.EventTime = epoch + since/micros*int64(days)/spread*micros + since%micros
		e.IngestedAt = e.EventTime + 1_000_000 + r.Int64N(1_000_000)
		if r.IntN(4) > 0 {
			e.LocalTime = e.EventTime - 5*int64(time.Hour/time.Microsecond)
		}
		if since/micros > spread/2 && r.IntN(12) == 0 {
			e.MerchantID = fmt.Sprint("late-", r.IntN(3))
		}
		e.LatencyMicros, e.TerminalID = int32(r.IntN(9000)), fmt.Sprint("T", r.IntN(3))
		e.ECI = []string{"", "05", "02", "06", "07", "00"}[r.IntN(6)]
	}
	for _, of := range queriestest.Tenants {
		d.insights(r, string(of.Name), string(of.Currency), int64(days))
	}
	d.totals(r)
	for i := range 9 {
		d.add(cardlake.Rejected, viewstest.Row{
			"rejected_at": epoch + int64(i/3)*micros, "reason": []string{"undecodable", "unopenable"}[i%2], "stream": "cards", "stream_partition": int64(i % 2), "stream_offset": int64(i),
			"record_time": epoch, "payload": nil,
		})
		d.add(cardlake.AuditEvents, viewstest.Row{
			"log": "aaaa", "seq": int64(i + 1), "time": epoch + int64(i/4)*micros, "actor": fmt.Sprint("operator/", i%2), "action": "query", "outcome": []string{"allowed", "refused", "failed"}[i%3],
			"resource": "cards.transactions", "rows": []any{int64(i), nil}[i%2], "segment": int64(1), "hash": "b",
		})
	}
	return d
}

func (d *data) add(t *cardlake.Table, row viewstest.Row) { d.rows[t] = append(d.rows[t], row) }

// insights adds two published runs of each job, at a quarter of the days and at half, and a later
// one that was not published.
func (d *data) insights(r *rand.Rand, tenant, currency string, days int64) {
	epoch := begin.UnixMicro()
	places := []string{"low", "medium", "high", "critical"}
	patterns := []string{"stolen_card", "impossible_travel", "card_testing", "compromised_terminal", "unusual"}
	chance := func() int64 { return r.Int64N(10_001) }
	for n := range 3 {
		asOf := epoch + days*int64(n+1)/4*micros + int64(9*time.Hour/time.Microsecond)
		run := func(job string) string {
			id := fmt.Sprintf("%s-%s-%d", tenant, job, n)
			if n < 2 {
				from := cardlake.DayOf(asOf) - 4
				d.add(cardlake.Runs, viewstest.Row{
					"run_id": id, "job": job, "tenant": tenant, "sequence": int64(n + 1), "as_of": asOf, "covers_from": from.Time().UnixMicro(),
					"covers_to": (cardlake.DayOf(asOf) + 1).Time().UnixMicro(), "snapshot": int64(1), "version": "1", "parameters": "{}", "rows_read": int64(100), "rows_written": int64(10),
					"digest": "a", "started_at": asOf, "published_at": asOf + 2_500_000, "principal": "etl_job/insights", "card": "{}",
				})
			}
			return id
		}
		anomaly, segment, predict, recommend := run("anomaly"), run("segment"), run("predict"), run("recommend")
		alerts := 0
		for _, e := range d.events {
			if string(e.Tenant) != tenant || e.EventType != cardlake.Authorization || e.EventTime >= asOf || r.IntN(4) > 0 {
				continue
			}
			row := viewstest.Row{"alert_id": "alert-" + e.EventID.String(), "run_id": anomaly, "score": chance(), "severity": places[r.IntN(4)], "pattern": patterns[r.IntN(5)], "position": int64(alerts + 1), "reasons": "a reason", "features": "[]"}
			if r.IntN(2) == 0 {
				row["probability"] = chance()
			}
			for _, c := range cardlake.Alerts.Columns {
				if _, ok := row[c.Name]; !ok && cardlake.Transactions.Column(c.Name) != nil {
					row[c.Name] = viewstest.Value(e, c.Name)
				}
			}
			d.add(cardlake.Alerts, row)
			if alerts++; alerts%3 == 0 {
				d.add(cardlake.Labels, viewstest.Row{
					"label_id": fmt.Sprint("label-", n, "-", alerts), "tenant": tenant, "reported_at": e.EventTime + micros, "event_id": e.EventID.String(), "label": []string{"fraud", "genuine"}[r.IntN(2)],
					"source": []string{"review", "review", "file"}[r.IntN(3)], "reporter": "tenant_analyst/ana", "recorded_at": e.EventTime + micros + int64(n),
				})
			}
		}
		for s := range 3 {
			d.add(cardlake.Segments, viewstest.Row{
				"run_id": segment, "tenant": tenant, "as_of": asOf, "segment_id": fmt.Sprint("segment-", s), "name": fmt.Sprint("Name ", s), "description": "d", "state": "kept", "customers": int64(4 + s),
				"share": chance(), "value": chance(), "currency": currency, "map_x": chance() - 5000, "map_y": chance(), "centre": "{}",
			})
		}
		for c := range 12 {
			customer := fmt.Sprintf("customer-%d", c)
			row := viewstest.Row{
				"run_id": segment, "tenant": tenant, "as_of": asOf, "customer_id": customer, "segment_id": fmt.Sprint("segment-", r.IntN(3)), "probability": chance(), "distance": chance(),
				"recency_days": 10 * chance(), "frequency": r.Int64N(5), "monetary": r.Int64N(3) * 10_000, "currency": currency,
			}
			if n > 0 && c > 2 {
				row["previous_segment_id"] = fmt.Sprint("segment-", r.IntN(3))
			}
			d.add(cardlake.CustomerSegments, row)
			row = viewstest.Row{
				"run_id": predict, "tenant": tenant, "as_of": asOf, "customer_id": customer, "frequency": r.Int64N(5), "recency_days": chance(), "age_days": chance(), "alive": chance(),
				"purchases_30": 10 * chance(), "purchases_60": 20 * chance(), "purchases_90": 30 * chance(), "next_mcc": []any{"5411", "5812", nil}[r.IntN(3)], "next_mcc_probability": chance(),
			}
			if c > 1 {
				row["value_30"], row["value_60"], row["value_90"], row["currency"] = r.Int64N(3)*10_000, 100*chance(), 1000*r.Int64N(4), currency
				row["next_purchase_at"] = asOf + r.Int64N(100*micros)
			}
			d.add(cardlake.Predictions, row)
			for _, mode := range []string{"all", "new", "offer"} {
				for place := range 1 + r.IntN(4) {
					row := viewstest.Row{
						"run_id": recommend, "tenant": tenant, "as_of": asOf, "customer_id": customer, "mode": mode, "position": int64(place + 1), "score": chance(), "reason": fmt.Sprint("because ", r.IntN(2)),
						"merchant_id": fmt.Sprintf("M%03d", r.IntN(8)), "merchant_name": "SHOP", "mcc": "5411",
					}
					if mode == "offer" {
						row["merchant_id"], row["offer_id"] = nil, fmt.Sprint("offer-", r.IntN(3))
					}
					d.add(cardlake.Recommendations, row)
				}
			}
		}
	}
}

// totals adds what the processors counted, some of it twice, and leaves out every tenth.
func (d *data) totals(r *rand.Rand) {
	type cell struct {
		tenant cardlake.Tenant
		minute int64
	}
	const minute = int64(time.Minute / time.Microsecond)
	counts := map[cell][]*cardlake.Transaction{}
	var cells []cell
	for _, e := range d.events {
		c := cell{e.Tenant, e.EventTime / minute * minute}
		if counts[c] == nil {
			cells = append(cells, c)
		}
		counts[c] = append(counts[c], e)
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return strings.Compare(fmt.Sprint(a.tenant, a.minute), fmt.Sprint(b.tenant, b.minute))
	})
	next := map[cardlake.Tenant]int64{}
	for i, c := range cells {
		n, approved := int64(len(counts[c])), int64(0)
		for _, e := range counts[c] {
			if e.Approved {
				approved++
			}
		}
		first := next[c.tenant] + 1
		next[c.tenant] += n
		for range 1 + r.IntN(8)/7 {
			if i%10 != 3 {
				d.add(cardlake.ControlTotals, viewstest.Row{
					"tenant": string(c.tenant), "minute": c.minute, "region": "local", "processor": "p1", "currency": "BRL", "events": n, "approved_events": approved, "amount": int64(0), "approved_amount": int64(0),
					"first_sequence": first, "last_sequence": next[c.tenant], "emitted_at": c.minute, "ingested_at": c.minute, "stream": "totals", "stream_partition": int64(0), "stream_offset": int64(len(d.rows[cardlake.ControlTotals])),
				})
			}
		}
	}
}

// lake writes a file for each table, tenant and day.
func (d *data) lake(t testing.TB) *queriestest.Lake {
	t.Helper()
	lake := queriestest.NewLake()
	put := func(table *cardlake.Table, tenant string, day cardlake.Day, rows []viewstest.Row) {
		body, err := queriestest.Parquet(table, len(rows), func(c cardlake.Column, row int) any { return rows[row][c.Name] })
		if err != nil {
			t.Fatal(err)
		}
		var times []int64
		for _, row := range rows {
			times = append(times, row[table.Time].(int64))
		}
		lake.Add(table, cardlake.DataFile{
			Name: fmt.Sprintf("data/%s/%s/%s.parquet", table.FullName(), tenant, day), Tenant: cardlake.Tenant(tenant), Day: day,
			Rows: int64(len(rows)), Bytes: int64(len(body)), MinTime: slices.Min(times), MaxTime: slices.Max(times), SplitOffsets: []int64{4},
		}, body)
	}
	all := map[*cardlake.Table][]viewstest.Row{}
	for table, rows := range d.rows {
		all[table] = rows
	}
	for _, e := range d.events {
		row := viewstest.Row{}
		for _, c := range cardlake.Transactions.Columns {
			row[c.Name] = viewstest.Value(e, c.Name)
		}
		all[cardlake.Transactions] = append(all[cardlake.Transactions], row)
	}
	for table, rows := range all {
		type place struct {
			tenant string
			day    cardlake.Day
		}
		files := map[place][]viewstest.Row{}
		for _, row := range rows {
			tenant, _ := row["tenant"].(string)
			p := place{tenant, cardlake.DayOf(row[table.Time].(int64))}
			files[p] = append(files[p], row)
		}
		for p, rows := range files {
			put(table, p.tenant, p.day, rows)
		}
	}
	return lake
}

// history is a lake that has no state but the newest.
type history struct{ *queriestest.Lake }

// PlanAt implements queries.History.
func (h history) PlanAt(ctx context.Context, table *cardlake.Table, _ int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	return h.Plan(ctx, table)
}

// newSite is an engine over the data; nil is an empty lake.
func newSite(t testing.TB, d *data) *site {
	t.Helper()
	lake := queriestest.NewLake()
	if d != nil {
		lake = d.lake(t)
	}
	s := &site{embedded.NewParser(), embedded.New(history{lake}, lake, embedded.Config{Threads: 2, CacheBytes: 256 << 20, CacheAge: time.Hour, Ready: 1})}
	t.Cleanup(func() {
		if err := errors.Join(s.parser.Close(), s.engine.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}
