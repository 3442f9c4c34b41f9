package recommend

import (
	"fmt"
	"math"
	"slices"
)

// LearnConfig are the settings of [Learn]; zero fields mean the defaults.
type LearnConfig struct {
	// K is the length of the lists whose NDCG is made best; 0 means 10.
	K int
	// Users is how many of the users with something held out are looked at; 0 means 5,000. At
	// least 20 are needed.
	Users int
	// Pool is how many of each model's best items are considered for a user; 0 means 100.
	Pool int
}

const (
	leastLearners = 20
	// leastWeight is what every model keeps: it changes no order but among what the others don't
	// tell apart, and lets popularity fill the lists of users without a history.
	leastWeight = 1.0 / 1024
	coarse      = 8 // steps of the first search
	finest      = 64
	largePrime  = 1<<31 - 1
)

// Learn returns the blend of the models whose lists have the largest NDCG for what held holds
// out, by a search over weights that sum to 1: first a grid in steps of 1/8, then moves of 1/16,
// 1/32 and 1/64 from one model to another while they help. Held should lie after what the models
// were fitted to, and before what an evaluation of the blend holds out. The second result is the
// NDCG found. Errors: ErrTooLittle with fewer than 20 users that have anything held out, and
// those of [NewBlend] and [Evaluate].
func Learn(models []Model, held *Matrix, queries func(user int) Query, cfg LearnConfig) (*Blend, float64, error) {
	cfg.K, cfg.Users, cfg.Pool = orElse(cfg.K, 10), orElse(cfg.Users, 5000), orElse(cfg.Pool, 100)
	if cfg.K < 1 || cfg.Users < leastLearners || cfg.Pool < 1 {
		return nil, 0, fmt.Errorf("recommend: learn: K and pool below 1, or fewer than %d users", leastLearners)
	}
	weights := make([]float64, len(models))
	for n := range weights {
		weights[n] = 1
	}
	if _, err := NewBlend(models, weights); err != nil {
		return nil, 0, err
	}
	if held.items != models[0].Items() {
		return nil, 0, fmt.Errorf("recommend: learn: %d items are held out, the models have %d", held.items, models[0].Items())
	}
	cases, err := learners(models, held, queries, cfg)
	if err != nil {
		return nil, 0, err
	}
	s := &search{cases: cases, models: len(models), k: cfg.K, ndcg: make([]float64, len(cases))}
	s.grid(make([]int, len(models)), 0, coarse)
	for step := coarse * 2; step <= finest; step *= 2 {
		s.climb(1 / float64(step))
	}
	b, err := NewBlend(models, keep(s.best))
	return b, s.value, err
}

func orElse(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

func keep(weights []float64) []float64 {
	kept := slices.Clone(weights)
	for n := range kept {
		kept[n] += leastWeight
	}
	return kept
}

// learner is one user's items, by item, with each model's part of their scores.
type learner struct {
	parts    []float32 // by item, then model
	relevant []bool    // by item
	ideal    float64
}

func learners(models []Model, held *Matrix, queries func(user int) Query, cfg LearnConfig) ([]learner, error) {
	var having []int
	for u := range held.users {
		if held.start[u+1] > held.start[u] {
			having = append(having, u)
		}
	}
	if n := len(having); n > cfg.Users {
		// A prime above n steps through all of them, in no rhythm that the users may have.
		some := make([]int, cfg.Users)
		for k := range some {
			some[k] = having[k*largePrime%n]
		}
		having = some
	}
	cases := make([]learner, len(having))
	errs := make([]error, len(having))
	spread(len(having), func() *parts { return newParts(models) }, func(p *parts, n int) {
		u := having[n]
		q := queries(u)
		if errs[n] = q.check(held.items); errs[n] != nil {
			return
		}
		p.mark(q)
		defer p.unmark(q)
		var pool []int32
		for k, m := range models {
			p.fill(k, m, q)
			for _, e := range p.top(q, p.of[k], cfg.Pool) {
				pool = append(pool, e.item)
			}
		}
		slices.Sort(pool)
		pool = slices.Compact(pool)
		wanted, _ := held.Row(u)
		c := learner{parts: make([]float32, 0, len(pool)*len(models)), relevant: make([]bool, len(pool))}
		found := 0
		for _, i := range wanted {
			if p.candidate(q, i) {
				found++
			}
		}
		for rank := range min(found, cfg.K) {
			c.ideal += 1 / math.Log2(float64(rank+2))
		}
		for at, i := range pool {
			_, c.relevant[at] = slices.BinarySearch(wanted, i)
			for k := range models {
				c.parts = append(c.parts, p.at(k, int(i)))
			}
		}
		cases[n] = c
	})
	for n, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("recommend: learn: user %d: %w", having[n], err)
		}
	}
	cases = slices.DeleteFunc(cases, func(c learner) bool { return c.ideal == 0 })
	if len(cases) < leastLearners {
		return nil, fmt.Errorf("%w: learn: %d users have anything held out, at least %d are needed", ErrTooLittle, len(cases), leastLearners)
	}
	return cases, nil
}

type search struct {
	cases  []learner
	models int
	k      int
	ndcg   []float64

	best  []float64
	value float64
}

// grid tries all ways to give the steps that are left to the models from n on.
func (s *search) grid(given []int, n, left int) {
	if n == s.models-1 {
		given[n] = left
		w := make([]float64, s.models)
		for k, g := range given {
			w[k] = float64(g) / coarse
		}
		s.try(w)
		return
	}
	for g := left; g >= 0; g-- {
		given[n] = g
		s.grid(given, n+1, left-g)
	}
}

// climb moves weight between two models while that helps. Every move that is kept raises the
// NDCG, so it ends.
func (s *search) climb(step float64) {
	for better := true; better; {
		better = false
		for from := range s.models {
			for to := range s.models {
				if from == to || s.best[from] < step {
					continue
				}
				w := slices.Clone(s.best)
				w[from] -= step
				w[to] += step
				better = s.try(w) || better
			}
		}
	}
}

// try keeps the weights if their NDCG is larger than the best so far.
func (s *search) try(weights []float64) bool {
	w := make([]float32, s.models)
	for n, v := range keep(weights) {
		w[n] = float32(v)
	}
	spread(len(s.cases), func() *[]entry { return new([]entry) }, func(best *[]entry, n int) {
		c := &s.cases[n]
		*best = (*best)[:0]
		for at := range c.relevant {
			sum := float32(0)
			for k, v := range w {
				sum += v * c.parts[at*s.models+k]
			}
			*best = insert(*best, s.k, entry{int32(at), sum})
		}
		dcg := 0.0
		for rank, e := range *best {
			if c.relevant[e.item] {
				dcg += 1 / math.Log2(float64(rank+2))
			}
		}
		s.ndcg[n] = dcg / c.ideal
	})
	sum := 0.0
	for _, v := range s.ndcg {
		sum += v
	}
	value := sum / float64(len(s.ndcg))
	if s.best != nil && value <= s.value+1e-9 {
		return false
	}
	s.best, s.value = weights, value
	return true
}
