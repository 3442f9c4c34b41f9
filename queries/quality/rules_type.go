package quality

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

var decimalType = regexp.MustCompile(`^DECIMAL\( *([0-9]{1,2}) *, *([0-9]{1,2}) *\)$`)

// planDataType plans ColumnDataType: whether Spark could cast the text to the type (Spark SQL
// guide, CAST of string without ANSI mode; awslabs/deequ, ColumnDataTypeRule). NULL fails.
func (e *evaluation) planDataType(r *dqdl.Rule, in scope) *plan {
	c, err := e.primary.column(r.Params[0].Value())
	if err != nil {
		return always(r, failed("%v", err))
	}
	format, _ := r.Tag("format")
	var parts []string
	for _, o := range r.Condition.Operands {
		t, ok := textOf(o)
		if !ok {
			return always(r, errored(fmt.Errorf("%s is no type", o)))
		}
		s, err := castable(c.text(), t.Value(), format)
		if err != nil {
			return always(r, errored(err))
		}
		parts = append(parts, s)
	}
	row := "coalesce(" + strings.Join(parts, " OR ") + ", FALSE)"
	switch r.Condition.Op {
	case dqdl.NotEqual, dqdl.NotIn:
		row = "NOT " + row
	case dqdl.Matches, dqdl.NotMatches:
		return always(r, errored(fmt.Errorf("types are compared with =, !=, in and not in")))
	}
	return e.planShare(r, in, "Column."+c.Name+".ColumnDataType.Compliance", row, percent)
}

// castable says whether the text can be cast to the type; NULL if it is NULL.
func castable(text, sqlType, format string) (string, error) {
	trimmed := "trim(" + text + ")"
	has := func(pattern string) string { return "regexp_matches(" + trimmed + ", " + quote(pattern) + ")" }
	tries := func(t string) string { return "TRY_CAST(" + trimmed + " AS " + t + ") IS NOT NULL" }
	whole := func(t string) string {
		// Spark cuts a fraction off.
		return "(" + has(`^[+-]?[0-9]+(\.[0-9]*)?$`) + " AND TRY_CAST(split_part(" + trimmed + ", '.', 1) AS " + t + ") IS NOT NULL)"
	}
	const decimal = `^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`
	upper := strings.ToUpper(strings.TrimSpace(sqlType))
	switch upper {
	case "STRING":
		return text + " IS NOT NULL", nil
	case "BOOLEAN":
		return has(`(?i)^(t|true|y|yes|1|f|false|n|no|0)$`), nil
	case "BYTE":
		return whole("TINYINT"), nil
	case "SHORT":
		return whole("SMALLINT"), nil
	case "INTEGER", "INT":
		return whole("INTEGER"), nil
	case "LONG", "BIGINT":
		return whole("BIGINT"), nil
	case "DOUBLE", "FLOAT":
		return has(decimal[:len(decimal)-1] + `[dDfF]?$|(?i)^[+-]?(nan|inf|infinity)$`), nil
	case "DATE":
		if format != "" {
			return formattedDate(text, format)
		}
		return sparkDate(trimmed, has, `([ T].*)?`), nil
	case "TIMESTAMP":
		return sparkDate(trimmed, has, `([ T][0-9]{1,2}(:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]*)?)?)?( ?(Z|UTC|GMT|[+-][0-9]{1,2}(:?[0-9]{2})?))?)?`) +
			" AND (NOT " + has(`[ T][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}`) + " OR TRY_CAST(regexp_extract(" + trimmed + ", '[ T]([0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2})', 1) AS TIME) IS NOT NULL)", nil
	case "DECIMAL":
		upper = "DECIMAL(10,0)" // Spark's default
	}
	if m := decimalType.FindStringSubmatch(upper); m != nil {
		return "(" + has(decimal) + " AND " + tries("DECIMAL("+m[1]+", "+m[2]+")") + ")", nil
	}
	return "", fmt.Errorf("Unrecognized data type: %s", sqlType) // deequ's words
}

// sparkDate says whether the text is yyyy, yyyy-[m]m or yyyy-[m]m-[d]d and what may follow, of a
// day that exists.
func sparkDate(trimmed string, has func(string) string, tail string) string {
	day := func(prefix, suffix string) string {
		return "TRY_CAST(regexp_extract(" + trimmed + ", " + quote(prefix) + ", 0) || " + quote(suffix) + " AS DATE) IS NOT NULL"
	}
	return "CASE WHEN " + has(`^[0-9]{4}$`) + " THEN TRUE" +
		" WHEN " + has(`^[0-9]{4}-[0-9]{1,2}$`) + " THEN " + day(`^[0-9]{4}-[0-9]{1,2}`, "-01") +
		" WHEN " + has(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}`+tail+`$`) + " THEN " + day(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}`, "") +
		" ELSE FALSE END"
}

// formattedDate says whether the text is a date of the format; what the format has not is taken
// from the first of January 2000.
func formattedDate(text, format string) (string, error) {
	digits := strings.NewReplacer("yyyy", "[0-9]{4}", "MM", "[0-9]{1,2}", "dd", "[0-9]{1,2}").Replace(format)
	layout := strings.NewReplacer("yyyy", "%Y", "MM", "%m", "dd", "%d").Replace(format)
	value := text
	for _, missing := range []struct{ part, layout, value string }{{"yyyy", "%Y", "2000"}, {"dd", "%d", "01"}, {"MM", "%m", "01"}} {
		if !strings.Contains(format, missing.part) {
			layout += " " + missing.layout
			value += " || ' " + missing.value + "'"
		}
	}
	return "(regexp_matches(" + text + ", " + quote("^"+digits+"$") + ") AND try_strptime(" + value + ", " + quote(layout) + ") IS NOT NULL)", nil
}
