package quality

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrNoReport says that nothing was evaluated yet.
var ErrNoReport = errors.New("no rules were evaluated over it yet")

// Latest returns the newest report, of any rule set, whose target is wanted.
func (h *History) Latest(wanted func(target string) bool) (Report, error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Report{}, fmt.Errorf("read earlier results: %w", err)
	}
	var newest Report
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".jsonl") {
			continue
		}
		_, err := journal{filepath.Join(h.dir, e.Name())}.each(func(line []byte) error {
			var r Report
			if err := json.Unmarshal(line, &r); err != nil {
				return nil // of another kind
			}
			if r.Ruleset != "" && wanted(r.Target) && r.CompletedOn.After(newest.CompletedOn) {
				newest = r
			}
			return nil
		})
		if err != nil {
			return Report{}, fmt.Errorf("read earlier results: %w", err)
		}
	}
	if newest.CompletedOn.IsZero() {
		return Report{}, ErrNoReport
	}
	return newest, nil
}
