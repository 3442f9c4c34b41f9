package doors_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/render"
)

// streamed is a table of the lake as a feed of changes reads it: one snapshot, behind all rows.
type streamed struct {
	w     *world
	table *cardlake.Table
}

func (s streamed) Snapshots(ctx context.Context) ([]catalog.Snapshot, error) {
	current, _, err := s.w.lake.Plan(ctx, s.table)
	current.Sequence, current.Positions = 1, cardlake.Positions{}
	for _, t := range owners(s.table) {
		for row := range committedRows {
			cell := func(name string) any { return value(s.table, *s.table.Column(name), t, row) }
			p := cardlake.StreamPartition{Stream: cell("stream").(string), Partition: cell("stream_partition").(int32)}
			current.Positions[p] = cardlake.Offset{Next: cell("stream_offset").(int64) + 1}
		}
	}
	return []catalog.Snapshot{current}, err
}

func (s streamed) Files(ctx context.Context, _ int64) ([]cardlake.DataFile, error) {
	_, files, err := s.w.lake.Plan(ctx, s.table)
	for i := range files {
		files[i].Sequence = 1
	}
	return files, err
}

func (w *world) feed(tb testing.TB) *changes.Feed {
	tb.Helper()
	dir := tb.TempDir()
	ring, err := local.CreateFile(filepath.Join(dir, "keys"), filepath.Join(dir, "secret"), keys.LakePurposes)
	if err == nil {
		err = ring.EnsureOwners(tb.Context(), keys.Lake)
	}
	if err != nil {
		tb.Fatal(err)
	}
	open := func(_ context.Context, t *cardlake.Table) (changes.Table, error) { return streamed{w, t}, nil }
	return changes.New(w.gateway, open, w.lake, keys.NewEnvelopes(ring, keys.Object, keys.EnvelopeConfig{}), changes.Config{})
}

// readsChanges are the kinds whose policies are for more actions than to query.
var readsChanges = []grants.Kind{grants.ETLJob, grants.TenantAnalyst, grants.TenantService}

// byTime orders rows as [order] does, by columns that every reader of changes is given.
func byTime(columns []string) func(a, b []any) int {
	tenant, at := slices.Index(columns, "tenant"), slices.IndexFunc(columns, func(n string) bool { return n == "event_time" || n == "minute" })
	return func(a, b []any) int {
		return cmp.Or(strings.Compare(a[tenant].(string), b[tenant].(string)), a[at].(time.Time).Compare(b[at].(time.Time)))
	}
}

// TestChanges reads all changes of every table as every principal, and wants exactly what is
// given: through the feed, and over HTTP.
func TestChanges(t *testing.T) {
	w := newWorld(t)
	feed := w.feed(t)
	server, err := api.New(api.Deps{Gateway: w.gateway, SignIn: byHeader{}, Permits: w.grants, Recorder: w.log, Changes: feed}, api.Config{PerMinute: 100_000, Burst: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, p := range principals() {
		for _, table := range []*cardlake.Table{cardlake.Transactions, cardlake.ControlTotals, cardlake.Rejected} {
			who := fmt.Sprintf("%s, %s", p, table.FullName())
			e := expect(p, table, committedRows)
			isGiven := slices.Contains(readsChanges, p.Kind) && len(e.columns) > 0
			before := len(w.log.Records())
			a := changesOf(t, feed, p, table)
			checkBytes(t, who, p, a)
			if records := w.log.Records()[before:]; len(records) == 0 || (records[0].Outcome == audit.Allowed) != isGiven || records[0].Actor != p.String() {
				t.Errorf("%s: the record is %+v", who, records)
			}
			overHTTP := httpChanges(t, server.Handler(), p, table)
			checkBytes(t, who+" over HTTP", p, overHTTP)
			if !isGiven {
				if a.refusal == "" || overHTTP.refusal == "" {
					t.Errorf("%s: answered although nothing is given:\n%.500s%.500s", who, a.rows, overHTTP.rows)
				}
				continue
			}
			checkAnswer(t, who, door{format: render.CSV}, a, e.answer())
			if lines := strings.Count(overHTTP.rows, "\n"); overHTTP.refusal != "" || lines != len(e.rows)+1 {
				t.Errorf("%s over HTTP: %d lines, want %d: %s", who, lines, len(e.rows)+1, overHTTP.refusal)
			}
			for tenant := range e.about(t, feed, p, table) {
				if !slices.Contains(e.tenants, tenant) {
					t.Errorf("%s is told of tenant %s", who, tenant)
				}
			}
		}
	}
}

// changesOf are the changes in the order of [order].
func changesOf(t *testing.T, feed *changes.Feed, p grants.Principal, table *cardlake.Table) answer {
	t.Helper()
	b, err := feed.Read(t.Context(), caller(p), changes.Request{Table: table.FullName(), Since: changes.Start})
	if err != nil {
		return answer{refusal: err.Error()}
	}
	defer b.Close()
	sorted := &fixed{columns: b.Columns()}
	var names []string
	for _, c := range b.Columns() {
		names = append(names, c.Name)
	}
	for row := make([]any, len(names)); ; row = make([]any, len(names)) {
		err := b.Next(row)
		if err == io.EOF {
			break
		}
		if err != nil {
			return answer{refusal: err.Error()}
		}
		sorted.rows = append(sorted.rows, row)
	}
	if table.ByTenant {
		slices.SortFunc(sorted.rows, byTime(names))
	}
	var text bytes.Buffer
	if err := render.CSV(t.Context(), &text, sorted); err != nil {
		t.Fatal(err)
	}
	b.KeptSince = nil
	return answer{rows: text.String(), aside: fmt.Sprintf("%+v %s", b.About, b.Cursor)}
}

func (e expected) about(t *testing.T, feed *changes.Feed, p grants.Principal, table *cardlake.Table) map[cardlake.Tenant]cardlake.Day {
	t.Helper()
	b, err := feed.Read(t.Context(), caller(p), changes.Request{Table: table.FullName(), Since: changes.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	return b.KeptSince
}

// httpChanges asks for them over HTTP, without a connection.
func httpChanges(t *testing.T, h http.Handler, p grants.Principal, table *cardlake.Table) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/changes?since=start&format=csv&table="+table.FullName(), nil)
	r.Header.Set("Test-Principal", p.String())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return answer{refusal: w.Body.String()}
	}
	return answer{rows: w.Body.String(), aside: fmt.Sprint(w.Header())}
}
