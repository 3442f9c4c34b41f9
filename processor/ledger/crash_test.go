package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/outbox"
)

// TestConcurrentDecisionsFollowTheModel lets goroutines authorise, reverse and repeat at
// random: each on an account of its own, where a plain model predicts every answer, and all
// on one shared account, where only the sum is known.
func TestConcurrentDecisionsFollowTheModel(t *testing.T) {
	const workers, steps = 8, 400
	cards := issuedRange(t, workers+1)
	l := newLedger(t, Config{MaxPerMinute: -1}, cards...)
	shared := find(t, l, cards[workers].PAN)
	var decisions, sharedHeld atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			own := find(t, l, cards[w].PAN)
			type purchase struct {
				a        Authorization
				code     string
				approval string
				undone   bool
			}
			var purchases []*purchase
			modelHeld, next := int64(0), uint64(w)<<32
			fail := func(what string, d Decision) {
				t.Errorf("worker %d: %s: %+v, model holds %d", w, what, d, modelHeld)
			}
			for range steps {
				next++
				switch n := rng.IntN(10); {
				case n < 4: // a purchase of one's own
					p := &purchase{a: ask(next, own, rng.Int64N(40_000))}
					d := authorize(t, l, p.a)
					decisions.Add(1)
					p.code, p.approval = "51", ""
					if modelHeld+p.a.Billing.Minor <= 100_000 {
						p.code, p.approval = "00", d.Approval
						modelHeld += p.a.Billing.Minor
					}
					if d.Code != p.code || d.Repeat {
						fail("purchase", d)
					}
					purchases = append(purchases, p)
				case n < 7 && len(purchases) > 0: // a reversal
					p := purchases[rng.IntN(len(purchases))]
					d := reverse(t, l, Reversal{Event: event(next), Original: p.a.Event, Card: own, At: noon})
					decisions.Add(1)
					want := "25"
					switch {
					case p.code == "00" && p.undone:
						want = "94"
					case p.code == "00":
						want, p.undone = "00", true
						modelHeld -= p.a.Billing.Minor
					}
					if d.Code != want {
						fail("reversal", d)
					}
				case n < 8 && len(purchases) > 0: // a repeat
					p := purchases[rng.IntN(len(purchases))]
					if d := authorize(t, l, p.a); !d.Repeat || d.Code != p.code || d.Approval != p.approval {
						fail("repeat", d)
					}
				default: // on the shared account
					a := ask(next, shared, rng.Int64N(20_000))
					d := authorize(t, l, a)
					decisions.Add(1)
					if d.Approved() {
						sharedHeld.Add(d.Billing.Minor)
						if rng.IntN(2) == 0 {
							next++
							if d := reverse(t, l, Reversal{Event: event(next), Original: a.Event, Card: shared, At: noon}); !d.Approved() {
								fail("shared reversal", d)
							}
							decisions.Add(1)
							sharedHeld.Add(-d.Billing.Minor)
						}
					}
				}
				held(t, l, shared) // fails below zero and over the limit
				if have := held(t, l, own); have != modelHeld {
					t.Errorf("worker %d: holds %d, model %d", w, have, modelHeld)
					return
				}
			}
		})
	}
	all.Wait()
	if have := held(t, l, shared); have != sharedHeld.Load() {
		t.Errorf("shared account holds %d, answers say %d", have, sharedHeld.Load())
	}
	have := events(t, l)
	if int64(len(have)) != decisions.Load() {
		t.Errorf("%d events for %d decisions", len(have), decisions.Load())
	}
}

// TestOneEventDecidedOnceAmongMany sends one message many times at once.
func TestOneEventDecidedOnceAmongMany(t *testing.T) {
	l := newLedger(t, Config{}, issuedRange(t, 1)...)
	c := find(t, l, issued(t, 0).PAN)
	for round := range uint64(20) {
		var fresh atomic.Int64
		var approvals sync.Map
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				a := ask(round, c, 1)
				a.At = noon.Add(time.Duration(round) * time.Hour)
				d := authorize(t, l, a)
				if !d.Repeat {
					fresh.Add(1)
				}
				approvals.Store(d.Approval, true)
			})
		}
		all.Wait()
		n := 0
		approvals.Range(func(any, any) bool { n++; return true })
		if fresh.Load() != 1 || n != 1 {
			t.Fatalf("decided %d times, with %d approval codes", fresh.Load(), n)
		}
	}
	if h := held(t, l, c); h != 20 {
		t.Errorf("holds %d, want 20", h)
	}
}

// crashCards are the cards of the crash tests, of two tenants.
func crashCards(t testing.TB) []card.Issued {
	cards := issuedRange(t, 8)
	for i := range cards {
		if i%2 == 1 {
			cards[i].Tenant = "bolivar"
		}
	}
	return cards
}

// crashAsk is purchase n of the crash tests: an approved one of 10, in one of three minutes and
// of two currencies.
func crashAsk(n uint64, c Card) Authorization {
	a := ask(n, c, 10)
	a.At = noon.Add(time.Duration(n%3) * time.Minute)
	if n%5 == 0 {
		a.Amount.Currency = "CLP"
	}
	return a
}

// closeWhile closes minutes again and again until ctx ends: those that are over as of the
// second, or all.
func closeWhile(ctx context.Context, t testing.TB, l *Ledger) {
	for n := 0; ctx.Err() == nil; n++ {
		grace := time.Duration(n%3 - 1) // every third time negative
		closeTotals(t, l, noon.Add(time.Minute+time.Duration(n)), grace)
		time.Sleep(time.Millisecond)
	}
}

// TestPowerFailure takes the disk away at random moments, with everything that was not
// synced, and looks at what the next process finds: every decision that was answered, its
// money, its event and its place in a control total; and no event or total on the stream
// whose decision is lost.
func TestPowerFailure(t *testing.T) {
	const workers = 8
	cards := crashCards(t)
	for round := range 12 {
		fs := vfs.NewCrashableMem()
		l := openTest(t, fs, "ledger", Config{MaxPerMinute: -1})
		if _, err := l.Import(context.Background(), seq(cards...)); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		answered, streamed := map[cardlake.EventID]Decision{}, map[cardlake.EventID]bool{}
		var totals []cardlake.ControlTotal // on the stream
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for w := range workers {
			c := find(t, l, cards[w].PAN)
			all.Go(func() {
				for n := uint64(w) << 32; ctx.Err() == nil; n++ {
					d := authorize(t, l, crashAsk(n, c))
					mu.Lock()
					answered[event(n)] = d
					mu.Unlock()
				}
			})
		}
		all.Go(func() {
			err := l.Outbox().Run(ctx, producerFunc(func(rs []outbox.Record) {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range rs {
					if c, ok := decodeTotal(t, r); ok {
						totals = append(totals, c)
					} else {
						streamed[cardlake.EventID(r.Value)] = true
					}
				}
			}))
			if err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { closeWhile(ctx, t, l) })
		for isAnswered := false; !isAnswered; { // a slow machine takes longer for the first
			time.Sleep(time.Duration(5+3*round) * time.Millisecond)
			mu.Lock()
			isAnswered = len(answered) > 0
			mu.Unlock()
		}
		mu.Lock()
		before := make(map[cardlake.EventID]Decision, len(answered))
		for id, d := range answered {
			before[id] = d
		}
		alreadyStreamed := make(map[cardlake.EventID]bool, len(streamed))
		for id := range streamed {
			alreadyStreamed[id] = true
		}
		counted := slices.Clone(totals)
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		mu.Unlock()
		cancel()
		all.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}

		l = openTest(t, after, "ledger", Config{MaxPerMinute: -1})
		checkRecovered(t, l, before, alreadyStreamed, counted)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkRecovered checks a reopened ledger of the crash tests' purchases against what earlier
// answers and the stream promised.
func checkRecovered(
	t *testing.T, l *Ledger, answered map[cardlake.EventID]Decision, streamed map[cardlake.EventID]bool, totals []cardlake.ControlTotal,
) {
	t.Helper()
	closeTotals(t, l, noon, everything)
	inOutbox, more := contents(t, l)
	checkTotals(t, append(totals, more...), journal(t, l))
	for id, n := range inOutbox {
		if n != 1 {
			t.Errorf("event %v is in the outbox %d times", id, n)
		}
	}
	decided := func(id cardlake.EventID) *stored {
		tx := txn{l: l}
		s, err := tx.decision(id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if len(answered) == 0 {
		t.Error("nothing was answered before the crash: the test shows nothing")
	}
	for id, d := range answered {
		s := decided(id)
		if s == nil || s.code != d.Code || s.approval != d.Approval {
			t.Errorf("answered decision %v is lost or changed: %+v", id, s)
		}
		if !streamed[id] && inOutbox[id] == 0 {
			t.Errorf("answered decision %v has lost its event", id)
		}
	}
	for id := range streamed {
		if decided(id) == nil {
			t.Errorf("event %v is on the stream, its decision is lost", id)
		}
	}
	// What the accounts hold is what the surviving decisions say.
	want := map[Key]int64{}
	for id := range union(answered, inOutbox, streamed) {
		if s := decided(id); s != nil && s.code == "00" {
			want[s.card] += s.billed
		}
	}
	for n := range 8 {
		c := find(t, l, issued(t, n).PAN)
		if have := held(t, l, c); have != want[c.Key] {
			t.Errorf("account %d holds %d, its decisions say %d", n, have, want[c.Key])
		}
	}
}

// journal returns what the ledger's stored decisions, which are the crash tests' purchases,
// have to be counted as.
func journal(t *testing.T, l *Ledger) (out []decision) {
	t.Helper()
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{eventPrefix}, UpperBound: []byte{eventPrefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		s, err := (&txn{l: l}).decision(cardlake.EventID(it.Key()[1:]))
		if err != nil {
			t.Fatal(err)
		}
		n := binary.BigEndian.Uint64(it.Key()[9:])
		a := crashAsk(n, Card{})
		tenant := cardlake.Tenant("aurora")
		if n>>32%2 == 1 {
			tenant = "bolivar"
		}
		out = append(out, decision{tenant, a.At.UnixMicro(), a.Amount, s.code == "00"})
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func union(a map[cardlake.EventID]Decision, b map[cardlake.EventID]int, c map[cardlake.EventID]bool) map[cardlake.EventID]bool {
	out := map[cardlake.EventID]bool{}
	for id := range a {
		out[id] = true
	}
	for id := range b {
		out[id] = true
	}
	for id := range c {
		out[id] = true
	}
	return out
}

// TestDiskFailureIsFatal makes the disk refuse a write in the middle of work: no decision is
// answered after it.
func TestDiskFailureIsFatal(t *testing.T) {
	var full atomic.Bool
	injector := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return syscall.ENOSPC
		}
		return nil
	})
	fatal := make(chan error, 16)
	l, err := open(context.Background(), errorfs.Wrap(vfs.NewMem(), injector), "ledger", secrets('k'), Config{
		Fatal: func(err error) { fatal <- err; select {} },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Import(context.Background(), seq(issued(t, 0))); err != nil {
		t.Fatal(err)
	}
	c := find(t, l, issued(t, 0).PAN)
	authorize(t, l, ask(1, c, 10))
	full.Store(true)
	answered := make(chan Decision)
	go func() { answered <- authorize(t, l, ask(2, c, 10)) }()
	select {
	case err := <-fatal:
		if !errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
			t.Errorf("fatal: %v", err)
		}
	case d := <-answered:
		t.Errorf("answered %+v on a full disk", d)
	}
}

// TestStoreIsSearchable finds a stored event in the bytes of the store's tables: were they
// compressed, a search of the folder for card numbers would prove nothing.
func TestStoreIsSearchable(t *testing.T) {
	dir := t.TempDir()
	marker := []byte(strings.Repeat("an event that compresses well ", 100))
	for round := range 2 { // the second Open moves the first one's log into tables
		l := openTest(t, vfs.Default, dir, Config{})
		if _, err := l.Import(context.Background(), seq(issued(t, 0))); err != nil {
			t.Fatal(err)
		}
		c := find(t, l, issued(t, 0).PAN)
		_, err := l.Authorize(context.Background(), ask(uint64(round), c, 10), func(Decision) ([]byte, error) { return marker, nil })
		if err := errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range tables {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found += bytes.Count(content, marker)
	}
	if found != 1 {
		t.Errorf("found %d times in %d tables, want once", found, len(tables))
	}
}

const killDir = "CARDLAKE_LEDGER_KILL_DIR"

// TestKilledProcess kills a process in the middle of its work, as TestPowerFailure does but
// on a real disk. The child's standard output is the network: a line is an answer.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		killMe(t, dir)
		return
	}
	dir := t.TempDir()
	l := openTest(t, vfs.Default, dir, Config{})
	if _, err := l.Import(context.Background(), seq(crashCards(t)...)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	answered := map[cardlake.EventID]Decision{}
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
		cmd.Env = append(os.Environ(), killDir+"="+dir, fmt.Sprintf("CARDLAKE_LEDGER_KILL_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 300+100*round {
				_ = cmd.Process.Kill()
			}
			var id, code, approval string
			if n, _ := fmt.Sscan(lines.Text(), &id, &code, &approval); n != 3 || !strings.HasSuffix(lines.Text(), " .") {
				continue // cut by the kill, or the testing package's own
			}
			event, err := cardlake.ParseEventID(id)
			if err != nil {
				t.Fatal(err)
			}
			answered[event] = Decision{Code: code, Approval: approval}
		}
		_ = cmd.Wait() // killed
	}
	if len(answered) < 900 {
		t.Fatalf("the children answered %d times only", len(answered))
	}
	l = openTest(t, vfs.Default, dir, Config{})
	defer l.Close()
	checkRecovered(t, l, answered, nil, nil)
}

func killMe(t *testing.T, dir string) {
	var round uint64
	fmt.Sscan(os.Getenv("CARDLAKE_LEDGER_KILL_ROUND"), &round)
	l := openTest(t, vfs.Default, dir, Config{MaxPerMinute: -1})
	var all sync.WaitGroup
	all.Go(func() { closeWhile(context.Background(), t, l) })
	for w := range uint64(8) {
		c := find(t, l, issued(t, int(w)).PAN)
		all.Go(func() {
			for n := (round*8 + w) << 32; ; n++ {
				d := authorize(t, l, crashAsk(n, c))
				fmt.Fprintf(os.Stdout, "%v %s %s .\n", event(n), d.Code, d.Approval)
			}
		})
	}
	all.Wait()
}
