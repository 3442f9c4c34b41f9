package products

import (
	"context"
	"slices"
	"time"
)

// Card is a product with all that there is to know of it before subscribing.
type Card struct {
	Product *Product `json:"product"`
	// Words are the terms of the glossary that its words are.
	Words []Term `json:"words,omitempty"`
	// Schema has the columns of its tables and views.
	Schema []*Relation `json:"schema,omitempty"`
	Health Health      `json:"health"`
}

// Health is how a product is, beside what was promised. What is not known is not there.
type Health struct {
	// AsOf is that of the table that is the farthest behind.
	AsOf    *time.Time `json:"as_of,omitempty"`
	IsFresh *bool      `json:"is_fresh,omitempty"` // as promised
	// Quality is that of the worst of its tables, in percent.
	Quality   *float64   `json:"quality,omitempty"`
	QualityAt *time.Time `json:"quality_at,omitempty"`
	IsGood    *bool      `json:"is_good,omitempty"` // as promised
}

func (d *Desk) card(ctx context.Context, p *Product, glossary []Term) *Card {
	c := &Card{Product: p, Health: d.health(ctx, p)}
	for _, t := range glossary {
		if slices.Contains(p.Glossary, t.Name) {
			c.Words = append(c.Words, t)
		}
	}
	if d.cfg.Dictionary == nil {
		return c
	}
	for _, name := range p.Relations {
		if r := d.cfg.Dictionary.Relation(name); r != nil {
			c.Schema = append(c.Schema, r)
		}
	}
	return c
}

// health looks at what a product is made of. If one of them can't be looked at, it is not known
// how the product is.
func (d *Desk) health(ctx context.Context, p *Product) Health {
	var h Health
	if d.cfg.AsOf != nil {
		for _, table := range p.Terms.Tables {
			at, err := d.cfg.AsOf(ctx, table)
			if err != nil || at.IsZero() {
				h.AsOf = nil
				break
			}
			if h.AsOf == nil || at.Before(*h.AsOf) {
				h.AsOf = &at
			}
		}
	}
	if fresh := p.Promise.freshness(); fresh > 0 && h.AsOf != nil {
		kept := d.now().Sub(*h.AsOf) <= fresh
		h.IsFresh = &kept
	}
	if d.cfg.Quality != nil {
		for _, table := range p.Terms.Tables {
			percent, at, err := d.cfg.Quality(ctx, table)
			if err != nil {
				h.Quality, h.QualityAt = nil, nil
				break
			}
			if h.Quality == nil || percent < *h.Quality {
				h.Quality, h.QualityAt = &percent, &at
			}
		}
	}
	if p.Promise.Quality > 0 && h.Quality != nil {
		kept := *h.Quality >= float64(p.Promise.Quality)
		h.IsGood = &kept
	}
	return h
}
