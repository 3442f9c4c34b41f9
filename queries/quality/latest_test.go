package quality

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLatest(t *testing.T) {
	h := NewHistory(t.TempDir())
	orders := func(target string) bool { return strings.HasPrefix(target, "orders ") }
	if _, err := h.Latest(orders); !errors.Is(err, ErrNoReport) {
		t.Errorf("got %v, want %v", err, ErrNoReport)
	}
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, r := range []Report{
		{Ruleset: "a", Target: "orders as x", Score: 0.5, CompletedOn: day},
		{Ruleset: "b", Target: "orders as y", Score: 0.75, CompletedOn: day.Add(time.Hour)},
		{Ruleset: "a", Target: "orders as x", Score: 0.25, CompletedOn: day.Add(time.Minute)},
		{Ruleset: "a", Target: "others as x", Score: 1, CompletedOn: day.Add(2 * time.Hour)},
	} {
		if err := h.Append(&r); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := h.Latest(orders); err != nil || r.Score != 0.75 {
		t.Errorf("got %v with %v, want the newest over orders", r.Score, err)
	}
}
