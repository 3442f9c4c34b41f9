package quality

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
)

// Quarantine keeps which partitions must not be taken for good, because a rule failed on them. No
// data is touched: whoever passes data on, such as changes and events of ready partitions, asks
// Quarantined. Every mark and release is a line that stays. It is safe for concurrent use, also by
// several processes.
type Quarantine struct{ journal journal }

// NewQuarantine returns the quarantine in the folder, which Mark makes if it is not there.
func NewQuarantine(dir string) *Quarantine {
	return &Quarantine{journal{filepath.Join(dir, "quarantine.jsonl")}}
}

// Mark is a partition that was quarantined or released. Tenant "" and a zero Day mean all.
type Mark struct {
	At       time.Time
	Table    string // its full name
	Tenant   cardlake.Tenant
	Day      time.Time
	By       string // the principal
	Ruleset  string `json:",omitempty"`
	Reason   string // of the release, or the rules that failed
	Released bool   `json:",omitempty"`
}

func (m Mark) key() string {
	return m.Table + "\x00" + string(m.Tenant) + "\x00" + m.Day.UTC().Format(time.DateOnly)
}

func (m Mark) check() error {
	switch {
	case m.Table == "":
		return errors.New("a mark needs a table")
	case m.By == "":
		return errors.New("a mark needs who made it")
	case m.Reason == "":
		return errors.New("a mark needs a reason")
	}
	return nil
}

// Mark quarantines the partition, durably.
func (q *Quarantine) Mark(m Mark) error {
	m.Released = false
	if err := m.check(); err != nil {
		return err
	}
	if err := q.journal.append(m); err != nil {
		return fmt.Errorf("quarantine %s: %w", m.Table, err)
	}
	return nil
}

// ErrNotQuarantined says that there is nothing to release.
var ErrNotQuarantined = errors.New("the partition is not in quarantine")

// Release ends the quarantine of exactly the partition that was marked.
func (q *Quarantine) Release(m Mark) error {
	m.Released = true
	if err := m.check(); err != nil {
		return err
	}
	marks, err := q.Marks()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(marks, func(o Mark) bool { return o.key() == m.key() }) {
		return ErrNotQuarantined
	}
	if err := q.journal.append(m); err != nil {
		return fmt.Errorf("release %s: %w", m.Table, err)
	}
	return nil
}

// Marks returns what is in quarantine now, in the order in which it was marked. A damaged line is
// an error: it could be a mark.
func (q *Quarantine) Marks() ([]Mark, error) {
	var marks []Mark
	isDamaged, err := q.journal.each(func(line []byte) error {
		var m Mark
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("a line is no mark: %w", err)
		}
		marks = slices.DeleteFunc(marks, func(o Mark) bool { return o.key() == m.key() })
		if !m.Released {
			marks = append(marks, m)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the quarantine: %w", err)
	case isDamaged:
		return nil, errors.New("read the quarantine: a line is damaged and could be a mark: look at quarantine.jsonl, and quarantine again what it was about")
	}
	return marks, nil
}

// Quarantined says whether the partition, or more than it, is in quarantine. It is, as far as
// anybody knows, when that cannot be read.
func (q *Quarantine) Quarantined(table string, tenant cardlake.Tenant, day time.Time) bool {
	marks, err := q.Marks()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(marks, func(m Mark) bool {
		return m.Table == table && (m.Tenant == "" || m.Tenant == tenant) &&
			(m.Day.IsZero() || m.Day.UTC().Format(time.DateOnly) == day.UTC().Format(time.DateOnly))
	})
}
