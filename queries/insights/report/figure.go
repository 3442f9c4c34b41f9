package report

// Kind is how a figure is drawn.
type Kind string

const (
	// Line joins points in the order of X, such as precision over recall. Series with Low and
	// High get a band.
	Line Kind = "line"
	// Step holds each value until the next point, such as counts by day.
	Step Kind = "step"
	// Bar has one group of bars for each of the X axis's categories and one bar of each series
	// in it; bars lie on their side when the categories' names need the room.
	Bar Kind = "bar"
	// Stacked has bars on top of each other over a number axis, such as alerts of each kind by
	// day: X are the same ascending starts of equal periods in every series.
	Stacked Kind = "stacked"
	// Scatter is one dot a point, such as a map of segments; each series is named at its middle.
	Scatter Kind = "scatter"
	// Heat is a table of coloured cells: the X axis's categories are columns, each series is a
	// row of values, and Labels, if given, are what the cells say.
	Heat Kind = "heat"
	// Histogram has bars between edges: X are n+1 edges, Y the n heights.
	Histogram Kind = "histogram"
	// Calibration sets what was predicted (X) beside what happened (Y) on equal axes with the
	// diagonal; Low and High are error bars, N the number behind each point.
	Calibration Kind = "calibration"
)

// Scale is how an axis maps numbers to places.
type Scale string

const (
	Linear Scale = ""
	// Log needs positive values.
	Log Scale = "log"
	// Time takes seconds since 1970-01-01 UTC and labels days, months or years.
	Time Scale = "time"
)

// Bounds of a figure.
const (
	MaxSeries     = 24
	MaxPoints     = 2000
	MaxCategories = 60
	MaxColumns    = 40  // of a Heat
	MaxBars       = 240 // of a Bar: series times categories
	MaxReferences = 4
)

// Figure is a picture as data. Its numbers are finite and at most 1e100 either way.
type Figure struct {
	// Name is the figure's file name without its ending: lower-case letters, digits and
	// hyphens, at most 40.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Title says what is shown; Caption, in a sentence, what a reader should see in it.
	Title   string   `json:"title"`
	Caption string   `json:"caption"`
	X       Axis     `json:"x"`
	Y       Axis     `json:"y"`
	Series  []Series `json:"series"`
	// References are lines to read the series against, such as a baseline.
	References []Reference `json:"references,omitempty"`
}

// Axis is one axis of a figure.
type Axis struct {
	Label string `json:"label"`
	// Unit is as of [Metric]: [Share] axes are labelled in percent.
	Unit  string `json:"unit,omitempty"`
	Scale Scale  `json:"scale,omitempty"`
	// Categories name the places of a Bar's X axis or the columns of a Heat.
	Categories []string `json:"categories,omitempty"`
	// Min and Max fix the axis's ends; nil ones come from the points.
	Min *float64 `json:"min,omitempty"`
	Max *float64 `json:"max,omitempty"`
}

// Series is one line, one set of dots or bars, or one row of a heat table.
type Series struct {
	Name string `json:"name"`
	// X is nil for Bar and Heat, whose places are the X axis's categories.
	X []float64 `json:"x,omitempty"`
	Y []float64 `json:"y"`
	// Low and High, nil or as long as Y, are a band (Line, Step) or error bars (Bar, Calibration).
	Low  []float64 `json:"low,omitempty"`
	High []float64 `json:"high,omitempty"`
	// N, nil or as long as Y, is how many observations are behind each point of a Calibration:
	// dots grow with it.
	N []float64 `json:"n,omitempty"`
	// Labels, nil or as long as Y, are what a Heat's cells say instead of their values.
	Labels []string `json:"labels,omitempty"`
	// IsBaseline draws the series grey, and lines dashed: what to compare with.
	IsBaseline bool `json:"is_baseline,omitempty"`
}

// ReferenceKind is where a reference line lies.
type ReferenceKind string

const (
	// Diagonal is where Y equals X.
	Diagonal ReferenceKind = "diagonal"
	// Horizontal lies at a value of Y, Vertical at one of X.
	Horizontal ReferenceKind = "horizontal"
	Vertical   ReferenceKind = "vertical"
)

// Reference is a thin labelled line to read the series against.
type Reference struct {
	Kind  ReferenceKind `json:"kind"`
	At    float64       `json:"at,omitempty"`
	Label string        `json:"label,omitempty"`
}
