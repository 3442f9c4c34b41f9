package detokenize_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/tokenize/detokenize"
)

func TestParsePolicyRefuses(t *testing.T) {
	for text, want := range map[string]string{
		``:                                     "EOF",
		`{}`:                                   "nobody could do anything",
		`{"principals": {}} x`:                 "text behind its end",
		`{"principals": {"": {"pin": ["*"]}}}`: "1 to 256 bytes",
		`{"principals": {"a": {"request": ["*"]}}}`:                            "tokens_per_hour",
		`{"principals": {"a": {"tokens_per_hour": -1}}}`:                       "tokens_per_hour",
		`{"principals": {"a": {"pin": ["Aurora"]}}}`:                           "no tenant's name",
		`{"principals": {"a": {"aprove": ["*"]}}}`:                             "unknown field",
		`{"principals": {"a": {"request": ["*"]}, "b": {"pin": ["not one"]}}}`: "\n", // both faults
	} {
		if _, err := detokenize.ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// A policy is taken up when it changes; one that is faulty, gone, or that others could have
// written is not, and is complained about.
func TestPolicyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.json")
	at := time.Now().Add(-time.Hour)
	write := func(text string, mode os.FileMode) {
		t.Helper()
		at = at.Add(time.Second)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	const ana, bea = `{"principals": {"ana": {"pin": ["*"]}}}`, `{"principals": {"bea": {"pin": ["*"]}}}`
	write(ana, 0o622)
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if _, err := detokenize.OpenPolicy(path, logger); !errors.Is(err, detokenize.ErrPolicyMode) {
		t.Errorf("writable by others: error %v", err)
	}
	write(ana, 0o600)
	f, err := detokenize.OpenPolicy(path, logger)
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool { _, ok := f.Policy().Principals[name]; return ok }
	for step, change := range map[string]func(){
		"faulty":      func() { write(`{`, 0o600) },
		"of no one's": func() { write(bea, 0o666) },
		"gone":        func() { _ = os.Remove(path) },
	} {
		log.Reset()
		change()
		if !has("ana") || log.Len() == 0 {
			t.Errorf("%s: the last good policy is gone, or nothing was said: %q", step, log.String())
		}
	}
	write(bea, 0o644)
	if has("ana") || !has("bea") {
		t.Error("the new policy is not taken up")
	}
}
