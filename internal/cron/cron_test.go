package cron

import (
	"testing"
	"time"
)

// TestSchedule: times follow each other without a gap, in local time, also where clocks
// change.
func TestSchedule(t *testing.T) {
	for _, tc := range []struct{ every, zone, from, want string }{
		{"hourly", "UTC", "2026-03-01T10:15:00Z", "2026-03-01T11:00:00Z"},
		{"hourly", "UTC", "2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z"},
		{"daily", "", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"daily", "America/Mexico_City", "2026-03-01T00:00:00Z", "2026-03-01T06:00:00Z"},
		{"weekly", "UTC", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"},
		{"monthly", "UTC", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"*/15 * * * *", "UTC", "2026-03-01T10:31:00Z", "2026-03-01T10:45:00Z"},
		{"30 6 * * 1-5", "UTC", "2026-03-06T06:30:00Z", "2026-03-09T06:30:00Z"},
		{"0 0 29 2 *", "UTC", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 1,15 * *", "UTC", "2026-03-02T00:00:00Z", "2026-03-15T00:00:00Z"},
		{"0 0 1 * 0", "UTC", "2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"0 0 * * 7", "UTC", "2026-03-02T00:00:00Z", "2026-03-08T00:00:00Z"},
		// New York: 02:30 is skipped on 8 March 2026, and 01:30 comes twice on 1 November.
		{"30 2 * * *", "America/New_York", "2026-03-08T06:59:00Z", "2026-03-08T07:00:00Z"},
		{"30 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"},
		{"30 1 * * *", "America/New_York", "2026-11-01T04:00:00Z", "2026-11-01T05:30:00Z"},
		{"30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"},
		// Santiago: midnight is skipped on 6 September 2026, and the hour before it comes twice on 5 April.
		{"daily", "America/Santiago", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
		{"daily", "America/Santiago", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"daily", "America/Santiago", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"},
	} {
		s, err := Parse(tc.every, tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		from, err := time.Parse(time.RFC3339, tc.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(from).Format(time.RFC3339); got != tc.want {
			t.Errorf("%s in %s after %s: %s, want %s", tc.every, tc.zone, tc.from, got, tc.want)
		}
	}
}

// FuzzSchedule: no text panics, and time only moves forward.
func FuzzSchedule(f *testing.F) {
	f.Add("*/5 1-3,7 * 2 0", "America/Santiago", int64(1_772_000_000))
	f.Add("daily", "Europe/Lisbon", int64(0))
	f.Fuzz(func(t *testing.T, every, zone string, at int64) {
		s, err := Parse(every, zone)
		if err != nil {
			return
		}
		from := time.Unix(at%4_000_000_000, 0)
		if next := s.Next(from); !next.IsZero() && !next.After(from) {
			t.Errorf("%v is not after %v", next, from)
		}
	})
}
