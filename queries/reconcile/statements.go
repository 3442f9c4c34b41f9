package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// The statements are plain SQL, so that any engine behind the gateway can run them. The first
// one reads both tables at once, because reading is what costs and what lags must be seen in
// the same snapshot: it compares where the rows are, and answers with what is not complete
// only.

// compareSQL has a row with tenant NULL, in whose l_ingested_at is the event time that every
// partition of the stream has reached which brought anything within MaxLag; for each tenant a
// row with minute NULL, that counts its complete minutes and sums up all of them; and in order
// a row for each currency of each minute that is not complete.
// Without streams nothing is known of partitions, and NULL is in its place.
func compareSQL(cfg *Config, now time.Time, hasStreams bool) string {
	lagging := now.Add(-cfg.MaxLag)
	if !cfg.Since.IsZero() && cfg.Since.Before(lagging) {
		lagging = cfg.Since
	}
	partitions := " FROM cards.transactions WHERE event_time >= " + literal(lagging)
	if hasStreams {
		partitions += " GROUP BY stream, stream_partition"
	} else {
		partitions += " AND 1 = 0"
	}
	return `
WITH lake AS (
  SELECT tenant, date_trunc('minute', event_time) AS minute, currency, count(*) AS events,
    sum(CASE WHEN approved THEN 1 ELSE 0 END) AS approved_events, sum(amount) AS amount,
    sum(CASE WHEN approved THEN amount ELSE 0 END) AS approved_amount, max(ingested_at) AS ingested_at
  FROM cards.transactions` + where(cfg, "event_time", cfg.Since, cfg.Until) + `
  GROUP BY tenant, date_trunc('minute', event_time), currency
), each_total AS (
  SELECT tenant, minute, currency, processor, first_sequence, events, approved_events, amount, approved_amount, max(ingested_at) AS ingested_at
  FROM cards.control_totals` + where(cfg, "minute", cfg.Since, cfg.Until) + `
  GROUP BY tenant, minute, currency, processor, first_sequence, events, approved_events, amount, approved_amount
), totals AS (
  SELECT tenant, minute, currency, sum(events) AS events, sum(approved_events) AS approved_events,
    sum(amount) AS amount, sum(approved_amount) AS approved_amount, max(ingested_at) AS ingested_at
  FROM each_total GROUP BY tenant, minute, currency
), cells AS (
  SELECT coalesce(l.tenant, t.tenant) AS tenant, coalesce(l.minute, t.minute) AS minute, coalesce(l.currency, t.currency) AS currency,
    coalesce(l.events, 0) AS l_events, coalesce(l.approved_events, 0) AS l_approved, coalesce(l.amount, 0) AS l_amount,
    coalesce(l.approved_amount, 0) AS l_approved_amount, l.ingested_at AS l_ingested_at,
    coalesce(t.events, 0) AS t_events, coalesce(t.approved_events, 0) AS t_approved, coalesce(t.amount, 0) AS t_amount,
    coalesce(t.approved_amount, 0) AS t_approved_amount, t.ingested_at AS t_ingested_at,
    CASE WHEN l.events = t.events AND l.approved_events = t.approved_events AND l.amount = t.amount
      AND l.approved_amount = t.approved_amount THEN 0 ELSE 1 END AS differs
  FROM lake l FULL JOIN totals t ON l.tenant = t.tenant AND l.minute = t.minute AND l.currency = t.currency
), minutes AS (
  SELECT tenant, minute, sum(differs) AS differs, sum(l_events) AS l_events, sum(t_events) AS t_events FROM cells GROUP BY tenant, minute
), partitions AS (
  SELECT max(event_time) AS reached` + partitions + `
)
SELECT NULL AS tenant, NULL AS minute, NULL AS currency, 0 AS complete,
  0 AS l_events, 0 AS l_approved, 0 AS l_amount, 0 AS l_approved_amount, min(reached) AS l_ingested_at,
  0 AS t_events, 0 AS t_approved, 0 AS t_amount, 0 AS t_approved_amount, NULL AS t_ingested_at
FROM partitions
UNION ALL
SELECT tenant, NULL, NULL, sum(CASE WHEN differs = 0 THEN 1 ELSE 0 END), sum(l_events), 0, 0, 0, NULL, sum(t_events), 0, 0, 0, NULL
FROM minutes GROUP BY tenant
UNION ALL
SELECT c.tenant, c.minute, c.currency, 0, c.l_events, c.l_approved, c.l_amount, c.l_approved_amount, c.l_ingested_at,
  c.t_events, c.t_approved, c.t_amount, c.t_approved_amount, c.t_ingested_at
FROM cells c JOIN minutes m ON c.tenant = m.tenant AND c.minute = m.minute WHERE m.differs > 0
ORDER BY 1 NULLS FIRST, 2 NULLS FIRST, 3`
}

// gapsSQL has a row for each two totals of a tenant and processor between whose numbers
// others are missing. It goes by the instant of emission, in whose order the numbers were
// given, because a late total is of an old minute. Without Since the first number is 1.
func gapsSQL(cfg *Config) string {
	const window = " OVER (PARTITION BY tenant, processor ORDER BY first_sequence, last_sequence)"
	before := "lag(last_sequence)" + window
	if cfg.Since.IsZero() {
		before = "coalesce(" + before + ", 0)"
	}
	return `
SELECT tenant, processor, last_before + 1 AS first_missing, first_sequence - 1 AS last_missing, minute_before, minute, arrived_at
FROM (
  SELECT tenant, processor, first_sequence, minute, greatest(emitted_at, ingested_at) AS arrived_at,
    ` + before + ` AS last_before, lag(minute)` + window + ` AS minute_before
  FROM cards.control_totals` + where(cfg, "emitted_at", cfg.Since, time.Time{}) + `
) AS each_total
WHERE first_sequence > last_before + 1` + untilMinute(cfg) + `
ORDER BY tenant, processor, first_sequence`
}

// untilMinute leaves out gaps that begin behind Until.
func untilMinute(cfg *Config) string {
	if cfg.Until.IsZero() {
		return ""
	}
	return " AND coalesce(minute_before, minute) < " + literal(cfg.Until)
}

// where bounds the column and the tenant.
func where(cfg *Config, column string, since, until time.Time) string {
	var conditions []string
	if !since.IsZero() {
		conditions = append(conditions, column+" >= "+literal(since))
	}
	if !until.IsZero() {
		conditions = append(conditions, column+" < "+literal(until))
	}
	if cfg.Tenant != "" {
		conditions = append(conditions, "tenant = '"+string(cfg.Tenant)+"'") // has no quotes: see Validate
	}
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

func literal(t time.Time) string {
	return "TIMESTAMP WITH TIME ZONE '" + t.UTC().Format("2006-01-02 15:04:05.000000") + " UTC'"
}

// each runs the statement and calls f with every row, which is reused.
func (r *run) each(ctx context.Context, sql string, f func(row []any) error) (err error) {
	result, err := r.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	row := make([]any, len(result.Columns()))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := result.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := f(row); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// text, instant and number read a value of an answer; NULL is the zero value.
func text(v any) string {
	s, _ := v.(string)
	return s
}

func instant(v any) time.Time {
	t, _ := v.(time.Time)
	return t
}

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	case decimal128.Num: // a sum
		return v.BigInt().Int64()
	}
	return 0
}

// decimal spells a sum of amounts with its four decimals.
func decimal(v any) string {
	d, _ := v.(decimal128.Num)
	return d.ToString(4)
}
