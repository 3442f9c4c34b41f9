package embedded

import "regexp"

// DuckDB takes an instant apart with ICU's calendar, row by row, in three times the time of all
// else that a typical figure needs. Instances are in UTC, where arithmetic on the microseconds
// since 1970 gives the same. So the functions that do it are given anew for instants; for other
// types they are DuckDB's own. Only the part epoch can differ, in the last binary place: it is rounded
// once here and twice there. See TestInUTC.
const (
	truncInUTC = `CREATE MACRO date_trunc(part, t TIMESTAMPTZ) AS make_timestamptz(epoch_us(system.main.date_trunc(part, make_timestamp(epoch_us(t))))),
		(part, t TIMESTAMP) AS system.main.date_trunc(part, t), (part, t DATE) AS system.main.date_trunc(part, t), (part, t INTERVAL) AS system.main.date_trunc(part, t)`

	partInUTC = `CREATE MACRO date_part(part, t TIMESTAMPTZ) AS system.main.date_part(part, make_timestamp(epoch_us(t))),
		(part, t TIMESTAMP) AS system.main.date_part(part, t), (part, t DATE) AS system.main.date_part(part, t), (part, t INTERVAL) AS system.main.date_part(part, t),
		(part, t TIME) AS system.main.date_part(part, t), (part, t TIMETZ) AS system.main.date_part(part, t), (part, t TIME_NS) AS system.main.date_part(part, t)`
)

// dayOf finds where a view's text, which is ours, takes the day of a column; a cast cannot be
// given anew.
var dayOf = regexp.MustCompile(`CAST\(([a-z_.]+) AS DATE\)`)

const dayInUTC = "CAST(make_timestamp(epoch_us($1)) AS DATE)"
