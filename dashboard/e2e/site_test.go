package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/anomalies"
	"github.com/cardlake/cardlake/queries/insights/predictions"
	"github.com/cardlake/cardlake/queries/insights/recommendations"
	"github.com/cardlake/cardlake/queries/insights/segments"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// stream is the partition that all events came from.
var stream = cardlake.StreamPartition{Stream: "cardlake.transactions"}

// site is a server over a small lake of its own, as "cardlake serve -dev-sign-in" runs.
type site struct {
	url, enter string // its address, and where a browser begins
	stdout     *output
	tail       *tail
}

// output is what the server writes.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String implements fmt.Stringer.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail are the events that are decided and in no snapshot yet.
type tail struct {
	mu   sync.Mutex
	base int64 // the first offset that no snapshot has
	txs  []*cardlake.Transaction
}

// add lets requests of a tenant be decided now.
func (l *tail) add(n int, tenant cardlake.Tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &book{tenant: tenant, mark: markA, country: "BR", currency: "BRL", r: seeded(uint64(time.Now().UnixNano())), number: uint64(1_000_000 + len(l.txs))}
	now := time.Now().UnixMicro()
	for i := range n {
		t := b.request(cardholder{"tk1_" + b.letters(32), "0000", markA + "-live"}, shop{"Mlive001", "Mercado " + markA, "5411", markA + "opolis", "BR"}, now-int64(i%3)*300_000, 2500)
		t.IngestedAt = now
		if i%5 == 0 {
			decline(t, "51", "insufficient_funds")
		}
		t.Position = cardlake.Position{StreamPartition: stream, Offset: l.base + int64(len(l.txs))}
		l.txs = append(l.txs, t)
	}
}

// Tail implements queries.Tail.
func (l *tail) Tail(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := queries.TailRows{To: cardlake.Positions{stream: {Next: l.base + int64(len(l.txs))}}}
	batches := map[cardlake.Tenant]*cardlake.Batch{}
	for _, t := range l.txs {
		if t.Position.Offset < from[stream].Next {
			continue
		}
		if batches[t.Tenant] == nil {
			batches[t.Tenant] = cardlake.NewBatch()
		}
		if err := batches[t.Tenant].Append(t); err != nil {
			return out, err
		}
	}
	for _, tenant := range slices.Sorted(maps.Keys(batches)) {
		out.Records = append(out.Records, batches[tenant].View())
	}
	return out, nil
}

// newSite fills a lake and serves it until the test ends.
func newSite(t *testing.T) *site {
	t.Helper()
	dir := home.Dir(filepath.Join(t.TempDir(), "lake"))
	events := fill(t, dir)
	s := &site{stdout: &output{}, tail: &tail{base: events}}
	o := serving.Options{Tail: s.tail, Brief: true}
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	o.Define(fs)
	check(t, fs.Parse([]string{"-dir", string(dir), "-listen", "127.0.0.1:0", "-dev-sign-in", "-rate", "100000"}))
	check(t, o.Complete())
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	logged := &output{}
	go func() {
		done <- serving.Run(ctx, o, slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelInfo})), s.stdout)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("serve: %v", err)
		}
		for line := range strings.SplitSeq(logged.String(), "\n") {
			if strings.Contains(line, "level=ERROR") {
				t.Errorf("the server logged: %s", line)
			}
		}
	})
	address, link := regexp.MustCompile(`addr=(127\.0\.0\.1:\d+)`), regexp.MustCompile(`http://\S+/development/enter\?key=\S+`)
	for end := time.Now().Add(patience); s.url == "" || s.enter == ""; time.Sleep(20 * time.Millisecond) {
		if m := address.FindStringSubmatch(logged.String()); m != nil {
			s.url = "http://" + m[1]
		}
		s.enter = link.FindString(s.stdout.String())
		select {
		case err := <-done:
			done <- nil
			t.Fatalf("serve: %v\n%s", err, logged)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not start\n%s\n%s", s.stdout, logged)
		}
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill makes the lake of a folder: two tenants with 75 days of trade up to now, alerts of both, and
// segments, predictions and recommendations of the first. It returns how many events there are.
func fill(t *testing.T, dir home.Dir) int64 {
	t.Helper()
	check(t, dir.Make())
	tenants, err := catalog.OpenTenants(dir.Tenants())
	check(t, err)
	ring, err := local.CreateFile(dir.LakeKeyring(), dir.LakeSecret(), keys.LakePurposes)
	check(t, err)
	owners := []keys.Owner{keys.Lake}
	until := time.Now().Add(-2 * time.Minute)
	var txs []*cardlake.Transaction
	for i, of := range []struct {
		name          cardlake.Tenant
		mark, country string
		currency      cardlake.Currency
	}{{tenantA, markA, "BR", "BRL"}, {tenantB, markB, "CO", "COP"}} {
		r, err := tenants.Create(of.name, of.country, of.currency, time.Now())
		check(t, err)
		owners = append(owners, keys.OwnerOf(r.StorageID))
		b := &book{tenant: of.name, mark: of.mark, country: of.country, currency: of.currency, r: seeded(uint64(i) + 5)}
		b.trade(75, until)
		txs = append(txs, b.txs...)
	}
	check(t, ring.EnsureOwners(t.Context(), owners...))
	check(t, grants.Init(dir.Grants(), tenants))
	otherOwners(t, filepath.Join(dir.Grants(), "principals.json"))
	check(t, products.Init(serving.ProductsDir(dir)))

	store := objects.NewSealed(dir.Objects(), ring, objects.SealedConfig{})
	lake, err := iceberg.Open(t.Context(), iceberg.Config{DB: dir.Catalog(), Objects: store})
	check(t, err)
	defer lake.Close()
	slices.SortStableFunc(txs, func(a, b *cardlake.Transaction) int { return int(a.EventTime - b.EventTime) })
	window := writers.New(store, tenants, writers.Config{Parquet: parquet.Config{}}).Open()
	for i, tx := range txs {
		tx.Position = cardlake.Position{StreamPartition: stream, Offset: int64(i)}
		check(t, window.Add(tx))
	}
	at := func(n int) cardlake.Positions { return cardlake.Positions{stream: {Next: int64(n)}} }
	files, err := window.Flush(t.Context(), at(0), at(len(txs)))
	check(t, err)
	table, err := lake.Table(t.Context(), cardlake.Transactions)
	check(t, err)
	_, err = table.Append(t.Context(), catalog.Append{Files: files, From: at(0), To: at(len(txs))})
	check(t, err)
	window.Release()
	runJobs(t, dir, tenants, store, lake)
	return int64(len(txs))
}

// runJobs makes what the pages of insights show.
func runJobs(t *testing.T, dir home.Dir, tenants *catalog.Tenants, store objects.Store, lake *iceberg.Catalog) {
	t.Helper()
	permits, err := grants.Open(dir.Grants(), tenants, grants.Config{})
	check(t, err)
	parser := embedded.NewParser()
	defer parser.Close()
	engine := embedded.New(embedded.Tables(lake.Table), store, embedded.Config{Memory: 1 << 30})
	defer engine.Close()
	record := &queriestest.Log{}
	runner := insights.New(insights.Deps{
		Gateway: queries.New(parser, engine, permits, record, queries.Config{MaxRows: -1, Timeout: time.Hour, Views: views.All}),
		Permits: permits, Recorder: record, Tenants: tenants, Store: store, Now: time.Now,
		Table: func(ctx context.Context, def *cardlake.Table) (insights.Table, error) {
			t, err := lake.Table(ctx, def)
			if err != nil {
				return nil, err
			}
			return t, nil
		},
	}, grants.Caller{Principal: grants.Principal{Kind: grants.ETLJob, Name: "insights"}, Origin: "test"})
	alerts := map[string]string{"warm_days": "7", "budget": "10", "days": "21"}
	for _, of := range []struct {
		job    insights.Job
		tenant cardlake.Tenant
		values map[string]string
	}{
		{anomalies.New(), tenantA, alerts}, {anomalies.New(), tenantB, alerts},
		{segments.New(), tenantA, nil}, {predictions.New(), tenantA, nil}, {recommendations.New(), tenantA, nil},
	} {
		if _, err := runner.Run(t.Context(), of.job, insights.Request{Tenant: of.tenant, Values: of.values}); err != nil {
			t.Fatalf("job %s of %s: %v", of.job.Name(), of.tenant, err)
		}
	}
}

// otherOwners gives each principal an owner of its own, without which nobody could approve what
// another asks for.
func otherOwners(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	var file map[string]any
	check(t, json.Unmarshal(text, &file))
	for _, p := range file["principals"].([]any) {
		p := p.(map[string]any)
		p["owner"] = strings.NewReplacer("/", "-", "@", "-").Replace(p["principal"].(string)) + "@example.com"
	}
	text, err = json.Marshal(file)
	check(t, err)
	check(t, os.WriteFile(path, text, 0o600))
}

// signIn opens the development issuer's page and chooses a principal there.
func (b *tab) signIn(w *world, who string) {
	b.t.Helper()
	b.faults.expect("401 GET " + b.base + "/auth/session") // before one is signed in
	b.navigate(w.site.enter)
	b.until("the choice of principals", `document.querySelector("button[name=subject]") || document.querySelector("main")`)
	if !eval[bool](b, `!!document.querySelector("button[name=subject]")`) {
		b.navigate(b.base + "/auth/sign-in?to=/")
	}
	b.click(`button[name=subject][value$="` + who + `"]`)
	b.until("the dashboard", `location.origin === `+quote(b.base)+` && document.querySelector("main h1")`)
}
