package report

import "fmt"

// Profile is a distribution in a few numbers: what the next run is compared with, without the
// rows of this one.
type Profile struct {
	Name string `json:"name"`
	// Edges ascend and are at most one fewer than the bins that were asked for; Shares are one
	// more than Edges and add up to 1. See [Shares] for what lies in which bin.
	Edges  []float64 `json:"edges"`
	Shares []float64 `json:"shares"`
}

// NewProfile is the profile of the values over ten bins of their own quantiles. It fails on no
// values and on values that are not finite.
func NewProfile(name string, values []float64) (Profile, error) {
	edges, err := Quantiles(values, 10)
	if err != nil {
		return Profile{}, fmt.Errorf("profile %q: %w", clip(name, 60), err)
	}
	shares, err := Shares(edges, values)
	if err != nil {
		return Profile{}, fmt.Errorf("profile %q: %w", clip(name, 60), err)
	}
	return Profile{name, edges, shares}, nil
}

// Drift is the population stability index of a later run's values against the profile.
func (p Profile) Drift(values []float64) (Drift, error) {
	shares, err := Shares(p.Edges, values)
	if err != nil {
		return Drift{}, fmt.Errorf("drift of profile %q: %w", clip(p.Name, 60), err)
	}
	index, err := StabilityIndex(p.Shares, shares)
	if err != nil {
		return Drift{}, fmt.Errorf("drift of profile %q: %w", clip(p.Name, 60), err)
	}
	return NewDrift(p.Name, PSI, index), nil
}

// Profile finds a profile by its name, such as the one of the run before.
func (c Card) Profile(name string) (Profile, bool) {
	for _, p := range c.Profiles {
		if p.Name == name {
			return p, true
		}
	}
	return Profile{}, false
}
