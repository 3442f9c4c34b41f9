package figures

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake/queries"
)

// order is one that the rows of a figure can have, without ties.
type order struct {
	name  string // value of the parameter sort
	doc   string
	keys  []key
	needs string // parameter without which it makes no sense
}

// key is a column of an order.
type key struct {
	column   string
	kind     Type // Instant, Text, Int or Decimal
	isDown   bool // the greatest first
	nullable bool // NULL is last
}

func up(column string, kind Type) key   { return key{column, kind, false, false} }
func down(column string, kind Type) key { return key{column, kind, true, false} }

// orNull is the key of a column that may be NULL.
func (k key) orNull() key { k.nullable = true; return k }

func (k key) sql() string {
	s := k.column
	if k.isDown {
		s += " DESC"
	}
	if k.nullable {
		s += " NULLS LAST"
	}
	return s
}

// sorted gives the figure a limit, and the choice of an order if there are several.
func (f Figure) sorted(rows int, orders ...order) Figure {
	f.orders = orders
	if len(orders) > 1 {
		p := Param{Name: sortParam, Type: Choice, Default: orders[0].name}
		var docs []string
		for _, o := range orders {
			p.Values = append(p.Values, o.name)
			docs = append(docs, o.name+": "+o.doc)
		}
		p.Doc = strings.Join(docs, "; ")
		f.Params = append(f.Params, p)
	}
	f.Params = append(f.Params, Param{Name: limitParam, Type: Int, Min: 1, Max: mostRows, Default: strconv.Itoa(rows), Doc: "rows at most"})
	return f
}

// paged is sorted with pages.
func (f Figure) paged(orders ...order) Figure {
	f = f.sorted(usualPage, orders...)
	f.Params = append(f.Params, Param{Name: "cursor", Type: Cursor, Doc: "next of the page before"})
	return f
}

// chosen returns the order that the arguments ask for.
func (f Figure) chosen(a Args) (order, error) {
	name := a.Values[sortParam]
	if name == "" {
		return f.orders[0], nil
	}
	i := slices.IndexFunc(f.orders, func(o order) bool { return o.name == name })
	if i < 0 {
		var names []string
		for _, o := range f.orders {
			names = append(names, o.name)
		}
		return order{}, &ArgError{sortParam, "must be one of " + strings.Join(names, ", ")}
	}
	if o := f.orders[i]; o.needs == "" || a.Values[o.needs] != "" {
		return o, nil
	}
	return order{}, &ArgError{f.orders[i].needs, "is missing: rows cannot be in this order without it"}
}

// order sets {order}, {measure}, its first column, and, of a page that is not the first, {after}.
func (f Figure) order(a Args, l *literals, set func(name, value string)) error {
	l.known["after"] = true
	if len(f.orders) == 0 {
		return nil
	}
	o, err := f.chosen(a)
	if err != nil {
		return err
	}
	keys := make([]string, len(o.keys))
	for i, k := range o.keys {
		keys[i] = k.sql()
	}
	set("order", strings.Join(keys, ", "))
	set("measure", o.keys[0].column)
	if cursor := a.Values["cursor"]; cursor != "" {
		values, ok := f.opened(o, cursor)
		if !ok {
			return &ArgError{"cursor", "must be what the page before this one gave as next, for the same figure and order"}
		}
		set("after", behind(o.keys, values))
	}
	return nil
}

// behind is the condition of the rows that come after one with the values, which are SQL, "" for
// NULL. The first comparison stands by itself, because a condition of that shape spares the
// engine whole files.
func behind(keys []key, values []string) string {
	k, v := keys[0], values[0]
	op := " > "
	if k.isDown {
		op = " < "
	}
	isLast := len(keys) == 1
	switch {
	case v == "" && isLast:
		return "FALSE"
	case v == "":
		return k.column + " IS NULL AND " + behind(keys[1:], values[1:])
	case k.nullable && isLast:
		return "(" + k.column + op + v + " OR " + k.column + " IS NULL)"
	case k.nullable:
		return "(" + k.column + op + v + " OR " + k.column + " IS NULL OR " + k.column + " = " + v + " AND " + behind(keys[1:], values[1:]) + ")"
	case isLast:
		return k.column + op + v
	}
	return k.column + strings.TrimRight(op, " ") + "= " + v + " AND (" + k.column + op + v + " OR " + behind(keys[1:], values[1:]) + ")"
}

// Next returns the cursor of the page after one of so many rows, the last of which is given with
// its columns, and "" if there is none: the rows were fewer than asked for, or the figure has no
// pages. The arguments are those that the page was asked for with.
func (f Figure) Next(a Args, columns []queries.Column, last []any, rows int) string {
	i := slices.IndexFunc(f.Params, func(p Param) bool { return p.Name == limitParam })
	hasPages := slices.ContainsFunc(f.Params, func(p Param) bool { return p.Type == Cursor })
	if i < 0 || !hasPages || rows == 0 {
		return ""
	}
	limit := a.Values[limitParam]
	if limit == "" {
		limit = f.Params[i].Default
	}
	if most, err := strconv.Atoi(limit); err != nil || rows < most {
		return ""
	}
	o, err := f.chosen(a)
	if err != nil {
		return ""
	}
	place := []any{f.Name, o.name}
	for _, k := range o.keys {
		c := slices.IndexFunc(columns, func(c queries.Column) bool { return c.Name == k.column })
		if c < 0 {
			return ""
		}
		place = append(place, spelled(columns[c].Type, last[c]))
	}
	text, err := json.Marshal(place)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// spelled is a value of an answer as a cursor has it.
func spelled(t arrow.DataType, v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.UnixMicro()
	case decimal128.Num:
		if d, ok := t.(*arrow.Decimal128Type); ok {
			return v.ToString(d.Scale)
		}
		return nil
	}
	return v
}

// maxCursor bounds the bytes of a cursor.
const maxCursor = 2 << 10

// opened returns the values in a cursor, as SQL. What a caller made of it is no more than values
// to begin behind.
func (f Figure) opened(o order, cursor string) (values []string, ok bool) {
	if len(cursor) > maxCursor {
		return nil, false
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return nil, false
	}
	var place []any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&place); err != nil || dec.More() || len(place) != len(o.keys)+2 || place[0] != any(f.Name) || place[1] != any(o.name) {
		return nil, false
	}
	for i, k := range o.keys {
		v, ok := k.literal(place[i+2])
		if !ok {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

// literal returns the value of a cursor as SQL, "" for NULL.
func (k key) literal(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", k.nullable
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		switch {
		case err != nil:
			return "", false
		case k.kind == Int:
			return strconv.FormatInt(n, 10), true
		case k.kind == Instant:
			t := time.UnixMicro(n).UTC()
			return instant(t), t.Year() >= 1970 && t.Year() <= 9999
		}
	case string:
		switch k.kind {
		case Text:
			return quote(v), isText(v, 256)
		case Decimal:
			return v, signed.MatchString(v)
		}
	}
	return "", false
}
