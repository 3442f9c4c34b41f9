package pebblestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
)

const owner keys.Owner = "ownera"

// named is the card that has two candidates made of n.
func named(n int) tokenize.Card {
	sealed := fmt.Appendf(nil, "%0100d", n)
	var a, b tokenize.Token
	a.Version, b.Version = 2, 1
	copy(a.Bits[:], fmt.Sprintf("%016x", n*7919))
	copy(b.Bits[:], fmt.Sprintf("%016x", n*104729))
	return tokenize.Card{Candidates: []tokenize.Token{a, b}, Sealed: sealed}
}

// pinAll pins cards from several goroutines, which meet at the same ones, and says which were
// acknowledged, until ctx ends.
func pinAll(ctx context.Context, t testing.TB, s *Store, acknowledged func(n int)) {
	v := vault.New(s, vault.Config{})
	var next atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) / 3 // three goroutines at once have the same card
				c := named(n)
				tokens, err := v.Pin(context.Background(), owner, []tokenize.Card{c})
				if err != nil || tokens[0] != c.Candidates[0] {
					t.Errorf("pin: %v, %v", tokens, err)
					return
				}
				acknowledged(n)
			}
		})
	}
	all.Wait()
}

// checkPinned looks for cards that were acknowledged.
func checkPinned(t *testing.T, s *Store, acknowledged map[int]bool) {
	t.Helper()
	v := vault.New(s, vault.Config{})
	lost := 0
	for n := range acknowledged {
		c := named(n)
		if sealed, err := v.Sealed(t.Context(), owner, c.Candidates[0]); err != nil || string(sealed) != string(c.Sealed) {
			lost++
		}
		if e, err := s.Read(t.Context(), owner, c.Candidates[1:]); err != nil || e[0] == nil {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d entries of %d acknowledged cards are lost", lost, len(acknowledged))
	}
	counts, err := v.Count(t.Context(), owner)
	if err != nil || counts.Cards != counts.Indexes || counts.Cards < len(acknowledged) {
		t.Errorf("%+v, %v of %d acknowledged cards: some are half pinned", counts, err, len(acknowledged))
	}
}

// TestPowerFailure takes the disk away at random moments, with all that was not synced.
func TestPowerFailure(t *testing.T) {
	for round := range 8 {
		fs := vfs.NewCrashableMem()
		s := openTest(t, fs, "v")
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		acknowledged := map[int]bool{}
		var all sync.WaitGroup
		all.Go(func() {
			pinAll(ctx, t, s, func(n int) {
				mu.Lock()
				acknowledged[n] = true
				mu.Unlock()
			})
		})
		rng := rand.New(rand.NewPCG(uint64(round), 1))
		time.Sleep(time.Duration(1+rng.IntN(30)) * time.Millisecond)
		mu.Lock()
		before := maps.Clone(acknowledged)
		mu.Unlock()
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		cancel()
		all.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, after, "v")
		checkPinned(t, s, before)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const killDir = "CARDLAKE_VAULT_KILL_DIR"

// TestKilledProcess kills a process that pins, again and again on one folder. A line of its
// standard output is an acknowledged card.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		s := openTest(t, vfs.Default, dir)
		pinAll(t.Context(), t, s, func(n int) { fmt.Fprintf(os.Stdout, "card %d .\n", n) })
		return
	}
	dir, acknowledged := t.TempDir(), map[int]bool{}
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
		cmd.Env = append(os.Environ(), killDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; lines.Scan(); {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "card %d .", &n); err != nil || !strings.HasSuffix(lines.Text(), " .") {
				continue // cut by the kill, or the testing package's own
			}
			acknowledged[n] = true
			if seen++; seen == 300+500*round { // past what the rounds before have pinned
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
	}
	if len(acknowledged) < 500 {
		t.Fatalf("the children acknowledged %d cards only", len(acknowledged))
	}
	s := openTest(t, vfs.Default, dir)
	defer s.Close()
	checkPinned(t, s, acknowledged)
}

// gate holds syncs of the log while it is closed, and counts them.
type gate struct {
	mu    sync.RWMutex
	syncs atomic.Int64
}

func (g *gate) fs() vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if isSync && filepath.Ext(op.Path) == ".log" {
			g.syncs.Add(1)
			g.pass()
		}
		return nil
	}))
}

// pass returns when the gate is open.
func (g *gate) pass() {
	g.mu.RLock()
	defer g.mu.RUnlock()
}

// visible waits until a card can be seen in memory.
func visible(t *testing.T, s *Store, n int) {
	t.Helper()
	for {
		_, closer, err := s.db.Get(appendKey(nil, owner, named(n).Candidates[0]))
		if err == nil {
			closer.Close()
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestReadersWaitForTheDisk pins a card whose sync does not end: who finds the card meanwhile
// is not told of it before it is on the disk.
func TestReadersWaitForTheDisk(t *testing.T) {
	var g gate
	s := openTest(t, g.fs(), "v")
	v := vault.New(s, vault.Config{})
	var released atomic.Bool
	var all sync.WaitGroup
	told := func(who string, do func() error) {
		all.Go(func() {
			if err := do(); err != nil {
				t.Errorf("%s: %v", who, err)
			}
			if !released.Load() {
				t.Errorf("%s was told before the card was on the disk", who)
			}
		})
	}
	pin := func() error {
		_, err := v.Pin(t.Context(), owner, []tokenize.Card{named(1)})
		return err
	}
	g.mu.Lock()
	told("who pins", pin)
	visible(t, s, 1)
	told("who pins again", pin)
	told("who asks", func() error {
		_, err := v.Sealed(t.Context(), owner, named(1).Candidates[0])
		return err
	})
	told("who counts", func() error {
		_, err := v.Count(t.Context(), owner)
		return err
	})
	time.Sleep(20 * time.Millisecond) // for those who would not wait
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Read(ctx, owner, named(1).Candidates); !errors.Is(err, context.Canceled) {
		t.Errorf("a reader whose context ends: %v", err)
	}
	released.Store(true)
	g.mu.Unlock()
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWritersShareASync lets many pin while one sync takes long.
func TestWritersShareASync(t *testing.T) {
	const n = 50
	var g gate
	s := openTest(t, g.fs(), "v")
	v := vault.New(s, vault.Config{})
	var all sync.WaitGroup
	g.mu.Lock()
	before := g.syncs.Load()
	for i := range n {
		all.Go(func() {
			if _, err := v.Pin(t.Context(), owner, []tokenize.Card{named(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range n {
		visible(t, s, i)
	}
	g.mu.Unlock()
	all.Wait()
	if syncs := g.syncs.Load() - before; syncs > 5 {
		t.Errorf("%d syncs for %d concurrent pins", syncs, n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFailure makes the disk refuse writes: nothing is acknowledged from then on, not even
// what can still be read from memory, and no process is needed to end for that.
func TestDiskFailure(t *testing.T) {
	for _, failing := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSync} {
		var full atomic.Bool
		s := openTest(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			sameKind := op.Kind == failing || failing == errorfs.OpFileSync && op.Kind == errorfs.OpFileSyncData
			if full.Load() && sameKind && filepath.Ext(op.Path) == ".log" {
				return syscall.ENOSPC
			}
			return nil
		})), "v")
		v := vault.New(s, vault.Config{})
		if _, err := v.Pin(t.Context(), owner, []tokenize.Card{named(0)}); err != nil {
			t.Fatal(err)
		}
		full.Store(true)
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				for range 3 {
					tokens, err := v.Pin(t.Context(), owner, []tokenize.Card{named(1 + n/2)})
					if err == nil || tokens != nil {
						t.Errorf("pinned on a full disk: %v", tokens)
					}
				}
			})
		}
		all.Wait()
		if _, err := v.Pin(t.Context(), owner, []tokenize.Card{named(0)}); err == nil || !strings.Contains(err.Error(), "open it again") {
			t.Errorf("after the failure: %v", err)
		}
	}
}
