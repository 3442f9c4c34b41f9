package segments

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/segment"
)

// mostSegments bounds the segments of a run: more than people can tell apart.
const mostSegments = 20

// Parameters implements insights.Job.
func (*Job) Parameters() []insights.Parameter {
	return []insights.Parameter{
		{Name: "days", Default: "90", Doc: "window: days before the newest event", Check: whole(1, 1500)},
		{Name: "least", Default: "2", Doc: "fewest segments to try", Check: whole(2, mostSegments)},
		{Name: "most", Default: "10", Doc: "most segments to try; at least as many as least", Check: whole(2, mostSegments)},
		{Name: "smallest", Default: "1", Doc: "percent of the customers that the smallest segment should have, and at least 5 of them", Check: whole(0, 20)},
		{Name: "method", Default: string(segment.ByKMeans), Doc: "kmeans, or mixture for a Gaussian mixture", Check: method},
		{Name: "currency", Default: "", Doc: "currency whose purchases count (ISO 4217); empty for that of the most purchases", Check: currency},
		{Name: "seed", Default: "1", Doc: "seed of what is drawn at random", Check: whole(0, 1<<31-1)},
	}
}

// parameters are a run's, read.
type parameters struct {
	days, least, most, smallest int
	method                      segment.Method
	currency                    string
	seed                        uint64
}

// parse reads values that Check has passed.
func parse(v insights.Values) (parameters, error) {
	p := parameters{method: segment.Method(v["method"]), currency: v["currency"]}
	var seed int
	var errs []error
	for _, n := range []struct {
		name string
		to   *int
	}{{"days", &p.days}, {"least", &p.least}, {"most", &p.most}, {"smallest", &p.smallest}, {"seed", &seed}} {
		var err error
		if *n.to, err = strconv.Atoi(v[n.name]); err != nil {
			errs = append(errs, fmt.Errorf("parameter %s is not a number", n.name))
		}
	}
	if p.seed = uint64(seed); p.least > p.most {
		errs = append(errs, errors.New("parameter most is below least"))
	}
	return p, errors.Join(errs...)
}

func whole(least, most int) func(string) error {
	return func(value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most || strconv.Itoa(n) != value {
			return fmt.Errorf("is not a whole number from %d to %d", least, most)
		}
		return nil
	}
}

func method(value string) error {
	if value != string(segment.ByKMeans) && value != string(segment.ByMixture) {
		return errors.New("is neither kmeans nor mixture")
	}
	return nil
}

func currency(value string) error {
	if value != "" && (len(value) != 3 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return errors.New("is not three capital letters")
	}
	return nil
}
