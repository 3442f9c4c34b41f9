package daybench_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/internal/bench/meter"
	"github.com/cardlake/cardlake/internal/daybench"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/figures"
	"github.com/cardlake/cardlake/queries/views"
)

// page is what a page of the dashboard asks, in this order.
type page struct {
	name string
	asks []asked
}

// asked is a figure with its parameters.
type asked struct {
	figure   string
	values   map[string]string
	isBefore bool // of the period before
}

// pages are those that read transactions. USD is the currency of most of the model's rows.
var pages = []page{
	{"overview", []asked{
		{figure: "billed-totals"}, {figure: "billed-totals", isBefore: true}, {"volume", map[string]string{"grain": "hour"}, false}, {"volume", map[string]string{"grain": "hour"}, true},
		{"decline-reasons", map[string]string{"limit": "8"}, false}, {figure: "approval-parts"}, {"by-hour-and-weekday", map[string]string{"clock": "terminal"}, false},
		{figure: "by-country"}, {figure: "by-channel"}, {figure: "by-entry-mode"}, {figure: "by-network"}, {figure: "by-mcc"},
	}},
	{"transactions", []asked{{figure: "transactions"}, {figure: "transactions-total"}}},
	{"declines", []asked{
		{"declines-over-time", map[string]string{"grain": "hour"}, false}, {"declines-over-time", map[string]string{"grain": "hour"}, true}, {figure: "decline-reasons"}, {figure: "declined-value"},
		{figure: "declines-by-bin"}, {figure: "declines-by-merchant"}, {figure: "declines-by-hour-and-reason"}, {figure: "declined-cards"}, {figure: "decline-recovery"},
	}},
	{"cards", []asked{{figure: "card-base"}, {figure: "cards-over-time"}, {figure: "card-activity"}, {figure: "cards-by-product"}, {"top-cards", map[string]string{"currency": "USD"}, false}}},
	{"merchants", []asked{{figure: "top-merchants"}, {figure: "merchants-by-mcc"}, {figure: "new-merchants"}, {"merchant-concentration", map[string]string{"currency": "USD"}, false}}},
	{"card", []asked{{"card-summary", map[string]string{"card": "{card}"}, false}, {"card", map[string]string{"card": "{card}"}, false}}},
	{"purchase", []asked{{"purchase-summary", map[string]string{"purchase": "{purchase}"}, false}, {"purchase", map[string]string{"purchase": "{purchase}"}, false}}},
}

const (
	// looking is how many tenants look at their dashboards at once, each opening a page every so
	// often; a browser asks for so many of its figures at a time.
	looking   = 20
	pageEvery = 10 * time.Second
	atATime   = 6
	// commitEvery is how often a commit lands, with a file of some rows of every tenant: those
	// of that time on the record day.
	commitEvery = 10 * time.Second
	commitRows  = 16
)

// dashboard is a lake, and what stands between it and those who look: decisions of policies, a
// log on disk, the gateway and the engine, as they are served.
type dashboard struct {
	day     *daybench.Day
	gateway *queries.Gateway
	sql     [][][]string // by tenant, page and figure
	close   func()
}

func newDashboard(tb testing.TB, day *daybench.Day, sql [][][]string, cfg embedded.Config) *dashboard {
	tb.Helper()
	ring, err := local.OpenFile(day.Dir.LakeKeyring(), day.Dir.LakeSecret())
	if err != nil {
		tb.Fatal(err)
	}
	log, err := audit.OpenShared(context.WithoutCancel(tb.Context()), filepath.Join(tb.TempDir(), "audit"), ring, audit.Config{Actor: "bench"})
	if err != nil {
		tb.Fatal(err)
	}
	var tenants grantstest.Tenants
	var policies strings.Builder
	for i := range day.Plain {
		name := daybench.Tenant(i)
		tenants = append(tenants, grantstest.Tenant(name))
		fmt.Fprintf(&policies, "@id(%q) permit (principal == Lake::Principal::\"tenant_analyst/analyst@%[1]s\", action, resource is Lake::Slice)\n"+
			"when { resource.tenant == Lake::Tenant::%[1]q && [\"public\", \"money\", \"identifier\", \"truncated_pan\"].contains(resource.tag) };\n", name)
	}
	permits, err := grants.Open(grantstest.Folder(tb, policies.String(), tenants...), tenants, grants.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	parser, engine := embedded.NewParser(), embedded.New(embedded.Tables(day.Catalog.Table), day.Store, cfg)
	return &dashboard{
		day: day, sql: sql, gateway: queries.New(parser, engine, permits, log, queries.Config{Views: views.All}),
		close: func() {
			if err := errors.Join(engine.Close(), parser.Close(), log.Close()); err != nil {
				tb.Error(err)
			}
		},
	}
}

// statements are those of the tenants' pages.
func statements(tb testing.TB, day *daybench.Day, tenants int) (sql [][][]string) {
	tb.Helper()
	for tenant := range tenants {
		p := newPlain(tb, day.Plain[tenant:tenant+1])
		card, purchase, _ := strings.Cut(strings.TrimSpace(p.ask(tb, "SELECT min(card_token), min(transaction_id) FROM cards.transactions")), "|")
		p.close()
		of := strings.NewReplacer("{card}", card, "{purchase}", purchase)
		var own [][]string
		for _, page := range pages {
			var list []string
			for _, a := range page.asks {
				f, ok := figures.Named(a.figure)
				if !ok {
					tb.Fatalf("there is no figure %s", a.figure)
				}
				args := figures.Args{Tenant: daybench.Tenant(tenant), Values: map[string]string{}}
				for name, value := range a.values {
					args.Values[name] = of.Replace(value)
				}
				if f.Range == figures.Ranged {
					args.From, args.To = daybench.Date, daybench.Date.AddDate(0, 0, 1)
				}
				if a.isBefore {
					args.From, args.To = daybench.Date.AddDate(0, 0, -1), daybench.Date
				}
				text, err := f.For(args)
				if err != nil {
					tb.Fatalf("%s: %v", a.figure, err)
				}
				list = append(list, text)
			}
			own = append(own, list)
		}
		sql = append(sql, own)
	}
	return sql
}

// ask asks for a figure and reads its rows.
func (d *dashboard) ask(ctx context.Context, tenant int, sql string) (rows int64, err error) {
	name := daybench.Tenant(tenant)
	caller := grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(name)}, Origin: "bench"}
	r, err := d.gateway.QueryAt(ctx, caller, queries.At{Tenant: name}, sql)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, sql)
	}
	row := make([]any, len(r.Columns()))
	for err == nil {
		err = r.Next(row)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return r.Count(), errors.Join(err, r.Close())
}

// view opens a page that was wanted at the instant, and tells of each figure how long it took since it
// was wanted: with the page, or when the browser had room for it.
func (d *dashboard) view(ctx context.Context, tenant, page int, wanted time.Time, told func(time.Duration)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atATime)
	for i, sql := range d.sql[tenant][page] {
		if i >= atATime {
			wanted = time.Time{}
		}
		group.Go(func() error {
			since := wanted
			if since.IsZero() {
				since = time.Now()
			}
			_, err := d.ask(ctx, tenant, sql)
			told(time.Since(since))
			return err
		})
	}
	return group.Wait()
}

// latencies are of figures by page, and of whole pages.
type latencies struct {
	mu      sync.Mutex
	figures map[string][]time.Duration
	views   []time.Duration
}

// look has tenants open their pages in turn, on a schedule that does not wait for answers.
func (d *dashboard) look(ctx context.Context, tenants int, lasts time.Duration) (*latencies, error) {
	all := &latencies{figures: map[string][]time.Duration{}}
	group, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for i := range int(lasts / (pageEvery / time.Duration(tenants))) {
		wanted := begin.Add(time.Duration(i) * pageEvery / time.Duration(tenants))
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(wanted)):
		}
		tenant := i % tenants
		page := (i/tenants + tenant) % len(pages)
		group.Go(func() error {
			err := d.view(ctx, tenant, page, wanted, func(took time.Duration) {
				all.mu.Lock()
				defer all.mu.Unlock()
				all.figures[pages[page].name] = append(all.figures[pages[page].name], took)
			})
			all.mu.Lock()
			defer all.mu.Unlock()
			all.views = append(all.views, time.Since(wanted))
			return err
		})
	}
	return all, group.Wait()
}

// report reports quantiles in milliseconds.
func (l *latencies) report(b *testing.B) {
	at := func(all []time.Duration, hundredth int) float64 {
		slices.Sort(all)
		return float64(all[(len(all)-1)*hundredth/100].Microseconds()) / 1000
	}
	worst, every := 0.0, []time.Duration(nil)
	for _, name := range slices.Sorted(maps.Keys(l.figures)) {
		p95 := at(l.figures[name], 95)
		b.ReportMetric(p95, name+"-p95-ms")
		worst, every = max(worst, p95), append(every, l.figures[name]...)
	}
	b.ReportMetric(at(every, 50), "p50-ms")
	b.ReportMetric(at(every, 95), "p95-ms")
	b.ReportMetric(at(every, 99), "p99-ms")
	b.ReportMetric(worst, "worst-page-p95-ms")
	b.ReportMetric(at(l.views, 95), "view-p95-ms")
}

// BenchmarkDashboard has tenants look at their dashboards at once: each opens one page after the
// other, one every 10 seconds, and asks for its figures 6 at a time, through the gateway with
// decisions and records. Pages are opened on a schedule (an open loop), and the time of a figure is
// counted from when it was wanted. With commits, one lands every 10 seconds with a file of every
// tenant, so that no answer is good for longer. alone is one tenant who opens each page once:
// cold, when nothing is decrypted and no instance of DuckDB is started; warm, when all was asked
// before but the answers are not kept; kept, when they are.
//
// The day is that of BenchmarkDay.
func BenchmarkDashboard(b *testing.B) {
	day := openDay(b)
	defer day.Close()
	tenants, lasts := min(looking, len(day.Plain)), 70*time.Second
	if testing.Short() {
		lasts = 3 * time.Second
	}
	sql := statements(b, day, tenants)
	served := embedded.Config{CacheBytes: 1 << 30, AnswerBytes: 64 << 20, Ready: 8}
	for _, of := range []struct {
		name    string
		isTwice bool
		answers int64
	}{{"cold", false, 0}, {"warm", true, 0}, {"kept", true, 64 << 20}} {
		b.Run("alone/"+of.name, func(b *testing.B) {
			all := &latencies{figures: map[string][]time.Duration{}}
			var cpu time.Duration
			for b.Loop() {
				cfg := served
				cfg.AnswerBytes = of.answers
				d := newDashboard(b, day, sql, cfg)
				for page := range pages {
					if of.isTwice {
						if err := d.view(b.Context(), 0, page, time.Now(), func(time.Duration) {}); err != nil {
							b.Fatal(err)
						}
					} else {
						d.close()
						d = newDashboard(b, day, sql, cfg)
					}
					begin, wanted := meter.CPU(), time.Now()
					var mu sync.Mutex
					err := d.view(b.Context(), 0, page, wanted, func(took time.Duration) {
						mu.Lock()
						defer mu.Unlock()
						all.figures[pages[page].name] = append(all.figures[pages[page].name], took)
					})
					if err != nil {
						b.Fatal(err)
					}
					all.views = append(all.views, time.Since(wanted))
					cpu += meter.CPU() - begin
				}
				d.close()
			}
			all.report(b)
			b.ReportMetric(cpu.Seconds()*1000/float64(len(all.views)), "cpu-ms/view")
		})
	}
	for _, name := range []string{"still", "commits"} {
		b.Run(fmt.Sprintf("tenants=%d/%s", tenants, name), func(b *testing.B) {
			day := day
			if name == "commits" {
				var err error
				if day, err = day.Copy(b.Context(), filepath.Join(b.TempDir(), "day")); err != nil {
					b.Fatal(err)
				}
				defer day.Close()
			}
			d := newDashboard(b, day, sql, served)
			defer d.close()
			for b.Loop() {
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				var group errgroup.Group
				var committing time.Duration
				if name == "commits" {
					group.Go(func() (err error) {
						committing, err = commits(ctx, day)
						return err
					})
				}
				cpu := meter.CPU()
				all, err := d.look(ctx, tenants, lasts)
				used := meter.CPU() - cpu
				cancel()
				if err := errors.Join(err, group.Wait()); err != nil {
					b.Fatal(err)
				}
				used -= committing
				all.report(b)
				b.ReportMetric(used.Seconds()*1000/float64(len(all.views)), "cpu-ms/view")
				b.ReportMetric(100*used.Seconds()/lasts.Seconds()/float64(runtime.GOMAXPROCS(0)), "cpu-%")
			}
		})
	}
}

// commits adds a file of every tenant every so often until ctx ends. It returns the time that it
// took, which the writer's processor time does not exceed: it is another process's elsewhere.
func commits(ctx context.Context, day *daybench.Day) (took time.Duration, err error) {
	for n := 1; ; n++ {
		begin := time.Now()
		if err := day.Commit(ctx, n, commitRows); err != nil {
			if ctx.Err() != nil {
				err = nil
			}
			return took, err
		}
		took += time.Since(begin)
		select {
		case <-ctx.Done():
			return took, nil
		case <-time.After(commitEvery - time.Since(begin)):
		}
	}
}

func openDay(b *testing.B) *daybench.Day {
	b.Helper()
	dir, tenants := os.Getenv("CARDLAKE_BENCH_DIR"), 100
	if dir == "" {
		dir, tenants = filepath.Join(b.TempDir(), "day"), 10
	}
	day, err := daybench.Open(context.WithoutCancel(b.Context()), dir, tenants, 135_000)
	if err != nil {
		b.Fatal(err)
	}
	return day
}
