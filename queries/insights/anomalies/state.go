package anomalies

import (
	"context"
	"encoding/json"
	"io"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// savedState is the checkpoint that leads to the parts of a state. It is saved after them, and
// removed before any is replaced.
type savedState struct {
	Chain string
	Rates rates
	Parts int
}

// partSize bounds a part: no more of a saved state is in memory.
const partSize = 16 << 20

// resume takes up the state at the end of the newest day, of the first known ones, that has one.
func (p *pass) resume(ctx context.Context, known int) error {
	p.state, p.rates = features.New(), rates{}
	if known == len(p.days) {
		p.next = known
		return nil
	}
	for i := known - 1; i >= 0; i-- {
		d := p.days[i]
		if !p.keepsState(d.date) {
			continue
		}
		body, err := p.Load(ctx, stateKey(d.date))
		if ctx.Err() != nil {
			return err
		}
		var saved savedState
		if err != nil || json.Unmarshal(body, &saved) != nil || saved.Chain != d.chain || saved.Rates == nil {
			continue
		}
		state, err := features.Read(&partReader{parts: saved.Parts, load: func(n int) ([]byte, error) {
			return p.Load(ctx, partKey(d.date, n))
		}})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			p.state, p.rates, p.next = state, saved.Rates, i+1
			return nil
		}
	}
	return nil
}

func (p *pass) saveState(ctx context.Context, d *day) error {
	had, err := p.Load(ctx, stateKey(d.date))
	if ctx.Err() != nil {
		return err
	}
	var before savedState
	if err == nil && json.Unmarshal(had, &before) != nil {
		before = savedState{}
	}
	if err := p.Forget(ctx, stateKey(d.date)); err != nil {
		return err
	}
	w := &partWriter{save: func(n int, body []byte) error { return p.Save(ctx, partKey(d.date, n), body) }}
	if _, err := p.state.WriteTo(w); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	for n := w.parts; n < before.Parts; n++ {
		if err := p.Forget(ctx, partKey(d.date, n)); err != nil {
			return err
		}
	}
	body, err := json.Marshal(savedState{d.chain, p.rates, w.parts})
	if err != nil {
		return err
	}
	return p.Save(ctx, stateKey(d.date), body)
}

// partWriter saves what it is given in parts.
type partWriter struct {
	save  func(n int, body []byte) error
	body  []byte
	parts int // saved
}

func (w *partWriter) Write(b []byte) (int, error) {
	if w.body = append(w.body, b...); len(w.body) < partSize {
		return len(b), nil
	}
	return len(b), w.flush()
}

func (w *partWriter) flush() error {
	err := w.save(w.parts, w.body)
	w.body = w.body[:0]
	w.parts++
	return err
}

// partReader reads so many parts one after another.
type partReader struct {
	load  func(n int) ([]byte, error)
	parts int
	next  int
	body  []byte
}

func (r *partReader) Read(b []byte) (int, error) {
	for len(r.body) == 0 {
		if r.next >= r.parts {
			return 0, io.EOF
		}
		body, err := r.load(r.next)
		if err != nil {
			return 0, err
		}
		r.body = body
		r.next++
	}
	n := copy(b, r.body)
	r.body = r.body[n:]
	return n, nil
}
