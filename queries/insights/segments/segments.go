// Package segments is the job "segment": it divides a tenant's customers into groups that behave
// alike, by the methods of queries/segment, and names them.
//
// It looks at each customer's purchases and cash withdrawals of the last days: approved
// authorisations less what was reversed, in the tenant's main currency (that of the most of
// them). Amounts are never converted: purchases in other currencies are left out, and the model
// card says how many. So are events without a customer id: two cards of one person would
// count as two customers, and a card token in the place of a customer's id would match nothing
// of the tenant's.
//
// A segment is the same as one of the run before if it is alike in its centre and its members:
// then it keeps its id and its name, while its description says what it is like now. Ids come
// from the run in which a segment was born.
package segments

import (
	"context"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/segment"
)

// Job is the job "segment".
type Job struct{}

// New returns the job.
func New() *Job { return &Job{} }

// Name is "segment".
func (*Job) Name() string { return "segment" }

// Version is that of the methods and of what is read.
func (*Job) Version() string { return "1" }

// Tables are insights.segments and insights.customer_segments.
func (*Job) Tables() []*cardlake.Table {
	return []*cardlake.Table{cardlake.Segments, cardlake.CustomerSegments}
}

// ReadsLabels is false.
func (*Job) ReadsLabels() bool { return false }

// run is a run as it goes on.
type run struct {
	*insights.Task
	parameters
	*data
	preparation *segment.Preparation
	x           segment.Matrix
	choice      *segment.Choice
	profiles    []segment.Profile
	plane       *segment.Plane
	before      *before
	kept        []segment.Kept
	retired     []int
	drift       *segment.Drift // nil without a run before
	ids, names  []string       // by segment
	tooMuch     bool           // a sum of money was more than a row takes
}

// Run segments the tenant's customers. It refuses with fewer than 10 customers, or five for
// each of the fewest segments, and where too few of them differ.
func (*Job) Run(ctx context.Context, t *insights.Task) error {
	p, err := parse(t.Values)
	if err != nil {
		return err
	}
	r := &run{Task: t, parameters: p}
	if r.data, err = read(ctx, t, p); err != nil {
		return err
	}
	if need := max(10, 5*p.least); len(r.customers) < need {
		return insights.Refuse(fmt.Sprintf("at least %d customers with purchases in the window of %d days", need, p.days), "%d", len(r.customers))
	}
	err = r.divide(ctx)
	var few *segment.TooFewError
	if errors.As(err, &few) {
		return insights.Refuse(fmt.Sprintf("at least %d %s in the window of %d days", few.Need, few.What, p.days), "%d among %d customers", few.Have, len(r.customers))
	}
	if err != nil {
		return err
	}
	if err := r.recognise(ctx); err != nil {
		return err
	}
	if err := r.write(ctx); err != nil {
		return err
	}
	return r.fill(ctx)
}

// fewest is how many customers the smallest segment should have, whatever their share.
const fewest = 5

// divide chooses the segments.
func (r *run) divide(ctx context.Context) (err error) {
	r.Report("preparing features", 0, 0)
	if r.preparation, r.x, err = segment.Prepare(r.raw, columns); err != nil {
		return err
	}
	r.Report("choosing segments", 0, 0)
	// What is said of a segment of a few people is said of each of them.
	smallest := min(0.5, max(float64(r.smallest)/100, float64(fewest)/float64(r.x.Rows)))
	r.choice, err = segment.Choose(ctx, r.x, segment.ChooseConfig{
		Least: r.least, Most: r.most, Method: r.method, SmallestShare: smallest,
		KMeans: segment.KMeansConfig{Seed: r.seed},
	})
	if err != nil {
		return err
	}
	if r.profiles, err = segment.Profiles(r.preparation, r.x, r.choice.Partition); err != nil {
		return err
	}
	r.plane, err = segment.FitPlane(r.x)
	return err
}

// recognise finds the segments of the run before among those of this one, and names all.
func (r *run) recognise(ctx context.Context) (err error) {
	if r.before, err = readBefore(ctx, r.Task, r.data, r.preparation); err != nil {
		return err
	}
	r.kept, r.retired, err = segment.Match(r.choice.Partition, r.before.known, r.before.was)
	if err != nil {
		return err
	}
	if len(r.before.known) > 0 {
		if r.drift, err = segment.Measure(r.choice.Partition, r.before.known, r.before.was, r.kept); err != nil {
			return err
		}
	}
	r.ids, r.names = make([]string, len(r.kept)), make([]string, len(r.kept))
	for s, k := range r.kept {
		if k.Old >= 0 {
			r.ids[s], r.names[s] = r.before.segments[k.Old].id, r.before.segments[k.Old].name
			continue
		}
		r.ids[s] = insights.ID("segment", r.RunID, fmt.Sprint(s))
	}
	r.names, err = segment.Spending.Names(r.preparation.Kept(), r.profiles, r.names)
	return err
}
