// Package alerts looks for abuse in the audit log: the automated review of PCI DSS 4.0.1
// requirements 10.4.1.1 and 10.7. [Rules] take the lines one after the other and say what is
// out of the ordinary, measured against fixed thresholds and against what each actor has done
// before; a [Watcher] follows a log, keeps where it was and what it learned in a file, and
// sends alerts on.
//
// Memory is bounded: by the number of actors, of which those that were not seen for longest
// are forgotten first, and for each of them by the thresholds.
package alerts

import (
	"time"
)

// Severity says how soon somebody is to look.
type Severity string

const (
	Notice   Severity = "notice"   // in the daily review
	Warning  Severity = "warning"  // today
	Critical Severity = "critical" // now
)

// Rule is the id of a rule.
type Rule string

const (
	Refusals     Rule = "refusals"          // many refusals of one actor
	Probing      Rule = "probing"           // refusals of one actor over many tenants and tables
	Volume       Rule = "volume"            // more rows in an hour than the actor ever reads
	UnusualHour  Rule = "unusual_hour"      // a read at an hour at which the actor never reads
	NewOrigin    Rule = "new_origin"        // a read from where the actor never came from
	BreakGlass   Rule = "break_glass"       // access that is for emergencies
	Budget       Rule = "detokenise_budget" // an actor's tokens of an hour near their end
	GrantRead    Rule = "grant_then_read"   // what was refused is read soon after who may do what was changed
	KeyUse       Rule = "dead_key"          // use of a key that was destroyed or disabled
	LogGap       Rule = "log_gap"           // a line is missing, or is not the one that follows
	ClockBack    Rule = "clock_back"        // the clock of the log went back
	LogSilent    Rule = "log_silent"        // nothing was written although doors serve
	LogBroken    Rule = "log_broken"        // the log does not hold together
	LogUnwatched Rule = "log_unwatched"     // lines were pruned before the rules saw them
)

// ids lists every rule.
var ids = [...]Rule{Refusals, Probing, Volume, UnusualHour, NewOrigin, BreakGlass, Budget, GrantRead, KeyUse, LogGap, ClockBack, LogSilent, LogBroken, LogUnwatched}

// Alert is one finding. It holds names and numbers, never a field's content.
type Alert struct {
	Time     time.Time `json:"time"` // of the line that made it, or of the look at the log
	Severity Severity  `json:"severity"`
	Rule     Rule      `json:"rule"`
	Actor    string    `json:"actor,omitempty"`
	Reason   string    `json:"reason"` // in words
	Log      string    `json:"log,omitempty"`
	Evidence []uint64  `json:"evidence,omitempty"` // numbers of lines, the newest last, at most 20
}

const maxEvidence = 20

// Config are the thresholds. Zero fields are their defaults, and negative ones switch a rule
// off where that is said.
type Config struct {
	RefusalCount  int           `json:"refusal_count,omitempty"`  // of one actor; default 20, negative for never
	RefusalWindow time.Duration `json:"refusal_window,omitempty"` // default 10 minutes
	ProbeTargets  int           `json:"probe_targets,omitempty"`  // distinct tenants and tables; default 5, negative for never
	ProbeWindow   time.Duration `json:"probe_window,omitempty"`   // default 1 hour

	// An hour's rows are unusual beyond VolumeFactor times the actor's average hour, once
	// VolumeHours hours are known, and beyond VolumeCeiling in any case; never below
	// VolumeFloor. Defaults 10, 8, 50 million, 100,000; a negative factor for never.
	VolumeFactor  float64 `json:"volume_factor,omitempty"`
	VolumeHours   int     `json:"volume_hours,omitempty"`
	VolumeFloor   int64   `json:"volume_floor,omitempty"`
	VolumeCeiling int64   `json:"volume_ceiling,omitempty"`

	HourDays   int `json:"hour_days,omitempty"`   // on which an actor must have read before; default 7, negative for never
	OriginDays int `json:"origin_days,omitempty"` // default 3, negative for never

	TokensPerHour int64         `json:"tokens_per_hour,omitempty"` // the budget of a detokeniser; default 1,000, negative for never
	BudgetShare   float64       `json:"budget_share,omitempty"`    // of it; default 0.8
	GrantWindow   time.Duration `json:"grant_window,omitempty"`    // from change to read; default 30 minutes, negative for never
	ClockSlack    time.Duration `json:"clock_slack,omitempty"`     // default 5 s
	Silence       time.Duration `json:"silence,omitempty"`         // default 10 minutes, negative for never

	// Again is how long a rule is silent about an actor after an alert. Default 1 hour. Break
	// glass, dead keys, and what is wrong with the log itself are told each time.
	Again  time.Duration `json:"again,omitempty"`
	Actors int           `json:"actors,omitempty"` // that are remembered; default 10,000
}

func (c Config) withDefaults() Config {
	def(&c.RefusalCount, 20)
	def(&c.RefusalWindow, 10*time.Minute)
	def(&c.ProbeTargets, 5)
	def(&c.ProbeWindow, time.Hour)
	def(&c.VolumeFactor, 10)
	def(&c.VolumeHours, 8)
	def(&c.VolumeFloor, 100_000)
	def(&c.VolumeCeiling, 50_000_000)
	def(&c.HourDays, 7)
	def(&c.OriginDays, 3)
	def(&c.TokensPerHour, 1000)
	def(&c.BudgetShare, 0.8)
	def(&c.GrantWindow, 30*time.Minute)
	def(&c.ClockSlack, 5*time.Second)
	def(&c.Silence, 10*time.Minute)
	def(&c.Again, time.Hour)
	def(&c.Actors, 10_000)
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
