package quality

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Gateway answers statements over the lake, such as *queries.Gateway.
type Gateway interface {
	Query(ctx context.Context, c grants.Caller, sql string) (*queries.Result, error)
	Columns(ctx context.Context, c grants.Caller, sql string) ([]queries.Column, error)
}

// Lake evaluates rules over tables and views of the lake, within what the caller may read: what
// the caller is not given is not there, and what is masked for him is judged masked. It
// implements Engine.
type Lake struct {
	gateway Gateway
	caller  grants.Caller
}

// NewLake returns an engine that asks in the caller's name.
func NewLake(g Gateway, c grants.Caller) *Lake { return &Lake{g, c} }

// Partition limits a table to a tenant and a day of the table's time, in UTC. Zero fields limit
// nothing.
type Partition struct {
	Tenant cardlake.Tenant
	Day    time.Time
}

// Dataset returns a table or view as a dataset that statements call by the alias.
func (l *Lake) Dataset(ctx context.Context, alias, table string, p Partition) (Dataset, error) {
	namespace, name, ok := strings.Cut(table, ".")
	if !ok {
		return Dataset{}, fmt.Errorf("%q is no table's name: want NAMESPACE.NAME", table)
	}
	from := quoteName(namespace) + "." + quoteName(name)
	columns, err := l.gateway.Columns(ctx, l.caller, "SELECT * FROM "+from)
	if err != nil {
		return Dataset{}, err
	}
	where, err := p.where(table, columns)
	if err != nil {
		return Dataset{}, err
	}
	d := Dataset{From: quoteName(alias), With: quoteName(alias) + " AS (SELECT * FROM " + from + where + ")"}
	for _, c := range columns {
		kind, typeName := arrowKind(c.Type)
		d.Columns = append(d.Columns, Column{Name: c.Name, Kind: kind, Type: typeName})
	}
	return d, nil
}

// where is the partition in SQL.
func (p Partition) where(table string, columns []queries.Column) (string, error) {
	var parts []string
	has := func(name string) bool {
		return slices.ContainsFunc(columns, func(c queries.Column) bool { return c.Name == name })
	}
	if p.Tenant != "" {
		if !has("tenant") {
			return "", fmt.Errorf("%s has no column tenant that could be limited to one", table)
		}
		parts = append(parts, `"tenant" = `+quote(string(p.Tenant)))
	}
	if !p.Day.IsZero() {
		column := ""
		for _, t := range cardlake.Tables {
			if strings.EqualFold(t.FullName(), table) {
				column = t.Time
			}
		}
		if column == "" || !has(column) {
			return "", fmt.Errorf("%s has no time that could be limited to a day", table)
		}
		day := p.Day.UTC().Truncate(24 * time.Hour)
		parts = append(parts, fmt.Sprintf("%[1]s >= TIMESTAMP WITH TIME ZONE '%[2]s 00:00:00+00:00' AND %[1]s < TIMESTAMP WITH TIME ZONE '%[3]s 00:00:00+00:00'",
			quoteName(column), day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)))
	}
	if len(parts) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(parts, " AND "), nil
}

// arrowKind is TypeOf for Arrow's types.
func arrowKind(t arrow.DataType) (Kind, string) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return Real, fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case *arrow.TimestampType:
		return Instant, "timestamp"
	}
	switch t.ID() {
	case arrow.STRING, arrow.LARGE_STRING, arrow.DICTIONARY:
		return Text, "string"
	case arrow.BOOL:
		return Truth, "boolean"
	case arrow.INT8:
		return Whole, "byte"
	case arrow.INT16:
		return Whole, "short"
	case arrow.INT32:
		return Whole, "integer"
	case arrow.INT64:
		return Whole, "long"
	case arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return Whole, t.Name()
	case arrow.FLOAT32:
		return Real, "float"
	case arrow.FLOAT64:
		return Real, "double"
	case arrow.DATE32, arrow.DATE64:
		return Day, "date"
	}
	return Other, t.String()
}

// Query implements Engine.
func (l *Lake) Query(ctx context.Context, sql string) (Rows, error) {
	r, err := l.gateway.Query(ctx, l.caller, sql)
	if err != nil {
		var fault *queries.Error
		if errors.As(err, &fault) {
			return nil, errors.New(fault.Error()) // the rule's fault
		}
		return nil, ended{err}
	}
	return lakeRows{r}, nil
}

// ended is why the lake does not answer any statement: the rule is not to blame.
type ended struct{ error }

func (e ended) Unwrap() error { return e.error }

// Fatal implements the run's question whether it can go on.
func (ended) Fatal() bool { return true }

type lakeRows struct{ *queries.Result }

// Names implements Rows.
func (r lakeRows) Names() []string {
	var names []string
	for _, c := range r.Columns() {
		names = append(names, c.Name)
	}
	return names
}
