package dialect

import (
	"fmt"
	"maps"
	"strings"
)

// function prints a call, of arguments that are printed already.
type function func(p *printer, n node, name string, args []*expr) *expr

// function prints a call outside of FROM: an operator, an aggregate or what scalars list.
func (p *printer) function(s *scope, n node) *expr {
	name := lower(n["function_name"])
	if schema := text(n["schema"]); schema != "" && schema != "main" || text(n["catalog"]) != "" {
		refuse(n, "", "function %s must be named without a schema", name)
	}
	if e := p.intervalOf(s, n, name); e != nil {
		return e
	}
	n, name = orderedList(n, name)
	if aggregates[name] != nil {
		return p.aggregate(s, n, name)
	}
	if n["filter"] != nil || flag(n["distinct"]) || len(list(object(n["order_bys"])["orders"])) > 0 {
		refuse(n, "", "%s is no aggregate that is portable to Trino", name)
	}
	args := p.exprs(s, n["children"])
	switch name {
	case "+", "-", "*", "/", "//", "%":
		return p.arithmetic(n, name, args)
	case "~~", "!~~", "~~*", "!~~*", "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape":
		return p.like(n, name, args)
	}
	print, ok := scalars[name]
	if !ok {
		refuse(n, hints[name], "function %s is not portable to Trino", name)
	}
	return print(p, n, name, args)
}

// orderedList undoes what the parser makes of list(DISTINCT x ORDER BY x): list_sort of a list.
func orderedList(n node, name string) (node, string) {
	children := list(n["children"])
	inner := object(first(children))
	if name != "list_sort" || len(children) != 3 || !flag(inner["distinct"]) {
		return n, name
	}
	n = maps.Clone(inner)
	order := node{
		"type":       text(object(object(children[1])["value"])["value"]),
		"null_order": text(object(object(children[2])["value"])["value"]),
		"expression": first(list(inner["children"])),
	}
	n["order_bys"] = node{"orders": []any{order}}
	return n, lower(n["function_name"])
}

// hints say what to use instead of what is not portable.
var hints = map[string]string{
	"approx_count_distinct": "use count(DISTINCT …)",
	"approx_quantile":       "use quantile_disc or quantile_cont",
	"age":                   "use date_diff",
	"strptime":              "cast a text like 2026-03-01 12:30:00",
	"~~~":                   "use LIKE or regexp_matches",
	"first":                 "use arg_min(…, event_time)",
	"last":                  "use arg_max(…, event_time)",
	"list_transform":        "use unnest in FROM",
	"random":                "use a condition on md5(event_id)",
}

func wantArgs(n node, name string, args []*expr, counts ...int) {
	for _, c := range counts {
		if len(args) == c {
			return
		}
	}
	refuse(n, "", "%s with %d arguments is not portable to Trino", name, len(args))
}

// as casts an argument to the type of a parameter, if it is of its family.
func (p *printer) as(n node, name string, e *expr, k kind) *expr {
	t := of(k)
	switch {
	case e.t.kind == k && k != decimal, e.t.kind == null,
		k == double && e.t.isNumber(),
		k == bigint && e.t.isInteger() && e.t.kind != hugeint,
		(k == date || k == timestamp || k == timestamptz) && e.isLiteralText():
		return p.cast(e, t, n)
	}
	refuse(n, "cast it", "%s of %s, where it takes %s", name, e.t, t)
	return nil
}

// printed is a function whose arguments are cast to the kinds and printed by the format.
func printed(result kind, format string, params ...kind) function {
	return func(p *printer, n node, name string, args []*expr) *expr {
		wantArgs(n, name, args, len(params))
		for i, k := range params {
			args[i] = p.as(n, name, args[i], k)
		}
		return like(of(result), format, args...)
	}
}

// number returns the value of a literal argument, which must be at least so much.
func number(n node, name string, e *expr, least int64) int64 {
	if !e.isNumeral() || !e.literal.number.IsInt64() || e.literal.number.Int64() < least {
		refuse(n, "", "%s takes a whole number of at least %d here, as a literal", name, least)
	}
	return e.literal.number.Int64()
}

// word returns the value of a literal text argument, which must not be empty.
func word(n node, name string, e *expr) string {
	if !e.isLiteralText() || e.literal.text == "" {
		refuse(n, "", "%s takes a literal text here", name)
	}
	return e.literal.text
}

// scalars are the functions that are neither operators nor aggregates, each printed so that
// Trino gives what DuckDB does.
var scalars = map[string]function{
	"lower": printed(varchar, "lower(%s)", varchar), "lcase": printed(varchar, "lower(%s)", varchar),
	"upper": printed(varchar, upperFormat, varchar), "ucase": printed(varchar, upperFormat, varchar),
	"length": printed(bigint, "length(%s)", varchar), "len": length, "char_length": printed(bigint, "length(%s)", varchar),
	"character_length": printed(bigint, "length(%s)", varchar), "strlen": printed(bigint, "length(to_utf8(%s))", varchar),
	"strpos": printed(bigint, "strpos(%s, %s)", varchar, varchar), "instr": printed(bigint, "strpos(%s, %s)", varchar, varchar),
	"position": printed(bigint, "strpos(%s, %s)", varchar, varchar),
	"contains": contains, "starts_with": printed(boolean, "starts_with(%s, %s)", varchar, varchar),
	"prefix":    printed(boolean, "starts_with(%s, %s)", varchar, varchar),
	"^@":        printed(boolean, "starts_with(%s, %s)", varchar, varchar),
	"ends_with": endsWith, "suffix": endsWith,
	"substr": substring, "substring": substring, "left": left, "right": right,
	"trim": trim, "ltrim": trim, "rtrim": trim,
	"concat": concat, "concat_ws": concatWith, "||": concatOperator,
	"replace": replace, "split_part": splitPart, "lpad": pad, "rpad": pad,
	"md5":            printed(varchar, "lower(to_hex(md5(to_utf8(%s))))", varchar),
	"sha1":           printed(varchar, "lower(to_hex(sha1(to_utf8(%s))))", varchar),
	"sha256":         printed(varchar, "lower(to_hex(sha256(to_utf8(%s))))", varchar),
	"regexp_matches": regexpMatches, "regexp_full_match": regexpMatches, "regexp_extract": regexpExtract,
	"regexp_replace": regexpReplace,

	"abs": sameType("abs(%s)"), "sign": sign, "ceil": whole, "ceiling": whole, "floor": whole, "trunc": whole, "round": round,
	"sqrt": printed(double, "sqrt(%s)", double), "exp": printed(double, "exp(%s)", double),
	"cbrt": printed(double, "cbrt(%s)", double), "ln": printed(double, "ln(%s)", double),
	"log": printed(double, "log10(%s)", double), "log10": printed(double, "log10(%s)", double),
	"log2": printed(double, "log2(%s)", double), "pow": printed(double, "power(%s, %s)", double, double),
	"power": printed(double, "power(%s, %s)", double, double), "**": printed(double, "power(%s, %s)", double, double),
	"^":  printed(double, "power(%s, %s)", double, double),
	"pi": printed(double, "pi()"), "radians": printed(double, "radians(%s)", double), "degrees": printed(double, "degrees(%s)", double),
	"sin": printed(double, "sin(%s)", double), "cos": printed(double, "cos(%s)", double), "tan": printed(double, "tan(%s)", double),
	"asin": printed(double, "asin(%s)", double), "acos": printed(double, "acos(%s)", double), "atan": printed(double, "atan(%s)", double),
	"atan2": printed(double, "atan2(%s, %s)", double, double),
	"isnan": printed(boolean, "is_nan(%s)", double), "isinf": printed(boolean, "is_infinite(%s)", double),
	"isfinite": printed(boolean, "is_finite(%s)", double),
	"mod":      arithmeticNamed("%"), "fmod": printed(double, "mod(%s, %s)", double, double), "add": arithmeticNamed("+"),
	"subtract": arithmeticNamed("-"), "multiply": arithmeticNamed("*"), "divide": arithmeticNamed("//"),
	"greatest": extreme, "least": extreme, "nullif": func(p *printer, n node, _ string, args []*expr) *expr { return p.nullif(n, args) },

	"now": instantNow, "current_timestamp": instantNow, "get_current_timestamp": instantNow, "transaction_timestamp": instantNow,
	"today": printed(date, todayFormat), "current_date": printed(date, todayFormat),
	"date_trunc": dateTrunc, "datetrunc": dateTrunc, "date_part": datePart, "datepart": datePart,
	"year": partNamed, "quarter": partNamed, "month": partNamed, "week": partNamed, "weekofyear": partNamed, "day": partNamed,
	"dayofmonth": partNamed, "dayofweek": partNamed, "weekday": partNamed, "dayofyear": partNamed, "isodow": partNamed,
	"isoyear": partNamed, "hour": partNamed, "minute": partNamed, "second": partNamed, "epoch": partNamed, "yearweek": partNamed,
	"millisecond": partNamed, "epoch_ms": epochMillis,
	"date_diff": dateDiff, "datediff": dateDiff, "date_add": dateAdd,
	"last_day": lastDay, "dayname": dayName, "monthname": dayName, "strftime": strftime, "timezone": atTimeZone,
	"time_bucket": timeBucket,

	"list_value":    func(p *printer, n node, _ string, args []*expr) *expr { return p.listOf(n, args) },
	"list_pack":     func(p *printer, n node, _ string, args []*expr) *expr { return p.listOf(n, args) },
	"list_contains": listContains, "list_has": listContains, "array_contains": listContains,
}

// upperFormat: DuckDB has a capital for ß.
const upperFormat = "replace(upper(%s), 'ß', 'ẞ')"

func sameType(format string) function {
	return func(p *printer, n node, name string, args []*expr) *expr {
		wantArgs(n, name, args, 1)
		if !args[0].t.isNumber() {
			refuse(n, "", "%s of %s", name, args[0].t)
		}
		return like(args[0].t, format, args[0])
	}
}

func arithmeticNamed(op string) function {
	return func(p *printer, n node, name string, args []*expr) *expr {
		wantArgs(n, name, args, 2)
		return p.arithmetic(n, op, args)
	}
}

func sign(p *printer, n node, name string, args []*expr) *expr {
	e := sameType("sign(%s)")(p, n, name, args)
	return like(of(tinyint), "CAST(%s AS TINYINT)", e)
}

// whole prints ceil, floor and trunc.
func whole(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1)
	e := args[0]
	word := map[string]string{"ceil": "ceil", "ceiling": "ceil", "floor": "floor", "trunc": "truncate"}[name]
	switch {
	case e.t.kind == decimal:
		t := decimalOf(e.t.width, 0)
		return like(t, "CAST("+word+"(%s) AS "+t.sql()+")", e)
	case e.t.isInteger() && name == "trunc":
		return e
	}
	return like(of(double), word+"(%s)", p.as(n, name, e, double))
}

func round(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1, 2)
	e, digits := args[0], int64(0)
	if len(args) == 2 {
		digits = number(n, name, args[1], 0)
	}
	switch {
	case e.t.kind == decimal && digits >= int64(e.t.scale), e.t.isInteger():
		return e
	case e.t.kind == decimal:
		t := decimalOf(e.t.width, int(digits))
		return like(t, fmt.Sprintf("CAST(round(%%s, %d) AS %s)", digits, t.sql()), e)
	}
	return like(of(double), fmt.Sprintf("round(%%s, %d)", digits), p.as(n, name, e, double))
}

// extreme prints greatest and least, which leave out NULLs.
func extreme(p *printer, n node, name string, args []*expr) *expr {
	if len(args) < 1 {
		wantArgs(n, name, args, 1)
	}
	t := p.unify(args, n, name)
	word := map[string]string{"greatest": "array_max", "least": "array_min"}[name]
	return call(t, word+"(filter(CAST(ARRAY["+joined(args)+"] AS ARRAY("+t.sql()+")), x -> x IS NOT NULL))", args...)
}

func length(p *printer, n node, name string, args []*expr) *expr {
	if len(args) == 1 && args[0].t.kind == array {
		return like(of(bigint), "cardinality(%s)", args[0])
	}
	return printed(bigint, "length(%s)", varchar)(p, n, name, args)
}

func contains(p *printer, n node, name string, args []*expr) *expr {
	if len(args) == 2 && args[0].t.kind == array {
		return listContains(p, n, name, args)
	}
	return printed(boolean, "(strpos(%s, %s) > 0)", varchar, varchar)(p, n, name, args)
}

func listContains(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	if args[0].t.kind != array {
		refuse(n, "", "%s of %s", name, args[0].t)
	}
	return like(of(boolean), "coalesce(contains(%s, %s), FALSE)", args[0], p.cast(args[1], *args[0].t.element, n))
}

func endsWith(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	a, b := p.as(n, name, args[0], varchar), p.as(n, name, args[1], varchar)
	sql := fmt.Sprintf("(length(%[1]s) >= length(%[2]s) AND substr(%[1]s, length(%[1]s) - length(%[2]s) + 1) = %[2]s)", a.sql, b.sql)
	return call(of(boolean), sql, a, b)
}

// substring: places below 1 count from the end in both, but not alike.
func substring(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2, 3)
	s := p.as(n, name, args[0], varchar)
	sql := fmt.Sprintf("substr(%s, %d", s.sql, number(n, name, args[1], 1))
	if len(args) == 3 {
		sql += fmt.Sprintf(", %d", number(n, name, args[2], 0))
	}
	return call(of(varchar), sql+")", s)
}

func left(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	return like(of(varchar), fmt.Sprintf("substr(%%s, 1, %d)", number(n, name, args[1], 0)), p.as(n, name, args[0], varchar))
}

func right(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	s := p.as(n, name, args[0], varchar)
	return call(of(varchar), fmt.Sprintf("substr(%[1]s, greatest(length(%[1]s) - %[2]d, 1))", s.sql, number(n, name, args[1], 1)-1), s)
}

// spaces are what DuckDB trims: the characters of Unicode's category Zs.
const spaces = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"

func trim(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1, 2)
	s, set := p.as(n, name, args[0], varchar), quote(spaces)
	if len(args) == 2 {
		set = quote(word(n, name, args[1]))
	}
	side := map[string]string{"trim": "BOTH", "ltrim": "LEADING", "rtrim": "TRAILING"}[name]
	return call(of(varchar), "trim("+side+" "+set+" FROM "+s.sql+")", s)
}

// textual casts what DuckDB takes for text by itself, where both engines write it alike.
func (p *printer) textual(n node, e *expr) *expr {
	if e.t.kind == varchar {
		return e
	}
	return p.cast(e, of(varchar), n)
}

// concat leaves out NULLs.
func concat(p *printer, n node, name string, args []*expr) *expr {
	if len(args) < 1 {
		wantArgs(n, name, args, 1)
	}
	printed := make([]string, len(args))
	for i, e := range args {
		args[i] = p.textual(n, e)
		printed[i] = "coalesce(" + args[i].sql + ", '')"
	}
	return call(of(varchar), "("+strings.Join(printed, " || ")+")", args...)
}

func concatWith(p *printer, n node, name string, args []*expr) *expr {
	if len(args) < 2 {
		wantArgs(n, name, args, 2)
	}
	for i, e := range args {
		args[i] = p.textual(n, e)
	}
	return call(of(varchar), "concat_ws("+joined(args)+")", args...)
}

func concatOperator(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	if args[0].t.kind == null || args[1].t.kind == null {
		return call(of(null), "NULL", args...)
	}
	return like(of(varchar), "(%s || %s)", p.textual(n, args[0]), p.textual(n, args[1]))
}

func replace(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 3)
	s := p.as(n, name, args[0], varchar)
	return call(of(varchar), "replace("+s.sql+", "+quote(word(n, name, args[1]))+", "+p.as(n, name, args[2], varchar).sql+")", s, args[2])
}

// splitPart gives the empty text beyond the last part.
func splitPart(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 3)
	s := p.as(n, name, args[0], varchar)
	sql := fmt.Sprintf("coalesce(split_part(%[1]s, %[2]s, %[3]d), CASE WHEN %[1]s IS NOT NULL THEN '' END)",
		s.sql, quote(word(n, name, args[1])), number(n, name, args[2], 1))
	return call(of(varchar), sql, s)
}

func pad(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 3)
	s := p.as(n, name, args[0], varchar)
	return call(of(varchar), fmt.Sprintf("%s(%s, %d, %s)", name, s.sql, number(n, name, args[1], 0), quote(word(n, name, args[2]))), s)
}

// like prints LIKE and ILIKE; neither engine has an escape by default.
func (p *printer) like(n node, name string, args []*expr) *expr {
	if len(args) < 2 {
		wantArgs(n, "LIKE", args, 2)
	}
	s := p.as(n, "LIKE", args[0], varchar)
	if !args[1].isLiteralText() {
		refuse(n, "use contains, starts_with or ends_with", "LIKE takes a literal pattern")
	}
	value, pattern := s.sql, args[1].literal.text
	if strings.Contains(name, "*") || strings.Contains(name, "ilike") {
		value, pattern = "lower("+value+")", strings.ToLower(pattern)
	}
	sql := value + " LIKE " + quote(pattern)
	if strings.HasSuffix(name, "escape") {
		wantArgs(n, "LIKE", args, 3)
		sql += " ESCAPE " + quote(word(n, "ESCAPE", args[2]))
	} else {
		wantArgs(n, "LIKE", args, 2)
	}
	if strings.HasPrefix(name, "!") || strings.HasPrefix(name, "not_") {
		sql = "NOT " + sql
	}
	return call(of(boolean), "("+sql+")", s)
}
