package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/maintenance"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// changesOf runs "cardlake changes" in the folder.
func changesOf(t testing.TB, dir home.Dir, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	t.Setenv("CARDLAKE_AS", "")
	var out, errs bytes.Buffer
	err = changesCommand(t.Context(), append([]string{"-dir", string(dir)}, args...), &out, &errs)
	return out.String(), errs.String(), err
}

// fed is a lake to which a writer commits.
type fed struct {
	dir     home.Dir
	lake    *lakeflags.Lake
	tenants *catalog.Tenants
	table   *iceberg.Table
	writer  *writers.Writer
	rows    *writerstest.Generator
	at      int64

	mu   sync.Mutex
	sums map[string]int64 // of the amounts that were committed, by tenant and currency, in ten-thousandths
	n    int
}

func newFed(t testing.TB) *fed {
	t.Helper()
	f := &fed{dir: home.Dir(t.TempDir()), rows: writerstest.New(4), sums: map[string]int64{}}
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fatal(makeLake(t.Context(), f.dir, 0, 0))
	var err error
	f.tenants, err = catalog.OpenTenants(f.dir.Tenants())
	fatal(err)
	ring, err := local.OpenFile(f.dir.LakeKeyring(), f.dir.LakeSecret())
	fatal(err)
	for _, r := range f.tenants.All() {
		fatal(ring.EnsureOwners(t.Context(), keys.OwnerOf(r.StorageID)))
	}
	f.lake, err = openToWrite(t.Context(), []string{"-dir", string(f.dir)})
	fatal(err)
	t.Cleanup(func() { _ = f.lake.Close() })
	f.table, err = f.lake.Table(t.Context(), cardlake.Transactions)
	fatal(err)
	f.writer = writers.New(f.lake.Store, f.tenants, writers.Config{})
	return f
}

// commit appends n rows of each tenant, over three partitions.
func (f *fed) commit(ctx context.Context, n int64) error {
	w := f.writer.Open()
	defer w.Release()
	added := map[string]int64{}
	names := f.tenants.All()
	position := func(at int64) cardlake.Positions {
		p := cardlake.Positions{}
		for i := range int32(len(names)) {
			if at > 0 {
				p[cardlake.StreamPartition{Stream: "cards", Partition: i}] = cardlake.Offset{Next: at}
			}
		}
		return p
	}
	for i, r := range names {
		for k := range n {
			tx := f.rows.Next()
			tx.Tenant = r.Name
			tx.Position = cardlake.Position{StreamPartition: cardlake.StreamPartition{Stream: "cards", Partition: int32(i)}, Offset: f.at + k}
			if err := w.Add(tx); err != nil {
				return err
			}
			added[string(r.Name)+" "+string(tx.Amount.Currency)] += tx.Amount.Minor * 100
		}
	}
	from, to := position(f.at), position(f.at+n)
	files, err := w.Flush(ctx, from, to)
	if err != nil {
		return err
	}
	for {
		_, err := f.table.Append(ctx, catalog.Append{Files: files, From: from, To: to})
		if err == nil {
			break
		}
		if held, err2 := f.table.Positions(ctx); err2 == nil && held.Holds(to) {
			break // an unknown outcome that had happened
		}
		if ctx.Err() != nil || !errors.Is(err, catalog.ErrConflict) && !strings.Contains(err.Error(), "SQLITE_BUSY") {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	f.at += n
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, sum := range added {
		f.sums[key] += sum
	}
	f.n += int(n) * len(names)
	return nil
}

func (f *fed) compact(ctx context.Context) error {
	r, err := maintenance.New(cardlake.Transactions, f.table, f.lake.Store, f.tenants, maintenance.Config{Width: 4}).Run(ctx)
	for _, s := range r.Skipped {
		err = errors.Join(err, s.Err)
	}
	return err
}

// line is a row of the changes, or what a batch ends with.
type changeLine struct {
	ID       string  `json:"event_id"`
	Tenant   string  `json:"tenant"`
	Amount   string  `json:"amount"`
	Currency string  `json:"currency"`
	End      *marker `json:"cardlake"`
}

// tally adds up rows that came, each once.
type tally struct {
	sums map[string]int64
	seen map[string]bool
}

func newTally() *tally { return &tally{map[string]int64{}, map[string]bool{}} }

// add adds lines and returns the last cursor in them.
func (a *tally) add(t testing.TB, text []byte) (cursor string) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		var row struct {
			changeLine
			Amount json.Number `json:"amount"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("%v in %.200s", err, lines.Bytes())
		}
		if row.End != nil {
			cursor = row.End.Cursor
			continue
		}
		if a.seen[row.ID] {
			t.Fatalf("event %s came twice", row.ID)
		}
		a.seen[row.ID] = true
		units, err := strconv.ParseInt(strings.ReplaceAll(row.Amount.String(), ".", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		a.sums[row.Tenant+" "+row.Currency] += units
	}
	return cursor
}

func (f *fed) check(t testing.TB, a *tally) {
	t.Helper()
	if len(a.seen) != f.n || !maps.Equal(a.sums, f.sums) {
		t.Errorf("%d rows with sums %v, want %d with %v", len(a.seen), a.sums, f.n, f.sums)
	}
}

// TestChangesByCursor: whoever stores rows and cursor together goes on from it.
func TestChangesByCursor(t *testing.T) {
	f := newFed(t)
	a := newTally()
	cursor := "start"
	for round := range 4 {
		for range 3 {
			if err := f.commit(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
		}
		if round%2 == 1 {
			if err := f.compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		out, errs, err := changesOf(t, f.dir, "-since", cursor, "-batch", "70")
		if err != nil {
			t.Fatal(err, errs)
		}
		cursor = a.add(t, []byte(out))
	}
	f.check(t, a)
	out, _, err := changesOf(t, f.dir, "-since", cursor)
	if err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("nothing was added, and there is %s, %v", out, err)
	}
	for _, format := range []string{"csv", "arrow", "parquet"} {
		if out, errs, err := changesOf(t, f.dir, "-since", "start", "-format", format, "-tenant", "aurora"); err != nil || len(out) < 1000 || format == "csv" && strings.Count(out, "\n") != 241 {
			t.Errorf("%s: %d bytes, %v, %s", format, len(out), err, errs)
		}
	}
}

// TestChangesIntoState: a file keeps the cursor, and is of one table.
func TestChangesIntoState(t *testing.T) {
	f := newFed(t)
	a, state := newTally(), filepath.Join(t.TempDir(), "cursor.json")
	if _, errs, err := changesOf(t, f.dir, "-state", state); err == nil {
		t.Errorf("nothing says where to begin: %s", errs)
	}
	for range 3 {
		if err := f.commit(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		out, errs, err := changesOf(t, f.dir, "-since", "start", "-state", state)
		if err != nil {
			t.Fatal(err, errs)
		}
		a.add(t, []byte(out))
	}
	f.check(t, a)
	if _, _, err := changesOf(t, f.dir, "-state", state, "-table", "cards.control_totals"); err == nil {
		t.Error("the state of another table is taken")
	}
	if _, _, err := changesOf(t, f.dir, "-state", state, "-since", "12345"); err == nil {
		t.Error("-since sets back what the state keeps")
	}
	if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := changesOf(t, f.dir, "-state", state); err == nil {
		t.Error("a state that is cut is taken")
	}
}

func TestChangesFlags(t *testing.T) {
	f := newFed(t)
	for want, args := range map[string][]string{
		"takes no arguments":             {"x"},
		"unknown format":                 {"-format", "xlsx"},
		"there is no table":              {"-table", "cards.x"},
		"-batch must not be negative":    {"-batch", "-1"},
		"-into keeps the cursor":         {"-into", "x", "-state", "y"},
		"-follow has no end":             {"-follow", "-until", "1"},
		"only as json":                   {"-follow", "-format", "csv"},
		"-tenant:":                       {"-tenant", "a b"},
		"nothing says where to begin":    {},
		"the cursor is not one of this":  {"-since", "1.AAAA"},
		"is not kept any more, or never": {"-since", "12345"},
		"not permitted":                  {"-since", "start", "-as", "tenant_service/nobody"},
	} {
		out, errs, err := changesOf(t, f.dir, args...)
		if err == nil || out != "" || !strings.Contains(errs+err.Error(), want) {
			t.Errorf("%v: %q, %v, %.200s", args, out, err, errs)
		}
	}
}

// chaosEnv makes the run last so many minutes.
const chaosEnv = "CARDLAKE_CHANGES_MINUTES"

// TestKilledConsumer kills a consumer at random moments and starts it again, while a writer, a
// compactor and the expiry of snapshots are at work. In the end it has each row once, and the
// sums of the table.
func TestKilledConsumer(t *testing.T) {
	duration := 6 * time.Second
	if text := os.Getenv(chaosEnv); text != "" {
		minutes, err := strconv.ParseFloat(text, 64)
		if err != nil || minutes <= 0 {
			t.Fatalf("%s is %q", chaosEnv, text)
		}
		duration = time.Duration(minutes * float64(time.Minute))
	}
	f := newFed(t)
	into := filepath.Join(t.TempDir(), "into")
	ctx, stop := context.WithTimeout(t.Context(), duration+2*time.Minute)
	defer stop()
	start, kills := time.Now(), 0
	var wg sync.WaitGroup
	var merged, expired atomic.Int64
	loop := func(do func() error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && ctx.Err() == nil && !errors.Is(err, catalog.ErrConflict) && !strings.Contains(err.Error(), "SQLITE_BUSY") {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
			}
		})
	}
	loop(func() error { return f.commit(t.Context(), 1+rand.Int64N(40)) })
	loop(func() error { merged.Add(1); return f.compact(t.Context()) })
	loop(func() error {
		x, err := f.table.Expire(t.Context(), iceberg.Expiry{Before: time.Now().Add(-3 * time.Second), KeepLast: 2, Grace: 3 * time.Second})
		expired.Add(int64(x.DataFiles))
		return err
	})
	// On a busy machine it takes longer until a little of everything has happened.
	for ctx.Err() == nil && (time.Since(start) < duration || kills < 3 || expired.Load() == 0) {
		c, errs := consumer(t, f.dir, into, "-follow")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(100+rand.IntN(1900)) * time.Millisecond):
		}
		_ = c.Process.Kill()
		err := c.Wait()
		if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
			// A file that the newest snapshot of a moment ago named may go while a slow
			// machine reads it: the consumer says so, and goes on from its last batch.
			if !strings.Contains(errs.String(), "not found") && !strings.Contains(errs.String(), "SQLITE_BUSY") {
				t.Fatalf("the consumer ended by itself: %v: %s", err, errs)
			}
		}
		kills++
	}
	stop()
	wg.Wait()
	if t.Failed() {
		return
	}
	c, errs := consumer(t, f.dir, into)
	if err := c.Run(); err != nil {
		t.Fatal(err, errs)
	}
	a := newTally()
	entries, err := os.ReadDir(into)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if e.Name() != fmt.Sprintf("%012d", i+1) {
			t.Fatalf("folder %s is there", e.Name())
		}
		text, err := os.ReadFile(filepath.Join(into, e.Name(), "rows.json"))
		if err != nil {
			t.Fatal(err)
		}
		a.add(t, text)
	}
	f.check(t, a)
	out, _, code := command(t, "query", "-dir", string(f.dir), "-format", "csv", "SELECT count(*), sum(amount) FROM cards.transactions")
	total := int64(0)
	for _, sum := range a.sums {
		total += sum
	}
	if want := fmt.Sprintf("%d,%d.%04d", len(a.seen), total/10_000, total%10_000); code != 0 || !strings.Contains(out, want) {
		t.Errorf("the table has %s, the consumer %s", out, want)
	}
	t.Logf("%d rows in %d batches, %d kills, %d passes of compaction, %d files expired", len(a.seen), len(entries), kills, merged.Load(), expired.Load())
	if kills < 3 || expired.Load() == 0 {
		t.Error("too little happened")
	}
}

// consumer is a process of the binary.
func consumer(t *testing.T, dir home.Dir, into string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	c := &exec.Cmd{
		Path: self, Args: append([]string{"cardlake", "changes", "-dir", string(dir), "-since", "start", "-into", into, "-batch", "500"}, args...),
		Env: append(os.Environ(), "CARDLAKE_AS="), Stderr: &errs, SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	return c, &errs
}
