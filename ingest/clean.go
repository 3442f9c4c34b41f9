package ingest

import (
	"cmp"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
)

// freeTexts are the fields that a person or a terminal fills. A processor of this module masks
// card numbers in them before it sends; others may not.
var freeTexts = [...]cardlake.Text{
	cardlake.TextMerchantName, cardlake.TextMerchantCity, cardlake.TextMerchantID,
	cardlake.TextTerminalID, cardlake.TextRRN, cardlake.TextApprovalCode,
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

type removedFrom struct {
	tenant cardlake.Tenant
	field  cardlake.Text
}

// clean masks what looks like a card number in the row's free texts, in the record's memory,
// where no copy of it is left for a rejected record either.
func (w *Worker) clean(row *cardlake.Row, now time.Time, at cardlake.Position) {
	for _, field := range freeTexts {
		span := row.Spans[field]
		if n := card.Clean(row.Data[span.From():span.To()]); n > 0 {
			w.stats.remove(removedFrom{cardlake.Tenant(row.Text(cardlake.TextTenant)), field}, int64(n), now, at)
		}
	}
}

func (s *stats) remove(from removedFrom, n int64, now time.Time, at cardlake.Position) {
	s.removedLock.Lock()
	defer s.removedLock.Unlock()
	r := s.removed[from]
	if r == nil {
		from.tenant = cardlake.Tenant([]byte(from.tenant)) // the name lies in the record
		at.Stream = string([]byte(at.Stream))
		r = &Removal{Tenant: from.tenant, Field: from.field.String(), First: now, FirstAt: at}
		if s.removed == nil {
			s.removed = map[removedFrom]*Removal{}
		}
		s.removed[from] = r
	}
	r.Count += n
	r.Last = now
}

// removals returns what was removed, by tenant and field.
func (s *stats) removals() []Removal {
	s.removedLock.Lock()
	defer s.removedLock.Unlock()
	out := make([]Removal, 0, len(s.removed))
	for _, r := range s.removed {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Removal) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Field, b.Field))
	})
	return out
}
