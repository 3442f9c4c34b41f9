package alerts

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
)

// tape makes a log's lines without writing them.
type tape struct {
	rules *Rules
	now   time.Time
	head  audit.Head
	got   []Alert
}

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func newTape(cfg Config) *tape {
	return &tape{rules: New(cfg), now: monday, head: audit.Head{Log: "a", Hash: ""}}
}

// at moves the clock to a time of the day.
func (p *tape) at(day, hour, minute int) {
	p.now = monday.AddDate(0, 0, day).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
}

func (p *tape) add(r audit.Record) {
	l := audit.Line{Entry: audit.Entry{Seq: p.head.Seq + 1, Time: p.now, Record: r, Prev: p.head.Hash}, Log: p.head.Log, Hash: fmt.Sprint("h", p.head.Seq+1)}
	p.head = l.Head()
	p.got = append(p.got, p.rules.See(&l)...)
	p.now = p.now.Add(time.Second)
}

func query(actor, origin string, rows int64) []audit.Record {
	return []audit.Record{
		{Actor: actor, Action: "query", Resource: "cards.transactions", Outcome: audit.Allowed, Origin: origin, Detail: map[string]string{"version": "v1"}},
		{Actor: actor, Action: "query.done", Resource: "cards.transactions", Outcome: audit.Allowed, Origin: origin, Numbers: map[string]int64{"rows": rows}},
	}
}

func refusal(actor, resource string) audit.Record {
	return audit.Record{Actor: actor, Action: "query", Resource: resource, Outcome: audit.Refused, Origin: "192.0.2.7:1234"}
}

func (p *tape) all(rs []audit.Record) {
	for _, r := range rs {
		p.add(r)
	}
}

// history is weeks of office hours of one actor.
func (p *tape) history(actor string, days int) {
	for d := range days {
		for h := 9; h < 18; h++ {
			p.at(d, h, 10)
			p.all(query(actor, "192.0.2.7:4711", 20_000))
		}
	}
}

func found(got []Alert) (out []Rule) {
	for _, a := range got {
		out = append(out, a.Rule)
	}
	return out
}

const ana = "data_scientist/ana"

// Each rule fires on its pattern, and on no other.
func TestRulesFire(t *testing.T) {
	collect := func(tokens int64, outcome audit.Outcome, rule string) audit.Record {
		return audit.Record{Actor: "detokeniser/dora", Action: "detokenise.collect", Resource: "tenant aurora", Outcome: outcome,
			Numbers: map[string]int64{"tokens": tokens}, Detail: map[string]string{"rule": rule}}
	}
	for _, c := range []struct {
		name   string
		do     func(p *tape)
		want   []Rule
		actor  string
		first  uint64 // of the evidence
		weight Severity
	}{
		{"20 refusals in 10 minutes", func(p *tape) {
			for range 20 {
				p.add(refusal(ana, "cards.transactions"))
			}
		}, []Rule{Refusals}, ana, 1, Warning},
		{"19 refusals in 10 minutes", func(p *tape) {
			for range 19 {
				p.add(refusal(ana, "cards.transactions"))
			}
		}, nil, "", 0, ""},
		{"20 refusals in a day", func(p *tape) {
			for h := range 20 {
				p.at(0, h, 0)
				p.add(refusal(ana, "cards.transactions"))
			}
		}, nil, "", 0, ""},
		{"20 refusals of two actors", func(p *tape) {
			for range 10 {
				p.add(refusal(ana, "cards.transactions"))
				p.add(refusal("operator/otto", "cards.transactions"))
			}
		}, nil, "", 0, ""},
		{"five tenants refused", func(p *tape) {
			for i := range 5 {
				p.add(refusal(ana, fmt.Sprint("tenant t", i)))
			}
		}, []Rule{Probing}, ana, 1, Critical},
		{"five tenants refused over a week", func(p *tape) {
			for i := range 5 {
				p.at(i, 9, 0)
				p.add(refusal(ana, fmt.Sprint("tenant t", i)))
			}
		}, nil, "", 0, ""},
		{"ten times the rows of an hour", func(p *tape) {
			p.history(ana, 2)
			p.at(2, 10, 0)
			p.all(query(ana, "192.0.2.7", 150_000))
			p.all(query(ana, "192.0.2.7", 60_000))
		}, []Rule{Volume}, ana, 40, Warning},
		{"five times the rows of an hour", func(p *tape) {
			p.history(ana, 2)
			p.at(2, 10, 0)
			p.all(query(ana, "192.0.2.7", 100_000))
		}, nil, "", 0, ""},
		{"more than anybody", func(p *tape) { p.all(query(ana, "192.0.2.7", 60_000_000)) }, []Rule{Volume}, ana, 2, Critical},
		{"a compaction of many rows", func(p *tape) {
			p.add(audit.Record{Actor: "operator/otto", Action: "compact.done", Resource: "cards.transactions", Outcome: audit.Allowed, Numbers: map[string]int64{"rows": 60_000_000}})
		}, nil, "", 0, ""},
		{"three at night", func(p *tape) {
			p.history(ana, 10)
			p.at(11, 3, 0)
			p.all(query(ana, "192.0.2.7", 10))
		}, []Rule{UnusualHour}, ana, 181, Warning},
		{"an hour later than usual", func(p *tape) {
			p.history(ana, 10)
			p.at(11, 18, 30)
			p.all(query(ana, "192.0.2.7", 10))
		}, nil, "", 0, ""},
		{"from elsewhere", func(p *tape) {
			p.history(ana, 4)
			p.at(5, 9, 0)
			p.all(query(ana, "203.0.113.9:1", 10))
			p.all(query(ana, "203.0.113.9:2", 10))
		}, []Rule{NewOrigin}, ana, 73, Warning},
		{"break glass", func(p *tape) {
			r := query("operator/otto", "192.0.2.7", 10)
			r[0].Detail["break_glass"] = "true"
			p.all(r)
			p.all(r)
		}, []Rule{BreakGlass, BreakGlass}, "operator/otto", 1, Critical},
		{"break glass refused", func(p *tape) {
			r := refusal("operator/otto", "cards.transactions")
			r.Detail = map[string]string{"break_glass": "true"}
			p.add(r)
		}, []Rule{BreakGlass}, "operator/otto", 1, Warning},
		{"800 of 1000 tokens", func(p *tape) {
			for range 8 {
				p.add(collect(100, audit.Allowed, ""))
				p.now = p.now.Add(5 * time.Minute)
			}
		}, []Rule{Budget}, "detokeniser/dora", 1, Warning},
		{"800 tokens in two hours", func(p *tape) {
			for range 8 {
				p.add(collect(100, audit.Allowed, ""))
				p.now = p.now.Add(15 * time.Minute)
			}
		}, nil, "", 0, ""},
		{"over budget", func(p *tape) { p.add(collect(100, audit.Refused, "over-budget")) }, []Rule{Budget}, "detokeniser/dora", 1, Warning},
		{"refused, granted, read", func(p *tape) {
			p.add(refusal(ana, "cards.transactions"))
			p.add(audit.Record{Actor: "operator/otto", Action: "grants.change", Resource: "grants", Outcome: audit.Allowed})
			p.all(query(ana, "192.0.2.7", 10))
		}, []Rule{GrantRead}, ana, 1, Warning},
		{"refused, policies changed by an unknown hand, read", func(p *tape) {
			p.all(query("etl_job/load", "192.0.2.7", 10))
			p.add(refusal(ana, "cards.transactions"))
			r := query(ana, "192.0.2.7", 10)
			r[0].Detail["version"] = "v2"
			p.all(r)
		}, []Rule{GrantRead}, ana, 3, Warning},
		{"grants and reads itself", func(p *tape) {
			p.add(audit.Record{Actor: "operator/otto", Action: "grant", Resource: "grants", Outcome: audit.Allowed})
			p.all(query("operator/otto", "192.0.2.7", 10))
		}, []Rule{GrantRead}, "operator/otto", 1, Critical},
		{"granted, and read hours later", func(p *tape) {
			p.add(refusal(ana, "cards.transactions"))
			p.add(audit.Record{Actor: "operator/otto", Action: "grants.change", Resource: "grants", Outcome: audit.Allowed})
			p.at(0, 3, 0)
			p.all(query(ana, "192.0.2.7", 10))
		}, nil, "", 0, ""},
		{"a destroyed key", func(p *tape) {
			r := refusal(ana, "cards.transactions")
			r.Outcome, r.Detail = audit.Failed, map[string]string{"failed": fmt.Sprintf("open: %v", keys.ErrDestroyed)}
			p.add(r)
		}, []Rule{KeyUse}, ana, 1, Warning},
		{"a line is missing", func(p *tape) {
			p.all(query(ana, "192.0.2.7", 10))
			p.head.Seq++
			p.all(query(ana, "192.0.2.7", 10))
		}, []Rule{LogGap}, ana, 2, Critical},
		{"a line was replaced", func(p *tape) {
			p.all(query(ana, "192.0.2.7", 10))
			p.head.Hash = "other"
			p.all(query(ana, "192.0.2.7", 10))
		}, []Rule{LogGap}, ana, 2, Critical},
		{"the clock goes back", func(p *tape) {
			p.all(query(ana, "192.0.2.7", 10))
			p.now = p.now.Add(-10 * time.Second)
			p.all(query(ana, "192.0.2.7", 10))
		}, []Rule{ClockBack, ClockBack}, ana, 2, Critical},
		{"silence", func(p *tape) {
			p.all(query(ana, "192.0.2.7", 10))
			for range 3 {
				p.now = p.now.Add(8 * time.Minute)
				p.got = append(p.got, p.rules.Tick(p.now)...)
			}
		}, []Rule{LogSilent}, "", 2, Critical},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTape(Config{})
			c.do(p)
			if d := cmp.Diff(c.want, found(p.got)); d != "" {
				t.Fatalf("%s\n%+v", d, p.got)
			}
			if len(c.want) == 0 {
				return
			}
			a := p.got[0]
			if a.Actor != c.actor || a.Severity != c.weight || len(a.Evidence) == 0 || a.Evidence[0] != c.first || a.Reason == "" || a.Time.IsZero() || a.Log != "a" {
				t.Errorf("%+v", a)
			}
			if !slices.Contains(ids[:], a.Rule) {
				t.Errorf("%s has no metric", a.Rule)
			}
		})
	}
}

// A rule that is switched off is silent on its pattern.
func TestRulesCanBeSwitchedOff(t *testing.T) {
	p := newTape(Config{RefusalCount: -1, ProbeTargets: -1, VolumeFactor: -1, HourDays: -1, OriginDays: -1, TokensPerHour: -1, GrantWindow: -1, Silence: -1})
	for i := range 40 {
		p.add(refusal(ana, fmt.Sprint("tenant ", i)))
	}
	p.history(ana, 10)
	p.at(11, 3, 0)
	p.all(query(ana, "203.0.113.9", 90_000_000))
	p.got = append(p.got, p.rules.Tick(p.now.Add(time.Hour))...)
	if len(p.got) > 0 {
		t.Errorf("%+v", p.got)
	}
}

// traffic is what a company does in a working day: people in office hours, jobs on the hour,
// mistakes, and weekends that are quiet.
func (p *tape) traffic(rng *rand.Rand, day int) (lines int) {
	type event struct {
		at time.Time
		rs []audit.Record
	}
	var events []event
	date := monday.AddDate(0, 0, day)
	isWeekend := date.Weekday() == time.Saturday || date.Weekday() == time.Sunday
	for person := range 40 {
		if isWeekend {
			break
		}
		actor, home := fmt.Sprint("data_scientist/p", person), fmt.Sprintf("192.0.2.%d:%d", person%20, 1024+rng.IntN(60000))
		for range 10 + rng.IntN(30) {
			at := date.Add(9*time.Hour + time.Duration(rng.Int64N(int64(9*time.Hour))))
			rows := int64(rng.ExpFloat64() * 5_000)
			events = append(events, event{at, query(actor, home, rows)})
			if rng.IntN(30) == 0 {
				events = append(events, event{at.Add(time.Minute), []audit.Record{refusal(actor, "cards.transactions")}})
			}
			if rng.IntN(200) == 0 {
				events = append(events, event{at.Add(time.Minute), []audit.Record{refusal(actor, "audit.events")}})
			}
		}
	}
	for job := range 10 {
		for h := range 24 {
			events = append(events, event{date.Add(time.Duration(h)*time.Hour + time.Duration(job)*time.Minute), query(fmt.Sprint("etl_job/j", job), "198.51.100.4", 500_000+rng.Int64N(400_000))})
		}
	}
	slices.SortFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		p.now = later(p.now, e.at)
		p.all(e.rs)
		lines += len(e.rs)
	}
	return lines
}

func TestRulesAreSilentOnNormalDays(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := newTape(Config{})
		for day := range 21 {
			p.traffic(rng, day)
		}
		for _, a := range p.got {
			t.Errorf("seed %d: %+v", seed, a)
		}
	}
}

// Rules that are stopped and go on elsewhere find what those find that are not.
func TestRulesGoOnFromTheirState(t *testing.T) {
	run := func(isStopped bool) []Alert {
		rng := rand.New(rand.NewPCG(7, 7))
		p := newTape(Config{})
		for day := range 9 {
			p.traffic(rng, day)
			if isStopped {
				text, err := json.Marshal(p.rules)
				if err != nil {
					t.Fatal(err)
				}
				p.rules = New(Config{})
				if err := json.Unmarshal(text, p.rules); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.at(9, 23, 0)
		p.all(query("data_scientist/p1", "203.0.113.1", 5_000_000))
		return p.got
	}
	want := run(false)
	if d := cmp.Diff(want, run(true)); d != "" || len(want) != 3 {
		t.Errorf("%d alerts, %s", len(want), d)
	}
}

// However many actors, targets and origins there are, what is remembered stays small.
func TestRulesAreBounded(t *testing.T) {
	p := newTape(Config{Actors: 50, Again: time.Nanosecond})
	for i := range 5_000 {
		p.add(refusal(fmt.Sprint("a/", i), "x"))
		p.add(refusal("one", fmt.Sprint("tenant ", i)))
		p.all(query("one", fmt.Sprint("origin ", i), 5))
	}
	text, err := json.Marshal(p.rules)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 64<<10 || len(p.rules.s.Actors) > 50 {
		t.Errorf("%d bytes, %d actors", len(text), len(p.rules.s.Actors))
	}
	for _, a := range p.got {
		if len(a.Evidence) > maxEvidence {
			t.Fatalf("%d pieces of evidence", len(a.Evidence))
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"head":{"log":"a","seq":1,"hash":"h"},"actors":{"a/b":{"seen":"2026-03-02T00:00:00Z"},"c":null}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := New(Config{})
		if json.Unmarshal(text, r) != nil {
			return
		}
		l := audit.Line{Entry: audit.Entry{Seq: 1, Time: monday, Record: query(ana, "x", 1)[0]}}
		r.See(&l)
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkSee(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	lines := 0
	for b.Loop() {
		p := newTape(Config{})
		lines += p.traffic(rng, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
}
