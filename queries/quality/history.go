package quality

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
)

// History keeps reports: one file of JSON lines for each rule set and target, to which runs
// append. It is safe for concurrent use, also by several processes.
type History struct{ dir string }

// NewHistory returns the history in the folder, which Append makes if it is not there.
func NewHistory(dir string) *History { return &History{dir} }

func (h *History) journal(ruleset, target string) journal {
	// Names are people's, and may be anything: the file's is a hash of them.
	sum := sha256.Sum256([]byte(ruleset + "\x00" + target))
	return journal{filepath.Join(h.dir, hex.EncodeToString(sum[:16])+".jsonl")}
}

// Append keeps the report, durably.
func (h *History) Append(r *Report) error {
	if err := h.journal(r.Ruleset, r.Target).append(r); err != nil {
		return fmt.Errorf("keep the results: %w", err)
	}
	return nil
}

// Reports returns the newest reports of the rule set over the target, at most n, the oldest
// first.
func (h *History) Reports(ruleset, target string, n int) ([]Report, error) {
	var reports []Report
	_, err := h.journal(ruleset, target).each(func(line []byte) error {
		var r Report
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("a line is no report: %w", err)
		}
		if r.Ruleset != ruleset || r.Target != target {
			return nil
		}
		if reports = append(reports, r); len(reports) > 2*n {
			reports = append(reports[:0], reports[len(reports)-n:]...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read earlier results: %w", err)
	}
	return reports[max(0, len(reports)-n):], nil
}
