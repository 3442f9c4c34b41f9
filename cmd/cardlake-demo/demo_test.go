package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/sim"
	"github.com/cardlake/cardlake/writers/objects"
)

// asDemo makes the test binary behave as the demo, so that a test can kill it.
const asDemo = "CARDLAKE_TEST_AS_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(asDemo) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func demoCommand(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asDemo+"=1")
	return cmd
}

func runDemo(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func readReport(t *testing.T, path string) report {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// checkReport fails unless the lake holds each of want events once, for every tenant.
func checkReport(t *testing.T, r report, want int64) {
	t.Helper()
	if r.Sent != want || r.LakeRows != want || r.Approved+r.Declined != want {
		t.Errorf("sent %d, approved %d, declined %d, rows %d, want %d", r.Sent, r.Approved, r.Declined, r.LakeRows, want)
	}
	if r.Missing != 0 || r.Duplicates != 0 || r.Unexpected != 0 || r.Differ != 0 || r.Rejected != 0 || r.PANFindings != 0 {
		t.Errorf("missing %d, duplicates %d, unexpected %d, answers differ %d, rejected %d, PANs found %d, want 0",
			r.Missing, r.Duplicates, r.Unexpected, r.Differ, r.Rejected, r.PANFindings)
	}
	for _, x := range r.Tenants {
		if !x.right() {
			t.Errorf("tenant %s: %+v", x.Tenant, *x)
		}
	}
}

func TestDemoTwiceInOneFolder(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "report.json")
	args := []string{"-dir", dir, "-transactions", "3000", "-tps", "3000", "-tenants", "5", "-window", "300ms", "-report", path}
	for i := int64(1); i <= 2; i++ {
		code, out, errs := runDemo(t, args...)
		if code != exitOK {
			t.Fatalf("run %d ends with code %d:\n%s%s", i, code, out, errs)
		}
		r := readReport(t, path)
		checkReport(t, r, 3000*i)
		if len(r.Tenants) != 5 || r.PANsSearched < 20_000 || r.SearchedBytes < 1<<20 || r.Files == 0 || r.Snapshots < 2*i || r.TPS == 0 || r.CPUPerTx == 0 || r.Freshness.P99 == 0 {
			t.Errorf("report lacks figures: %+v", r)
		}
		for _, want := range []string{"in the lake", "freshness", "0 found", "approved_pct", "Ask for more"} {
			if !strings.Contains(out, want) {
				t.Errorf("run %d: summary lacks %q:\n%s", i, want, out)
			}
		}
	}
	t.Run("objects open with the key only", func(t *testing.T) { objectsOpenWithTheKeyOnly(t, home.Dir(dir)) })
	t.Run("other seed is refused", func(t *testing.T) {
		code, _, errs := runDemo(t, append(args, "-seed", "2")...)
		refused(t, code, errs, "-seed 1")
	})
	t.Run("wrong secret is refused", func(t *testing.T) {
		swapSecret(t, home.Dir(dir).LakeSecret(), []byte("not the secret of this keyring\n"))
		code, _, errs := runDemo(t, args...)
		refused(t, code, errs, "secret")
	})
	t.Run("missing keyring is refused", func(t *testing.T) {
		path := home.Dir(dir).CardKeyring()
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		defer os.Rename(path+".away", path)
		code, _, errs := runDemo(t, args...)
		refused(t, code, errs, "put it back")
	})
}

// TestDemoOfThePast fills a folder with days before now, and goes on at the present.
func TestDemoOfThePast(t *testing.T) {
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "report.json")
	args := []string{"-dir", dir, "-transactions", "2500", "-tps", "3000", "-tenants", "2", "-window", "300ms", "-report", path}
	past := append([]string{"-days", "9"}, args...)
	if code, out, errs := runDemo(t, past...); code != exitOK {
		t.Fatalf("code %d:\n%s%s", code, out, errs)
	}
	r := readReport(t, path)
	checkReport(t, r, 2500)
	if r.Files < 16 || r.TPS < 100 || r.Freshness.P99 > 600_000 {
		t.Errorf("%d files, %.0f tx/s, fresh after %d ms", r.Files, r.TPS, r.Freshness.P99)
	}
	code, _, errs := runDemo(t, past...)
	refused(t, code, errs, "-days fills a new folder")
	if code, out, errs := runDemo(t, args...); code != exitOK {
		t.Fatalf("at the present: code %d:\n%s%s", code, out, errs)
	}
	checkReport(t, readReport(t, path), 5000)
}

func swapSecret(t *testing.T, path string, secret []byte) {
	t.Helper()
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, right, 0o600); err != nil {
			t.Error(err)
		}
	})
}

// refused fails unless the demo ended with code 2 and one line that has the word.
func refused(t *testing.T, code int, stderr, word string) {
	t.Helper()
	if code != exitUsage || strings.Count(strings.TrimSpace(stderr), "\n") > 0 || !strings.Contains(stderr, word) {
		t.Errorf("code %d, want %d and one line with %q:\n%s", code, exitUsage, word, stderr)
	}
}

// objectsOpenWithTheKeyOnly tries every object of the lake with an independent Parquet
// reader, as it lies on disk and as the store opens it with the keyring.
func objectsOpenWithTheKeyOnly(t *testing.T, dir home.Dir) {
	ctx := context.Background()
	ring, err := local.OpenFile(dir.LakeKeyring(), dir.LakeSecret())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := local.Create(t.TempDir()+"/k", []byte("a secret for this test"), keys.LakePurposes)
	if err != nil {
		t.Fatal(err)
	}
	store := objects.NewSealed(dir.Objects(), ring, objects.SealedConfig{})
	strangers := objects.NewSealed(dir.Objects(), stranger, objects.SealedConfig{})
	var rows, data int64
	for info, err := range store.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(dir.Objects(), info.Name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw))); err == nil || bytes.Contains(raw, []byte("PAR1")) || bytes.Contains(raw, []byte("event_id")) {
			t.Errorf("%s can be read as it lies on disk", info.Name)
		}
		if _, err := objects.ReadAll(ctx, strangers, info.Name); err == nil {
			t.Errorf("%s opens with another keyring", info.Name)
		}
		body, err := objects.ReadAll(ctx, store, info.Name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Name, ".parquet") {
			continue
		}
		file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Errorf("%s does not open with its key: %v", info.Name, err)
			continue
		}
		if strings.HasPrefix(info.Name, "data/transactions/") {
			data++
			rows += file.NumRows()
		}
	}
	if data == 0 || rows != 6000 {
		t.Errorf("%d data files with %d rows, want 6000 rows", data, rows)
	}
}

// TestSearchFindsWhatIsNotSealed shows that the search works: the same system with the
// sealing switched off leaves card numbers in the broker's files, and they are found.
func TestSearchFindsWhatIsNotSealed(t *testing.T) {
	for _, c := range []struct {
		name    string
		encoder func(*folder) *clearEncoder
		found   bool
	}{
		{"sealed", func(*folder) *clearEncoder { return nil }, false},
		{"clear", func(f *folder) *clearEncoder { return &clearEncoder{wire.NewEncoder(f.cardKeys, wire.EncoderConfig{})} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			f, err := openFolder(ctx, options{dir: t.TempDir(), seed: 1, tenants: 3, transactions: 500})
			if err != nil {
				t.Fatal(err)
			}
			defer f.close()
			cfg := hostConfig{processorAddr: "127.0.0.1:0", window: 200 * time.Millisecond, tps: 2000, log: slog.New(slog.DiscardHandler)}
			if e := c.encoder(f); e != nil {
				cfg.encoder = e
			}
			h, err := startHost(ctx, f, cfg)
			if err != nil {
				t.Fatal(err)
			}
			traffic, err := sim.Open(f.Simulator(), f.population, sim.RunConfig{Rate: 2000})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := traffic.Drive(ctx, sim.ClientConfig{Addr: h.server.Addr().String()}, 500); err != nil {
				t.Fatal(err)
			}
			if err := h.drained(ctx); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(traffic.Close(), h.stop()); err != nil {
				t.Fatal(err)
			}
			s, err := searchPANs(ctx, f, func(int64, int64) {})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(s.findings) > 0; got != c.found {
				t.Fatalf("%d card numbers found in %d files", len(s.findings), s.files)
			}
			for _, found := range s.findings {
				if !strings.Contains(found.Name, "broker") && !strings.Contains(found.Name, "processor") {
					t.Errorf("found in %s, want only in the stream and the outbox", found.Name)
				}
			}
		})
	}
}

// clearEncoder is the real encoder followed by the card number in clear.
type clearEncoder struct{ *wire.Encoder }

func (e *clearEncoder) Append(ctx context.Context, dst []byte, owner keys.Owner, m *card.Message) ([]byte, error) {
	dst, err := e.Encoder.Append(ctx, dst, owner, m)
	return append(dst, m.PAN.Digits()...), err
}

// TestSurvivesSIGKILL kills the demo ten times at random instants; the eleventh run finishes.
// While it runs, another process's reader queries the lake.
func TestSurvivesSIGKILL(t *testing.T) {
	transactions := int64(40_000)
	if s := os.Getenv("CARDLAKE_KILL_TRANSACTIONS"); s != "" {
		var err error
		if transactions, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	const kills = 10
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "report.json")
	args := []string{"-dir", dir, "-transactions", fmt.Sprint(transactions), "-tps", "2500", "-window", "500ms", "-report", path}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the kills: %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	// All delays together are shorter than the traffic, so that no run can finish. Two kills
	// hit the start, the others the traffic.
	answered, longest := 0, time.Duration(transactions)*time.Second/2500/kills
	for i := range kills {
		cmd := demoCommand(args...)
		errs := &watched{word: "folder ", seen: make(chan struct{})}
		cmd.Stderr = errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i%5 != 0 {
			<-errs.seen // it has started
		}
		time.Sleep(time.Duration(dice.Int64N(int64(longest))))
		if n, err := countRows(home.Dir(dir)); err == nil {
			answered++
			t.Logf("kill %d: %d rows in the lake", i+1, n)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("run %d ended before it was killed: %v\n%s", i+1, err, errs.String())
		}
	}
	cmd := demoCommand(args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("last run: %v\n%s", err, out)
	}
	checkReport(t, readReport(t, path), transactions)
	if answered == 0 {
		t.Error("no query was answered while the demo ran")
	}
}

// watched keeps what is written and closes seen when the word comes.
type watched struct {
	mu   sync.Mutex
	b    bytes.Buffer
	word string
	seen chan struct{}
	done bool
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p)
	if !w.done && bytes.Contains(w.b.Bytes(), []byte(w.word)) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// withLake opens the lake as cardlake query does: with the lake's keyring, beside the writer.
func withLake(dir home.Dir, use func(ctx context.Context, lake *iceberg.Catalog, rows queries.Session) error) error {
	ctx := context.Background()
	ring, err := local.OpenFile(dir.LakeKeyring(), dir.LakeSecret())
	if err != nil {
		return err
	}
	store := objects.NewSealed(dir.Objects(), ring, objects.SealedConfig{})
	lake, err := iceberg.Open(ctx, iceberg.Config{DB: dir.Catalog(), Objects: store, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer lake.Close()
	r, err := openReader(ctx, dir, ring, lake, store)
	if err != nil {
		return err
	}
	return errors.Join(use(ctx, lake, r.Session), r.Close())
}

func countRows(dir home.Dir) (n int64, err error) {
	err = withLake(dir, func(ctx context.Context, _ *iceberg.Catalog, rows queries.Session) error {
		n, err = count(ctx, rows, "SELECT count(*) FROM "+cardlake.Transactions.FullName())
		return err
	})
	return n, err
}

// checkFolder checks a lake that no process has open against what the networks sent, and
// searches the folder for card numbers.
func checkFolder(t *testing.T, f *folder, traffic *sim.Run, want int64) {
	t.Helper()
	err := withLake(f.Dir, func(ctx context.Context, lake *iceberg.Catalog, rows queries.Session) error {
		table, err := lake.Table(ctx, cardlake.Transactions)
		if err != nil {
			return err
		}
		snapshots, err := table.Snapshots(ctx)
		if err != nil {
			return err
		}
		found, err := checkLake(ctx, rows, traffic.Expected, snapshots, 0, "event_time")
		if err != nil {
			return err
		}
		if total := found.total(); !total.right() || total.Rows != want || found.rejected != 0 {
			t.Errorf("%d rejected, %+v, want %d rows", found.rejected, total, want)
		}
		s, err := searchPANs(ctx, f, func(int64, int64) {})
		if err == nil && len(s.findings) > 0 {
			t.Errorf("%d card numbers in clear, the first in %s", len(s.findings), s.findings[0].Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadSurroundingsAreOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, word string
		args       []string
	}{
		{"processor's port is taken", "-processor-addr", []string{"-processor-addr", taken.Addr().String()}},
		{"broker's port is taken", "-broker-port", []string{"-broker-port", port}},
		{"folder cannot be made", "-dir", []string{"-dir", filepath.Join(file, "x")}},
		{"address is not loopback", "loopback", []string{"-processor-addr", "0.0.0.0:0"}},
		{"no transactions", "-transactions", []string{"-transactions", "0"}},
		{"no tenants", "-tenants", []string{"-tenants", "0"}},
		{"argument", "takes no arguments", []string{"now"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"-dir", t.TempDir(), "-transactions", "10", "-tenants", "2"}, c.args...)
			code, out, errs := runDemo(t, args...)
			refused(t, code, errs, c.word)
			if out != "" {
				t.Errorf("standard output has %q", out)
			}
		})
	}
}

func TestFolderInUseIsRefused(t *testing.T) {
	o := options{dir: t.TempDir(), seed: 1, tenants: 2}
	f, err := openFolder(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	code, _, errs := runDemo(t, "-dir", o.dir, "-tenants", "2")
	refused(t, code, errs, "in use")
}

func TestFullDiskStops(t *testing.T) {
	f := &folder{Dir: home.Dir(t.TempDir())}
	err := f.watchDisk(context.Background(), 1<<62)
	if !errors.Is(err, errDiskFull) || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("error %v, want errDiskFull with what to do", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.watchDisk(ctx, 1); err != nil {
		t.Errorf("a disk with room stops the demo: %v", err)
	}
}
