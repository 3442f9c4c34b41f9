package report

import "time"

// Bounds of a card, so that one run cannot fill the table its card is stored in.
const (
	MaxMetrics    = 64
	MaxBaselines  = 8
	MaxDrift      = 64
	MaxProfiles   = 64
	MaxParameters = 64
	MaxCounts     = 16
	MaxNotes      = 32
	MaxFigures    = 16
	// MaxText is the longest text in bytes: a note, a caption, a name.
	MaxText = 2000
)

// Card is the model card of one run. Its zero value is not valid: see [Card.Validate] for what
// must be there. Empty lists are nil after [Decode].
type Card struct {
	// Job is the name that "cardlake job run" takes, such as "segments".
	Job string `json:"job"`
	// Method is what was computed, in a few words: "k-means++ on RFM".
	Method string `json:"method"`
	// Version changes whenever the method may give other rows for equal input.
	Version string `json:"method_version"`
	// Summary is one or two sentences: what the results are, and for what they may be used.
	Summary string `json:"summary,omitempty"`
	// Evaluation says how the metrics were measured: what was held out, and from when.
	Evaluation string `json:"evaluation,omitempty"`

	Tenant string `json:"tenant"`
	Run    string `json:"run"`
	// Previous is the run that Drift compares with, empty for the first one.
	Previous string `json:"previous_run,omitempty"`
	// Snapshot is the table's snapshot that was read. It is text in JSON, because programs
	// that hold numbers as float64 would change it.
	Snapshot int64 `json:"snapshot,string"`
	// AsOf is the end of the data window, exclusive: from the data, not from a clock.
	AsOf   time.Time `json:"as_of"`
	Window Window    `json:"window"`

	Parameters []Parameter `json:"parameters,omitempty"`
	Metrics    []Metric    `json:"metrics,omitempty"`
	Drift      []Drift     `json:"drift,omitempty"`
	// Profiles are the distributions that the next run's Drift is measured against.
	Profiles []Profile `json:"profiles,omitempty"`
	Notes    []Note    `json:"notes,omitempty"`
	Figures  []Figure  `json:"figures,omitempty"`
}

// Window is the data that a run read.
type Window struct {
	// From is inclusive, To is exclusive.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Rows are the rows read from the lake.
	Rows int64 `json:"rows"`
	// Counts are what else was counted, in the order they are shown: customers, merchants.
	Counts []Count `json:"counts,omitempty"`
}

// Count is how many of something were read, such as 12,345 customers.
type Count struct {
	Name string `json:"name"`
	N    int64  `json:"n"`
}

// Parameter is one setting of a run, as text: {"clusters", "5"}.
type Parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Better says which way a metric is good.
type Better string

const (
	// Higher and Lower are for metrics that can be good or bad; the empty Better is for
	// facts, such as a number of clusters.
	Higher Better = "higher"
	Lower  Better = "lower"
)

// Share is the unit of values from 0 to 1 that people read as percentages.
const Share = "share"

// Metric is one measured number beside what simple methods reach on the same data.
type Metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is [Share], empty for a plain number, or a word: "EUR", "days", "alerts".
	Unit   string `json:"unit,omitempty"`
	Better Better `json:"better,omitempty"`
	// Interval is the value's uncertainty, nil if it was not estimated.
	Interval  *Interval  `json:"interval,omitempty"`
	Baselines []Baseline `json:"baselines,omitempty"`
	// Doc says in one sentence what the number means to its reader.
	Doc string `json:"doc,omitempty"`
}

// Interval holds the value with the given confidence, such as 0.95.
type Interval struct {
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Level float64 `json:"level"`
}

// Baseline is what a simple method reaches on the same data: {"most popular", 0.12}.
type Baseline struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Verdict compares a metric with its best baseline.
type Verdict int

const (
	// NoVerdict is for metrics without baselines or without a good direction.
	NoVerdict Verdict = iota
	Worse
	Equal
	Ahead
)

// Verdict compares the value with the best of the baselines: [Ahead] and [Worse] are by more
// than one part in a million, so that the last bit of a sum does not decide.
func (m Metric) Verdict() Verdict {
	best, ok := m.Best()
	if !ok {
		return NoVerdict
	}
	gain := m.Value - best.Value
	if m.Better == Lower {
		gain = -gain
	}
	near := 1e-6 * max(abs(m.Value), abs(best.Value))
	switch {
	case gain > near:
		return Ahead
	case gain < -near:
		return Worse
	}
	return Equal
}

// Best is the baseline that is hardest to beat, the first of equal ones; false without
// baselines or without a good direction.
func (m Metric) Best() (Baseline, bool) {
	if len(m.Baselines) == 0 || m.Better == "" {
		return Baseline{}, false
	}
	best := m.Baselines[0]
	for _, b := range m.Baselines[1:] {
		if m.Better == Higher && b.Value > best.Value || m.Better == Lower && b.Value < best.Value {
			best = b
		}
	}
	return best, true
}

// NoteKind says how a note is shown.
type NoteKind string

const (
	// Info is what is good to know.
	Info NoteKind = "info"
	// Limit is what the results must not be used for, or do not cover.
	Limit NoteKind = "limit"
	// Warning is what went worse than it should in this run.
	Warning NoteKind = "warning"
)

// Note is a sentence or two in plain words.
type Note struct {
	Kind NoteKind `json:"kind"`
	Text string   `json:"text"`
}

func abs(x float64) float64 { return max(x, -x) }
