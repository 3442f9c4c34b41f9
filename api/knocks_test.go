package api

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestKnocks: the first attempt in a second has a line, the others are counted in one, also
// those that nobody has come after.
func TestKnocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		var log queriestest.Log
		k := &knocks{recorder: &log, metrics: m, log: slog.New(slog.DiscardHandler), now: time.Now}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.run(ctx)
		}()
		attempt := func(reasons ...string) {
			for _, r := range reasons {
				k.add(ctx, knock{origin: "192.0.2.1", request: "id", reason: r, subject: map[string]string{"c": "oidc:x#ana"}[r]})
			}
		}
		attempt("a", "a", "b")
		time.Sleep(1500 * time.Millisecond)
		attempt("c", "b", "b")
		cancel()
		<-done
		line := func(actor, reason string) audit.Record {
			return audit.Record{Actor: actor, Action: "sign_in", Resource: "api", Outcome: audit.Refused, Origin: "192.0.2.1", Reason: reason, Request: "id"}
		}
		counts := func(numbers map[string]int64) audit.Record {
			return audit.Record{Actor: "unknown", Action: "sign_in", Resource: "api", Outcome: audit.Refused, Reason: "more attempts", Numbers: numbers}
		}
		want := []audit.Record{
			line("unknown", "a"), counts(map[string]int64{"a": 1, "b": 1}),
			line("oidc:x#ana", "c"), counts(map[string]int64{"b": 2}),
		}
		if d := cmp.Diff(want, log.Records()); d != "" {
			t.Error(d)
		}
	})
}
