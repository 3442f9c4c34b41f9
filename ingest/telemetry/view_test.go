package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/telemetry"
)

var now = time.Date(2026, 3, 14, 15, 9, 26, 500_000_000, time.UTC)

func clock() time.Time { return now }

// standing is a worker that stands still.
type standing struct {
	stats  ingest.Stats
	status ingest.Status
	ready  error
}

func (s *standing) Stats() ingest.Stats   { return s.stats }
func (s *standing) Status() ingest.Status { return s.status }
func (s *standing) Ready() error          { return s.ready }

// mute is a source that says nothing of itself.
type mute struct{}

func (mute) Run(context.Context, ingest.Assignee) error       { return nil }
func (mute) Poll(context.Context) ([]ingest.Record, error)    { return nil, nil }
func (mute) Seek(cardlake.Positions)                          {}
func (mute) Commit(context.Context, cardlake.Positions) error { return nil }

type countingSource struct {
	mute
	lag    map[cardlake.StreamPartition]int64
	faults map[cardlake.StreamPartition]error
}

type answeringSource struct {
	countingSource
	at time.Time
}

func (s answeringSource) Answered() time.Time { return s.at }

func (s countingSource) Lag() map[cardlake.StreamPartition]int64    { return s.lag }
func (s countingSource) Faults() map[cardlake.StreamPartition]error { return s.faults }

type timingSource struct {
	mute
	lag map[cardlake.StreamPartition]time.Duration
}

func (s timingSource) Lag() map[cardlake.StreamPartition]time.Duration { return s.lag }

func place(p int32) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: "events", Partition: p}
}

// full is a worker of which everything is known.
func full() *standing {
	return &standing{
		stats: ingest.Stats{
			Records: 10, Rows: 7, Totals: 13, Duplicates: 1, Offboarded: 14, Late: 2, OutOfOrder: 3, Rejected: map[string]int64{"undecodable": 2},
			Removals: []ingest.Removal{{Tenant: "a", Field: "merchant_name", Count: 2}, {Tenant: "b", Field: "merchant_name", Count: 3}},

			Commits: 4, Conflicts: 5, Unknown: 6, AppendErrors: 7, PutErrors: 8, PollErrors: 9, KeyRetries: 11, PinRetries: 12,
			LastCommit: now.Add(-time.Minute), Watermark: now.Add(-2 * time.Minute),
		},
		status: ingest.Status{
			Partitions: []ingest.PartitionStatus{{
				StreamPartition: place(3), Taken: 20, Committed: 15,
				Watermark: now.Add(-3 * time.Second), LastRecord: now.Add(-2 * time.Second),
			}},
			Oldest: now.Add(-10 * time.Second), Pending: 1, OpenRows: 12, OpenBytes: 1300,
			LastPoll: now.Add(-time.Second), LastCommit: now.Add(-time.Minute),
		},
		ready: errors.New("no commit since noon"),
	}
}

// TestEveryMetric compares a whole scrape, histograms aside.
func TestEveryMetric(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	source := answeringSource{countingSource{lag: map[cardlake.StreamPartition]int64{place(3): 40, place(4): 1}}, now.Add(-4 * time.Second)}
	if _, err := telemetry.New(telemetry.Config{Now: clock}).Watch(registry, full(), source); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"cardlake_worker_ready":                                                            0,
		"cardlake_worker_last_poll_timestamp_seconds":                                      1773500965.5,
		"cardlake_worker_last_answer_timestamp_seconds":                                    1773500962.5,
		"cardlake_worker_last_commit_timestamp_seconds":                                    1773500906.5,
		"cardlake_worker_committed_watermark_timestamp_seconds":                            1773500846.5,
		"cardlake_worker_oldest_uncommitted_seconds":                                       10,
		"cardlake_worker_pending_windows":                                                  1,
		"cardlake_worker_open_rows":                                                        12,
		"cardlake_worker_open_bytes":                                                       1300,
		"cardlake_worker_partition_taken_offset{partition=3,stream=events}":                20,
		"cardlake_worker_partition_committed_offset{partition=3,stream=events}":            15,
		"cardlake_worker_partition_watermark_timestamp_seconds{partition=3,stream=events}": 1773500963.5,
		"cardlake_worker_partition_lag_records{partition=3,stream=events}":                 40,
		"cardlake_worker_partition_lag_seconds{partition=3,stream=events}":                 2,
		"cardlake_worker_partition_faulty{partition=3,stream=events}":                      0,
		"cardlake_worker_records_total":                                                    10,
		"cardlake_worker_rows_total":                                                       7,
		"cardlake_worker_control_totals_added_total":                                       13,
		"cardlake_worker_duplicate_records_total":                                          1,
		"cardlake_worker_offboarded_records_total":                                         14,
		"cardlake_worker_removed_card_numbers_total{field=merchant_name}":                  5,
		"cardlake_worker_removed_card_numbers_total{field=merchant_city}":                  0,
		"cardlake_worker_removed_card_numbers_total{field=merchant_id}":                    0,
		"cardlake_worker_removed_card_numbers_total{field=terminal_id}":                    0,
		"cardlake_worker_removed_card_numbers_total{field=rrn}":                            0,
		"cardlake_worker_removed_card_numbers_total{field=approval_code}":                  0,
		"cardlake_worker_rejected_records_total{reason=undecodable}":                       2,
		"cardlake_worker_rejected_records_total{reason=unknown_schema}":                    0,
		"cardlake_worker_rejected_records_total{reason=unknown_tenant}":                    0,
		"cardlake_worker_rejected_records_total{reason=unopenable}":                        0,
		"cardlake_worker_rejected_records_total{reason=invalid_field}":                     0,
		"cardlake_worker_late_rows_total":                                                  2,
		"cardlake_worker_out_of_order_rows_total":                                          3,
		"cardlake_worker_commits_total":                                                    4,
		"cardlake_worker_conflicts_total":                                                  5,
		"cardlake_worker_unknown_outcomes_total":                                           6,
		"cardlake_worker_errors_total{kind=append}":                                        7,
		"cardlake_worker_errors_total{kind=put}":                                           8,
		"cardlake_worker_errors_total{kind=poll}":                                          9,
		"cardlake_worker_errors_total{kind=key}":                                           11,
		"cardlake_worker_errors_total{kind=pin}":                                           12,
	}
	for _, f := range ingest.FreeTexts() {
		if key := "cardlake_worker_removed_card_numbers_total{field=" + f + "}"; want[key] == 0 {
			want[key] = 0
		}
	}
	if diff := cmp.Diff(want, scrape(t, registry)); diff != "" {
		t.Error(diff)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// scrape returns every counter and gauge, by name and labels.
func scrape(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				out[name] = m.Counter.GetValue()
			case m.Gauge != nil:
				out[name] = m.Gauge.GetValue()
			}
		}
	}
	return out
}

func TestNothingIsInventedBeforeTheFirstRecord(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	w := &standing{status: ingest.Status{Partitions: []ingest.PartitionStatus{{StreamPartition: place(0)}}}}
	if _, err := telemetry.New(telemetry.Config{Now: clock}).Watch(registry, w, mute{}); err != nil {
		t.Fatal(err)
	}
	for name, value := range scrape(t, registry) {
		if strings.Contains(name, "timestamp") || strings.Contains(name, "lag") {
			t.Errorf("%s is %v, want it absent", name, value)
		}
	}
}

func TestLag(t *testing.T) {
	one := func(seconds float64) *float64 { return &seconds }
	many := func(n int64) *int64 { return &n }
	records := func(n int64) ingest.Source {
		return countingSource{lag: map[cardlake.StreamPartition]int64{place(0): n}}
	}
	delay := func(d time.Duration) ingest.Source {
		return timingSource{lag: map[cardlake.StreamPartition]time.Duration{place(0): d}}
	}
	fault := map[cardlake.StreamPartition]error{place(0): errors.New("leader is away")}
	old, older := now.Add(-90*time.Second), now.Add(-time.Hour)
	for _, c := range []struct {
		name            string
		source          ingest.Source
		last, watermark time.Time
		records         *int64
		seconds         *float64
	}{
		{"caught up", records(0), old, older, many(0), one(0)},
		{"behind", records(7), old, older, many(7), one(90)},
		{"behind since it was assigned", records(7), time.Time{}, older, many(7), one(3600)},
		{"behind, the lake is empty", records(7), time.Time{}, time.Time{}, many(7), nil},
		{"the stream's clock is ahead", records(7), now.Add(time.Second), older, many(7), one(0)},
		{"not fetched yet", countingSource{}, old, older, nil, nil},
		{"cannot be read", countingSource{lag: map[cardlake.StreamPartition]int64{place(0): 0}, faults: fault}, old, older, many(0), one(90)},
		{"cannot be read since it was assigned", countingSource{faults: fault}, time.Time{}, older, nil, one(3600)},
		{"the source tells the time", delay(1500 * time.Millisecond), old, older, nil, one(1.5)},
		{"the source tells nothing", mute{}, old, older, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &standing{status: ingest.Status{Partitions: []ingest.PartitionStatus{{
				StreamPartition: place(0), LastRecord: c.last, Watermark: c.watermark,
			}}}}
			v, err := telemetry.New(telemetry.Config{Now: clock}).Watch(prometheus.NewRegistry(), w, c.source)
			if err != nil {
				t.Fatal(err)
			}
			got := v.Report().Partitions[0]
			if diff := cmp.Diff(c.records, got.LagRecords); diff != "" {
				t.Errorf("records: %s", diff)
			}
			if diff := cmp.Diff(c.seconds, got.LagSeconds); diff != "" {
				t.Errorf("seconds: %s", diff)
			}
		})
	}
}

func TestReadyTellsOfPartitionsThatCannotBeRead(t *testing.T) {
	w := &standing{}
	source := countingSource{faults: map[cardlake.StreamPartition]error{
		place(1): errors.New("events/1: offset out of range"), place(0): errors.New("leader is away"),
	}}
	v, err := telemetry.New(telemetry.Config{}).Watch(prometheus.NewRegistry(), w, source)
	if err != nil {
		t.Fatal(err)
	}
	want := "cannot be read: events/0: leader is away\ncannot be read: events/1: offset out of range"
	if err := v.Ready(); err == nil || err.Error() != want {
		t.Errorf("ready: %v, want %s", err, want)
	}
	w.ready = errors.New("no poll since noon")
	if diff := cmp.Diff(append([]string{"no poll since noon"}, strings.Split(want, "\n")...), v.Report().Reasons); diff != "" {
		t.Error(diff)
	}
	clear(source.faults)
	w.ready = nil
	if err := v.Ready(); err != nil || !v.Report().Ready {
		t.Errorf("ready: %v, want nil", err)
	}
}

func TestASilentStreamIsNotReady(t *testing.T) {
	for _, c := range []struct {
		name string
		at   time.Time
		want string
	}{
		{"never", time.Time{}, "the stream has not answered yet"},
		{"just now", now, ""},
		{"within limits", now.Add(-10 * time.Second), ""},
		{"long ago", now.Add(-11 * time.Second), "the stream has not answered since 2026-03-14T15:09:15Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := telemetry.New(telemetry.Config{Now: clock, StallAfter: 10 * time.Second}).Watch(prometheus.NewRegistry(), &standing{}, answeringSource{at: c.at})
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(v.Ready()); got != c.want && (c.want != "" || got != "<nil>") {
				t.Errorf("ready: %s, want %q", got, c.want)
			}
		})
	}
}

func TestWatchTwiceInOneRegistryIsRefused(t *testing.T) {
	registry := prometheus.NewRegistry()
	t1 := telemetry.New(telemetry.Config{})
	if _, err := t1.Watch(registry, full(), mute{}); err != nil {
		t.Fatal(err)
	}
	if _, err := t1.Watch(registry, full(), mute{}); err == nil {
		t.Error("the second worker would hide the first")
	}
}
