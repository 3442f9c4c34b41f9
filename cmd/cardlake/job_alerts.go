package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
)

const jobAlertsAbout = `Lists alerts that -as may read, the newest day first and on it the most urgent, with the reasons in words.
"cardlake job confirm" and "cardlake job dismiss" say what became of one; the next run learns from it.`

// severities and statuses of alerts, the severest last.
var (
	severities = []string{"low", "medium", "high", "critical"}
	statuses   = []string{"open", "confirmed", "dismissed"}
)

// alertQuery says which alerts are listed.
type alertQuery struct {
	tenant, severity, status string
	n                        int
}

func (q *alertQuery) check() error {
	var faults []error
	if q.tenant != "" {
		if err := cardlake.Tenant(q.tenant).Validate(); err != nil {
			faults = append(faults, fmt.Errorf("-tenant: %w", err))
		}
	}
	if q.severity != "" && !slices.Contains(severities, q.severity) {
		faults = append(faults, fmt.Errorf("-severity is one of %s", strings.Join(severities, ", ")))
	}
	if q.status != "" && !slices.Contains(statuses, q.status) {
		faults = append(faults, fmt.Errorf("-status is one of %s", strings.Join(statuses, ", ")))
	}
	if q.n < 1 || q.n > 1_000_000 {
		faults = append(faults, errors.New("-n is from 1 to 1000000"))
	}
	return errors.Join(faults...)
}

// sql is the statement. Its columns are those of alertColumns.
func (q *alertQuery) sql() string {
	where := []string{"TRUE"}
	if q.tenant != "" {
		where = append(where, "tenant = "+insights.Text(q.tenant))
	}
	if i := slices.Index(severities, q.severity); i > 0 {
		var texts []string
		for _, s := range severities[i:] {
			texts = append(texts, insights.Text(s))
		}
		where = append(where, "severity IN ("+strings.Join(texts, ", ")+")")
	}
	if q.status != "" {
		where = append(where, "status = "+insights.Text(q.status))
	}
	return "SELECT " + strings.Join(alertColumns, ", ") + " FROM views.alerts WHERE " + strings.Join(where, " AND ") +
		fmt.Sprintf(" ORDER BY CAST(event_time AS DATE) DESC, position, tenant, alert_id LIMIT %d", q.n)
}

var alertColumns = []string{
	"tenant", "alert_id", "event_time", "severity", "score", "probability", "pattern", "status", "event_id", "amount", "currency", "approved",
	"channel", "merchant_id", "terminal_id", "mcc", "merchant_country", "card_token", "customer_id", "reasons", "reviewer", "reviewed_at", "note",
}

// jobAlerts is "cardlake job alerts".
func jobAlerts(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("job alerts", "", jobAlertsAbout, stderr)
	var place lakeflags.Flags
	place.Define(fs, lakeflags.Read)
	var d door
	d.define(fs)
	d.defineRecord(fs)
	var q alertQuery
	fs.StringVar(&q.tenant, "tenant", "", "`name` of the only tenant")
	fs.StringVar(&q.severity, "severity", "", "least `severity`: "+strings.Join(severities, ", "))
	fs.StringVar(&q.status, "status", "", "only alerts that are `so`: "+strings.Join(statuses, ", "))
	fs.IntVar(&q.n, "n", 20, "list at most so `many`")
	formatName := fs.String("format", "text", "how alerts are written: text, "+strings.Join(render.Names(), ", "))
	if err := parse(fs, args); err != nil {
		return err
	}
	format := writeAlerts
	if *formatName != "text" {
		if format, err = render.ByName(*formatName); err != nil {
			return misused(fs, "%v", err)
		}
	}
	if fs.NArg() != 0 {
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := errors.Join(place.Complete(), d.complete(home.Dir(place.Dir)), q.check()); err != nil {
		return misused(fs, "%v", err)
	}
	l, err := d.site(ctx, &place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	engine := l.engine(embedded.Config{})
	defer func() { err = errors.Join(err, engine.Close()) }()
	gateway := l.gateway(engine, queries.Config{MaxRows: -1, Views: views.All})
	result, err := gateway.Query(ctx, d.caller, q.sql())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	if err := format(ctx, stdout, result); err != nil {
		return err
	}
	switch result.Count() {
	case 0:
		fmt.Fprintln(stderr, `(no such alerts; "cardlake job list" shows whether job anomaly has been run)`)
	case int64(q.n):
		fmt.Fprintf(stderr, "(%s; there may be more: see -n)\n", plural(int64(q.n), "alert"))
	default:
		fmt.Fprintf(stderr, "(%s)\n", plural(result.Count(), "alert"))
	}
	return nil
}

// plural is a number of what the noun says.
func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// writeAlerts writes alerts as people read them.
func writeAlerts(ctx context.Context, w io.Writer, rows queries.Rows) error {
	row := make([]any, len(rows.Columns()))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := rows.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if _, err := io.WriteString(w, alertText(row)); err != nil {
			return err
		}
	}
}

// alertText is one alert; row has the values of alertColumns.
func alertText(row []any) string {
	text := func(column string) string { return shown(row[slices.Index(alertColumns, column)]) }
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s  %s  score %s", text("tenant"), text("event_time"), strings.ToUpper(text("severity")), text("pattern"), text("score"))
	if p := text("probability"); p != "" {
		fmt.Fprintf(&b, "  fraud with probability %s", p)
	}
	fmt.Fprintf(&b, "  %s\n  alert %s  event %s\n  %s %s", text("status"), text("alert_id"), text("event_id"), text("amount"), text("currency"))
	if approved, _ := row[slices.Index(alertColumns, "approved")].(bool); approved {
		b.WriteString(" approved")
	} else {
		b.WriteString(" declined")
	}
	for _, part := range [][2]string{
		{"channel", "by"}, {"merchant_id", "at merchant"}, {"terminal_id", "terminal"}, {"mcc", "mcc"}, {"merchant_country", "in"},
		{"card_token", "card"}, {"customer_id", "customer"},
	} {
		if v := text(part[0]); v != "" {
			fmt.Fprintf(&b, ", %s %s", part[1], v)
		}
	}
	b.WriteByte('\n')
	if reasons, ok := row[slices.Index(alertColumns, "reasons")].(string); ok {
		for reason := range strings.SplitSeq(reasons, "\n") {
			fmt.Fprintf(&b, "  - %s\n", shown(reason))
		}
	}
	if status := text("status"); status != "open" {
		fmt.Fprintf(&b, "  %s by %s at %s", status, text("reviewer"), text("reviewed_at"))
		if note := text("note"); note != "" {
			fmt.Fprintf(&b, ": %s", note)
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.String()
}

// shown is a value in one line, without what a terminal would act on.
func shown(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return unicode.ReplacementChar
			}
			return r
		}, v)
	case time.Time:
		return v.UTC().Format("2006-01-02 15:04:05")
	}
	if x, ok := insights.Float(v); ok {
		return strings.TrimSuffix(fmt.Sprintf("%.4f", x), "00")
	}
	return fmt.Sprint(v)
}
