package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// figures are one of each kind and shape, as jobs make them: what the tests draw and people look at.
func figures() []Figure {
	r := rand.New(rand.NewPCG(7, 11))
	one, zero := 1.0, 0.0
	curve := func(name string, a, b float64, isBaseline bool) Series {
		var x, y []float64
		for i := range 5000 {
			t := float64(i) / 4999
			x, y = append(x, t), append(y, max(0.012, 1-math.Pow(t, a)*b-0.015*math.Sin(40*t)*t))
		}
		s := Curve(name, x, y)
		s.IsBaseline = isBaseline
		return s
	}
	day := func(i int) float64 {
		return float64(time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC).AddDate(0, 0, 7*i).Unix())
	}
	forecast := Series{Name: "BG/NBD forecast"}
	actual, naive := Series{Name: "Actual"}, Series{Name: "Same as last week", IsBaseline: true}
	for i := range 40 {
		v := 14_200 + 60*float64(i) + 900*math.Sin(float64(i)/4)
		actual.X, actual.Y = append(actual.X, day(i)), append(actual.Y, v+300*r.NormFloat64())
		if i > 0 {
			naive.X, naive.Y = append(naive.X, day(i)), append(naive.Y, actual.Y[i-1])
		}
		if i >= 26 {
			forecast.X, forecast.Y = append(forecast.X, day(i)), append(forecast.Y, v)
			w := 300 + 40*float64(i-26)
			forecast.Low, forecast.High = append(forecast.Low, v-w), append(forecast.High, v+w)
		}
	}
	alerts := Series{Name: "Alerts"}
	for i := range 60 {
		alerts.X = append(alerts.X, day(0)+86_400*float64(i))
		alerts.Y = append(alerts.Y, float64(r.IntN(60)+40))
	}
	var patterns []Series
	for i, name := range []string{"card testing", "impossible travel", "account takeover", "compromised terminal", "unusual"} {
		s := Series{Name: name, X: alerts.X}
		for k := range alerts.X {
			n := float64(r.IntN(12))
			if i == 0 {
				n = float64(r.IntN(3))
				if k >= 46 && k < 50 {
					n = 60
				}
			}
			s.Y = append(s.Y, n)
		}
		patterns = append(patterns, s)
	}
	var clouds []Series
	for i, name := range []string{"Daily commuters", "Big-ticket travellers", "Night & weekend", "Fading", "New and curious", "Online bargain hunters", "Cash first", "Small regulars"} {
		var x, y []float64
		cx, cy := 3*math.Cos(float64(i)*0.8), 2.2*math.Sin(float64(i)*0.8)
		for range 1200 {
			x, y = append(x, cx+0.6*r.NormFloat64()), append(y, cy+0.5*r.NormFloat64())
		}
		clouds = append(clouds, Cloud(name, x, y, 250))
	}
	var days, fraud []float64
	for range 9000 {
		days = append(days, math.Abs(r.NormFloat64())*0.12+0.02)
	}
	for range 900 {
		fraud = append(fraud, min(1, max(0, 0.75+0.14*r.NormFloat64())))
	}
	edges := Edges(0, 1, 40)
	usual, _ := Binned("Score", edges, days)
	a, _ := Binned("Genuine", Edges(0, 1, 25), days[:2500])
	b, _ := Binned("Fraud", Edges(0, 1, 25), fraud)
	cal := Series{Name: "Calibrated score"}
	raw := Series{Name: "Raw score", IsBaseline: true}
	for i := range 10 {
		p := (float64(i) + 0.5) / 10
		o := min(1, max(0, p+0.02*r.NormFloat64()))
		n := 4000 * math.Pow(0.55, float64(i))
		e := 1.96 * math.Sqrt(o*(1-o)/n)
		cal.X, cal.Y, cal.N = append(cal.X, p), append(cal.Y, o), append(cal.N, n)
		cal.Low, cal.High = append(cal.Low, max(0, o-e)), append(cal.High, min(1, o+e))
		raw.X, raw.Y = append(raw.X, p), append(raw.Y, p*p)
	}
	segments := []string{"Recency (days)", "Purchases", "Average amount", "Share abroad", "Share online", "Night share", "Merchants"}
	var profile []Series
	for i, name := range []string{"Daily commuters", "Big-ticket travellers", "Night & weekend", "Fading", "New and curious"} {
		s := Series{Name: name}
		for k := range segments {
			z := 1.9 * math.Sin(float64(i*7+k*3))
			s.Y, s.Labels = append(s.Y, z), append(s.Labels, fmt.Sprintf("%.1f", 20+11*z))
		}
		profile = append(profile, s)
	}
	var hours []Series
	var hour []string
	for h := range 24 {
		hour = append(hour, fmt.Sprint(h))
	}
	for _, d := range []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"} {
		s := Series{Name: d}
		for range hour {
			s.Y = append(s.Y, math.Round(r.ExpFloat64()*40))
		}
		hours = append(hours, s)
	}
	return []Figure{
		{Name: "precision-recall", Kind: Line, Title: "Precision and recall of fraud alerts", Caption: "Further up and right is better. At half of all fraud found, nine of ten alerts are fraud; the amount rule alone reaches one in three.",
			X: Axis{Label: "Recall: share of fraud found", Unit: Share, Min: &zero, Max: &one}, Y: Axis{Label: "Precision: share of alerts that are fraud", Unit: Share, Min: &zero, Max: &one},
			Series:     []Series{curve("Gradient-boosted trees", 6, 0.98, false), curve("Isolation forest", 2.2, 0.95, false), curve("ECOD", 1.6, 0.97, false), curve("Amount above the card's usual", 0.5, 1, true)},
			References: []Reference{{Kind: Horizontal, At: 0.012, Label: "alerts at random: 1.2%"}}},
		{Name: "forecast", Kind: Line, Title: "Purchases a week: forecast against actual", Caption: "The forecast was made on 6 July from what was known then; the band holds 19 of 20 weeks.",
			X: Axis{Label: "Week", Scale: Time}, Y: Axis{Label: "Purchases", Unit: "a week"}, Series: []Series{actual, forecast, naive},
			References: []Reference{{Kind: Vertical, At: day(26), Label: "forecast made"}}},
		{Name: "alerts-by-day", Kind: Step, Title: "Alerts a day", Caption: "A steady number; nobody drowns.", X: Axis{Scale: Time}, Y: Axis{Label: "Alerts"}, Series: []Series{alerts},
			References: []Reference{{Kind: Horizontal, At: 100, Label: "budget: 100 a day"}}},
		{Name: "alerts-by-pattern", Kind: Stacked, Title: "Alerts by day and pattern", Caption: "A pattern that is suddenly there is worth a look: card testing on 20 February.", X: Axis{Scale: Time}, Y: Axis{Label: "Alerts a day"}, Series: patterns},
		{Name: "lift", Kind: Line, Title: "Cumulative lift", Caption: "The top 1% of scores hold 31 times the usual share of fraud.",
			X: Axis{Label: "Share of transactions, highest scores first", Unit: Share, Scale: Log}, Y: Axis{Label: "Lift over random", Unit: "times"},
			Series:     []Series{{Name: "Model", X: []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1}, Y: []float64{62, 48, 31, 16, 7.2, 3, 1}}},
			References: []Reference{{Kind: Horizontal, At: 1, Label: "random"}}},
		{Name: "segment-map", Kind: Scatter, Title: "Map of the segments", Caption: "Each dot is a customer, on the two directions in which customers differ most. Segments that lie apart behave differently.",
			X: Axis{Label: "First principal component: how often, how recently"}, Y: Axis{Label: "Second principal component: how much, how far from home"}, Series: clouds},
		{Name: "segment-profile", Kind: Heat, Title: "What distinguishes the segments", Caption: "Blue is above the tenant's average, orange below; the number is the segment's mean.",
			X: Axis{Categories: segments}, Y: Axis{}, Series: profile},
		{Name: "alerts-by-hour", Kind: Heat, Title: "Alerts by day and hour", Caption: "Alerts cluster in the small hours.", X: Axis{Label: "Hour of the day (UTC)", Categories: hour}, Y: Axis{Label: "Day"}, Series: hours},
		{Name: "segment-sizes", Kind: Bar, Title: "Customers by segment", Caption: "Two segments hold half of the customers.", X: Axis{Categories: []string{"Daily commuters", "Big-ticket travellers", "Night & weekend", "Fading", "New"}},
			Y: Axis{Label: "Customers"}, Series: []Series{{Name: "Customers", Y: []float64{12_345, 8_410, 5_120, 3_999, 950}}}},
		{Name: "recall-by-model", Kind: Bar, Title: "Recall at 10 and 20 by model", Caption: "The blend beats popularity threefold; error bars are 95% intervals over customers.", X: Axis{Categories: []string{"All merchants", "New merchants only"}},
			Y: Axis{Label: "Recall at 20", Unit: Share}, Series: []Series{
				{Name: "Blend", Y: []float64{0.612, 0.284}, Low: []float64{0.601, 0.271}, High: []float64{0.622, 0.295}},
				{Name: "EASE", Y: []float64{0.571, 0.279}, Low: []float64{0.561, 0.265}, High: []float64{0.58, 0.291}},
				{Name: "Item-kNN", Y: []float64{0.55, 0.251}, Low: []float64{0.54, 0.24}, High: []float64{0.56, 0.262}},
				{Name: "Most popular", Y: []float64{0.212, 0.09}, IsBaseline: true},
				{Name: "Own habit", Y: []float64{0.412, 0}, IsBaseline: true}}},
		{Name: "importance", Kind: Bar, Title: "What the model looks at", Caption: "Mean gain by feature, the largest twelve.",
			X: Axis{Categories: []string{"Amount against the card's median", "Seconds since the last transaction", "Declines in a row", "New country in 30 days", "Terminal's share of compromised cards", "Night", "Merchant category's fraud rate", "Count in 1 hour", "Sum in 24 hours", "Distance to the last place over time: impossible travel between two purchases", "Weekend", "New merchant"}},
			Y: Axis{Label: "Gain", Unit: Share}, Series: []Series{{Y: []float64{0.31, 0.17, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01, 0.01}}}},
		{Name: "changes", Kind: Bar, Title: "Segment growth since the last run", Caption: "Growth and loss of members.", X: Axis{Categories: []string{"Commuters", "Travellers", "Night", "Fading", "New"}},
			Y: Axis{Label: "Change of members", Unit: Share}, Series: []Series{{Y: []float64{0.031, -0.012, 0.0004, 0.142, -0.087}}}},
		{Name: "scores", Kind: Histogram, Title: "Anomaly scores", Caption: "Most transactions are unremarkable.", X: Axis{Label: "Score", Unit: Share}, Y: Axis{Label: "Transactions"}, Series: []Series{usual},
			References: []Reference{{Kind: Vertical, At: 0.42, Label: "alert threshold"}}},
		{Name: "scores-by-label", Kind: Histogram, Title: "Scores of genuine and fraudulent transactions", Caption: "Little overlap: the score separates them.", X: Axis{Label: "Score"}, Y: Axis{Label: "Transactions"}, Series: []Series{a, b}},
		{Name: "calibration", Kind: Calibration, Title: "Are the probabilities right?", Caption: "Dots on the diagonal mean yes; larger dots stand for more transactions.",
			X: Axis{Label: "Predicted probability", Unit: Share, Min: &zero, Max: &one}, Y: Axis{Label: "Observed share of fraud", Unit: Share}, Series: []Series{cal, raw}},
		{Name: "frequency", Kind: Calibration, Title: "Purchases expected and made", Caption: "Groups of customers by expected purchases in 30 days.",
			X: Axis{Label: "Expected purchases"}, Y: Axis{Label: "Actual purchases"}, Series: []Series{{X: []float64{0.1, 0.7, 1.5, 3.2, 7.9, 16}, Y: []float64{0.2, 0.6, 1.7, 3, 8.4, 14.1}}}},
	}
}

// segmentsCard is a whole card, as a job makes it.
func segmentsCard() Card {
	at := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC) }
	return Card{
		Job: "segments", Method: "k-means++ on RFM and behaviour", Version: "1",
		Summary:    "Every customer with at least two purchases belongs to one of five segments, named by what distinguishes it. For offers and budgets; not for decisions about credit.",
		Evaluation: "Stability is the agreement of two runs on random halves of the customers; separation is measured on 5,000 customers.",
		Tenant:     "acme", Run: "r-5f0c2a", Previous: "r-11d90e", Snapshot: 7_345_612_345_678_901_234,
		AsOf:       at(3, 1),
		Window:     Window{From: at(1, 1), To: at(3, 1), Rows: 1_234_567, Counts: []Count{{"Customers", 12_345}, {"Merchants", 987}}},
		Parameters: []Parameter{{"k", "5 (2 to 12 tried)"}, {"seed", "7"}, {"without_mccs", strings.Repeat("6011,6012,", 20) + "6013"}},
		Metrics: []Metric{
			{Name: "silhouette", Value: 0.412, Better: Higher, Interval: &Interval{0.398, 0.427, 0.95}, Baselines: []Baseline{{"quintiles of spending", 0.181}, {"one cut at the median", 0.305}}, Doc: "How much closer customers are to their own segment than to the next one, from -1 to 1."},
			{Name: "purchases explained", Value: 0.61, Unit: Share, Better: Higher, Baselines: []Baseline{{"quintiles of spending", 0.664}}, Doc: "Share of the variance of purchases a month that the segments explain."},
			{Name: "error of next month's value", Value: 12.4, Unit: "EUR", Better: Lower, Baselines: []Baseline{{"same as last month", 19.75}}},
			{Name: "segments", Value: 5},
		},
		Drift: []Drift{NewDrift("recency", PSI, 0.034), NewDrift("average amount", PSI, 0.17), NewDrift("membership", Moved, 0.31), NewDrift("partition", ARI, 0.93)},
		Notes: []Note{
			{Info, "Names follow the largest deviation from the tenant's average."},
			{Limit, "Customers with fewer than two purchases (1,204) belong to no segment."},
			{Warning, "Three in ten customers changed their segment since the run before; look at the map before you act on names."},
		},
		Profiles: []Profile{{"recency", []float64{1, 4, 9}, []float64{0.25, 0.25, 0.3, 0.2}}},
		Figures:  figures(),
	}
}
