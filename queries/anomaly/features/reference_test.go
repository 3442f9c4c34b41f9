package features_test

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

// reference computes every feature from the list of all earlier events, again for each event,
// as the definitions have it and with none of the state of the package.
type reference struct {
	events []features.Event
	facts  []facts // of each event, from its own past
}

// facts are what later events need to know of an event.
type facts struct {
	odd        bool
	small      bool
	fresh      bool
	impossible bool
	rising     int
	enters     bool           // its terminal enters the card's list
	blamed     []features.Key // terminals blamed by it
}

const month = 30 * 86400

func second(e *features.Event) int64 { return e.Time / 1e6 }

// life returns the earlier uses that keep has chosen, from the last silence of a month on, none
// if that lasts until now.
func (r *reference) life(i int, keep func(*features.Event) bool) (out []int) {
	last := int64(0)
	for j := range i {
		e := &r.events[j]
		if e.Reversal || !keep(e) {
			continue
		}
		if second(e)-last > month {
			out = out[:0]
		}
		last = second(e)
		out = append(out, j)
	}
	if second(&r.events[i])-last > month {
		return nil
	}
	return out
}

// within counts the events whose bucket is one of the last n.
func (r *reference) within(of []int, now, width, n int64, keep func(j int) bool) (count float32) {
	for _, j := range of {
		if at := second(&r.events[j]); at/width > now/width-n && keep(j) {
			count++
		}
	}
	return count
}

var spans = []struct{ width, n int64 }{{600, 6}, {7200, 12}, {86400, 7}, {3 * 86400, 10}}

func axis(amount float64) float32 {
	return float32(min(max(2*(math.Log2(amount)+4), 0), 63.999))
}

// quartiles of the amounts as a histogram that is halved when it has 200.
func (r *reference) quartiles(of []int) ([]float32, bool) {
	bins, total := [64]int{}, 0
	for _, j := range of {
		if a := r.events[j].Amount; a > 0 {
			bins[int(axis(a))]++
			if total++; total == 200 {
				total = 0
				for k := range bins {
					bins[k] /= 2
					total += bins[k]
				}
			}
		}
	}
	if total < 8 {
		return nil, false
	}
	var q []float32
	for part := 1; part <= 3; part++ {
		want, before := float32(total)/4*float32(part), float32(0)
		for k, n := range bins {
			if before+float32(n) >= want && n > 0 {
				q = append(q, float32(k)+(want-before)/float32(n))
				break
			}
			before += float32(n)
		}
	}
	return q, true
}

func (r *reference) deviation(i int, of []int) (z, ratio float32) {
	q, ok := r.quartiles(of)
	if a := r.events[i].Amount; ok && a > 0 {
		return (axis(a) - q[1]) / max((q[2]-q[0])/1.349, 1), float32(math.Exp2(float64(axis(a)-q[1]) / 2))
	}
	return 0, 0
}

func (r *reference) surge(i int, of []int) float32 {
	now := second(&r.events[i])
	all := func(int) bool { return true }
	h, m := r.within(of, now, 600, 6, all), r.within(of, now, 3*86400, 10, all)
	expected := m * 3600 / float32(min(max(now-second(&r.events[of[0]]), 86400), 28*86400))
	return (h + 1 - expected) / float32(math.Sqrt(float64(expected+1)))
}

func (r *reference) history(v *features.Vector, at features.Feature, i int, of []int) {
	now := second(&r.events[i])
	v[at+18] = float32(math.Log1p(month))
	if len(of) == 0 {
		return
	}
	for k, s := range spans {
		f := at + features.Feature(k)
		v[f] = r.within(of, now, s.width, s.n, func(int) bool { return true })
		slots := make([]float32, s.n)
		for _, j := range of {
			if t := second(&r.events[j]); t/s.width > now/s.width-s.n {
				slots[t/s.width%s.n] += float32(r.events[j].Amount)
			}
		}
		for _, x := range slots {
			v[f+4] += x
		}
		if v[f] > 0 {
			v[f+8] = v[f+4] / v[f]
			v[f+12] = r.within(of, now, s.width, s.n, func(j int) bool { return !r.events[j].Approved }) / v[f]
		}
	}
	v[at+16], _ = r.deviation(i, of)
	v[at+17] = r.surge(i, of)
	v[at+18] = float32(math.Log1p(float64(now - second(&r.events[of[len(of)-1]]))))
}

// recent returns the last n different values, the newest first.
func recent[T comparable](r *reference, of []int, n int, value func(*features.Event) (T, bool)) (out []T, at []int64) {
	for k := len(of) - 1; k >= 0 && len(out) < n; k-- {
		e := &r.events[of[k]]
		if x, ok := value(e); ok && !slices.Contains(out, x) {
			out, at = append(out, x), append(at, second(e))
		}
	}
	return out, at
}

func flag(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

// next returns the vector of event i, to be called in order.
func (r *reference) next(i int) features.Vector {
	e, now := &r.events[i], second(&r.events[i])
	var v features.Vector
	f := facts{}
	if q, ok := r.quartiles(r.ever(i)); ok && e.Amount > 0 {
		f.small = axis(e.Amount) <= q[0]
	}
	v[features.Amount] = float32(math.Log1p(e.Amount))
	v[features.Declined], v[features.UnknownCard], v[features.Present] = flag(!e.Approved), flag(e.UnknownCard), flag(e.Present)
	v[features.ByStripe] = flag(e.Entry == features.Stripe || e.Entry == features.Fallback)
	v[features.Keyed], v[features.Cash] = flag(e.Entry == features.Manual), flag(e.Channel == features.ATM)
	hourOf := func(e *features.Event) int64 { return ((e.Local/3.6e9)%24 + 24) % 24 }
	weekday := (e.Local/86400e6 + 4) % 7
	v[features.Night], v[features.Weekend] = flag(hourOf(e) < 6), flag(weekday == 0 || weekday == 6)

	ofCard := r.life(i, func(o *features.Event) bool { return o.Card == e.Card && e.Card != 0 })
	ofMerchant := r.life(i, func(o *features.Event) bool { return o.Merchant == e.Merchant && e.Merchant != 0 })
	ofTerminal := r.life(i, func(o *features.Event) bool { return o.Terminal == e.Terminal && e.Terminal != 0 })
	ofBIN := r.life(i, func(o *features.Event) bool { return o.BIN == e.BIN && e.BIN != 0 })
	ofMCC := r.life(i, func(o *features.Event) bool { return o.MCC == e.MCC && e.MCC != 0 })
	r.history(&v, features.CardCount1H, i, ofCard)
	r.history(&v, features.MerchantCount1H, i, ofMerchant)
	r.history(&v, features.TerminalCount1H, i, ofTerminal)
	v[features.MCCDeviation], _ = r.deviation(i, ofMCC)
	v[features.PlaceShare], v[features.EntryShare], v[features.HourShare] = 1, 1, 1
	f.fresh = e.Card != 0
	if n := len(ofCard); n > 0 {
		last := &r.events[ofCard[n-1]]
		f.fresh = second(last)/600 != now/600
		r.card(&v, i, ofCard, &f, hourOf)
	}
	if n := len(ofBIN); n > 0 {
		v[features.BINCount1H] = r.within(ofBIN, now, 600, 6, func(int) bool { return true })
		if v[features.BINCount1H] > 0 {
			v[features.BINDeclined1H] = r.within(ofBIN, now, 600, 6, func(j int) bool { return !r.events[j].Approved }) / v[features.BINCount1H]
		}
		v[features.BINSurge] = r.surge(i, ofBIN)
		v[features.BINCards1H] = r.within(ofBIN, now, 600, 6, func(j int) bool { return r.facts[j].fresh })
		v[features.BINUnknown1H] = r.within(ofBIN, now, 600, 6, func(j int) bool { return r.events[j].UnknownCard })
	}
	r.tried(&v, i, ofMerchant)
	r.marks(&v)
	f.odd = v[features.Marks]-v[features.Declined] >= 2
	r.compromise(&v, i, ofCard, &f)
	r.facts = append(r.facts, f)
	return v
}

// ever is all earlier uses.
func (r *reference) ever(i int) (out []int) {
	for j := range i {
		if !r.events[j].Reversal {
			out = append(out, j)
		}
	}
	return out
}

func (r *reference) card(v *features.Vector, i int, of []int, f *facts, hourOf func(*features.Event) int64) {
	e, now := &r.events[i], second(&r.events[i])
	last := &r.events[of[len(of)-1]]
	_, v[features.CardRatio] = r.deviation(i, of)
	v[features.CardDays] = float32(now-second(&r.events[of[0]])) / 86400
	for k := len(of) - 1; k >= 0 && !r.events[of[k]].Approved; k-- {
		v[features.CardDeclinesInRow]++
	}
	if e.Amount > 0 && last.Amount > 0 && float32(e.Amount) > float32(last.Amount) && now-second(last) <= 86400 {
		f.rising = r.facts[of[len(of)-1]].rising + 1
	}
	v[features.CardRising] = float32(f.rising)
	merchants, at := recent(r, of, 24, func(e *features.Event) (features.Key, bool) { return e.Merchant, e.Merchant != 0 })
	for _, t := range at {
		v[features.CardMerchants1H] += flag(t >= now-3600)
		v[features.CardMerchants1D] += flag(t >= now-86400)
	}
	v[features.NewMerchant] = flag(e.Merchant != 0 && !slices.Contains(merchants, e.Merchant))
	mccs, _ := recent(r, of, 12, func(e *features.Event) (uint16, bool) { return e.MCC, e.MCC != 0 })
	v[features.NewMCC] = flag(e.MCC != 0 && !slices.Contains(mccs, e.MCC))
	lands, _ := recent(r, of, 8, func(e *features.Event) (string, bool) { return e.Place.Country(), e.Place != 0 })
	v[features.NewCountry] = flag(e.Place != 0 && !slices.Contains(lands, e.Place.Country()))
	sameEntry, sameHour := float32(0), float32(0)
	for _, j := range of { // too few for counts to be halved
		sameEntry += flag(r.events[j].Entry == e.Entry)
		sameHour += flag(hourOf(&r.events[j])/3 == hourOf(e)/3)
	}
	if len(of) >= 5 {
		v[features.EntryShare], v[features.HourShare] = sameEntry/float32(len(of)), sameHour/float32(len(of))
	}
	if !e.Present || e.Place == 0 {
		return
	}
	var places []features.Place
	uses := map[features.Place]int{}
	var from *features.Event
	for _, j := range of {
		if o := &r.events[j]; o.Present && o.Place != 0 {
			if !r.facts[j].impossible {
				from = o
			}
			if k := slices.Index(places, o.Place); k >= 0 {
				places = slices.Delete(places, k, k+1)
			} else if len(places) == 6 {
				delete(uses, places[5])
				places = places[:5]
			}
			places = slices.Insert(places, 0, o.Place)
			uses[o.Place]++
		}
	}
	if len(places) == 0 {
		return
	}
	sum := 0
	for _, n := range uses {
		sum += n
	}
	v[features.PlaceShare] = float32(uses[e.Place]) / float32(sum)
	v[features.NewPlace] = flag(uses[e.Place] == 0)
	if from == nil {
		return
	}
	if seconds := now - second(from); seconds <= month {
		v[features.TravelKilometres] = float32(features.Kilometres(from.Place, e.Place))
		v[features.TravelMinutes] = float32(seconds) / 60
		v[features.TravelSpeed] = v[features.TravelKilometres] * 3600 / float32(max(seconds, 60))
		f.impossible = v[features.TravelSpeed] > 900 && v[features.TravelKilometres] > 100
	}
}

func (r *reference) tried(v *features.Vector, i int, of []int) {
	e, now := &r.events[i], second(&r.events[i])
	cards, ofBIN := map[features.Key]bool{}, map[features.Key]bool{}
	events := float32(0)
	seen := 0
	for k := len(of) - 1; k >= 0 && seen < 64; k-- {
		o := &r.events[of[k]]
		if o.Card == 0 {
			continue
		}
		if seen++; second(o) < now-600 {
			break
		}
		events++
		v[features.TriedDeclined] += flag(!o.Approved)
		v[features.TriedUnknown] += flag(o.UnknownCard)
		v[features.TriedSmall] += flag(r.facts[of[k]].small)
		if !cards[o.Card] && o.BIN == e.BIN && e.BIN != 0 {
			ofBIN[o.Card] = true
		}
		cards[o.Card] = true
	}
	v[features.TriedCards], v[features.TriedOfBIN] = float32(len(cards)), float32(len(ofBIN))
	if events > 0 {
		v[features.TriedShare] = v[features.TriedDeclined] / events
	}
}

func (r *reference) marks(v *features.Vector) {
	n := v[features.Declined]
	if v[features.CardCount30D] >= 3 {
		n += flag(v[features.NewPlace] == 1 || v[features.NewCountry] == 1)
		n += flag(v[features.ByStripe] == 1 && v[features.EntryShare] < .1)
	}
	n += flag(v[features.TravelSpeed] > 900 && v[features.TravelKilometres] > 100) + flag(v[features.CardDeviation] > 3)
	v[features.Marks] = n
}

// compromise replays the card's list of terminals, and scans what all cards have left behind.
func (r *reference) compromise(v *features.Vector, i int, of []int, f *facts) {
	e, now := &r.events[i], second(&r.events[i])
	type stop struct {
		key    features.Key
		at     int64
		blamed bool
	}
	var stops []stop
	for _, j := range of {
		o := &r.events[j]
		for k := range stops {
			stops[k].blamed = stops[k].blamed || slices.Contains(r.facts[j].blamed, stops[k].key)
		}
		if r.facts[j].odd || !o.Present || o.Terminal == 0 {
			continue
		}
		in := stop{o.Terminal, second(o), false}
		if k := slices.IndexFunc(stops, func(s stop) bool { return s.key == o.Terminal }); k >= 0 {
			in.blamed = stops[k].blamed
			stops = slices.Delete(stops, k, k+1)
		}
		stops = slices.Insert(stops, 0, in)
		stops = stops[:min(len(stops), 8)]
	}
	counted := func(from int, of func(j int) int) (n int) {
		for j := from; j < i; j++ {
			if second(&r.events[j])/86400 > now/86400-10 {
				n += of(j)
			}
		}
		return n
	}
	enters := func(key features.Key) func(int) int {
		return func(j int) int { return int(flag(r.facts[j].enters && (key == 0 || r.events[j].Terminal == key))) }
	}
	blames := func(key features.Key) func(int) int {
		return func(j int) (n int) {
			for _, k := range r.facts[j].blamed {
				n += int(flag(key == 0 || k == key))
			}
			return n
		}
	}
	base := float64(counted(0, blames(0))+1) / float64(counted(0, enters(0))+20)
	for _, s := range stops {
		life := r.life(i, func(o *features.Event) bool { return o.Terminal == s.key })
		if s.key == e.Terminal || now-s.at > 10*86400 || len(life) == 0 || v[features.Marks] == 0 {
			continue
		}
		if f.odd && !s.blamed && !e.Reversal {
			f.blamed = append(f.blamed, s.key)
		}
		cards, odd := counted(life[0], enters(s.key)), counted(life[0], blames(s.key))
		if s.blamed && odd > 0 {
			odd--
		}
		mean := base * float64(cards-1)
		if odd < 2 || cards < 2 || float64(odd) <= mean {
			continue
		}
		p, term := 0.0, math.Exp(-mean)
		for k := range odd + 60 {
			if k >= odd {
				p += term
			}
			term *= mean / float64(k+1)
		}
		if score := float32(min(max(-math.Log10(p), 0), 30)); score > v[features.Compromise] {
			v[features.Compromise], v[features.CompromiseCards] = score, float32(odd)
		}
	}
	f.enters = !e.Reversal && e.Card != 0 && !f.odd && e.Present && e.Terminal != 0 &&
		!slices.ContainsFunc(stops, func(s stop) bool { return s.key == e.Terminal })
}

// invented are events of a few cards that meet often, with gaps of more than a month, missing
// names, repeats in one second, and everything that features look at.
func invented(seed uint64, n, days int) []features.Event {
	d := rand.New(rand.NewPCG(seed, 1))
	places := []features.Place{
		0, features.PlaceOf("BR", "SAO PAULO"), features.PlaceOf("CO", "Bogotá"), features.PlaceOf("CL", "Nowhere"), features.PlaceOf("PE", "LIMA"),
		features.PlaceOf("MX", "CANCUN"), features.PlaceOf("AR", "SALTA"), features.PlaceOf("US", "MIAMI"), features.PlaceOf("ES", "MADRID"),
		features.PlaceOf("FR", "PARIS"), features.PlaceOf("UY", ""), features.PlaceOf("BO", "LA PAZ"),
	}
	const start = 1_772_400_000
	out := make([]features.Event, n)
	for i := range out {
		shop := int(40 * d.Float64() * d.Float64())
		e := &out[i]
		*e = features.Event{
			Time: (start + int64(float64(i)/float64(n)*float64(days)*86400)) * 1e6,
			Card: features.Key(1 + d.IntN(25)), Merchant: features.Key(100+shop) << 32, Terminal: features.Key(500+2*shop+d.IntN(2)) << 30,
			BIN: features.Key(7+d.IntN(2)) << 40, MCC: uint16(5000 + shop%17), Place: places[shop%len(places)],
			Channel: features.Channel(d.IntN(5)), Entry: features.Entry(1 + d.IntN(6)), Present: d.IntN(4) > 0,
			Amount: math.Exp(3 + 2*d.NormFloat64()), Approved: d.IntN(5) > 0, Reversal: d.IntN(40) == 0,
		}
		e.Card <<= 33
		if e.Card == 25<<33 && i%1000 > 20 {
			e.Card = 24 << 33 // so that one is silent for long
		}
		if d.IntN(6) > 0 && (e.Entry == features.Stripe || e.Entry == features.Fallback) {
			e.Entry = features.Chip
		}
		if d.IntN(10) == 0 {
			e.Amount *= 300
		}
		if e.Card == 23<<33 && i%1200 > 40 {
			e.Present = false // so that one is not present for long
		}
		e.UnknownCard = !e.Approved && d.IntN(3) == 0
		switch d.IntN(30) {
		case 0:
			e.Card = 0
		case 1:
			e.Merchant, e.Terminal = 0, 0
		case 2:
			e.BIN = 0
		case 3:
			e.MCC = 0
		case 4:
			e.Amount = 0
		case 5, 6, 7: // several in one second
			if i > 0 {
				e.Time = out[i-1].Time
			}
		}
		if i%500 > 470 { // a run at one shop
			e.Merchant, e.Terminal, e.Present, e.Time = 100<<32, 500<<30, false, out[i-1].Time+5e6
			e.Card = features.Key(i/2) << 33
		}
		if i > 0 {
			e.Time = max(e.Time, out[i-1].Time)
		}
		e.ID[0], e.ID[1], e.ID[2] = byte(i>>16), byte(i>>8), byte(i)
		e.Local = e.Time - 5*3600e6
	}
	return out
}
