// Package quality evaluates rule sets in AWS Glue's DQDL (queries/quality/dqdl) over a table of
// the lake or a file, and keeps what came of it.
//
// What a rule means is what the AWS Glue developer guide says of its type and, where that is
// silent, what AWS publishes as its evaluator (awslabs/deequ, package dqdl): between leaves out
// its bounds, NULL fails every ColumnValues but != and not in, NULL is a text of length 0,
// standard deviations are of the population, entropy is in nats, DistinctValuesCount counts NULL
// as a value. Names of metrics and the outcomes are AWS's too.
//
// All rules of a set are compiled to a few aggregating statements in the lake's portable SQL, so
// that the data is read once for all of them, and once more for each set of columns that is asked
// for uniqueness. Nothing but aggregates leaves the engine. Over the lake a statement goes
// through queries.Gateway, within the caller's own grants and on record; over a file, it runs in
// a DuckDB of its own that can open that file and the references and nothing else.
//
// A Java regular expression (guide, "matches") is evaluated as one of RE2: what RE2 has not,
// such as backreferences, is an error of the rule, but lookaheads at the pattern's beginning are
// understood.
package quality

import (
	"context"
	"time"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// Result is what came of a rule.
type Result string

// The results. Errored says that the rule could not be evaluated.
const (
	Passed  Result = "Passed"
	Failed  Result = "Failed"
	Errored Result = "Error"
)

// Outcome is what came of one rule. The names are those of Glue's outcomes
// (EvaluateDataQuality, "ruleOutcomes").
type Outcome struct {
	Rule    string
	Outcome Result
	// FailureReason says why the rule did not pass, or adds to a pass.
	FailureReason    string             `json:",omitempty"`
	EvaluatedMetrics map[string]float64 `json:",omitempty"`
	// EvaluatedRule is the rule with its dynamic operands resolved.
	EvaluatedRule string
	Labels        map[string]string `json:",omitempty"`
}

// AnalyzerResult is what an analyzer measured.
type AnalyzerResult struct {
	Analyzer         string
	Error            string                  `json:",omitempty"`
	EvaluatedMetrics map[string]float64      `json:",omitempty"`
	Distributions    map[string]Distribution `json:",omitempty"`
}

// Observation is something unusual that was noticed, which is no failure.
type Observation struct {
	Description            string
	MetricName             string
	ActualValue            float64
	ExpectedValue          float64 `json:",omitempty"`
	LowerLimit, UpperLimit float64 `json:",omitempty"`
}

// Statistic is a metric as later runs look it up: by name and by what it was limited to.
type Statistic struct {
	Name  string
	Of    string `json:",omitempty"`
	Value float64
}

// Report is what came of a rule set.
type Report struct {
	Ruleset string // its name
	Target  string // what it was evaluated over
	// Score is the share of the rules that passed, from 0 to 1; 1 if there are none.
	Score                  float64
	StartedOn, CompletedOn time.Time
	Rules                  []Outcome
	Analyzers              []AnalyzerResult `json:",omitempty"`
	Observations           []Observation    `json:",omitempty"`
	Statistics             []Statistic      `json:",omitempty"`
}

// Passed says whether every rule passed.
func (r *Report) Passed() bool {
	for _, o := range r.Rules {
		if o.Outcome != Passed {
			return false
		}
	}
	return true
}

// SeverityLabel is the label that says what a rule's failure leads to: "quarantine", or anything
// else for a warning.
const SeverityLabel = "severity"

// Quarantines says whether a rule failed whose label asks for quarantine.
func (r *Report) Quarantines() bool {
	for _, o := range r.Rules {
		if o.Outcome != Passed && o.Labels[SeverityLabel] == "quarantine" {
			return true
		}
	}
	return false
}

// Rows are an engine's answer.
type Rows interface {
	// Names are those of the columns.
	Names() []string
	// Next fills row, which has one element a column, or returns io.EOF.
	Next(row []any) error
	Close() error
}

// Engine runs one SELECT statement over the datasets.
type Engine interface {
	Query(ctx context.Context, sql string) (Rows, error)
}

// Dataset is a relation that rules look at.
type Dataset struct {
	Columns []Column
	// From is what stands after FROM: it has a column for each of Columns, and its Text.
	From string
	// With is the common table expressions that From and SQL of a user need, without WITH; ""
	// if there are none.
	With string
	// Files are the data's own files, for rules about files that name no path; nil if unknown.
	Files func(ctx context.Context) ([]File, error)
}

// Config is how rules are evaluated. The zero value is usable.
type Config struct {
	// Name is the rule set's, and Target what it is evaluated over, for the report.
	Name, Target string
	// References are the other datasets, by alias.
	References map[string]Dataset
	// IsRowwise evaluates composite rules row by row (Glue's compositeRuleEvaluation.method
	// "ROW").
	IsRowwise bool
	// History are the reports of earlier runs over the same target, the oldest first.
	History []Report
	// Now is the time that now() stands for; zero means time.Now.
	Now time.Time
	// Files opens the files that rules about files name. Nil means that such rules are errors.
	Files FileSystem
}

// Run evaluates the rule set over the dataset. An error says that nothing could be evaluated;
// a rule that could not is in the report.
func Run(ctx context.Context, engine Engine, set *dqdl.Ruleset, primary Dataset, cfg Config) (*Report, error) {
	started := time.Now()
	e := newEvaluation(engine, set, primary, cfg)
	report := &Report{Ruleset: cfg.Name, Target: cfg.Target, StartedOn: started.UTC(), Score: 1, Rules: []Outcome{}}
	rules := make([]*plan, len(set.Rules))
	for i, r := range set.Rules {
		rules[i] = e.plan(ctx, r)
	}
	analyzers := make([]*plan, len(set.Analyzers))
	for i, r := range set.Analyzers {
		analyzers[i] = e.planAnalyzer(ctx, r)
	}
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	passed := 0
	for i, p := range rules {
		o := e.outcome(ctx, p)
		o.Labels = set.AllLabels(set.Rules[i])
		report.Rules = append(report.Rules, o)
		if o.Outcome == Passed {
			passed++
		}
	}
	for i, p := range analyzers {
		report.Analyzers = append(report.Analyzers, e.measure(ctx, set.Analyzers[i], p))
	}
	if len(rules) > 0 {
		report.Score = float64(passed) / float64(len(rules))
	}
	report.Observations, report.Statistics = e.observations, e.statistics
	report.CompletedOn = time.Now().UTC()
	if err := e.stopped(ctx); err != nil {
		return nil, err
	}
	return report, nil
}

func newEvaluation(engine Engine, set *dqdl.Ruleset, primary Dataset, cfg Config) *evaluation {
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
	}
	return &evaluation{engine: &watched{Engine: engine}, primary: primary, cfg: cfg, set: set, scalars: map[string]*statement{}}
}
