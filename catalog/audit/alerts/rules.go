package alerts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
)

// Rules judge the lines of one log in their order. They are not safe for concurrent use.
type Rules struct {
	cfg Config
	s   state
	out []Alert
}

// state is what the rules remember. It is kept as JSON.
type state struct {
	Head   audit.Head        `json:"head"`
	Time   time.Time         `json:"time"`
	Actors map[string]*actor `json:"actors"`
	// Version is that of the policies that decided last, and Changed when and by whom they
	// were changed.
	Version   string    `json:"version,omitempty"`
	Changed   time.Time `json:"changed,omitzero"`
	ChangedBy string    `json:"changed_by,omitempty"`
	ChangeSeq uint64    `json:"change_seq,omitempty"`
	Silent    bool      `json:"silent,omitempty"` // was told
}

// actor is what is known of one.
type actor struct {
	Seen     time.Time          `json:"seen"`
	Told     map[Rule]time.Time `json:"told,omitempty"`
	Refusals []mark             `json:"refusals,omitempty"`
	Targets  map[string]mark    `json:"targets,omitempty"` // that were refused within the probe's window
	Refused  map[string]mark    `json:"refused,omitempty"` // resources that were refused, for GrantRead

	Hour     int64   `json:"hour,omitempty"` // Unix hour of Rows
	Rows     int64   `json:"rows,omitempty"`
	Mean     float64 `json:"mean,omitempty"` // rows of an hour in which some were read
	Averaged int     `json:"averaged,omitempty"`

	Hours   [24]int              `json:"hours"` // days on which it read in that hour, UTC
	Days    int                  `json:"days,omitempty"`
	Day     int64                `json:"day,omitempty"` // Unix day on which it read last
	Origins map[string]time.Time `json:"origins,omitempty"`

	Tokens []spent `json:"tokens,omitempty"` // by minute
}

// mark is a line.
type mark struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
}

type spent struct {
	Minute int64  `json:"minute"`
	Tokens int64  `json:"tokens"`
	Seq    uint64 `json:"seq"`
}

// Bounds of what is remembered of one actor, besides the thresholds.
const (
	maxOrigins = 32
	maxRefused = 64
	// learnt weighs an hour's rows in the mean of the hours before: a month of working days.
	learnt = 1.0 / 160
)

// New returns rules that know nothing yet.
func New(cfg Config) *Rules {
	return &Rules{cfg: cfg.withDefaults(), s: state{Actors: map[string]*actor{}}}
}

// Head is the line that was seen last.
func (r *Rules) Head() audit.Head { return r.s.Head }

// MarshalJSON writes what the rules remember.
func (r *Rules) MarshalJSON() ([]byte, error) { return json.Marshal(r.s) }

// UnmarshalJSON takes up what MarshalJSON wrote.
func (r *Rules) UnmarshalJSON(text []byte) error {
	s := state{}
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("state of the alert rules: %w", err)
	}
	if s.Actors == nil {
		s.Actors = map[string]*actor{}
	}
	for name, a := range s.Actors {
		if a == nil {
			delete(s.Actors, name)
		}
	}
	r.s = s
	return nil
}

// See judges the next line and returns its alerts.
func (r *Rules) See(l *audit.Line) []Alert {
	r.out = nil
	r.chain(l)
	if !strings.HasPrefix(l.Action, "audit.") {
		a := r.actor(l)
		r.refused(l, a)
		r.emergency(l, a)
		r.deadKey(l, a)
		r.budget(l, a)
		r.granted(l, a)
		r.read(l, a)
		r.volume(l, a)
		a.Seen = l.Time
	}
	r.s.Head, r.s.Silent = l.Head(), false
	r.s.Time = later(r.s.Time, l.Time)
	return r.out
}

// Tick judges what the absence of lines says at the time, as long as doors serve.
func (r *Rules) Tick(now time.Time) []Alert {
	r.out = nil
	if quiet := now.Sub(r.s.Time); r.cfg.Silence > 0 && !r.s.Silent && !r.s.Time.IsZero() && quiet > r.cfg.Silence {
		r.s.Silent = true
		r.out = append(r.out, Alert{
			Time: now, Severity: Critical, Rule: LogSilent, Log: r.s.Head.Log, Evidence: []uint64{r.s.Head.Seq},
			Reason: fmt.Sprintf("doors serve, and nothing was written to the log for %s", quiet.Round(time.Second)),
		})
	}
	return r.out
}

func (r *Rules) tell(l *audit.Line, rule Rule, severity Severity, evidence []uint64, format string, args ...any) {
	if len(evidence) > maxEvidence {
		evidence = evidence[len(evidence)-maxEvidence:]
	}
	r.out = append(r.out, Alert{
		Time: l.Time, Severity: severity, Rule: rule, Actor: l.Actor, Log: l.Log, Evidence: evidence, Reason: fmt.Sprintf(format, args...),
	})
}

// tellOnce tells unless the rule told of the actor a short while ago.
func (r *Rules) tellOnce(l *audit.Line, a *actor, rule Rule, severity Severity, evidence []uint64, format string, args ...any) {
	if told, ok := a.Told[rule]; ok && l.Time.Sub(told) < r.cfg.Again {
		return
	}
	if a.Told == nil {
		a.Told = map[Rule]time.Time{}
	}
	a.Told[rule] = l.Time
	r.tell(l, rule, severity, evidence, format, args...)
}

// actor returns what is known of the line's, and forgets the one that was not seen for longest
// when there are too many.
func (r *Rules) actor(l *audit.Line) *actor {
	if a := r.s.Actors[l.Actor]; a != nil {
		return a
	}
	if len(r.s.Actors) >= r.cfg.Actors {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(r.s.Actors)), func(a, b string) int {
			return cmp.Or(r.s.Actors[a].Seen.Compare(r.s.Actors[b].Seen), strings.Compare(a, b))
		})
		delete(r.s.Actors, oldest)
	}
	a := &actor{}
	r.s.Actors[l.Actor] = a
	return a
}

// chain is what a line says of the one before.
func (r *Rules) chain(l *audit.Line) {
	h := r.s.Head
	if h.Seq == 0 {
		return
	}
	if l.Seq != h.Seq+1 || l.Prev != h.Hash || l.Log != h.Log {
		r.tell(l, LogGap, Critical, []uint64{h.Seq, l.Seq}, "after line %d comes %d, which does not follow it", h.Seq, l.Seq)
	}
	if back := r.s.Time.Sub(l.Time); back > r.cfg.ClockSlack {
		r.tell(l, ClockBack, Critical, []uint64{h.Seq, l.Seq}, "the log's clock went back by %s", back.Round(time.Millisecond))
	}
}

// target names what a refused line was about: a tenant where it says so.
func target(l *audit.Line) string {
	return l.Resource + "\x00" + l.Detail["tenant"] + "\x00" + l.Detail["tenants"]
}

func (r *Rules) refused(l *audit.Line, a *actor) {
	if l.Outcome != audit.Refused {
		return
	}
	m := mark{l.Seq, l.Time}
	if r.cfg.RefusalCount > 0 {
		a.Refusals = append(a.Refusals, m)
		a.Refusals = a.Refusals[max(0, len(a.Refusals)-r.cfg.RefusalCount):]
		if span := l.Time.Sub(a.Refusals[0].Time); len(a.Refusals) == r.cfg.RefusalCount && span <= r.cfg.RefusalWindow {
			r.tellOnce(l, a, Refusals, Warning, seqs(a.Refusals), "%d refusals within %s", len(a.Refusals), span.Round(time.Second))
		}
	}
	if r.cfg.ProbeTargets > 0 {
		put(&a.Targets, target(l), m, r.cfg.ProbeTargets)
		maps.DeleteFunc(a.Targets, func(_ string, m mark) bool { return l.Time.Sub(m.Time) > r.cfg.ProbeWindow })
		if len(a.Targets) >= r.cfg.ProbeTargets {
			r.tellOnce(l, a, Probing, Critical, seqsOf(a.Targets), "refused %d different tenants or tables within %s", len(a.Targets), r.cfg.ProbeWindow)
		}
	}
	if r.cfg.GrantWindow > 0 {
		put(&a.Refused, l.Resource, m, maxRefused)
	}
}

// put keeps a mark, and drops the oldest when there are too many.
func put(to *map[string]mark, key string, m mark, most int) {
	if *to == nil {
		*to = map[string]mark{}
	}
	(*to)[key] = m
	if len(*to) <= most {
		return
	}
	oldest := key
	for k, other := range *to {
		if other.Seq < (*to)[oldest].Seq {
			oldest = k
		}
	}
	delete(*to, oldest)
}

func seqs(marks []mark) []uint64 {
	out := make([]uint64, 0, len(marks))
	for _, m := range marks {
		out = append(out, m.Seq)
	}
	slices.Sort(out)
	return out
}

func seqsOf(marks map[string]mark) []uint64 { return seqs(slices.Collect(maps.Values(marks))) }

func (r *Rules) emergency(l *audit.Line, _ *actor) {
	if l.Detail["break_glass"] != "true" || strings.HasSuffix(l.Action, ".done") {
		return
	}
	severity, how := Critical, "used"
	if l.Outcome != audit.Allowed {
		severity, how = Warning, "asked for, and was "+string(l.Outcome)
	}
	r.tell(l, BreakGlass, severity, []uint64{l.Seq}, "access for emergencies was %s on %s", how, l.Resource)
}

// deadKey finds what failed because its key is gone: the words are those of package keys.
func (r *Rules) deadKey(l *audit.Line, _ *actor) {
	if l.Outcome == audit.Allowed {
		return
	}
	said := l.Reason
	for _, name := range []string{"failed", "refused", "error"} {
		said += " " + l.Detail[name]
	}
	for _, e := range []error{keys.ErrNoKey, keys.ErrDenied} {
		if strings.Contains(said, e.Error()) {
			r.tell(l, KeyUse, Warning, []uint64{l.Seq}, "%s of %s failed on a key that was destroyed, disabled or never there", l.Action, l.Resource)
			return
		}
	}
}

const (
	collectAction = "detokenise.collect"
	overBudget    = "over-budget"
)

func (r *Rules) budget(l *audit.Line, a *actor) {
	if r.cfg.TokensPerHour < 0 || l.Action != collectAction || l.Outcome == audit.Failed {
		return
	}
	if l.Outcome == audit.Refused {
		if l.Detail["rule"] == overBudget {
			r.tellOnce(l, a, Budget, Warning, []uint64{l.Seq}, "asked for more tokens than its budget of an hour has left")
		}
		return
	}
	minute := l.Time.Unix() / 60
	if n := len(a.Tokens); n > 0 && a.Tokens[n-1].Minute == minute {
		a.Tokens[n-1].Tokens += l.Numbers["tokens"]
		a.Tokens[n-1].Seq = l.Seq
	} else {
		a.Tokens = append(a.Tokens, spent{minute, l.Numbers["tokens"], l.Seq})
	}
	a.Tokens = slices.DeleteFunc(a.Tokens, func(s spent) bool { return minute-s.Minute >= 60 })
	sum := int64(0)
	var evidence []uint64
	for _, s := range a.Tokens {
		sum += s.Tokens
		evidence = append(evidence, s.Seq)
	}
	if float64(sum) >= r.cfg.BudgetShare*float64(r.cfg.TokensPerHour) {
		r.tellOnce(l, a, Budget, Warning, evidence, "turned back %d tokens within an hour, of a budget of %d", sum, r.cfg.TokensPerHour)
	}
}

// granted finds a read of what the actor was refused before who may do what was changed, and
// a read by who changed it.
func (r *Rules) granted(l *audit.Line, a *actor) {
	if r.cfg.GrantWindow < 0 {
		return
	}
	version := l.Detail["version"]
	isGrant := (l.Action == "grant" || strings.HasPrefix(l.Action, "grant.") || strings.HasPrefix(l.Action, "grants.")) && l.Outcome == audit.Allowed
	switch {
	case isGrant:
		r.s.Changed, r.s.ChangedBy, r.s.ChangeSeq = l.Time, l.Actor, l.Seq
	case version != "" && r.s.Version != "" && version != r.s.Version && l.Time.Sub(r.s.Changed) > r.cfg.GrantWindow:
		r.s.Changed, r.s.ChangedBy, r.s.ChangeSeq = l.Time, "", l.Seq
	}
	r.s.Version = cmp.Or(version, r.s.Version)
	if isGrant || !isRead(l) || r.s.Changed.IsZero() || l.Time.Sub(r.s.Changed) > r.cfg.GrantWindow {
		return
	}
	if l.Actor == r.s.ChangedBy {
		r.tellOnce(l, a, GrantRead, Critical, []uint64{r.s.ChangeSeq, l.Seq}, "reads %s after it changed who may do what itself", l.Resource)
		return
	}
	if m, ok := a.Refused[l.Resource]; ok && !m.Time.After(r.s.Changed) {
		delete(a.Refused, l.Resource)
		r.tellOnce(l, a, GrantRead, Warning, []uint64{m.Seq, r.s.ChangeSeq, l.Seq}, "reads %s, which was refused before who may do what was changed", l.Resource)
	}
}

// isRead reports whether the line is the beginning of a read.
func isRead(l *audit.Line) bool {
	if l.Outcome != audit.Allowed {
		return false
	}
	return slices.Contains(reads, l.Action)
}

// reads are the actions that give rows, as the doors name them; with ".done" behind it, the
// line says how many.
var reads = []string{"query", "changes", "read_changes", "export", "audit_read", collectAction}

// read compares when and from where is read with what the actor did before.
func (r *Rules) read(l *audit.Line, a *actor) {
	if !isRead(l) {
		return
	}
	hour, day := l.Time.Hour(), l.Time.Unix()/(24*60*60)
	if r.cfg.HourDays > 0 && a.Days >= r.cfg.HourDays && a.Hours[hour]+a.Hours[(hour+1)%24]+a.Hours[(hour+23)%24] == 0 {
		r.tellOnce(l, a, UnusualHour, Warning, []uint64{l.Seq}, "reads %s at %02d:%02d UTC, at which it never did in %d days", l.Resource, hour, l.Time.Minute(), a.Days)
	}
	origin := l.Origin
	if host, _, err := net.SplitHostPort(origin); err == nil {
		origin = host
	}
	if origin != "" {
		if _, isKnown := a.Origins[origin]; !isKnown && r.cfg.OriginDays > 0 && a.Days >= r.cfg.OriginDays {
			r.tellOnce(l, a, NewOrigin, Warning, []uint64{l.Seq}, "reads %s from %s, from where it never came in %d days", l.Resource, origin, a.Days)
		}
		if a.Origins == nil {
			a.Origins = map[string]time.Time{}
		}
		if a.Origins[origin] = l.Time; len(a.Origins) > maxOrigins {
			oldest := origin
			for o, at := range a.Origins {
				if at.Before(a.Origins[oldest]) {
					oldest = o
				}
			}
			delete(a.Origins, oldest)
		}
	}
	if day != a.Day {
		a.Day = day
		a.Days++
	}
	a.Hours[hour]++
}

// volume compares the rows of an hour with those of the actor's other hours.
func (r *Rules) volume(l *audit.Line, a *actor) {
	rows := l.Numbers["rows"]
	action, isEnd := strings.CutSuffix(l.Action, ".done")
	if r.cfg.VolumeFactor < 0 || rows <= 0 || !isEnd || !slices.Contains(reads, action) {
		return
	}
	if hour := l.Time.Unix() / 3600; hour != a.Hour {
		if a.Rows > 0 {
			a.Averaged++
			a.Mean += (float64(a.Rows) - a.Mean) * max(1/float64(a.Averaged), learnt)
		}
		a.Hour, a.Rows = hour, 0
	}
	a.Rows += rows
	switch {
	case a.Rows < r.cfg.VolumeFloor:
	case a.Rows > r.cfg.VolumeCeiling:
		r.tellOnce(l, a, Volume, Critical, []uint64{l.Seq}, "read %d rows in an hour, more than anybody should", a.Rows)
	case a.Averaged >= r.cfg.VolumeHours && float64(a.Rows) > r.cfg.VolumeFactor*a.Mean:
		r.tellOnce(l, a, Volume, Warning, []uint64{l.Seq}, "read %d rows in an hour, on average it reads %.0f", a.Rows, a.Mean)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
