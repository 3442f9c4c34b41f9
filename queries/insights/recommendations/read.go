package recommendations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/recommend"
)

// data is what a run reads. Customers and merchants are indices.
type data struct {
	from, choose, measure, until time.Time // the window, and where the held-out parts begin

	merchants []merchant
	customers []string // ascending
	home      []int32  // of each customer: a country, -1 if not known
	group     []int32  // of each customer: a place, -1 for none
	countries []string // homes, ascending
	places    []string // towns and countries of enough customers
	allowed   [][]bool // by home, and last for customers of none
	pairs     pairs    // of customers and merchants
}

type merchant struct {
	id, name, mcc, country string
	online                 bool // sells more at a distance than on the spot
}

// label is the merchant as reasons name it.
func (m merchant) label() string {
	if m.name != "" {
		return m.name
	}
	return m.id
}

// pairs are how much each customer bought at each merchant in each part of the window; purchases
// fade with their age at the window's end.
type pairs struct {
	customer, merchant   []int32
	fit, choose, measure []float32
}

// matrix adds up the parts.
func (d *data) matrix(parts ...[]float32) (*recommend.Matrix, error) {
	b, err := recommend.NewBuilder(len(d.customers), len(d.merchants))
	if err != nil {
		return nil, err
	}
	for n := range d.pairs.customer {
		for _, part := range parts {
			if part[n] > 0 {
				b.Add(int(d.pairs.customer[n]), int(d.pairs.merchant[n]), float64(part[n]))
			}
		}
	}
	return b.Matrix()
}

// categories numbers the merchants' categories.
func (d *data) categories() []int32 {
	numbers := map[string]int32{}
	all := make([]int32, len(d.merchants))
	for i, m := range d.merchants {
		if _, ok := numbers[m.mcc]; !ok {
			numbers[m.mcc] = int32(len(numbers))
		}
		all[i] = numbers[m.mcc]
	}
	return all
}

// reachable says, by home and last for customers of none, which merchants are for customers who
// live there: those of the country, and those who sell at a distance.
func (d *data) reachable(p parameters) [][]bool {
	all := make([][]bool, len(d.countries)+1)
	for h := range all {
		all[h] = make([]bool, len(d.merchants))
		for i, m := range d.merchants {
			all[h][i] = p.abroad || h == len(d.countries) || m.online || m.country == "" || m.country == d.countries[h]
		}
	}
	return all
}

// queries asks for the customers of m.
func (d *data) queries(m *recommend.Matrix, new bool) func(customer int) recommend.Query {
	return func(u int) recommend.Query {
		items, weights := m.Row(u)
		q := recommend.Query{Items: items, Weights: weights, Group: int(d.group[u]), New: new, Allowed: d.allowed[len(d.countries)]}
		if h := d.home[u]; h >= 0 {
			q.Allowed = d.allowed[h]
		}
		return q
	}
}

const (
	// leastTown is how many customers a town or country has that reasons name.
	leastTown = 50
	// unit is what a purchase of today counts, as an integer: sums of those don't depend on
	// their order.
	unit = 1_000_000_000
)

// read reads the window, the customers in so many parts. Sums are of integers and rows have no order, so that equal data gives
// equal results however many threads the engine has.
func read(ctx context.Context, t *insights.Task, p parameters, parts int64) (*data, error) {
	d := &data{until: t.AsOf, from: t.AsOf.AddDate(0, 0, -p.days)}
	if d.from.Before(t.First) {
		d.from = t.First
	}
	span := d.until.Sub(d.from)
	if span < leastDays*24*time.Hour {
		return nil, insights.Refuse(fmt.Sprintf("events over at least %d days", leastDays), "%.1f days", span.Hours()/24)
	}
	held := min(time.Duration(p.heldDays)*24*time.Hour, span/5).Truncate(time.Microsecond)
	d.measure = d.until.Add(-held)
	d.choose = d.measure.Add(-held)

	t.Report("reading merchants", 0, 0)
	window := `event_type = 'authorization' AND approved AND customer_id IS NOT NULL AND event_time >= ` +
		insights.Time(d.from) + ` AND event_time < ` + insights.Time(d.until)
	purchases := window + ` AND merchant_id IS NOT NULL AND channel IN (` + texts(p.channels) + `)`
	if len(p.without) > 0 {
		purchases += ` AND (mcc IS NULL OR mcc NOT IN (` + texts(p.without) + `))`
	}
	// What a merchant is called, and what it is, most of its purchases say: one that says otherwise
	// changes nothing.
	err := t.Each(ctx, `WITH said AS (
			SELECT merchant_id, merchant_name, mcc, merchant_country, count(*) AS n
			FROM cards.transactions WHERE `+purchases+` GROUP BY ALL
		), most AS (
			SELECT merchant_id, merchant_name, mcc, merchant_country, row_number() OVER (PARTITION BY merchant_id ORDER BY n DESC, merchant_name, mcc, merchant_country) AS place FROM said
		), sells AS (
			SELECT merchant_id, 2 * count_if(channel <> 'pos') > count(*) AS online, count(DISTINCT customer_id) AS customers
			FROM cards.transactions WHERE `+purchases+`
			GROUP BY merchant_id HAVING count(DISTINCT customer_id) >= `+fmt.Sprint(p.customers)+`
		)
		SELECT s.merchant_id, m.merchant_name, m.mcc, m.merchant_country, s.online, s.customers
		FROM sells AS s JOIN most AS m ON s.merchant_id = m.merchant_id AND m.place = 1
		ORDER BY s.customers DESC, s.merchant_id LIMIT `+fmt.Sprint(p.merchants),
		func(row []any) error {
			d.merchants = append(d.merchants, merchant{text(row[0]), text(row[1]), text(row[2]), text(row[3]), row[4] == true})
			return nil
		})
	if err != nil {
		return nil, err
	}
	if len(d.merchants) < leastMerchants {
		return nil, insights.Refuse(fmt.Sprintf("at least %d merchants with %d customers each", leastMerchants, p.customers), "%d", len(d.merchants))
	}
	if err := d.readCustomers(ctx, t, window, parts); err != nil {
		return nil, err
	}
	return d, d.readPairs(ctx, t, p, purchases, parts)
}

// readCustomers reads who bought anything, and where they are at home: the place of most of
// their purchases on the spot.
func (d *data) readCustomers(ctx context.Context, t *insights.Task, window string, parts int64) error {
	type home struct{ customer, country, city string }
	var homes []home
	cities := map[string]string{} // one copy of each name
	one := func(s string) string {
		if have, ok := cities[s]; ok {
			return have
		}
		s = strings.Clone(s)
		cities[s] = s
		return s
	}
	for part := range parts {
		t.Report("reading customers", part, parts)
		err := batches(ctx, t, `SELECT customer_id, CASE WHEN n > 0 THEN merchant_country END, CASE WHEN n > 0 THEN merchant_city END
			FROM (SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY n DESC, merchant_country, merchant_city) AS place
				FROM (SELECT customer_id, merchant_country, merchant_city, count_if(channel IN ('pos', 'atm')) AS n
					FROM cards.transactions WHERE `+window+partOf(part, parts)+` GROUP BY ALL))
			WHERE place = 1`,
			func(columns []column, row int) {
				homes = append(homes, home{strings.Clone(columns[0].text(row)), one(columns[1].text(row)), one(columns[2].text(row))})
			})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(homes, func(a, b home) int { return strings.Compare(a.customer, b.customer) })
	inCountry, inTown := map[string]int{}, map[[2]string]int{}
	for _, h := range homes {
		if h.country != "" {
			inCountry[h.country]++
			if h.city != "" {
				inTown[[2]string{h.country, h.city}]++
			}
		}
	}
	for c := range inCountry {
		d.countries = append(d.countries, c)
	}
	slices.Sort(d.countries)
	// Places are the towns, then the countries, each in order of their names.
	var towns [][2]string
	for town, n := range inTown {
		if n >= leastTown {
			towns = append(towns, town)
		}
	}
	slices.SortFunc(towns, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	places := map[[2]string]int32{}
	add := func(key [2]string, name string) {
		places[key] = int32(len(d.places))
		d.places = append(d.places, name)
	}
	for _, town := range towns {
		add(town, town[1])
	}
	for _, c := range d.countries {
		if inCountry[c] >= leastTown {
			add([2]string{c}, c)
		}
	}
	for _, h := range homes {
		d.customers = append(d.customers, h.customer)
		at, ok := slices.BinarySearch(d.countries, h.country)
		if !ok {
			at = -1
		}
		d.home = append(d.home, int32(at))
		place, ok := places[[2]string{h.country, h.city}]
		if !ok {
			if place, ok = places[[2]string{h.country}]; !ok {
				place = -1
			}
		}
		d.group = append(d.group, place)
	}
	return nil
}

// readPairs reads what customers bought at the merchants.
func (d *data) readPairs(ctx context.Context, t *insights.Task, p parameters, purchases string, parts int64) error {
	customers := make(map[string]int32, len(d.customers))
	for n, c := range d.customers {
		customers[c] = int32(n)
	}
	merchants := make(map[string]int32, len(d.merchants))
	for n, m := range d.merchants {
		merchants[m.id] = int32(n)
	}
	sum := func(when string) string { return `CAST(coalesce(sum(weight) FILTER (` + when + `), 0) AS BIGINT)` }
	choose, measure := insights.Time(d.choose), insights.Time(d.measure)
	for part := range parts {
		t.Report("reading purchases", part, parts)
		err := batches(ctx, t, `SELECT customer_id, merchant_id, `+sum(`event_time < `+choose)+`, `+
			sum(`event_time >= `+choose+` AND event_time < `+measure)+`, `+sum(`event_time >= `+measure)+`
			FROM (SELECT customer_id, merchant_id, event_time,
					CAST(greatest(1, round(`+fmt.Sprint(unit)+` * pow(2, (epoch_us(event_time) - `+fmt.Sprint(d.until.UnixMicro())+
			`) / (86400000000.0 * `+fmt.Sprint(p.halfLife)+`)))) AS BIGINT) AS weight
				FROM cards.transactions WHERE `+purchases+partOf(part, parts)+`)
			GROUP BY customer_id, merchant_id`,
			func(columns []column, row int) {
				m, ok := merchants[columns[1].text(row)]
				c, known := customers[columns[0].text(row)]
				if !ok || !known {
					return
				}
				d.pairs.customer, d.pairs.merchant = append(d.pairs.customer, c), append(d.pairs.merchant, m)
				d.pairs.fit = append(d.pairs.fit, columns[2].share(row))
				d.pairs.choose = append(d.pairs.choose, columns[3].share(row))
				d.pairs.measure = append(d.pairs.measure, columns[4].share(row))
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// partOf narrows a statement to one of so many parts of the customers.
func partOf(part, parts int64) string {
	if parts == 1 {
		return ""
	}
	return fmt.Sprintf(` AND hash(customer_id) %% %d = %d`, parts, part)
}

// column is a column of a batch: of texts or of integers.
type column struct {
	texts    *array.String
	integers *array.Int64
}

// text is good until the batch is released, empty for NULL.
func (c column) text(row int) string {
	if c.texts.IsNull(row) {
		return ""
	}
	return c.texts.Value(row)
}

func (c column) share(row int) float32 { return float32(float64(c.integers.Value(row)) / unit) }

// batches calls do with every row of the answer.
func batches(ctx context.Context, t *insights.Task, sql string, do func(columns []column, row int)) (err error) {
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
		columns := make([]column, batch.NumCols())
		for n := range columns {
			switch c := batch.Column(n).(type) {
			case *array.String:
				columns[n].texts = c
			case *array.Int64:
				columns[n].integers = c
			default:
				batch.Release()
				return fmt.Errorf("column %d of an answer is %s", n, c.DataType())
			}
		}
		for row := range int(batch.NumRows()) {
			do(columns, row)
		}
		batch.Release()
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func texts(list []string) string {
	quoted := make([]string, len(list))
	for n, s := range list {
		quoted[n] = insights.Text(s)
	}
	return strings.Join(quoted, ", ")
}
