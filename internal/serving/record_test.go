package serving

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake/catalog/audit"
)

// brokenTrail is an audit log that fails as it is told.
type brokenTrail struct {
	err     error
	records []audit.Record
}

func (b *brokenTrail) Append(_ context.Context, r audit.Record) error {
	if b.err == nil {
		b.records = append(b.records, r)
	}
	return b.err
}

func (b *brokenTrail) Close() error { return nil }

// TestReadyWhileTheLogCanBeWritten, and again when it can.
func TestReadyWhileTheLogCanBeWritten(t *testing.T) {
	trail := &brokenTrail{}
	w := newWatchedLog(trail, prometheus.NewRegistry())
	ready := func(want bool) {
		t.Helper()
		w.probed = time.Time{}
		if err := w.Ready(t.Context()); (err == nil) != want {
			t.Errorf("ready: %v", err)
		}
	}
	ready(true)
	trail.err = errors.New("the disk is full")
	ready(true) // nobody has tried
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w.Append(gone, recordProbe) == nil {
		t.Error("a record was written")
	}
	ready(true) // it was the caller who went away
	if w.Append(t.Context(), recordProbe) == nil {
		t.Error("a record was written")
	}
	ready(false)
	trail.err = nil
	ready(true)
	if len(trail.records) != 1 || trail.records[0].Action != "serve.probe" {
		t.Errorf("%+v", trail.records)
	}
	trail.err = audit.ErrRecord
	if w.Append(t.Context(), recordProbe) == nil {
		t.Error("a record was written")
	}
	ready(true) // the record was at fault
}
