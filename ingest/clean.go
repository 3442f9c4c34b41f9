package ingest

import (
	"cmp"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

// freeTexts are all texts but the tenant's name, which the register knows. Persons and terminals
// fill some of them; in the others only a producer's fault puts a card number. A processor of
// this module masks card numbers before it sends; others may not.
var freeTexts = func() (all []cardlake.Text) {
	for t := range cardlake.TextCount {
		if t != cardlake.TextTenant {
			all = append(all, t)
		}
	}
	return all
}()

// minPAN is the length of the shortest text that is looked into: most have fewer characters
// than a card number has digits.
const minPAN = 13

// FreeTexts are the names of the fields that are cleaned.
func FreeTexts() []string {
	out := make([]string, len(freeTexts))
	for i, t := range freeTexts {
		out[i] = t.String()
	}
	return out
}

// Removal counts what looked like card numbers in a field where none may be (PCI DSS 4.0.1,
// 3.5.1 and 12.10.7). They were masked before the row was added to a window.
type Removal struct {
	Tenant cardlake.Tenant
	Field  string
	Count  int64 // of numbers; a record that is read twice counts twice
	// First and Last are when it was seen, FirstAt in which record it was first.
	First, Last time.Time
	FirstAt     cardlake.Position
}

type removal struct {
	Removal
	reported time.Time
}

type removedFrom struct {
	tenant cardlake.Tenant
	field  cardlake.Text
}

// clean masks what looks like a card number in the row's free texts, in the record's memory,
// where no copy of it is left for a rejected record either.
func (w *Worker) clean(row *cardlake.Row, now time.Time, at cardlake.Position) {
	for _, field := range freeTexts {
		span := row.Spans[field]
		if span.To()-span.From() < minPAN {
			continue
		}
		if n := card.Clean(row.Data[span.From():span.To()]); n > 0 {
			w.report(w.stats.remove(removedFrom{cardlake.Tenant(row.Text(cardlake.TextTenant)), field}, int64(n), now, at))
		}
	}
}

// reportEvery is how often a tenant's field is reported that goes on having card numbers.
const reportEvery = time.Minute

// report leaves the incident's record in the log (PCI DSS 4.0.1, 12.10.7): what, where, since
// when, and how it is contained.
func (w *Worker) report(r Removal, isDue bool) {
	if isDue {
		w.Log.Error("card numbers where none may be", "tenant", string(r.Tenant), "field", r.Field, "numbers", r.Count,
			"since", r.First, "first_record", r.FirstAt.String(), "contained", "masked before the row was stored",
			"next", "find out how they came into this field at the producer")
	}
}

// remove counts, and returns the removal as it stands and whether it is time to report it.
func (s *stats) remove(from removedFrom, n int64, now time.Time, at cardlake.Position) (_ Removal, isDue bool) {
	s.removedLock.Lock()
	defer s.removedLock.Unlock()
	r := s.removed[from]
	if r == nil {
		from.tenant = cardlake.Tenant([]byte(from.tenant)) // the name lies in the record
		r = &removal{Removal: Removal{Tenant: from.tenant, Field: from.field.String(), First: now, FirstAt: at}}
		if s.removed == nil {
			s.removed = map[removedFrom]*removal{}
		}
		s.removed[from] = r
	}
	r.Count += n
	r.Last = now
	if isDue = r.reported.IsZero() || now.Sub(r.reported) >= reportEvery; isDue {
		r.reported = now
	}
	return r.Removal, isDue
}

// removals returns what was removed, by tenant and field.
func (s *stats) removals() []Removal {
	s.removedLock.Lock()
	defer s.removedLock.Unlock()
	out := make([]Removal, 0, len(s.removed))
	for _, r := range s.removed {
		out = append(out, r.Removal)
	}
	slices.SortFunc(out, func(a, b Removal) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Field, b.Field))
	})
	return out
}
