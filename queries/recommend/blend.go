package recommend

import (
	"fmt"
	"math"
	"sync"
)

// maxModels bounds the search of [Learn].
const maxModels = 6

// Blend is a weighted sum of models. Each model's scores are divided by the largest among the
// items that the query allows, and those below 0 count as 0, so that a blend's scores are from 0
// to 1 and models of different scales mix. It is a [Model] itself.
type Blend struct {
	models  []Model
	weights []float64
	free    sync.Pool // of *parts
}

// NewBlend returns the blend of models with weights, which are finite, not below 0 and not all 0;
// they are divided by their sum. The models score the same items.
func NewBlend(models []Model, weights []float64) (*Blend, error) {
	if len(models) == 0 || len(models) > maxModels || len(models) != len(weights) {
		return nil, fmt.Errorf("recommend: blend: %d models and %d weights, from 1 to %d and as many of each are needed", len(models), len(weights), maxModels)
	}
	sum := 0.0
	for n, w := range weights {
		if models[n].Items() != models[0].Items() {
			return nil, fmt.Errorf("recommend: blend: models of %d and of %d items", models[0].Items(), models[n].Items())
		}
		if !(w >= 0 && w <= MaxWeight) {
			return nil, fmt.Errorf("recommend: blend: weight %d is not from 0 to %g", n, float64(MaxWeight))
		}
		sum += w
	}
	if sum == 0 {
		return nil, fmt.Errorf("recommend: blend: all weights are 0")
	}
	b := &Blend{models: models}
	for _, w := range weights {
		b.weights = append(b.weights, w/sum)
	}
	b.free.New = func() any { return newParts(models) }
	return b, nil
}

// Weights returns each model's part, in the order they were given; they sum to 1.
func (b *Blend) Weights() []float64 { return append([]float64(nil), b.weights...) }

// Items is how many items the blend scores.
func (b *Blend) Items() int { return b.models[0].Items() }

// Score sets dst to the weighted sums. Items that the query doesn't allow are scored on the same
// scale, and so may be above 1.
func (b *Blend) Score(dst []float32, q Query) {
	p := b.free.Get().(*parts)
	defer b.free.Put(p)
	p.mark(q)
	b.score(dst, p, q)
	p.unmark(q)
}

// parts are the scores of each model, and by what they are multiplied in a blend.
type parts struct {
	*scratch
	of [][]float32
	by []float32
}

func newParts(models []Model) *parts {
	p := &parts{scratch: newScratch(models[0].Items(), 0), by: make([]float32, len(models))}
	for range models {
		p.of = append(p.of, make([]float32, models[0].Items()))
	}
	return p
}

// fill computes the part of model n. The query is marked.
func (p *parts) fill(n int, m Model, q Query) {
	part, largest := p.of[n], float32(0)
	m.Score(part, q)
	for i, v := range part {
		if v > largest && p.candidate(q, int32(i)) {
			largest = v
		}
	}
	p.by[n] = 0
	if largest > 0 {
		p.by[n] = min(1/largest, math.MaxFloat32)
	}
}

// at is what model n gives an item, from 0 to 1 if the query allows it.
func (p *parts) at(n, item int) float32 { return max(0, p.of[n][item]) * p.by[n] }

// score sets dst to the sums and leaves each model's part in p, but for those with a weight of 0.
// The query is marked.
func (b *Blend) score(dst []float32, p *parts, q Query) {
	clear(dst)
	for n, m := range b.models {
		if b.weights[n] == 0 {
			continue
		}
		p.fill(n, m, q)
		w := float32(b.weights[n])
		by := p.by[n]
		if by == 0 {
			continue
		}
		for i, v := range p.of[n] {
			if v > 0 {
				dst[i] += w * (v * by)
			}
		}
	}
}

// reason explains an item's score by the kind of reason that makes up most of it, and within that
// by the model that does.
func (b *Blend) reason(p *parts, q Query, item int) Reason {
	var total float64
	var kinds, best [Because + 1]float64
	var reasons [Because + 1]Reason
	for n, m := range b.models {
		v := b.weights[n]
		if v == 0 {
			continue
		}
		v *= float64(p.at(n, item))
		total += v
		e, ok := m.(explainer)
		if !ok || v == 0 {
			continue
		}
		r, ok := e.explain(q, item)
		if !ok {
			continue
		}
		kinds[r.Kind] += v
		if v > best[r.Kind] {
			best[r.Kind], reasons[r.Kind] = v, r
		}
	}
	main := Popular
	for k := range kinds {
		if kinds[k] > 0 && kinds[k] >= kinds[main] {
			main = ReasonKind(k)
		}
	}
	if kinds[main] == 0 {
		return Reason{Kind: Popular, Item: -1}
	}
	r := reasons[main]
	r.Share = kinds[main] / total
	return r
}
