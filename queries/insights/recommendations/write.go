package recommendations

import (
	"context"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/recommend"
)

// written tells of the lists.
type written struct {
	customers int       // who have a list of any kind
	first     []float64 // scores of the first of lists of new merchants
	offers    int       // offers that are good
	unknown   int       // those of them where no merchant is known
}

// write appends the lists of all customers: those of all merchants, of new ones, and of offers.
func write(ctx context.Context, t *insights.Task, p parameters, s *Settings, d *data, r *result) (*written, error) {
	w := &written{}
	has := make([]bool, len(d.customers))
	total := int64(len(d.customers))
	for _, k := range r.kinds {
		blend, err := recommend.NewBlend(r.models.of[:k.methods()], k.weights)
		if err != nil {
			return nil, err
		}
		ranker, err := ranker(blend, p, r.models)
		if err != nil {
			return nil, err
		}
		err = ranker.RankAll(len(d.customers), d.queries(r.models.history, k.new), func(u int, list []recommend.Recommendation) error {
			if u%50_000 == 0 {
				t.Report("listing "+k.mode, int64(u), total)
			}
			for place, one := range list {
				m := d.merchants[one.Item]
				err := t.Append(ctx, cardlake.Recommendations, d.customers[u], k.mode, int32(place+1), m.id, m.name, m.mcc, nil, one.Score, d.reason(r.models.history, u, one))
				if err != nil {
					return err
				}
			}
			if len(list) > 0 {
				has[u] = true
				if k.new && len(w.first) < sampled {
					w.first = append(w.first, list[0].Score)
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
		if !k.new {
			if err := w.offer(ctx, t, p, s, d, r, blend); err != nil {
				return nil, err
			}
		}
	}
	for _, is := range has {
		if is {
			w.customers++
		}
	}
	return w, nil
}

// offer appends the lists of offers, home by home: an offer stands where the merchant does for
// which it is best for the customer.
func (w *written) offer(ctx context.Context, t *insights.Task, p parameters, s *Settings, d *data, r *result, blend *recommend.Blend) error {
	offers := s.current(d)
	w.offers = len(offers)
	at := make([][]int, len(d.merchants)) // offers by merchant
	for n, o := range offers {
		isKnown := false
		for i, m := range d.merchants {
			if o.covers(m) {
				at[i] = append(at[i], n)
				isKnown = true
			}
		}
		if !isKnown {
			w.unknown++
		}
	}
	if w.offers == w.unknown {
		return nil
	}
	residents := make([][]int, len(d.countries)+1) // by home, last those of none
	for u, h := range d.home {
		if h < 0 {
			h = int32(len(d.countries))
		}
		residents[h] = append(residents[h], u)
	}
	for h, customers := range residents {
		home := ""
		if h < len(d.countries) {
			home = d.countries[h]
		}
		valid := make([][]int, len(d.merchants))
		allowed := make([]bool, len(d.merchants))
		category := make([]int32, len(d.merchants))
		distinct := map[int32]bool{}
		for i := range d.merchants {
			for _, n := range at[i] {
				if !d.allowed[h][i] || !offers[n].isFor(home) {
					continue
				}
				valid[i] = append(valid[i], n)
			}
			if len(valid[i]) == 0 {
				continue
			}
			// A merchant stands for its own offers before those of its category, which others
			// stand for too.
			slices.SortStableFunc(valid[i], func(a, b int) int {
				return strings.Compare(offers[b].MerchantID, offers[a].MerchantID)
			})
			allowed[i], category[i] = true, int32(valid[i][0])
			distinct[category[i]] = true
		}
		if len(distinct) == 0 || len(customers) == 0 {
			continue
		}
		ranker, err := recommend.NewRanker(blend, recommend.RankerConfig{K: min(p.length, len(distinct)), PerCategory: 1, Category: category})
		if err != nil {
			return err
		}
		queries := d.queries(r.models.history, false)
		query := func(n int) recommend.Query {
			q := queries(customers[n])
			q.Allowed = allowed
			return q
		}
		err = ranker.RankAll(len(customers), query, func(n int, list []recommend.Recommendation) error {
			listed := map[int]bool{}
			for _, one := range list {
				for _, number := range valid[one.Item] {
					if listed[number] || len(listed) == p.length {
						continue
					}
					listed[number] = true
					o := offers[number]
					m := d.merchants[one.Item]
					if o.MerchantID == "" {
						m = merchant{mcc: o.MCC}
					}
					err := t.Append(ctx, cardlake.Recommendations, d.customers[customers[n]], "offer", int32(len(listed)), optional(m.id), m.name, m.mcc, o.ID, one.Score, d.reason(r.models.history, customers[n], one))
					if err != nil {
						return err
					}
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// reason is a reason in words for the customer.
func (d *data) reason(history *recommend.Matrix, u int, r recommend.Recommendation) string {
	items, _ := history.Row(u)
	if _, buys := slices.BinarySearch(items, int32(r.Item)); buys {
		return "you buy here"
	}
	if r.Reason.Kind == recommend.Because {
		return "because you buy at " + d.merchants[r.Reason.Item].label()
	}
	if g := d.group[u]; g >= 0 {
		return "popular in " + d.places[g]
	}
	return "popular"
}
