// Package insights runs jobs: programs that read a tenant's rows of cards.transactions and
// write what they make of them to the tables of namespace insights. The jobs themselves are
// the packages below this one; what they compute with are the pure packages queries/anomaly,
// queries/segment, queries/predict and queries/recommend.
//
// A [Runner] makes one run: one job, one tenant, one snapshot, one set of parameters. It reads
// through the gateway as the principal that runs it, within that tenant, at that snapshot, so
// that a job has no way to rows of another tenant, whatever its statements say. The run's id
// is computed from all of these, and so are its rows: the same run gives the same rows.
//
// A run counts once it has its row in insights.runs, which is committed last. Before that
// nothing is different for readers of the views (package queries/views), and a run that fails
// or is killed leaves the one before it in place; what it leaves behind besides is removed by
// the next run of the job for the tenant, and by maintenance.
package insights

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
)

// Job makes one kind of insight of one tenant's rows at a time. A Job is safe for concurrent
// use.
type Job interface {
	// Name is that of the job on the command line and in insights.runs: lower-case letters.
	Name() string
	// Version is that of the method. It changes whenever equal rows may give other results.
	Version() string
	// Tables are those that the job writes, all of them tables by run.
	Tables() []*cardlake.Table
	// Parameters are those that the job has, in the order in which people read them.
	Parameters() []Parameter
	// ReadsLabels says that insights.labels is an input.
	ReadsLabels() bool
	// Run computes. A [*Refusal] says that the tenant has too little to compute with.
	Run(ctx context.Context, t *Task) error
}

// Parameter is a parameter of a job.
type Parameter struct {
	Name    string
	Default string
	Doc     string // one line, with the unit
	// Check reports what is wrong with a value, naming neither the parameter nor the value.
	Check func(value string) error
}

// Values are a run's parameters by name, all of the job's.
type Values map[string]string

// values completes what was asked for with the defaults, and reports every fault.
func values(job Job, asked map[string]string) (Values, error) {
	out := Values{}
	var names []string
	for _, p := range job.Parameters() {
		out[p.Name] = p.Default
		names = append(names, p.Name)
	}
	var faults []error
	for _, name := range slices.Sorted(keysOf(asked)) {
		i := slices.Index(names, name)
		if i < 0 {
			faults = append(faults, fmt.Errorf("parameter %q: job %s has none of that name; it has %s", name, job.Name(), strings.Join(names, ", ")))
			continue
		}
		if check := job.Parameters()[i].Check; check != nil {
			if err := check(asked[name]); err != nil {
				faults = append(faults, fmt.Errorf("parameter %s: %w", name, err))
				continue
			}
		}
		out[name] = asked[name]
	}
	return out, errors.Join(faults...)
}

func keysOf[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Refusal says that a tenant has too little data for a job, and how much is needed. It is an
// answer, not a fault: the run before stays.
type Refusal struct {
	Need string // "at least 10 customers with 2 purchases each"
	Have string // "3"
}

// Error says both.
func (r *Refusal) Error() string {
	return fmt.Sprintf("too little data: %s needed, there are %s", r.Need, r.Have)
}

// Refuse returns a [*Refusal].
func Refuse(need, have string, args ...any) error {
	return &Refusal{Need: need, Have: fmt.Sprintf(have, args...)}
}

// inputs are all that a run's rows follow from, beside the runs before it.
type inputs struct {
	Job, Version string
	Tenant       cardlake.StorageID // names are given anew, storage ids never
	Snapshot     int64
	Labels       *int64 `json:",omitempty"`
	Values       Values
	Settings     []byte `json:",omitempty"`
	// After is the sequence of the run that had taken this one's place when it was asked for
	// again; 0 for one that had not been published before.
	After int64 `json:",omitempty"`
}

// id returns the run's id.
func (in *inputs) id() string {
	text, err := json.Marshal(in) // maps in order of their keys
	if err != nil {
		panic("insights: " + err.Error())
	}
	return ID("run", string(text))
}

// ID returns 32 letters a to p that belong to the parts: 128 bits of SHA-256 over them, each
// with its length. Jobs make ids of alerts and segments with it.
func ID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return string(cardlake.AppendLetters(nil, h.Sum(nil)[:16]))
}
