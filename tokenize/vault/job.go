package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// Pass is one pass of a job over an owner's cards: Reindex, Retokenise or Reseal. A job may
// run while cards are pinned and revealed. Its state is in the store: when it was interrupted
// it is resumed after the last batch, by any process, and one process at a time runs it.
type Pass struct {
	Owner   keys.Owner
	Reverse *keys.Envelopes // of purpose keys.Reverse
	// Since, if not zero, is when the last worker stopped to pin with keys older than those
	// of this job: an interrupted pass that began earlier has passed cards that may have come
	// later, so it is begun anew.
	Since time.Time
	// LeaveDamaged goes on without cards that cannot be opened, which nobody can open any more:
	// they are counted, keep their entries, and no longer stand in the way of ForgetVersion.
	LeaveDamaged bool
	// Report is called after each batch, if not nil.
	Report func(Progress)
}

// Progress says how far a pass is.
type Progress struct {
	Started  time.Time `json:"started"`
	Finished bool      `json:"finished"`
	// Done counts the cards that were looked at; Total is how many there were when the pass
	// began, or Done if that is more. Changed counts those that were not yet as the job wants
	// them: a finished pass that changed nothing is the proof that nothing is left.
	Done    int `json:"done"`
	Total   int `json:"total"`
	Changed int `json:"changed"`
	// Conflicts and Damaged count the cards that were left as they are, for ErrConflict and
	// ErrDamaged. With any of them a finished pass ends in that error.
	Conflicts int `json:"conflicts"`
	Damaged   int `json:"damaged"`
	// LeftDamaged says that Pass.LeaveDamaged was set.
	LeftDamaged bool `json:"left_damaged,omitempty"`
}

// isProof reports whether the pass found every card as the job wants it.
func (p *Progress) isProof() bool {
	return p.Finished && p.Changed == 0 && p.Conflicts == 0 && (p.Damaged == 0 || p.LeftDamaged)
}

// state is a job's note in the store.
type state struct {
	Version int            `json:"version,omitempty"` // of the mint secret
	After   tokenize.Token `json:"-"`
	At      string         `json:"after,omitempty"` // After, in text
	Progress
}

// job is what a pass does to a batch of pinned cards: it changes the view and counts in the
// progress. load prepares the view that it changes.
type job struct {
	name    string
	version int // of the mint secret, newer than which there must be none; 0 if it takes none
	below   int // if not 0, cards whose tokens have this version or a later one are left out
	revise  func(ctx context.Context, pins []opened, p *Progress) (view, error)
}

// opened is a pinned card and its number.
type opened struct {
	token tokenize.Token
	value []byte // its entry
	pan   card.PAN
}

// noteOf names a job's state in the store. Notes come before all tokens, whose versions
// begin with 1.
func noteOf(name string) (t tokenize.Token) {
	copy(t.Bits[:], name)
	return t
}

// endOf is the last place of a version in the order of tokens. Version 0 is notes.
func endOf(version int) tokenize.Token {
	t := tokenize.Token{Version: version}
	for i := range t.Bits {
		t.Bits[i] = 0xff
	}
	return t
}

// run runs a pass to its end.
func (v *Vault) run(ctx context.Context, pass Pass, j job) (Progress, error) {
	if err := checkOwner(pass.Owner); err != nil {
		return Progress{}, fmt.Errorf("%s: %w", j.name, err)
	}
	s, stored, err := v.resume(ctx, pass, j)
	for err == nil && !s.Finished {
		var next state
		err = again(ctx, func() (err error) {
			next, stored, err = v.step(ctx, pass, j, s, stored)
			return err
		})
		if err == nil {
			if s = next; pass.Report != nil {
				pass.Report(s.Progress)
			}
		}
	}
	switch {
	case err != nil:
	case s.Conflicts > 0:
		err = fmt.Errorf("%w: %d of %d cards", ErrConflict, s.Conflicts, s.Done)
	case s.Damaged > 0 && !pass.LeaveDamaged:
		err = fmt.Errorf("%w: %d of %d cards", ErrDamaged, s.Damaged, s.Done)
	}
	if err != nil {
		return s.Progress, fmt.Errorf("%s for %s: %w", j.name, pass.Owner, err)
	}
	return s.Progress, nil
}

// resume returns the state of a pass that was interrupted, or of a new one, and the note as
// it is in the store.
func (v *Vault) resume(ctx context.Context, pass Pass, j job) (state, []byte, error) {
	s, stored, err := v.readState(ctx, pass.Owner, j.name)
	if err != nil {
		return state{}, nil, err
	}
	if stored != nil && !s.Finished && s.Version == j.version && !s.Started.Before(pass.Since) {
		return s, stored, nil
	}
	if j.version > 0 {
		newer, err := v.store.Scan(ctx, pass.Owner, endOf(j.version), 1)
		if err != nil {
			return state{}, nil, err
		}
		if len(newer) > 0 {
			return state{}, nil, fmt.Errorf("%w: there are entries of version %d", ErrSecret, newer[0].Token.Version)
		}
	}
	s = state{Version: j.version, After: endOf(0), Progress: Progress{Started: time.Now().UTC()}}
	for rows, err := range v.scan(ctx, pass.Owner, s.After) {
		if err != nil {
			return state{}, nil, err
		}
		for _, r := range rows {
			if kind(r.Value[0]) == pin && (j.below == 0 || r.Token.Version < j.below) {
				s.Total++
			}
		}
	}
	return s, stored, nil
}

func (v *Vault) readState(ctx context.Context, owner keys.Owner, name string) (state, []byte, error) {
	values, err := v.store.Read(ctx, owner, []tokenize.Token{noteOf(name)})
	if err != nil || values[0] == nil {
		return state{}, nil, err
	}
	e, err := parseEntry(values[0])
	if err != nil {
		return state{}, nil, err
	}
	s := state{After: endOf(0)}
	err = json.Unmarshal(e.data, &s)
	if err == nil && s.At != "" {
		s.After, err = tokenize.ParseToken(s.At)
	}
	if err != nil || e.kind != note {
		return state{}, nil, fmt.Errorf("%w: state of the job %s", ErrDamaged, name)
	}
	return s, values[0], nil
}

// step does the next batch and moves the state in the same write, so that each card is
// counted once whatever happens. It returns the new state and its note.
func (v *Vault) step(ctx context.Context, pass Pass, j job, s state, stored []byte) (state, []byte, error) {
	_, now, err := v.readState(ctx, pass.Owner, j.name)
	if err != nil {
		return s, stored, err
	}
	if !bytes.Equal(now, stored) {
		return s, stored, ErrBusy
	}
	rows, err := v.store.Scan(ctx, pass.Owner, s.After, v.batch)
	if err != nil {
		return s, stored, err
	}
	isLast := len(rows) < v.batch
	if n := slices.IndexFunc(rows, func(r Row) bool { return j.below > 0 && r.Token.Version >= j.below }); n >= 0 {
		rows, isLast = rows[:n], true
	}
	pins, err := openAll(ctx, pass, rows, &s.Progress)
	defer func() {
		for i := range pins {
			pins[i].pan.Clear()
		}
	}()
	if err != nil {
		return s, stored, err
	}
	w, err := j.revise(ctx, pins, &s.Progress)
	if err != nil {
		return s, stored, err
	}
	if s.Finished = isLast; len(rows) > 0 {
		s.After = rows[len(rows)-1].Token
		s.At = s.After.String()
	}
	s.Total, s.LeftDamaged = max(s.Total, s.Done), pass.LeaveDamaged
	text, err := json.Marshal(s)
	if err != nil {
		return s, stored, err
	}
	c := Change{Token: noteOf(j.name), Old: stored, New: entry{kind: note, data: text}.encode()}
	if err := v.store.Write(ctx, pass.Owner, sortChanges(append(w.changes(), c))); err != nil {
		return s, stored, err
	}
	return s, c.New, nil
}

// openAll opens the pinned cards among the rows and counts them. Damaged ones are counted and
// left out.
func openAll(ctx context.Context, pass Pass, rows []Row, p *Progress) ([]opened, error) {
	pins := make([]opened, 0, len(rows))
	for _, r := range rows {
		e, err := parseEntry(r.Value)
		if err == nil && e.kind != pin {
			continue
		}
		p.Done++
		o := opened{token: r.Token, value: r.Value}
		if err == nil {
			err = open(ctx, pass.Reverse, pass.Owner, r.Token, e.data, &o.pan)
		}
		switch {
		case errors.Is(err, ErrDamaged):
			p.Damaged++
		case err != nil:
			return pins, fmt.Errorf("open the card of %s: %w", r.Token, err)
		default:
			pins = append(pins, o)
		}
	}
	return pins, nil
}

// minted loads a view of the pinned cards, of what the mint secret makes of each, and of what
// that leads to.
func (v *Vault) minted(ctx context.Context, owner keys.Owner, m *tokenize.Minter, pins []opened) (view, []tokenize.Token, error) {
	tokens := make([]tokenize.Token, len(pins), 2*len(pins))
	for i := range pins {
		tokens[i] = m.Token(pins[i].pan)
	}
	all := tokens
	for i := range pins {
		all = append(all, pins[i].token)
	}
	w, err := v.load(ctx, owner, all)
	if err != nil {
		return nil, nil, err
	}
	for i := range pins {
		if p := w[pins[i].token]; !bytes.Equal(p.old, pins[i].value) {
			return nil, nil, ErrChanged
		}
		if pins[i].token.Version > tokens[i].Version || pins[i].token.Version == tokens[i].Version && pins[i].token != tokens[i] {
			return nil, nil, fmt.Errorf("%w: card of %s", ErrSecret, pins[i].token)
		}
	}
	return w, slices.Clip(tokens[:len(pins)]), nil
}
