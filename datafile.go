package cardlake

import (
	"fmt"
	"time"
)

// Day counts days since 1970-01-01 UTC, as Iceberg's day transform does.
type Day int32

const microsPerDay = 24 * 60 * 60 * 1_000_000

// DayOf returns the UTC day that holds the instant, given in microseconds since the epoch.
func DayOf(micros int64) Day {
	d := micros / microsPerDay
	if micros%microsPerDay < 0 {
		d--
	}
	return Day(d)
}

// Time returns the day's first instant.
func (d Day) Time() time.Time { return time.Unix(int64(d)*24*60*60, 0).UTC() }

// String is the ISO 8601 date.
func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// DataFile describes one finished object of a table: what the catalog needs to commit it
// and a plan needs to find it.
type DataFile struct {
	Name   string // object name, unique for ever
	Tenant Tenant // empty in tables that are not partitioned by tenant
	Day    Day
	Rows   int64
	Bytes  int64 // size of the Parquet file as a reader sees it, before sealing

	// MinTime and MaxTime bound the table's time column (see Table.Time), in microseconds
	// since the epoch. They are the only column bounds kept outside the encrypted file.
	MinTime, MaxTime int64

	// SplitOffsets are the byte offsets of the row groups.
	SplitOffsets []int64

	// Sequence is that of the newest commit whose rows are in the file; later commits have
	// greater ones. The catalog sets it; 0 before the commit. A file that maintenance wrote takes
	// the greatest of those it replaces in its tenant and day.
	Sequence int64
}

func (f DataFile) String() string {
	return fmt.Sprintf("%s (%d rows, %d bytes)", f.Name, f.Rows, f.Bytes)
}
