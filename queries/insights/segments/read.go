package segments

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/segment"
)

// columns are the features. Those that say much the same as others count less, and so do those
// that few customers differ in.
var columns = []segment.Column{
	{Name: "recency", Weight: 1},
	{Name: "frequency", Scale: segment.YeoJohnson, Weight: 1},
	{Name: "monetary", Scale: segment.YeoJohnson, Weight: 1},
	{Name: "ticket", Scale: segment.YeoJohnson, Weight: 0.7},
	{Name: "ecommerce", Scale: segment.Linear, Weight: 0.7},
	{Name: "atm", Scale: segment.Linear, Weight: 0.7},
	{Name: "night", Scale: segment.Linear, Weight: 0.7},
	{Name: "weekend", Scale: segment.Linear, Weight: 0.5},
	{Name: "cross_border", Scale: segment.Linear, Weight: 0.7},
	{Name: "merchants", Scale: segment.YeoJohnson, Weight: 0.5},
	{Name: "categories", Scale: segment.YeoJohnson, Weight: 0.5},
	{Name: "declined", Scale: segment.Linear, Weight: 0.5},
}

// The places of features that are more than features.
const (
	recency = iota
	frequency
	monetary
)

// data is what a run reads.
type data struct {
	from, until time.Time
	currency    string
	home        string // country of most purchases on the spot; "" if none is known

	customers []string       // ascending
	raw       segment.Matrix // their features, in units of columns; NaN for unknown
	spent     []float64      // by customer, in the currency

	anonymous, foreign int64 // approved authorisations left out: without a customer, in other currencies
}

const (
	// rowsAtOnce bounds what the engine groups at once: customers are read in as many parts.
	rowsAtOnce = 4_000_000
	hour       = 3_600_000_000 // in microseconds
)

// opens are the authorisations that open a purchase, or would have.
const opens = `event_type = 'authorization' AND event_id = transaction_id AND amount > 0`

// code is the currency that a cardholder is charged in.
const code = `coalesce(billing_currency, currency)`

// read reads the features of the customers. Sums are of integers, so that equal data gives equal
// results however many threads the engine has.
func read(ctx context.Context, t *insights.Task, p parameters) (*data, error) {
	d := &data{until: t.AsOf, from: t.AsOf.AddDate(0, 0, -p.days), currency: p.currency}
	window := opens + ` AND event_time >= ` + insights.Time(d.from) + ` AND event_time < ` + insights.Time(d.until)
	if d.currency == "" {
		err := t.Each(ctx, `SELECT `+code+` AS code FROM cards.transactions
			WHERE `+window+` AND approved AND customer_id IS NOT NULL
			GROUP BY code ORDER BY count(*) DESC, code LIMIT 1`, func(row []any) error {
			d.currency = strings.Clone(row[0].(string))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	counted := ` AND customer_id IS NOT NULL AND ` + code + ` = ` + insights.Text(d.currency)
	err := t.Each(ctx, `SELECT count(*) FILTER (customer_id IS NULL), count(*) FILTER (customer_id IS NOT NULL AND `+code+` <> `+insights.Text(d.currency)+`)
		FROM cards.transactions WHERE `+window+` AND approved`, func(row []any) error {
		d.anonymous, d.foreign = row[0].(int64), row[1].(int64)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = t.Each(ctx, `SELECT merchant_country FROM cards.transactions
		WHERE `+window+counted+` AND approved AND channel IN ('pos', 'atm') AND merchant_country IS NOT NULL
		GROUP BY merchant_country ORDER BY count(*) DESC, merchant_country LIMIT 1`, func(row []any) error {
		d.home = strings.Clone(row[0].(string))
		return nil
	})
	if err != nil {
		return nil, err
	}
	parts := t.Rows/rowsAtOnce + 1
	for part := range parts {
		t.Report("reading customers", part, parts)
		if err := d.readPart(ctx, t, window+counted, part, parts); err != nil {
			return nil, err
		}
	}
	d.sort()
	return d, nil
}

// readPart reads one of so many parts of the customers, in no order. The night is from 22 to 6
// o'clock by the terminal's clock, the weekend Saturday and Sunday (1970-01-01 was a Thursday).
//
// HAVING leaves out what changes nothing. It is there for DuckDB to take the reversals for fewer
// than the purchases, and so to hold the former in memory for the join.
func (d *data) readPart(ctx context.Context, t *insights.Task, counted string, part, parts int64) error {
	if parts > 1 {
		counted += fmt.Sprintf(` AND hash(customer_id) %% %d = %d`, parts, part)
	}
	return batches(ctx, t, `WITH undone AS (
			SELECT transaction_id, sum(amount) AS amount FROM cards.transactions
			WHERE event_type = 'reversal' AND approved AND event_time >= `+insights.Time(d.from)+` GROUP BY transaction_id HAVING sum(amount) > 0
		)
		SELECT customer_id, count(*) FILTER (approved), max(instant) FILTER (approved), CAST(sum(value) FILTER (approved) AS DOUBLE),
			count(*) FILTER (approved AND channel = 'ecommerce'), count(*) FILTER (approved AND channel = 'atm'),
			count(clock) FILTER (approved), count(*) FILTER (approved AND (clock // `+fmt.Sprint(hour)+` + 2) % 24 < 8),
			count(*) FILTER (approved AND (clock // `+fmt.Sprint(24*hour)+` + 3) % 7 >= 5),
			count(merchant_country) FILTER (approved), count(*) FILTER (approved AND merchant_country <> `+insights.Text(d.home)+`),
			count(DISTINCT merchant_id) FILTER (approved), count(DISTINCT mcc) FILTER (approved), count(*) FILTER (NOT approved)
		FROM (
			SELECT customer_id, approved, channel, merchant_id, mcc, merchant_country, epoch_us(event_time) AS instant, epoch_us(local_time) AS clock,
				CAST(round(10000 * CAST(coalesce(billing_amount, o.amount) AS DOUBLE) *
					(1 - CAST(coalesce(u.amount, 0) AS DOUBLE) / CAST(o.amount AS DOUBLE))) AS BIGINT) AS value
			FROM (
				SELECT transaction_id, customer_id, approved, channel, merchant_id, mcc, merchant_country, event_time, local_time, amount, billing_amount
				FROM cards.transactions WHERE `+counted+`
			) AS o LEFT JOIN undone AS u ON u.transaction_id = o.transaction_id
			WHERE u.amount IS NULL OR u.amount < o.amount OR NOT approved
		)
		GROUP BY customer_id HAVING count(*) FILTER (approved) > 0`, func(ids *array.String, of []numbers, row int) {
		n := func(c int) float64 { return of[c].at(row) }
		bought, clocks, places, declined := n(0), n(5), n(8), n(12)
		days := (float64(d.until.UnixMicro()) - n(1)) / (24 * hour)
		spent := max(0, n(2)) / 10_000
		d.customers = append(d.customers, strings.Clone(ids.Value(row)))
		d.raw.Data = append(d.raw.Data,
			days, bought, spent, spent/bought, n(3)/bought, n(4)/bought, ratio(n(6), clocks), ratio(n(7), clocks),
			ratio(n(9), places), n(10), n(11), declined/(bought+declined))
	})
}

// ratio is NaN, which stands for unknown, where nothing is known of any.
func ratio(part, of float64) float64 {
	if of == 0 {
		return math.NaN()
	}
	return part / of
}

// sort puts the customers in the order of their ids.
func (d *data) sort() {
	order := make([]int, len(d.customers))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(d.customers[a], d.customers[b]) })
	customers, raw := make([]string, len(order)), segment.NewMatrix(len(order), len(columns))
	d.raw.Rows, d.raw.Cols = len(order), len(columns)
	d.spent = make([]float64, len(order))
	for to, from := range order {
		customers[to] = d.customers[from]
		copy(raw.Row(to), d.raw.Row(from))
		d.spent[to] = raw.Row(to)[monetary]
	}
	d.customers, d.raw = customers, raw
}

// numbers is a column of whole numbers or of floats.
type numbers struct {
	whole *array.Int64
	float *array.Float64
}

func (n numbers) at(row int) float64 {
	switch {
	case n.whole != nil && !n.whole.IsNull(row):
		return float64(n.whole.Value(row))
	case n.float != nil && !n.float.IsNull(row):
		return n.float.Value(row)
	}
	return 0
}

// batches reads an answer whose first column is a text and whose others are numbers.
func batches(ctx context.Context, t *insights.Task, sql string, do func(ids *array.String, of []numbers, row int)) (err error) {
	result, err := t.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for {
		batch, err := result.NextBatch()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := eachRow(batch, do); err != nil {
			return err
		}
	}
}

// eachRow hands over the rows of a batch and releases it.
func eachRow(batch arrow.RecordBatch, do func(ids *array.String, of []numbers, row int)) error {
	defer batch.Release()
	ids, ok := batch.Column(0).(*array.String)
	if !ok {
		return fmt.Errorf("column 0 of an answer is %s", batch.Column(0).DataType())
	}
	of := make([]numbers, batch.NumCols()-1)
	for n := range of {
		switch c := batch.Column(n + 1).(type) {
		case *array.Int64:
			of[n].whole = c
		case *array.Float64:
			of[n].float = c
		default:
			return fmt.Errorf("column %d of an answer is %s", n+1, c.DataType())
		}
	}
	for row := range int(batch.NumRows()) {
		do(ids, of, row)
	}
	return nil
}
