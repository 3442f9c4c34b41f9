package readers

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/cardlake/cardlake"
)

// question is what every reader is asked, each in its own language: an aggregate over the rows
// of a table that lie in one group of By. The answer is a row of text for each group, sorted:
// By, the number of rows, and a value for each column of Sum, Present, True, Distinct and
// Range (two). Sums of decimals have four decimals, instants are microseconds since the epoch,
// a sum or an end of nothing is "none".
type question struct {
	Table string `json:"table"` // without namespace
	Time  string `json:"time"`  // the column that day is of

	Tenant string `json:"tenant,omitempty"` // the only one to look at
	Begin  int64  `json:"begin,omitempty"`  // of Time
	End    int64  `json:"end,omitempty"`    // the first that is beyond

	By       []string `json:"by"` // columns, or day: that of UTC, as a number since the epoch
	Sum      []string `json:"sum"`
	Present  []string `json:"present"` // how many are not null
	True     []string `json:"true"`    // how many are
	Distinct []string `json:"distinct"`
	Range    []string `json:"range"` // least and greatest
}

const day = "day"

// questions are asked of a lake in which time was at noon of some day.
func questions(noon int64) map[string]question {
	const t = "event_time"
	money := question{
		Table: "transactions", Time: t, By: []string{"tenant", "currency", day},
		Sum: []string{"amount", "billing_amount", "latency_us"}, Present: []string{"billing_amount", "merchant_name"}, True: []string{"approved"},
		Distinct: []string{"card_token", "event_id", "merchant_name"}, Range: []string{t, "amount", "merchant_name"},
	}
	part := money
	part.Tenant, part.Begin, part.End = string(tenants[1].name), noon-36*3600*1e6, noon+1
	return map[string]question{
		"money": money,
		"part":  part,
		"all": {
			Table: "transactions", Time: t, Sum: []string{"amount"}, Distinct: []string{"card_token", "event_id", "tenant"}, Range: []string{t, "ingested_at"},
		},
		"lineage": {
			Table: "transactions", Time: t, By: []string{"stream", "stream_partition"}, Sum: []string{"stream_offset"}, Range: []string{"stream_offset"},
		},
		"rejected": {
			Table: "transactions_rejected", Time: "rejected_at", By: []string{"reason", "stream_partition"}, Distinct: []string{"detail"}, Range: []string{"stream_offset", "record_time"},
		},
		"totals": {
			Table: "control_totals", Time: "minute", By: []string{"tenant", "currency", day},
			Sum: []string{"events", "amount", "approved_amount"}, Range: []string{"minute", "last_sequence"},
		},
	}
}

func (q question) column(name string) *cardlake.Column {
	return cardlake.TableNamed("cards." + q.Table).Column(name)
}

// sql is the question for cardlake query. The columns of its answer are c00, c01 and so on.
func (q question) sql() string {
	var columns []string
	add := func(format string, args ...any) {
		columns = append(columns, fmt.Sprintf("coalesce(CAST("+format+" AS VARCHAR), 'none') AS c%02d", append(args, len(columns))...))
	}
	for _, name := range q.By {
		if name == day {
			add("epoch_us(%s) // 86400000000", q.Time)
		} else {
			add("%s", name)
		}
	}
	add("count(*)")
	for _, name := range q.Sum {
		add("sum(%s)", name)
	}
	for _, name := range q.Present {
		add("count(%s)", name)
	}
	for _, name := range q.True {
		add("count_if(%s)", name)
	}
	for _, name := range q.Distinct {
		add("count(DISTINCT %s)", name)
	}
	for _, name := range q.Range {
		form := "%s(%s)"
		if q.column(name).Type == cardlake.TimestampTZ {
			form = "epoch_us(%s(%s))"
		}
		add(form, "min", name)
		add(form, "max", name)
	}
	where := []string{"true"}
	if q.Tenant != "" {
		where = append(where, fmt.Sprintf("tenant = '%s'", q.Tenant))
	}
	if q.Begin != 0 || q.End != 0 {
		where = append(where, fmt.Sprintf("epoch_us(%s) BETWEEN %d AND %d", q.Time, q.Begin, q.End-1))
	}
	group := make([]string, len(q.By))
	for i := range group {
		group[i] = fmt.Sprint(i + 1)
	}
	text := fmt.Sprintf("SELECT %s FROM cards.%s WHERE %s", strings.Join(columns, ", "), q.Table, strings.Join(where, " AND "))
	if len(group) > 0 {
		text += " GROUP BY " + strings.Join(group, ", ")
	}
	return text
}

// compareRows orders an answer.
func compareRows(a, b []string) int {
	return cmp.Compare(strings.Join(a, "\x00"), strings.Join(b, "\x00"))
}
