package viewstest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// Row is a row of a table: nil for NULL, else a string, bool or int64; times are microseconds
// and decimals unscaled.
type Row map[string]any

const hour = int64(3_600_000_000)

// Insights returns rows of the tables of namespace insights, always the same: for each tenant
// and job runs of three days, two of them of one day, and rows of runs that were never published
// or are superseded. Rows are in order of the table's time.
func Insights() map[*cardlake.Table][]Row {
	r := rand.New(rand.NewPCG(11, 12))
	out := map[*cardlake.Table][]Row{}
	add := func(t *cardlake.Table, row Row) {
		for _, c := range t.Columns {
			if _, ok := row[c.Name]; !ok {
				row[c.Name] = filler(r, c)
			}
		}
		out[t] = append(out[t], row)
	}
	jobs := map[string][]*cardlake.Table{
		"anomaly": {cardlake.Alerts}, "segment": {cardlake.Segments, cardlake.CustomerSegments},
		"predict": {cardlake.Predictions}, "recommend": {cardlake.Recommendations},
	}
	epoch := queriestest.Epoch.UnixMicro()
	for _, of := range queriestest.Tenants {
		tenant := string(of.Name)
		for _, job := range slices.Sorted(maps.Keys(jobs)) {
			for n, at := range []int64{5, 30, 40, 55, 60} {
				run := fmt.Sprintf("%s-%s-%d", tenant, job, n)
				asOf := epoch + at*hour
				day := cardlake.DayOf(asOf)
				from := day
				if n == 2 {
					from-- // gives two days anew
				}
				if n != 1 { // the second was never published
					add(cardlake.Runs, Row{
						"run_id": run, "job": job, "tenant": tenant, "sequence": int64(3 * n), "as_of": asOf,
						"covers_from": from.Time().UnixMicro(), "covers_to": (day + 1).Time().UnixMicro(),
					})
				}
				for _, t := range jobs[job] {
					for i := range 4 {
						row := Row{"run_id": run, "tenant": tenant, "as_of": asOf, "alert_id": fmt.Sprint(run, i), "event_id": fmt.Sprint(tenant, i)}
						if t == cardlake.Alerts {
							row["event_time"] = from.Time().UnixMicro() + int64(i)*7*hour
						}
						add(t, row)
					}
				}
			}
		}
		for i := range 6 {
			add(cardlake.Labels, Row{
				"label_id": fmt.Sprint("l", i), "tenant": tenant, "event_id": fmt.Sprint(tenant, i%3), "reported_at": epoch + int64(i)*hour,
				"recorded_at": epoch + int64(i/2)*hour, "label": []string{"fraud", "genuine"}[r.IntN(2)], "source": []string{"review", "file"}[i/5],
			})
		}
	}
	for t, rows := range out {
		slices.SortStableFunc(rows, func(a, b Row) int { return int(min(max(a[t.Time].(int64)-b[t.Time].(int64), -1), 1)) })
	}
	return out
}

// filler is some value of the column.
func filler(r *rand.Rand, c cardlake.Column) any {
	switch {
	case c.Nullable && r.IntN(4) == 0:
		return nil
	case c.Type == cardlake.String:
		return fmt.Sprintf("%s %d", c.Name, r.IntN(5))
	case c.Type == cardlake.Bool:
		return r.IntN(2) == 0
	case strings.HasSuffix(c.Type.String(), "tz"):
		return queriestest.Epoch.UnixMicro() + r.Int64N(1000*hour)
	}
	return r.Int64N(20_000)
}

// addInsights adds the rows to the lake, a file for each tenant and day.
func addInsights(lake *queriestest.Lake) error {
	for t, rows := range Insights() {
		type place struct {
			tenant string
			day    cardlake.Day
		}
		files := map[place][]Row{}
		for _, row := range rows {
			p := place{row["tenant"].(string), cardlake.DayOf(row[t.Time].(int64))}
			files[p] = append(files[p], row)
		}
		for p, rows := range files {
			body, err := queriestest.Parquet(t, len(rows), func(c cardlake.Column, row int) any { return rows[row][c.Name] })
			if err != nil {
				return err
			}
			lake.Add(t, cardlake.DataFile{
				Name: fmt.Sprintf("data/%s/%s/%s.parquet", t.Name, p.tenant, p.day), Tenant: cardlake.Tenant(p.tenant), Day: p.day,
				Rows: int64(len(rows)), Bytes: int64(len(body)), MinTime: rows[0][t.Time].(int64), MaxTime: rows[len(rows)-1][t.Time].(int64), SplitOffsets: []int64{4},
			}, body)
		}
	}
	return nil
}
