package lakeformation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Plan is what must change so that AWS enforces what the policies decide.
type Plan struct {
	// Version is that of the policies.
	Version string `json:"version"`
	// Digest identifies the plan: the state it begins at and every change.
	Digest string `json:"digest"`
	// Changes are in the order in which they are made.
	Changes []Change `json:"changes"`
	// Foreign is what others granted, in order of ID. It is changed only if
	// [Config.RemoveForeign]; it is then among the changes.
	Foreign []Foreign `json:"foreign"`
	// Notes say what the policies give and AWS will not.
	Notes []string `json:"notes"`

	basis string
}

// Change is one call, or a few that belong together.
type Change struct {
	// Op is "+" to make, "-" to end and "~" to replace.
	Op string `json:"op"`
	// ID is the kind and name of what changes.
	ID string `json:"id"`
	// Old and New are what it gives before and after.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Why are the ids of the policies that decided, or what is wrong with what ends.
	Why []string `json:"why,omitempty"`

	step step
	do   func(context.Context) error
}

// String is the change in one line.
func (c Change) String() string {
	s := c.Op + " " + c.ID
	switch {
	case c.Old != "" && c.New != "":
		s += ": " + c.Old + " -> " + c.New
	default:
		s += ": " + c.Old + c.New
	}
	return s
}

// IsEmpty reports whether AWS enforces what the policies decide, and others granted nothing.
func (p *Plan) IsEmpty() bool { return len(p.Changes) == 0 && len(p.Foreign) == 0 }

// compare returns the changes from one state to the other.
func (a *Account) compare(c *compiled, desired, actual *state) *Plan {
	p := &Plan{Version: c.version, basis: actual.basis(), Changes: []Change{}, Foreign: []Foreign{}, Notes: []string{}}
	for _, n := range c.notes {
		p.Notes = append(p.Notes, n.String())
	}
	for _, id := range slices.Sorted(maps.Keys(desired.items)) {
		want, have := desired.items[id], actual.items[id]
		switch {
		case have == nil:
			p.add(Change{Op: "+", ID: id, New: want.text, Why: want.why, step: want.makeAt, do: want.make})
		case have.text == want.text:
		case want.change != nil:
			p.add(Change{Op: "~", ID: id, Old: have.text, New: want.text, Why: want.why, step: want.changeAt(have),
				do: func(ctx context.Context) error { return want.change(ctx, have) }})
		case have.end == nil:
			// A role has one boundary; another's may be narrower than this one.
			if why := "a boundary of others, which may be narrower"; a.cfg.RemoveForeign {
				p.add(Change{Op: "~", ID: id, Old: have.text, New: want.text, Why: []string{why}, step: want.makeAt, do: want.make})
			} else {
				p.Foreign = append(p.Foreign, Foreign{ID: id, Text: have.text, Why: why + ": the lake's own would replace it"})
			}
		default:
			p.add(Change{Op: "-", ID: id, Old: have.text, Why: []string{"changed by hand"}, step: have.endAt, do: have.end})
			p.add(Change{Op: "+", ID: id, New: want.text, Why: want.why, step: want.makeAt, do: want.make})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(actual.items)) {
		if have := actual.items[id]; desired.items[id] == nil && have.end != nil {
			p.add(Change{Op: "-", ID: id, Old: have.text, Why: []string{"no policy gives it"}, step: have.endAt, do: have.end})
		}
	}
	slices.SortFunc(actual.foreign, func(x, y Foreign) int { return cmp.Or(cmp.Compare(x.ID, y.ID), cmp.Compare(x.Text, y.Text)) })
	for _, f := range actual.foreign {
		p.foreign(a, f)
	}
	slices.SortStableFunc(p.Changes, func(x, y Change) int { return cmp.Compare(x.step, y.step) })
	texts := []string{p.basis}
	for _, c := range p.Changes {
		texts = append(texts, c.String())
	}
	p.Digest = digest(texts...)
	return p
}

func (p *Plan) add(c Change) { p.Changes = append(p.Changes, c) }

func (p *Plan) foreign(a *Account, f Foreign) {
	if a.cfg.RemoveForeign && f.end != nil {
		p.add(Change{Op: "-", ID: f.ID, Old: f.Text, Why: []string{f.Why}, step: stepForeign, do: f.end})
		return
	}
	p.Foreign = append(p.Foreign, f)
}

// WriteJSON writes the plan as one object of JSON.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(p)
}

// statements are the statements of a policy, or the whole text of anything else.
func statements(text string) []string {
	if text == "" {
		return nil
	}
	var d struct{ Statement []json.RawMessage }
	if json.Unmarshal([]byte(text), &d) != nil || len(d.Statement) == 0 {
		return []string{text}
	}
	out := make([]string, len(d.Statement))
	for i, st := range d.Statement {
		out[i] = string(st)
	}
	return out
}

// WriteText writes the plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s\n", c.Op, c.ID)
		old, new := statements(c.Old), statements(c.New)
		for _, line := range old {
			if !slices.Contains(new, line) {
				fmt.Fprintf(&b, "    - %s\n", line)
			}
		}
		for _, line := range new {
			if !slices.Contains(old, line) {
				fmt.Fprintf(&b, "    + %s\n", line)
			}
		}
		if len(c.Why) > 0 {
			fmt.Fprintf(&b, "    by %s\n", strings.Join(c.Why, ", "))
		}
	}
	for _, f := range p.Foreign {
		fmt.Fprintf(&b, "! %s\n    %s\n    %s\n", f.ID, f.Text, f.Why)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "# %s\n", n)
	}
	fmt.Fprintf(&b, "%d to change, %d of others, policies %s, plan %s\n", len(p.Changes), len(p.Foreign), p.Version, p.Digest)
	_, err := io.WriteString(w, b.String())
	return err
}
