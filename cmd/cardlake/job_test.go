package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries/insights"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// counting is a job that counts the purchases of each customer.
type counting struct {
	before, after func(context.Context, *insights.Task) error
}

func (counting) Name() string              { return "predict" }
func (counting) Version() string           { return "test" }
func (counting) Tables() []*cardlake.Table { return []*cardlake.Table{cardlake.Predictions} }
func (counting) ReadsLabels() bool         { return false }
func (counting) Parameters() []insights.Parameter {
	return []insights.Parameter{{Name: "least", Default: "1", Doc: "purchases of a customer", Check: func(v string) error {
		if _, err := strconv.Atoi(v); err != nil {
			return errors.New("is not a number")
		}
		return nil
	}}}
}

func (c counting) Run(ctx context.Context, t *insights.Task) error {
	if t.Rows < 10 {
		return insights.Refuse("at least 10 events", "%d", t.Rows)
	}
	if c.before != nil {
		if err := c.before(ctx, t); err != nil {
			return err
		}
	}
	t.Card.Method = "counting"
	t.Card.Metrics = []report.Metric{{Name: "hits", Value: 0.5, Unit: report.Share, Better: report.Higher, Baselines: []report.Baseline{{Name: "chance", Value: 0.25}}}}
	err := t.Each(ctx, `SELECT customer_id, count(*) FROM cards.transactions WHERE customer_id IS NOT NULL GROUP BY 1 HAVING count(*) >= `+t.Values["least"]+` ORDER BY 1`, func(row []any) error {
		return t.Append(ctx, cardlake.Predictions, row[0], row[1], 0.0, 1.5, .5, 1.0, 2.0, 3.0, nil, nil, nil, nil, nil, nil, nil)
	})
	if err == nil && c.after != nil {
		err = c.after(ctx, t)
	}
	return err
}

// jobHome is a lake of the tenants' rows, each of so many customers as it has rows in tens.
func jobHome(t testing.TB, rows map[cardlake.Tenant]int) home.Dir {
	t.Helper()
	t.Setenv("CARDLAKE_AS", "")
	dir := home.Dir(t.TempDir())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(dir.Make())
	tenants, err := catalog.OpenTenants(dir.Tenants())
	must(err)
	owners := []keys.Owner{keys.Lake}
	for tenant := range rows {
		r, err := tenants.Create(tenant, "BR", "BRL", time.Now())
		must(err)
		owners = append(owners, keys.OwnerOf(r.StorageID))
	}
	ring, err := local.CreateFile(dir.LakeKeyring(), dir.LakeSecret(), keys.LakePurposes)
	must(err)
	must(ring.EnsureOwners(t.Context(), owners...))
	must(grants.Init(dir.Grants(), tenants))
	addRows(t, dir, rows)
	return dir
}

// addRows commits so many more rows of each tenant, at times close to each other.
func addRows(t testing.TB, dir home.Dir, rows map[cardlake.Tenant]int) {
	t.Helper()
	commit(t, dir, func(next int64) (txs []*cardlake.Transaction) {
		for tenant, n := range rows {
			for i, tx := range writerstest.New(uint64(next) + uint64(len(tenant))).Take(n) {
				tx.Tenant, tx.CustomerID = tenant, fmt.Sprintf("%s-c%d", tenant, i%max(n/10, 1))
				txs = append(txs, tx)
			}
		}
		return txs
	})
}

// commit commits transactions, which make returns, in one snapshot. next is of no row before.
func commit(t testing.TB, dir home.Dir, make func(next int64) []*cardlake.Transaction) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := openToWrite(t.Context(), []string{"-dir", string(dir)})
	must(err)
	defer l.Close()
	tenants, err := catalog.OpenTenants(dir.Tenants())
	must(err)
	table, err := l.Table(t.Context(), cardlake.Transactions)
	must(err)
	positions, err := table.Positions(t.Context())
	must(err)
	stream := cardlake.StreamPartition{Stream: "cards"}
	next := positions[stream].Next
	from := cardlake.Positions{stream: {Next: next}}
	window := writers.New(l.Store, tenants, writers.Config{}).Open()
	for _, tx := range make(next) {
		tx.Position = cardlake.Position{StreamPartition: stream, Offset: next}
		next++
		must(window.Add(tx))
	}
	to := cardlake.Positions{stream: {Next: next}}
	files, err := window.Flush(t.Context(), from, to)
	must(err)
	_, err = table.Append(t.Context(), catalog.Append{Files: files, From: from, To: to})
	must(err)
}

// runJob runs "job run" over jobs that are given, and returns its exit code as main has it.
func runJob(ctx context.Context, dir home.Dir, job insights.Job, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	err := jobRunOf(ctx, []insights.Job{job}, append([]string{"-dir", string(dir)}, args...), &out, &errs)
	var exit exitCode
	switch {
	case errors.As(err, &exit):
		code = int(exit)
	case ctx.Err() != nil && err != nil:
		code = 1
	case err != nil:
		code = 2
		fmt.Fprintln(&errs, err)
	}
	return out.String(), errs.String(), code
}

// asAnalyst answers a statement as the tenant's analyst.
func asAnalyst(t testing.TB, dir home.Dir, tenant cardlake.Tenant, sql string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"query", "-dir", string(dir), "-as", "tenant_analyst/analyst@" + string(tenant), "-format", "csv", sql}, nil, &out, &errs)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

const (
	acmeRows = "SELECT tenant, run_id, customer_id, frequency FROM views.predictions ORDER BY ALL"
	runsSeen = "SELECT count(*) AS n FROM insights.runs"
)

func TestJobRun(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 100, "zeta": 50, "tiny": 3})
	out, errs, code := runJob(t.Context(), dir, counting{}, "predict")
	if code != 0 || strings.Contains(errs, "cardlake") {
		t.Fatalf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{"acme    published ", "zeta    published ", "hits 50.0% (chance: 25.0%)", "tiny    too little data  -", "too little data: at least 10 events needed, there are 3"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	before := asAnalyst(t, dir, "acme", acmeRows)
	if strings.Count(before, "\n") != 11 || strings.Contains(before, "zeta") {
		t.Errorf("the analyst of acme sees\n%s", before)
	}
	if got := asAnalyst(t, dir, "zeta", acmeRows); strings.Count(got, "\n") != 6 || strings.Contains(got, "acme") {
		t.Errorf("the analyst of zeta sees\n%s", got)
	}
	if got := asAnalyst(t, dir, "tiny", runsSeen); got != "n\n0\n" {
		t.Errorf("the analyst of tiny sees %q", got)
	}

	// The same again does nothing; computed again it is the same.
	again, errs, code := runJob(t.Context(), dir, counting{}, "-format", "json", "predict", "-tenant", "acme")
	var lines []jobLine
	if err := json.Unmarshal([]byte(again), &lines); err != nil || code != 0 || len(lines) != 1 || lines[0].State != "unchanged" {
		t.Errorf("again: exit code %d, %v: %s%s", code, err, again, errs)
	}
	if out, errs, code := runJob(t.Context(), dir, counting{}, "predict", "-tenant", "acme", "-check"); code != 0 || !strings.Contains(out, "checked") {
		t.Errorf("checked: exit code %d: %s%s", code, out, errs)
	}

	// Another tenant's rows change nothing of this one's; at the older snapshot it is the old run.
	l, err := openToWrite(t.Context(), []string{"-dir", string(dir)})
	if err != nil {
		t.Fatal(err)
	}
	table, err := l.Table(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	old, err := table.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	addRows(t, dir, map[cardlake.Tenant]int{"zeta": 40})
	rowsOf := func(text string) (out []string) { // without their run
		for line := range strings.Lines(text) {
			fields := strings.Split(line, ",")
			out = append(out, strings.Join(append(fields[:1:1], fields[2:]...), ","))
		}
		return out
	}
	if out, errs, code := runJob(t.Context(), dir, counting{}, "predict", "-tenant", "acme"); code != 0 || !strings.Contains(out, "published") {
		t.Errorf("after rows of another tenant: exit code %d: %s%s", code, out, errs)
	}
	if got := asAnalyst(t, dir, "acme", acmeRows); strings.Join(rowsOf(got), "") != strings.Join(rowsOf(before), "") {
		t.Errorf("rows of another tenant changed acme's:\n%s\nwere\n%s", got, before)
	}
	for _, want := range []string{"published", "unchanged"} { // the run after it had taken its place
		if out, errs, code := runJob(t.Context(), dir, counting{}, "predict", "-tenant", "acme", "-at", strconv.FormatInt(old.ID, 10)); code != 0 || !strings.Contains(out, want) {
			t.Errorf("at the older snapshot: exit code %d, want %s: %s%s", code, want, out, errs)
		}
	}
}

// history is 75 days of customers of three kinds, who buy at few merchants again and again.
func history(tenant cardlake.Tenant, customers int) func(int64) []*cardlake.Transaction {
	return func(next int64) (txs []*cardlake.Transaction) {
		const days = 75
		random := rand.New(rand.NewPCG(uint64(next)+uint64(len(tenant)), 3))
		g := writerstest.New(uint64(next) + 7)
		for c := range customers {
			kind := c % 3
			every := []int{2, 7, 20}[kind] // days between purchases
			last, card := days, g.Take(1)[0].CardToken
			if c%5 == 4 {
				last = days / 2 // who does not come back
			}
			for day := random.IntN(every); day < last; day += 1 + random.IntN(2*every-1) {
				tx := g.Take(1)[0]
				tx.Tenant, tx.CustomerID, tx.CardToken = tenant, fmt.Sprintf("%s-c%d", tenant, c), card
				tx.EventTime += int64(day)*24*time.Hour.Microseconds() + int64(random.IntN(12*3600))*1_000_000
				tx.LocalTime, tx.IngestedAt = tx.EventTime-3*time.Hour.Microseconds(), tx.EventTime+1_000_000
				merchant := kind*10 + random.IntN(4+c%3)
				tx.MerchantID, tx.MerchantName, tx.MCC = fmt.Sprintf("m%02d", merchant), fmt.Sprintf("SHOP %d", merchant), []string{"5411", "5812", "5541", "5999"}[merchant%4]
				tx.Approved, tx.DeclineReason, tx.ResponseCode = true, "", "00"
				txs = append(txs, tx)
			}
		}
		slices.SortFunc(txs, func(a, b *cardlake.Transaction) int { return cmp.Compare(a.EventTime, b.EventTime) })
		return txs
	}
}

// TestEveryJob runs the jobs over a lake with some weeks of a tenant: each is published, is there
// when it is run again, is the same when it is computed again, and is its tenant's alone.
func TestEveryJob(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 0, "zeta": 50})
	commit(t, dir, history("acme", 240))
	for _, job := range insightJobs() {
		for _, step := range []struct {
			args  []string
			state string
		}{{nil, "published"}, {nil, "unchanged"}, {[]string{"-check"}, "checked"}} {
			out, errs, code := runJob(t.Context(), dir, job, append([]string{job.Name(), "-tenant", "acme", "-format", "json"}, step.args...)...)
			var lines []jobLine
			if err := json.Unmarshal([]byte(out), &lines); err != nil || code != 0 || len(lines) != 1 {
				t.Fatalf("%s: exit code %d, %v: %s%s", job.Name(), code, err, out, errs)
			}
			if l := lines[0]; l.State != step.state || l.Headline == "" {
				t.Errorf("%s: %s, want %s: %s %s", l.Job, l.State, step.state, l.Headline, l.Reason)
			}
		}
		for _, table := range job.Tables() {
			count := "SELECT count(*) > 0 AS n FROM " + table.FullName()
			if got := asAnalyst(t, dir, "acme", count+" HAVING min(tenant) = 'acme' AND max(tenant) = 'acme'"); got != "n\ntrue\n" && table != cardlake.Alerts {
				t.Errorf("the analyst of acme sees of %s\n%s", table.FullName(), got)
			}
			if got := asAnalyst(t, dir, "zeta", count); got != "n\nfalse\n" {
				t.Errorf("the analyst of zeta sees of %s\n%s", table.FullName(), got)
			}
		}
	}
}

// TestJobRunFaults: one tenant's fault is not another's, and tells nothing of the data.
func TestJobRunFaults(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 20, "zeta": 20, "yeti": 20})
	job := counting{before: func(_ context.Context, task *insights.Task) error {
		switch task.Tenant {
		case "acme":
			panic("4111 is of the data")
		case "yeti":
			var none []int
			_ = none[task.Rows]
		}
		return nil
	}}
	out, errs, code := runJob(t.Context(), dir, job, "-jobs", "3", "predict")
	if code != 2 || !strings.Contains(out, "acme    failed") || !strings.Contains(out, "yeti    failed") || !strings.Contains(out, "zeta    published") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if strings.Contains(out+errs, "4111") || !strings.Contains(errs, "failed inside: string") || !strings.Contains(errs, "index out of range") {
		t.Errorf("told: %s%s", out, errs)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no job":             {[]string{"-tenant", "acme"}, "takes the name of a job"},
		"another job":        {[]string{"nothing"}, `there is no job "nothing": there are predict`},
		"another parameter":  {[]string{"predict", "-param", "most=1"}, `job predict has no parameter "most"`},
		"a wrong value":      {[]string{"predict", "-param", "least=x"}, "least: is not a number"},
		"a tenant twice":     {[]string{"predict", "-tenant", "acme", "-tenant", "acme"}, "is given twice"},
		"no tenant":          {[]string{"predict", "-tenant", "nobody"}, "not permitted"},
		"not his":            {[]string{"predict", "-as", "tenant_analyst/analyst@acme"}, "not permitted"},
		"not his one":        {[]string{"predict", "-as", "tenant_analyst/analyst@acme", "-tenant", "acme"}, "not permitted"},
		"settings of all":    {[]string{"predict", "-settings", os.Args[0]}, "a file is of one tenant"},
		"no settings":        {[]string{"predict", "-settings", "none.json", "-tenant", "acme"}, "none.json"},
		"a snapshot of none": {[]string{"predict", "-at", "7", "-tenant", "zeta"}, "has no snapshot 7"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := runJob(t.Context(), dir, counting{}, tc.args...)
			if code != 2 || !strings.Contains(errs, tc.want) || strings.Contains(out, "published") {
				t.Errorf("exit code %d: %s%s", code, out, errs)
			}
		})
	}
	if log := recordOf(t, dir); !strings.Contains(log, "job.run job predict refused tenant_analyst/analyst@acme") || !strings.Contains(log, "job.publish job predict of tenant zeta allowed etl_job/insights") {
		t.Errorf("on record is\n%s", log)
	}
}

// TestJobSettings: each tenant has its own file, and a run with other settings is another run.
func TestJobSettings(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 20, "zeta": 20})
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "acme.json"), []byte(`{"a":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[cardlake.Tenant]string{}
	job := counting{before: func(_ context.Context, task *insights.Task) error {
		seen[task.Tenant] = string(task.Settings)
		return nil
	}}
	if out, errs, code := runJob(t.Context(), dir, job, "predict", "-settings", folder); code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	if len(seen) != 2 || seen["acme"] != `{"a":1}` || seen["zeta"] != "" {
		t.Errorf("settings %v", seen)
	}
	if err := os.WriteFile(filepath.Join(folder, "zetta.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := runJob(t.Context(), dir, job, "predict", "-settings", folder); code != 2 || !strings.Contains(errs, `"zetta.json"`) || out != "" {
		t.Errorf("settings of nobody: exit code %d: %s%s", code, out, errs)
	}
	if out, _, _ := runJob(t.Context(), dir, job, "predict"); !strings.Contains(out, "acme    published") || !strings.Contains(out, "zeta    unchanged") {
		t.Errorf("without settings:\n%s", out)
	}
}

// TestJobList: the analyst sees the tenant's runs, with what they came to; a scientist all.
func TestJobList(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 20, "zeta": 20})
	list := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if err := jobList(t.Context(), append([]string{"-dir", string(dir), "-format", "csv"}, args...), &out, &errs); err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		return out.String()
	}
	if got := list(); strings.Count(got, "\n") != 1 {
		t.Errorf("before any run:\n%s", got)
	}
	for _, least := range []string{"1", "2"} {
		if _, errs, code := runJob(t.Context(), dir, counting{}, "predict", "-param", "least="+least); code != 0 {
			t.Fatal(errs)
		}
	}
	for name, tc := range map[string]struct {
		args []string
		rows int
		want string
	}{
		"scientist":   {nil, 2, "predict,zeta,"},
		"all":         {[]string{"-all"}, 4, "predict,zeta,"},
		"analyst":     {[]string{"-as", "tenant_analyst/analyst@acme"}, 1, "hits 50.0% (chance: 25.0%)"},
		"one tenant":  {[]string{"-tenant", "zeta"}, 1, "predict,zeta,"},
		"one job":     {[]string{"-job", "predict"}, 2, "predict,acme,"},
		"another job": {[]string{"-job", "segment"}, 0, ""},
		"not his":     {[]string{"-as", "tenant_analyst/analyst@acme", "-tenant", "zeta"}, 0, ""},
	} {
		if got := list(tc.args...); strings.Count(got, "\n") != tc.rows+1 || !strings.Contains(got, tc.want) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// TestJobInterrupted: an interrupted run changes nothing, tells so, and is made later.
func TestJobInterrupted(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 20, "zeta": 20})
	ctx, cancel := context.WithCancel(t.Context())
	job := counting{after: func(ctx context.Context, task *insights.Task) error {
		if task.Tenant == "zeta" {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}}
	out, errs, code := runJob(ctx, dir, job, "predict")
	if code != 1 || !strings.Contains(out, "acme    published") || !strings.Contains(out, "zeta    interrupted") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if got := asAnalyst(t, dir, "zeta", runsSeen); got != "n\n0\n" {
		t.Errorf("runs of zeta: %q", got)
	}
	out, _, code = runJob(t.Context(), dir, counting{}, "predict")
	if code != 0 || !strings.Contains(out, "acme    unchanged") || !strings.Contains(out, "zeta    published") {
		t.Errorf("later: exit code %d: %s", code, out)
	}
}

// processJob is the environment variable that makes this binary one that runs the test's job.
const processJob = "CARDLAKE_TEST_JOB"

func init() {
	if os.Getenv(processJob) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say := func(stage string) func(context.Context, *insights.Task) error {
		return func(_ context.Context, t *insights.Task) error {
			fmt.Println(stage)
			time.Sleep(10 * time.Millisecond)
			return nil
		}
	}
	err := jobRunOf(ctx, []insights.Job{counting{before: say("before"), after: say("after")}}, os.Args[1:], io.Discard, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(0)
}

// TestJobKilled kills real processes that run a job at every stage of it: readers have the run
// before, whole, or the new one, whole; and the next run is made as if nothing had been.
// CARDLAKE_KILLS makes it as many kills.
func TestJobKilled(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 200, "zeta": 20})
	if _, errs, code := runJob(t.Context(), dir, counting{}, "predict"); code != 0 {
		t.Fatal(errs)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Whole: the newest run's rows are as many as it says, and there are no others.
	const seen = `SELECT r.sequence, r.rows_written, count(*) AS n, count(DISTINCT p.run_id) AS runs, r.run_id
		FROM views.predictions AS p JOIN insights.runs AS r ON p.run_id = r.run_id GROUP BY ALL`
	zeta := asAnalyst(t, dir, "zeta", acmeRows)
	// start runs the job in a process until it says the stage.
	start := func(stage, least string) (*exec.Cmd, io.Reader) {
		t.Helper()
		addRows(t, dir, map[cardlake.Tenant]int{"acme": 10})
		c := exec.CommandContext(t.Context(), self, "-dir", string(dir), "predict", "-tenant", "acme", "-param", "least="+least)
		c.Env = append(os.Environ(), processJob+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		stdout, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(stdout); lines.Scan() && lines.Text() != stage; {
		}
		return c, stdout
	}
	c, _ := start("after", "1")
	began := time.Now()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	publication := time.Since(began) // about as long as it takes
	before := asAnalyst(t, dir, "acme", seen)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	published := 0
	kills := 7
	if text := os.Getenv("CARDLAKE_KILLS"); text != "" {
		if kills, err = strconv.Atoi(text); err != nil || kills < 1 {
			t.Fatal("CARDLAKE_KILLS is no number of kills")
		}
	}
	for i := range kills {
		stage := "after" // and publication is after that
		if i == 0 {
			stage = "before"
		}
		c, stdout := start(stage, strconv.Itoa(2+i%2)) // rows of another number than the run before
		if i > 0 {
			time.Sleep(time.Duration(random.Float64() * float64(publication)))
		}
		_ = c.Process.Kill()
		_, _ = io.Copy(io.Discard, stdout)
		_ = c.Wait()
		now := asAnalyst(t, dir, "acme", seen)
		fields := strings.Split(strings.Split(now, "\n")[1], ",")
		if strings.Count(now, "\n") != 2 || len(fields) != 5 || fields[1] != fields[2] || fields[3] != "1" {
			t.Fatalf("killed %s: readers have\n%s", stage, now)
		}
		if now != before {
			published++
		}
		if i == 0 && now != before {
			t.Errorf("killed before there were rows, readers have another run:\n%s", now)
		}
		before = now
	}
	t.Logf("%d of %d killed runs were published", published, kills)
	if out, errs, code := runJob(t.Context(), dir, counting{}, "predict", "-tenant", "acme", "-param", "least=1"); code != 0 || !strings.Contains(out, "published") {
		t.Errorf("after the kills: exit code %d: %s%s", code, out, errs)
	}
	now := strings.Split(strings.Split(asAnalyst(t, dir, "acme", seen), "\n")[1], ",")
	if now[1] != now[2] || now[3] != "1" {
		t.Errorf("after the kills readers have %v", now)
	}
	if got := asAnalyst(t, dir, "zeta", acmeRows); got != zeta {
		t.Errorf("zeta's rows changed:\n%s\nwere\n%s", got, zeta)
	}
}

func TestJobProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newJobProgress(&out)
		p.begin(2)
		for i := range int64(101) {
			p.report(insights.Progress{Job: "predict", Tenant: "acme", Stage: "reading", Done: i * 10, Total: 1000})
			time.Sleep(time.Second)
		}
		p.report(insights.Progress{Job: "predict", Tenant: "acme", Stage: "publishing"})
		p.ended("acme")
		p.end()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 6 || lines[0] != "predict acme: reading, 150 of 1000, about 1m25s left" || lines[5] != "predict acme: reading, 900 of 1000, about 10s left" {
			t.Errorf("lines\n%s", out.String())
		}
		out.Reset()
		p.isTerminal = true
		p.begin(3)
		time.Sleep(meterAfter)
		p.report(insights.Progress{Tenant: "zeta", Stage: "reading", Done: 5})
		p.report(insights.Progress{Tenant: "acme", Stage: strings.Repeat("long ", 40), Done: 5})
		time.Sleep(time.Second)
		p.report(insights.Progress{Tenant: "zeta", Stage: "reading", Done: 7})
		p.end()
		parts := strings.Split(out.String(), eraseLine)
		if len(parts) != 4 || parts[1] != "0 of 3 tenants; zeta: reading, 5" || len([]rune(parts[2])) != screenWidth || parts[3] != "" {
			t.Errorf("on a terminal %q", parts)
		}
	})
}
