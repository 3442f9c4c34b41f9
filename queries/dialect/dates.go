package dialect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	nowFormat   = "(current_timestamp(6) AT TIME ZONE 'UTC')"
	todayFormat = "CAST(current_timestamp(6) AT TIME ZONE 'UTC' AS DATE)"
)

// Instants are in UTC wherever they come from: Iceberg's are, literals are printed so, and casts
// say so. Trino takes an instant's parts in the zone that it carries.

func instantNow(_ *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 0)
	return &expr{sql: nowFormat, t: of(timestamptz)}
}

// timeArg is an argument that is a time; a literal text is read as a TIMESTAMP.
func (p *printer) timeArg(n node, name string, e *expr) *expr {
	if e.isLiteralText() {
		return p.cast(e, of(timestamp), n)
	}
	if !e.t.isTime() {
		refuse(n, "cast it to DATE or TIMESTAMP", "%s of %s", name, e.t)
	}
	return e
}

// truncations are the units that both engines truncate to alike; weeks begin on Monday.
var truncations = []string{"millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"}

// unit reads the name of a unit of time.
func unit(n node, name string, e *expr, allowed []string) string {
	u := strings.ToLower(word(n, name, e))
	if other, ok := map[string]string{"d": "day", "h": "hour", "m": "minute", "s": "second", "w": "week", "y": "year", "mon": "month", "min": "minute", "sec": "second", "ms": "millisecond"}[u]; ok {
		u = other
	}
	if !slices.Contains(allowed, u) {
		u = strings.TrimSuffix(u, "s")
	}
	if !slices.Contains(allowed, u) {
		refuse(n, "use one of "+strings.Join(allowed, ", "), "%s by this unit is not portable to Trino", name)
	}
	return u
}

func dateTrunc(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	u := unit(n, name, args[0], truncations)
	e := p.timeArg(n, name, args[1])
	if e.t.kind == date {
		e = p.cast(e, of(timestamp), n)
	}
	return like(e.t, "date_trunc('"+u+"', %s)", e)
}

// parts of times that are BIGINT.
var parts = map[string]string{
	"year": "year(%s)", "quarter": "quarter(%s)", "month": "month(%s)", "week": "week(%s)", "day": "day(%s)",
	"dow": "(day_of_week(%s) %% 7)", "isodow": "day_of_week(%s)", "doy": "day_of_year(%s)", "isoyear": "year_of_week(%s)",
	"hour": "hour(%s)", "minute": "minute(%s)", "second": "second(%s)",
	"millisecond": "(second(%[1]s) * 1000 + millisecond(%[1]s))",
	"yearweek":    "(year_of_week(%[1]s) * 100 + week(%[1]s))",
	"epoch":       "",
}

var partNames = map[string]string{"dayofweek": "dow", "weekday": "dow", "dayofyear": "doy", "dayofmonth": "day", "weekofyear": "week"}

func datePart(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	u := strings.ToLower(word(n, name, args[0]))
	if other, ok := partNames[u]; ok {
		u = other
	}
	if parts[u] == "" {
		u = unit(n, name, args[0], keysOf(parts))
	}
	return p.part(n, name, u, args[1])
}

func partNamed(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1)
	u := name
	if other, ok := partNames[u]; ok {
		u = other
	}
	return p.part(n, name, u, args[0])
}

func (p *printer) part(n node, name, u string, e *expr) *expr {
	e = p.timeArg(n, name, e)
	switch {
	case u == "epoch":
		return like(of(double), "to_unixtime(%s)", p.cast(e, of(timestamptz), n))
	case e.t.kind == date && strings.Contains("hour minute second millisecond", u):
		e = p.cast(e, of(timestamp), n)
	}
	return like(of(bigint), "CAST("+parts[u]+" AS BIGINT)", e)
}

func epochMillis(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1)
	e := p.cast(p.cast(p.timeArg(n, name, args[0]), of(timestamptz), n), of(timestamp), n)
	return like(of(bigint), "date_diff('millisecond', TIMESTAMP '1970-01-01 00:00:00.000000', date_trunc('millisecond', %s))", e)
}

// dateDiff counts the boundaries between two times, Trino's function whole units.
func dateDiff(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 3)
	units := slices.DeleteFunc(slices.Clone(truncations), func(u string) bool { return u == "week" })
	u := unit(n, name, args[0], units)
	pair := []*expr{p.timeArg(n, name, args[1]), p.timeArg(n, name, args[2])}
	if t := p.unify(pair, n, name); t.kind == date {
		pair[0], pair[1] = p.cast(pair[0], of(timestamp), n), p.cast(pair[1], of(timestamp), n)
	}
	return like(of(bigint), "date_diff('"+u+"', date_trunc('"+u+"', %s), date_trunc('"+u+"', %s))", pair...)
}

func lastDay(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1)
	return like(of(date), "last_day_of_month(%s)", p.cast(p.timeArg(n, name, args[0]), of(date), n))
}

func dayName(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 1)
	format := map[string]string{"dayname": "%%W", "monthname": "%%M"}[name]
	return like(of(varchar), "date_format(%s, '"+format+"')", p.cast(p.timeArg(n, name, args[0]), of(timestamp), n))
}

// formats are strftime's letters, and date_format's of the same meaning.
var formats = map[byte]string{
	'Y': "%Y", 'y': "%y", 'm': "%m", 'd': "%d", 'H': "%H", 'M': "%i", 'S': "%s", 'j': "%j", 'I': "%h", 'p': "%p",
	'B': "%M", 'b': "%b", 'A': "%W", 'a': "%a", '%': "%%", 'T': "%H:%i:%s",
}

func strftime(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	e, layout := args[0], args[1]
	if e.isLiteralText() {
		e, layout = layout, e
	}
	var b strings.Builder
	pattern := word(n, name, layout)
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' {
			b.WriteByte(pattern[i])
			continue
		}
		i++
		if i == len(pattern) || formats[pattern[i]] == "" {
			refuse(n, "use %Y %m %d %H %M %S %j %y %I %p %B %b %A %a", "this format of strftime is not portable to Trino")
		}
		b.WriteString(formats[pattern[i]])
	}
	e = p.cast(p.timeArg(n, name, e), of(timestamp), n)
	return call(of(varchar), "date_format("+e.sql+", "+quote(b.String())+")", e)
}

// atTimeZone prints AT TIME ZONE.
func atTimeZone(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	zone := word(n, "AT TIME ZONE", args[0])
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		refuse(n, "use a name like America/Mexico_City", "AT TIME ZONE with a zone that is not known")
	}
	e := p.timeArg(n, "AT TIME ZONE", args[1])
	if e.t.kind == timestamptz {
		return like(of(timestamp), "CAST(%s AT TIME ZONE "+quote(zone)+" AS TIMESTAMP(6))", e)
	}
	return like(of(timestamptz), "(with_timezone(%s, "+quote(zone)+") AT TIME ZONE 'UTC')", p.cast(e, of(timestamp), n))
}

// timeBucket prints time_bucket: buckets of months begin with 2000-01-01, others with 2000-01-03.
func timeBucket(p *printer, n node, name string, args []*expr) *expr {
	wantArgs(n, name, args, 2)
	e := p.timeArg(n, name, args[1])
	iv := args[0].interval
	if iv == nil {
		refuse(n, "", "time_bucket takes an INTERVAL")
	}
	width, u, origin := int64(0), "second", "2000-01-03"
	months, days, micros := iv.constant(n)
	switch {
	case months > 0 && days == 0 && micros == 0:
		width, u, origin = months, "month", "2000-01-01"
	case months == 0 && days >= 0 && micros >= 0 && micros%1_000_000 == 0:
		width = days*86_400 + micros/1_000_000
	}
	if width <= 0 {
		refuse(n, "", "time_bucket takes whole months, or days and seconds")
	}
	t := e.t
	from := "TIMESTAMP '" + origin + " 00:00:00.000000'"
	e = p.cast(e, of(timestamp), n)
	since := fmt.Sprintf("date_diff('%[1]s', %[2]s, date_trunc('%[1]s', %[3]s))", u, from, e.sql)
	bucket := call(of(timestamp), fmt.Sprintf("date_add('%[1]s', %[2]s - mod(mod(%[2]s, %[3]d) + %[3]d, %[3]d), %[4]s)", u, since, width, from), e)
	return p.cast(bucket, t, n)
}
