package readers

import (
	"bytes"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
)

// readParquetGo reads every row and column of a file.
func readParquetGo(body []byte) (rows []map[string]parquet.Value, err error) {
	f, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	columns := f.Schema().Columns()
	for _, group := range f.RowGroups() {
		in := group.Rows()
		defer in.Close()
		for buf := make([]parquet.Row, 256); err != io.EOF; {
			var n int
			if n, err = in.ReadRows(buf); err != nil && err != io.EOF {
				return nil, err
			}
			for _, row := range buf[:n] {
				m := make(map[string]parquet.Value, len(columns))
				for _, v := range row {
					m[columns[v.Column()][0]] = v.Clone()
				}
				rows = append(rows, m)
			}
		}
		err = nil
	}
	if int64(len(rows)) != f.NumRows() {
		return nil, fmt.Errorf("%d rows were read of %d", len(rows), f.NumRows())
	}
	return rows, nil
}

// group is the rows of one group, as they are counted.
type group struct {
	by              []string
	rows            int64
	sums            []*big.Int // nil as long as nothing was added
	present, true   []int64
	distinct        []map[string]bool
	least, greatest []parquet.Value
	hasLeast        []bool
}

// answer answers the question from rows that parquet-go has read.
func (q question) answer(rows []map[string]parquet.Value) (out [][]string) {
	groups := map[string]*group{}
	if len(q.By) == 0 {
		groups[""] = q.newGroup(nil)
	}
	for _, row := range rows {
		at := row[q.Time].Int64()
		if q.Tenant != "" && string(row["tenant"].ByteArray()) != q.Tenant || q.End != 0 && (at < q.Begin || at >= q.End) {
			continue
		}
		by := make([]string, len(q.By))
		for i, name := range q.By {
			if name == day {
				by[i] = fmt.Sprint(int64(cardlake.DayOf(at)))
			} else {
				by[i] = q.text(name, row[name])
			}
		}
		key := strings.Join(by, "\x00")
		if groups[key] == nil {
			groups[key] = q.newGroup(by)
		}
		groups[key].add(q, row)
	}
	for _, g := range groups {
		out = append(out, g.text(q))
	}
	slices.SortFunc(out, compareRows)
	return out
}

func (q question) newGroup(by []string) *group {
	g := &group{
		by: by, sums: make([]*big.Int, len(q.Sum)), present: make([]int64, len(q.Present)), true: make([]int64, len(q.True)),
		distinct: make([]map[string]bool, len(q.Distinct)),
		least:    make([]parquet.Value, len(q.Range)), greatest: make([]parquet.Value, len(q.Range)), hasLeast: make([]bool, len(q.Range)),
	}
	for i := range g.distinct {
		g.distinct[i] = map[string]bool{}
	}
	return g
}

func (g *group) add(q question, row map[string]parquet.Value) {
	g.rows++
	for i, name := range q.Sum {
		if v := row[name]; !v.IsNull() {
			if g.sums[i] == nil {
				g.sums[i] = new(big.Int)
			}
			g.sums[i].Add(g.sums[i], big.NewInt(number(v)))
		}
	}
	for i, name := range q.Present {
		if !row[name].IsNull() {
			g.present[i]++
		}
	}
	for i, name := range q.True {
		if v := row[name]; !v.IsNull() && v.Boolean() {
			g.true[i]++
		}
	}
	for i, name := range q.Distinct {
		if v := row[name]; !v.IsNull() {
			g.distinct[i][string(v.ByteArray())] = true
		}
	}
	for i, name := range q.Range {
		v := row[name]
		switch {
		case v.IsNull():
		case !g.hasLeast[i]:
			g.least[i], g.greatest[i], g.hasLeast[i] = v, v, true
		case isLess(v, g.least[i]):
			g.least[i] = v
		case isLess(g.greatest[i], v):
			g.greatest[i] = v
		}
	}
}

func (g *group) text(q question) []string {
	out := append(slices.Clone(g.by), fmt.Sprint(g.rows))
	for i, name := range q.Sum {
		switch {
		case g.sums[i] == nil:
			out = append(out, "none")
		case q.column(name).Type == cardlake.Decimal18x4:
			out = append(out, decimal(g.sums[i]))
		default:
			out = append(out, g.sums[i].String())
		}
	}
	for _, n := range slices.Concat(g.present, g.true) {
		out = append(out, fmt.Sprint(n))
	}
	for _, d := range g.distinct {
		out = append(out, fmt.Sprint(len(d)))
	}
	for i, name := range q.Range {
		if !g.hasLeast[i] {
			out = append(out, "none", "none")
			continue
		}
		out = append(out, q.text(name, g.least[i]), q.text(name, g.greatest[i]))
	}
	return out
}

// text spells a value.
func (q question) text(name string, v parquet.Value) string {
	switch {
	case v.IsNull():
		return "none"
	case q.column(name).Type == cardlake.Decimal18x4:
		return decimal(big.NewInt(number(v)))
	case v.Kind() == parquet.ByteArray:
		return string(v.ByteArray())
	}
	return fmt.Sprint(number(v))
}

func number(v parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

func isLess(a, b parquet.Value) bool {
	if a.Kind() == parquet.ByteArray {
		return bytes.Compare(a.ByteArray(), b.ByteArray()) < 0
	}
	return number(a) < number(b)
}

// decimal spells ten-thousandths.
func decimal(n *big.Int) string {
	whole, rest := new(big.Int).QuoRem(n, big.NewInt(10_000), new(big.Int))
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
	}
	return fmt.Sprintf("%s%d.%04d", sign, whole.Abs(whole), rest.Abs(rest))
}
