// Package cron says when something is due: as five fields say it, in a time zone, without jitter.
package cron

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // also where the system has no names of time zones
)

// Schedule is minute, hour, day of the month, month and day of the week, as in cron (crontab(5)),
// with *, numbers, lists, ranges and steps, in a time zone. If both days are given, either
// suffices. Of local times that a change of the clock skips, the first instant after it counts;
// of those that come twice, the first. It is immutable.
type Schedule struct {
	minutes, hours, days, months, weekdays []int
	anyDay, anyWeekday                     bool
	zone                                   *time.Location
}

// named are schedules with a name.
var named = map[string]string{"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}

// Parse reads hourly, daily, weekly, monthly, or five fields, in a time zone by its name in the
// IANA database; an empty one is UTC. Errors call the two "every" and "time_zone".
func Parse(every, zone string) (*Schedule, error) {
	if zone == "" {
		zone = "UTC"
	}
	where, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, errors.New("time_zone is no name of the IANA time zone database, such as America/Mexico_City")
	}
	text := every
	if n, ok := named[every]; ok {
		text = n
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, errors.New("every is hourly, daily, weekly, monthly, or five fields as in cron: minute hour day month weekday")
	}
	s := &Schedule{zone: where, anyDay: fields[2] == "*", anyWeekday: fields[4] == "*"}
	for i, part := range []struct {
		name     string
		min, max int
		into     *[]int
	}{{"minute", 0, 59, &s.minutes}, {"hour", 0, 23, &s.hours}, {"day", 1, 31, &s.days}, {"month", 1, 12, &s.months}, {"weekday", 0, 7, &s.weekdays}} {
		if *part.into, err = parseField(fields[i], part.min, part.max); err != nil {
			return nil, fmt.Errorf("every: %s: %w", part.name, err)
		}
	}
	if slices.Contains(s.weekdays, 7) && !slices.Contains(s.weekdays, 0) {
		s.weekdays = append([]int{0}, s.weekdays...) // Sunday is both
	}
	if s.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("every: there is no such day")
	}
	return s, nil
}

// parseField reads one field, and returns its values in order.
func parseField(field string, least, most int) ([]int, error) {
	wrong := fmt.Errorf("wants *, a number from %d to %d, a range such as 1-5, a step such as */15, or a list of those", least, most)
	var out []int
	for item := range strings.SplitSeq(field, ",") {
		span, stepText, hasStep := strings.Cut(item, "/")
		step := 1
		if hasStep {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > most {
				return nil, wrong
			}
			step = n
		}
		from, to := least, most
		if span != "*" {
			first, last, isRange := strings.Cut(span, "-")
			n, err := strconv.Atoi(first)
			if err != nil {
				return nil, wrong
			}
			from, to = n, n
			if isRange {
				if to, err = strconv.Atoi(last); err != nil {
					return nil, wrong
				}
			} else if hasStep {
				to = most
			}
		}
		if from < least || to > most || from > to {
			return nil, wrong
		}
		for n := from; n <= to; n += step {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Zone is the schedule's time zone.
func (s *Schedule) Zone() *time.Location { return s.zone }

// Next returns the first time after t, in UTC; the zero time if there is none within eight years.
func (s *Schedule) Next(t time.Time) time.Time {
	local := t.In(s.zone)
	year, month, day := local.Date()
	// The day before: what the clock skipped may be at an instant of the next day's beginning.
	for n := -1; n < 8*366; n++ {
		date := time.Date(year, month, day+n, 12, 0, 0, 0, time.UTC)
		if !s.onDay(date) {
			continue
		}
		for _, h := range s.hours {
			for _, m := range s.minutes {
				if at := instantOf(date, h, m, s.zone); at.After(t) {
					return at.UTC()
				}
			}
		}
	}
	return time.Time{}
}

func (s *Schedule) onDay(date time.Time) bool {
	if !slices.Contains(s.months, int(date.Month())) {
		return false
	}
	day, weekday := slices.Contains(s.days, date.Day()), slices.Contains(s.weekdays, int(date.Weekday()))
	switch {
	case s.anyDay:
		return weekday
	case s.anyWeekday:
		return day
	}
	return day || weekday
}

// instantOf returns the instant of a local time: the first, if there are two; the first after it,
// if the clock skips it.
func instantOf(date time.Time, h, m int, zone *time.Location) time.Time {
	year, month, day := date.Date()
	at := time.Date(year, month, day, h, m, 0, 0, zone)
	begin, end := at.ZoneBounds()
	if at.Hour() != h || at.Minute() != m { // skipped: at is as far beside the change as the clock jumps
		if !begin.IsZero() && at.Sub(begin) < 3*time.Hour {
			return begin
		}
		return end
	}
	if !begin.IsZero() {
		_, before := begin.Add(-1).Zone()
		_, now := at.Zone()
		earlier := at.Add(time.Duration(now-before) * time.Second)
		if earlier.Before(begin) {
			if e := earlier.In(zone); e.Hour() == h && e.Minute() == m && e.Day() == day {
				return earlier
			}
		}
	}
	return at
}
