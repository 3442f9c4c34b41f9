package lakeformation

import (
	"context"
	"errors"
	"fmt"
)

// ErrMoved says that the state of the account is not the one that the plan is for: somebody
// else changes it. What was changed so far widened nothing; make a new plan.
var ErrMoved = errors.New("the state of AWS is not the one that was planned for: plan again")

// StoppedError is how an apply ends before its end. What was done stays; a new plan goes on
// from there.
type StoppedError struct {
	Done, Of int    // changes
	Change   Change // that failed
	Err      error
}

func (e *StoppedError) Error() string {
	return fmt.Sprintf("stopped after %d of %d changes, at %s %s: %v", e.Done, e.Of, e.Change.Op, e.Change.ID, e.Err)
}

// Unwrap returns the error of the service.
func (e *StoppedError) Unwrap() error { return e.Err }

// Apply makes the plan's changes in their order. It returns [ErrMoved], having changed nothing,
// if the state is no longer the one that was planned for, and a [*StoppedError] if a change
// fails; it matches ErrMoved if somebody else changed the same object meanwhile.
//
// A call that fails although it was carried out, because its answer was lost, counts as made:
// the state is read again before an error is believed.
func (a *Account) Apply(ctx context.Context, p *Plan) error {
	if len(p.Changes) == 0 {
		return nil
	}
	now, err := a.read(ctx)
	if err != nil {
		return fmt.Errorf("read the state of AWS: %w", err)
	}
	if now.basis() != p.basis {
		return ErrMoved
	}
	for i, c := range p.Changes {
		stopped := func(err error) error { return &StoppedError{Done: i, Of: len(p.Changes), Change: c, Err: err} }
		if a.cfg.Record != nil {
			if err := a.cfg.Record(ctx, c); err != nil {
				return stopped(fmt.Errorf("record the change: %w", err))
			}
		}
		err := c.do(ctx)
		if err == nil || c.Op == "-" && isGone(err) {
			continue
		}
		isMade, readErr := a.isMade(ctx, p, i)
		switch {
		case readErr != nil:
			return stopped(errors.Join(err, readErr))
		case !isMade && isConflict(err):
			return stopped(fmt.Errorf("%w: %w", ErrMoved, err))
		case !isMade:
			return stopped(err)
		}
	}
	return nil
}

// isMade reports whether the plan's change is what there is now.
func (a *Account) isMade(ctx context.Context, p *Plan, i int) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pause)
	defer cancel()
	now, err := a.read(ctx)
	if err != nil {
		return false, fmt.Errorf("read the state of AWS: %w", err)
	}
	c := p.Changes[i]
	have := now.items[c.ID]
	if have == nil && c.Op == "-" {
		for _, f := range now.foreign {
			if f.ID == c.ID {
				return false, nil
			}
		}
	}
	if c.Op == "-" {
		return have == nil, nil
	}
	return have != nil && have.text == c.New, nil
}
