package telemetry_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/telemetry"
)

// span is what the tests compare of a span.
type span struct {
	Name, Parent string // the parent's name, if it is of the same trace
	Began, Took  time.Duration
	Status       string
	Attributes   map[string]any
}

// spans returns the recorded spans, Began counted from now.
func spans(r *tracetest.InMemoryExporter) []span {
	names := map[string]string{}
	for _, s := range r.GetSpans() {
		names[s.SpanContext.TraceID().String()+s.SpanContext.SpanID().String()] = s.Name
	}
	var out []span
	for _, s := range r.GetSpans() {
		one := span{
			Name: s.Name, Parent: names[s.SpanContext.TraceID().String()+s.Parent.SpanID().String()],
			Began: s.StartTime.Sub(now), Took: s.EndTime.Sub(s.StartTime), Status: s.Status.Code.String(),
			Attributes: map[string]any{},
		}
		for _, a := range s.Attributes {
			one.Attributes[string(a.Key)] = a.Value.AsInterface()
		}
		out = append(out, one)
	}
	return out
}

func recorder() (*tracetest.InMemoryExporter, *sdktrace.TracerProvider) {
	r := tracetest.NewInMemoryExporter()
	return r, sdktrace.NewTracerProvider(sdktrace.WithSyncer(r))
}

func TestOneTraceForEachWindow(t *testing.T) {
	r, provider := recorder()
	tel := telemetry.New(telemetry.Config{Traces: provider})
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	files := []cardlake.DataFile{{Tenant: "aurora-pay", Rows: 3, Bytes: 300}, {Tenant: "boreal", Rows: 4, Bytes: 400}}
	for _, s := range []ingest.Stage{
		{Name: ingest.StagePoll, Began: at(0), Took: time.Second, Records: 9},
		{Name: ingest.StageTake, Began: at(1), Took: time.Second, Records: 9},
		{Name: ingest.StageWrite, Began: at(2), Took: time.Second, Files: files},
		{Name: ingest.StagePoll, Began: at(2), Took: time.Second, Records: 9},
		{Name: ingest.StageAppend, Began: at(3), Took: time.Second},
		{Name: ingest.StageCommit, Began: at(2), Took: 2 * time.Second, Records: 7},
		{Name: ingest.StageWrite, Began: at(5), Took: time.Second},
		{Name: ingest.StageCommit, Began: at(5), Took: 3 * time.Second, Records: 1, Err: errors.New("the table of aurora-pay moved")},
	} {
		tel.Observe(s)
	}
	none := map[string]any{}
	want := []span{
		{"write", "commit window", 2 * time.Second, time.Second, "Unset", map[string]any{"cardlake.files": int64(2), "cardlake.rows": int64(7), "cardlake.bytes": int64(700)}},
		{"append", "commit window", 3 * time.Second, time.Second, "Unset", none},
		{"commit window", "", 2 * time.Second, 2 * time.Second, "Unset", map[string]any{"cardlake.rows": int64(7), "cardlake.committed": true}},
		{"write", "commit window", 5 * time.Second, time.Second, "Unset", map[string]any{"cardlake.files": int64(0), "cardlake.rows": int64(0), "cardlake.bytes": int64(0)}},
		{"commit window", "", 5 * time.Second, 3 * time.Second, "Error", map[string]any{"cardlake.rows": int64(1), "cardlake.committed": false}},
	}
	if diff := cmp.Diff(want, spans(r)); diff != "" {
		t.Error(diff)
	}
}

func TestStagesAreMeasured(t *testing.T) {
	tel, registry := watched(t)
	tel.Observe(ingest.Stage{Name: ingest.StageTake, Took: 30 * time.Millisecond, Records: 500})
	tel.Observe(ingest.Stage{Name: ingest.StagePoll, Took: time.Second, Records: 500})
	tel.Observe(ingest.Stage{Name: ingest.StageWrite, Took: time.Second, Files: []cardlake.DataFile{{Rows: 300, Bytes: 7000}, {Rows: 100, Bytes: 3000}}})
	tel.Observe(ingest.Stage{Name: ingest.StageAppend, Took: 20 * time.Millisecond})
	tel.Observe(ingest.Stage{Name: ingest.StageCommit, Opened: now, Began: now.Add(30 * time.Second), Took: 2 * time.Second, Records: 400})
	tel.Observe(ingest.Stage{Name: ingest.StageCommit, Took: time.Second, Records: 1000, Err: errors.New("dropped")})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	type sum struct {
		Count uint64
		Sum   float64
	}
	got := map[string]sum{}
	for _, f := range families {
		for _, m := range f.Metric {
			if h := m.Histogram; h != nil {
				name := f.GetName()
				for _, l := range m.Label {
					name += " " + l.GetValue()
				}
				got[name] = sum{h.GetSampleCount(), h.GetSampleSum()}
			}
		}
	}
	want := map[string]sum{
		"cardlake_worker_stage_duration_seconds poll":   {1, 1},
		"cardlake_worker_stage_duration_seconds take":   {1, 0.03},
		"cardlake_worker_stage_duration_seconds write":  {1, 1},
		"cardlake_worker_stage_duration_seconds append": {1, 0.02},
		"cardlake_worker_stage_duration_seconds commit": {2, 3},
		"cardlake_worker_window_duration_seconds":       {1, 32},
		"cardlake_worker_poll_records":                  {1, 500},
		"cardlake_worker_commit_rows":                   {1, 400}, // of the one that was committed
		"cardlake_worker_file_rows":                     {2, 400},
		"cardlake_worker_file_bytes":                    {2, 10000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkObserve(b *testing.B) {
	tel := telemetry.New(telemetry.Config{})
	s := ingest.Stage{Name: ingest.StageTake, Took: 3 * time.Millisecond, Records: 10_000}
	b.ReportAllocs()
	for b.Loop() {
		tel.Observe(s)
	}
}
