package discover

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"
)

// Incident records that card data was found where none may be, with what PCI DSS 12.10.7 asks
// for: what and where, since when, whether there is sensitive authentication data, how it is
// contained, and what is to be done. It holds no card number and no fingerprint.
type Incident struct {
	Found      time.Time  `json:"found"` // when, UTC
	By         string     `json:"by"`    // the program that found it
	Where      Place      `json:"where"` // the first place of it
	What       []Kind     `json:"what"`
	Brands     []string   `json:"brands,omitempty"`
	Count      int64      `json:"count"`    // places
	Distinct   int        `json:"distinct"` // different numbers; a lower bound from 10,000 on
	Confidence Confidence `json:"confidence"`
	// SAD says that there is sensitive authentication data: storing it is a violation by
	// itself (3.3.1), and it has to be deleted, not moved.
	SAD bool `json:"sad"`
	// Since is the earliest time at which it can have been there, as far as SinceBasis can
	// tell; zero if nothing can.
	Since      time.Time `json:"since,omitzero"`
	SinceBasis string    `json:"since_basis,omitempty"`
	// Contained is what has been done already.
	Contained string   `json:"contained"`
	NextSteps []string `json:"next_steps"`
}

// Origin is what is known about the place of a finding beside the finding.
type Origin struct {
	Since     time.Time // zero if unknown
	Basis     string    // what Since rests on: "modification time"
	Contained string    // default: nothing
}

// Incidents makes incidents of detections, one for each file and field. It is not safe for
// concurrent use.
type Incidents struct {
	by    string
	now   func() time.Time
	all   map[incidentKey]*openIncident
	spare *openIncident // what is beyond maxIncidents
}

type incidentKey struct{ path, part, field string }

type openIncident struct {
	Incident
	kinds  map[Kind]bool
	brands map[string]bool
	prints map[string]bool
}

const (
	maxIncidents = 10_000
	maxPrints    = 10_000
)

// NewIncidents returns an empty collection of what the named program finds. now tells the time.
func NewIncidents(by string, now func() time.Time) *Incidents {
	return &Incidents{by: by, now: now, all: map[incidentKey]*openIncident{}}
}

// Add counts a detection. Beyond 10,000 places, further ones share one incident.
func (in *Incidents) Add(d Detection, origin Origin) {
	key := incidentKey{d.Path, d.Part, d.Field}
	i := in.all[key]
	if i == nil && len(in.all) >= maxIncidents {
		if in.spare == nil {
			in.spare = in.open(d, origin)
		}
		i = in.spare
	}
	if i == nil {
		i = in.open(d, origin)
		in.all[key] = i
	}
	i.Count++
	i.kinds[d.Kind], i.SAD = true, i.SAD || d.Kind.IsSAD()
	if d.Brand != "" {
		i.brands[d.Brand] = true
	}
	if d.Fingerprint != "" && len(i.prints) < maxPrints {
		i.prints[d.Fingerprint] = true
	}
	i.Confidence = max(i.Confidence, d.Confidence)
	if !origin.Since.IsZero() && (i.Since.IsZero() || origin.Since.Before(i.Since)) {
		i.Since, i.SinceBasis = origin.Since.UTC(), origin.Basis
	}
}

func (in *Incidents) open(d Detection, origin Origin) *openIncident {
	return &openIncident{
		Incident: Incident{Found: in.now().UTC(), By: in.by, Where: d.Place, Contained: cmp.Or(origin.Contained, "nothing has been done yet")},
		kinds:    map[Kind]bool{}, brands: map[string]bool{}, prints: map[string]bool{},
	}
}

// All returns the incidents, ordered by place.
func (in *Incidents) All() []Incident {
	open := slices.SortedFunc(maps.Values(in.all), func(a, b *openIncident) int {
		return cmp.Or(cmp.Compare(a.Where.Path, b.Where.Path), cmp.Compare(a.Where.Part, b.Where.Part), cmp.Compare(a.Where.Field, b.Where.Field))
	})
	if in.spare != nil {
		open = append(open, in.spare)
	}
	out := make([]Incident, len(open))
	for n, i := range open {
		out[n] = i.Incident
		out[n].What = slices.Sorted(maps.Keys(i.kinds))
		out[n].Brands = slices.Sorted(maps.Keys(i.brands))
		out[n].Distinct = len(i.prints)
		out[n].NextSteps = nextSteps(i.SAD)
	}
	return out
}

// nextSteps are the bullets of PCI DSS 12.10.7 that a program cannot do by itself.
func nextSteps(sad bool) []string {
	steps := []string{
		"keep everyone out of the place who may not see card numbers, copies and backups included",
		"find out where the data came from and how it got there",
		"delete it securely, or move it into the cardholder data environment if it is needed",
		"mend the leak or the gap in the process that let it out, then search the place again",
	}
	if sad {
		steps = append([]string{"sensitive authentication data: it may not be kept in any form; delete it everywhere and tell the payment brands' contacts if it was stored after authorisation"}, steps...)
	}
	return steps
}

// Write writes one incident a line as JSON.
func (in *Incidents) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, i := range in.All() {
		if err := enc.Encode(i); err != nil {
			return err
		}
	}
	return nil
}
