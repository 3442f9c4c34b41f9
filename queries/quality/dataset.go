package quality

import (
	"fmt"
	"strings"
)

// Kind is what the values of a column are, as far as rules care.
type Kind int

// The kinds. Other is what has no text that rules could look at, such as a list.
const (
	Other Kind = iota
	Text
	Whole
	Real // decimals and floating point
	Truth
	Day
	Instant
)

// Column is one column of a dataset.
type Column struct {
	Name string
	Kind Kind
	// Type is the name of its type, as schemas are compared.
	Type string
	// IsWritten says that the dataset also has a column of the name [WrittenName] with the value
	// as it was written.
	IsWritten bool

	of string // the relation that qualifies the name, with a dot
}

// WrittenName is the name of the column that holds a column's value as it was written.
func WrittenName(name string) string { return "written " + name }

func quote(s string) string     { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// in is the column of the relation, which is given as it stands in SQL.
func (c Column) in(relation string) Column {
	c.of = relation + "."
	return c
}

// sql is the column's value.
func (c Column) sql() string { return c.of + quoteName(c.Name) }

// text is the column's value as text.
func (c Column) text() string {
	switch {
	case c.IsWritten:
		return c.of + quoteName(WrittenName(c.Name))
	case c.Kind == Text:
		return c.sql()
	}
	return "CAST(" + c.sql() + " AS VARCHAR)"
}

// number is the column's value as a number, NULL where a text is none.
func (c Column) number() string {
	if c.isNumeric() {
		return "CAST(" + c.sql() + " AS DOUBLE)"
	}
	return "TRY_CAST(" + c.text() + " AS DOUBLE)"
}

// day is the column's value as a date, and instant as a time in UTC; NULL where a text is none.
func (c Column) day() string { return c.as("DATE") }

func (c Column) instant() string { return c.as("TIMESTAMP") }

func (c Column) as(sqlType string) string {
	if c.Kind == Day || c.Kind == Instant {
		return "CAST(" + c.sql() + " AS " + sqlType + ")"
	}
	return "TRY_CAST(" + c.text() + " AS " + sqlType + ")"
}

// isNumeric says whether statistics of numbers can be had of the column.
func (c Column) isNumeric() bool { return c.Kind == Whole || c.Kind == Real }

// column finds a column by name: as it is written, or else without regard to case, as Spark
// does.
func (d *Dataset) column(name string) (Column, error) {
	name = strings.TrimSpace(name)
	if n := len(name); n > 1 && name[0] == '`' && name[n-1] == '`' {
		name = name[1 : n-1]
	}
	found := -1
	for i, c := range d.Columns {
		if c.Name == name {
			return c, nil
		}
		if strings.EqualFold(c.Name, name) && found < 0 {
			found = i
		}
	}
	if found >= 0 {
		return d.Columns[found], nil
	}
	return Column{}, fmt.Errorf("Input data does not include column %s!", name) // Glue's words
}

// columns finds several.
func (d *Dataset) columns(names []string) ([]Column, error) {
	columns := make([]Column, len(names))
	for i, name := range names {
		var err error
		if columns[i], err = d.column(name); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

// alike returns both columns' values in a form in which they can be compared: as numbers
// or times if both are, else as text.
func alike(a, b Column) (string, string) {
	isTime := func(c Column) bool { return c.Kind == Day || c.Kind == Instant }
	switch {
	case a.isNumeric() && b.isNumeric():
		return a.number(), b.number()
	case isTime(a) && isTime(b):
		return a.instant(), b.instant()
	case a.Kind == b.Kind && a.Kind != Text:
		return a.sql(), b.sql()
	}
	return a.text(), b.text()
}

// TypeOf returns the kind of an SQL type and its name among schemas: Spark's for the usual types,
// else its own in lower case.
func TypeOf(sqlType string) (Kind, string) {
	name, rest, _ := strings.Cut(strings.ToUpper(sqlType), "(")
	if strings.HasSuffix(sqlType, "]") {
		return Other, strings.ToLower(sqlType)
	}
	switch name {
	case "VARCHAR", "UUID", "ENUM":
		return Text, "string"
	case "BOOLEAN":
		return Truth, "boolean"
	case "TINYINT":
		return Whole, "byte"
	case "SMALLINT":
		return Whole, "short"
	case "INTEGER":
		return Whole, "integer"
	case "BIGINT":
		return Whole, "long"
	case "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT", "UHUGEINT":
		return Whole, strings.ToLower(name)
	case "FLOAT":
		return Real, "float"
	case "DOUBLE":
		return Real, "double"
	case "DECIMAL":
		return Real, "decimal(" + strings.ReplaceAll(strings.ToLower(rest), " ", "")
	case "DATE":
		return Day, "date"
	}
	if strings.HasPrefix(name, "TIMESTAMP") {
		return Instant, "timestamp"
	}
	return Other, strings.ToLower(sqlType)
}
