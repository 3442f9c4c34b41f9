package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/keys"
)

// keyring wraps by remembering.
type keyring struct {
	mu   sync.Mutex
	keys map[string]keys.Key
	err  error
}

func (k *keyring) NewDataKey(_ context.Context, s keys.Scope) (keys.Key, []byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return keys.Key{}, nil, k.err
	}
	if k.keys == nil {
		k.keys = map[string]keys.Key{}
	}
	wrapped := make([]byte, 77)
	rand.Read(wrapped)
	key := keys.NewKey()
	kept, _ := keys.KeyFrom(key.Bytes())
	k.keys[s.String()+string(wrapped)] = kept
	return key, wrapped, nil
}

func (k *keyring) UnwrapDataKey(_ context.Context, s keys.Scope, wrapped []byte) (keys.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return keys.Key{}, k.err
	}
	key, ok := k.keys[s.String()+string(wrapped)]
	if !ok {
		return keys.Key{}, keys.ErrUnwrap
	}
	return keys.KeyFrom(key.Bytes())
}

func open(t testing.TB, dir string, ring *keyring, cfg Config) *Log {
	t.Helper()
	cfg.Actor = "tester"
	l, err := Open(t.Context(), dir, ring, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func record(n int) Record {
	return Record{
		Actor: "spiffe://lake.example/ana", Action: "detokenise.collect", Resource: "tenant aurora", Outcome: Allowed,
		Origin: "192.0.2.7:4711", Reason: fmt.Sprintf("dispute %d", n), Request: "abcd", Numbers: map[string]int64{"tokens": int64(n)},
	}
}

func fill(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(t.Context(), record(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, dir string, cfg VerifyConfig) Report {
	t.Helper()
	r, err := Verify(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func actions(t testing.TB, dir string, f Filter) (out []string) {
	t.Helper()
	for e, err := range Read(t.Context(), dir, f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Action)
	}
	return out
}

// files is a copy of a log's folder.
func files(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, segmentPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = text
	}
	return out
}

func write(t testing.TB, all map[string][]byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// threeSegments is a log of three segments: open, 4 records, close, twice; then rotated once.
func threeSegments(t testing.TB, ring *keyring) (dir string, head Head) {
	t.Helper()
	dir = t.TempDir()
	for range 3 {
		l := open(t, dir, ring, Config{})
		fill(t, l, 4)
		closed(t, l)
		head = l.Head()
	}
	return dir, head
}

func TestWhatWasAppendedIsThereAndHoldsTogether(t *testing.T) {
	ring := &keyring{}
	dir, head := threeSegments(t, ring)
	got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: head})
	want := Report{Log: head.Log, Segments: 3, Lines: 18, From: got.From, To: got.To, Head: head, IsSealed: true}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var entries []Entry
	for e, err := range Read(t.Context(), dir, Filter{Action: "detokenise.", Since: got.From}) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if len(entries) != 12 {
		t.Fatalf("%d entries, want 12", len(entries))
	}
	if d := cmp.Diff(record(1), entries[1].Record); d != "" {
		t.Error(d)
	}
	if entries[1].Seq != 3 || time.Since(entries[1].Time) > time.Minute || entries[1].Time.Location() != time.UTC {
		t.Errorf("number %d at %s", entries[1].Seq, entries[1].Time)
	}
}

// A writer that dies leaves nothing, or part of a line, or pages that never reached the disk.
// None of it was acknowledged; what was is all there, and the chain goes on.
func TestOpenRepairsWhatADeadWriterLeft(t *testing.T) {
	ring := &keyring{}
	for name, tail := range map[string]string{
		"nothing":             "",
		"part of a line":      `{"seq":4,"time":"2026-11`,
		"part of a character": "{\"actor\":\"\xc3",
		"pages of zeros":      "\x00\x00\x00\x00{\"seq\":4}\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, ring, Config{})
			fill(t, l, 2)
			head := l.Head()
			die(l)
			f, err := os.OpenFile(filepath.Join(dir, segmentName(1)), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(tail); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(tail, "\n") {
				if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: head}); got.Break != nil || got.Torn != int64(len(tail)) {
					t.Errorf("before: break %v, %d bytes torn", got.Break, got.Torn)
				}
			}
			l = open(t, dir, ring, Config{})
			fill(t, l, 1)
			closed(t, l)
			got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: l.Head()})
			if got.Break != nil || got.Lines != 6 || got.Torn != 0 {
				t.Errorf("after: break %v, %d lines, %d bytes torn", got.Break, got.Lines, got.Torn)
			}
			for e, err := range Read(t.Context(), dir, Filter{Action: ActionOpen}) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Segment.Number == 2 && e.Segment.Torn != int64(len(tail)) {
					t.Errorf("the log says that %d bytes were torn, want %d", e.Segment.Torn, len(tail))
				}
			}
		})
	}
}

// die is what SIGKILL does to a log: its files are closed and nothing is written.
func die(l *Log) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.closed = true
	l.stop(&l.anchor)
	l.stop(&l.signing)
	_ = l.file.Close()
	_ = l.unlock()
}

func TestOpenRepairsASegmentWithoutItsFirstLine(t *testing.T) {
	ring := &keyring{}
	for _, left := range []string{"", `{"seq":`} {
		dir, _ := threeSegments(t, ring)
		if err := os.WriteFile(filepath.Join(dir, segmentName(4)), []byte(left), 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir, ring, Config{})
		closed(t, l)
		if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: l.Head()}); got.Break != nil || got.Segments != 4 || got.Lines != 20 {
			t.Errorf("left %q: break %v, %d segments, %d lines", left, got.Break, got.Segments, got.Lines)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	ring := &keyring{}
	for _, c := range []struct {
		name   string
		change func(all map[string][]byte)
		want   error
	}{
		{"a damaged line", func(all map[string][]byte) { all[segmentName(3)][100] ^= 1 }, ErrBroken},
		{"text behind the end", func(all map[string][]byte) { all[segmentName(3)] = append(all[segmentName(3)], "x\n"...) }, ErrBroken},
		{"lines cut off", func(all map[string][]byte) {
			ls := bytes.SplitAfter(all[segmentName(3)], []byte("\n"))
			all[segmentName(3)] = bytes.Join(ls[:3], nil)
		}, ErrTruncated},
		{"the newest segment gone", func(all map[string][]byte) { delete(all, segmentName(3)) }, ErrTruncated},
		{"all gone", func(all map[string][]byte) { clear(all) }, ErrTruncated},
		{"another log", func(all map[string][]byte) {
			dir, _ := threeSegments(t, ring)
			maps.Copy(all, files(t, dir))
		}, ErrTruncated},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, head := threeSegments(t, ring)
			all := files(t, dir)
			c.change(all)
			anchor := FileAnchor(filepath.Join(t.TempDir(), "elsewhere", "head.json"))
			if err := anchor.Save(t.Context(), head); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), write(t, all), ring, Config{Actor: "tester", Anchor: anchor})
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
	dir := t.TempDir()
	l := open(t, dir, ring, Config{})
	defer closed(t, l)
	if _, err := Open(t.Context(), dir, ring, Config{Actor: "tester"}); !errors.Is(err, ErrLocked) {
		t.Errorf("second writer: error %v", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), &keyring{err: keys.ErrNoKey}, Config{Actor: "tester"}); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("no key: error %v", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), ring, Config{}); err == nil {
		t.Error("no actor: no error")
	}
}

// The anchor follows the log by itself, and is exact after Close.
func TestAnchorFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, anchor := t.TempDir(), FileAnchor(filepath.Join(t.TempDir(), "head.json"))
		l := open(t, dir, &keyring{}, Config{Anchor: anchor})
		fill(t, l, 3)
		head := l.Head()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got, err := anchor.Load(t.Context())
		if err != nil || got != head {
			t.Errorf("anchor %+v, want %+v; error %v", got, head, err)
		}
		fill(t, l, 1)
		closed(t, l)
		if got, err := anchor.Load(t.Context()); err != nil || got != l.Head() || got == head {
			t.Errorf("after Close: anchor %+v, want %+v; error %v", got, l.Head(), err)
		}
	})
}

// faulty fails when told to, after it has written half.
type faulty struct {
	segmentFile
	write, sync, truncate error
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.write != nil {
		n, _ := f.segmentFile.Write(p[:len(p)/2])
		return n, f.write
	}
	return f.segmentFile.Write(p)
}

func (f *faulty) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.segmentFile.Sync()
}

func (f *faulty) Truncate(n int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.segmentFile.Truncate(n)
}

// What was refused is not in the log; when the disk has room again, the log goes on.
func TestAppendFailsClosed(t *testing.T) {
	for name, fault := range map[string]faulty{
		"disk full":                   {write: syscall.ENOSPC},
		"no fsync":                    {sync: syscall.EIO},
		"and what is there must stay": {write: syscall.ENOSPC, truncate: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			ring, dir := &keyring{}, t.TempDir()
			l := open(t, dir, ring, Config{})
			fill(t, l, 1)
			good := l.file
			fault.segmentFile = good
			l.file = &fault
			for range 3 {
				refused := record(1)
				refused.Action = "refused"
				if err := l.Append(t.Context(), refused); err == nil {
					t.Fatal("no error")
				}
				if got := actions(t, dir, Filter{}); fault.truncate == nil && len(got) != 2 {
					t.Errorf("what was refused is in the log: %q", got)
				}
			}
			l.file = good
			fill(t, l, 1)
			closed(t, l)
			if d := cmp.Diff([]string{ActionOpen, record(0).Action, record(0).Action, ActionClose}, actions(t, dir, Filter{})); d != "" {
				t.Error(d)
			}
			if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: l.Head()}); got.Break != nil {
				t.Error(got.Break)
			}
			if err := l.Append(t.Context(), record(1)); !errors.Is(err, ErrClosed) {
				t.Errorf("after Close: error %v", err)
			}
		})
	}
}

func TestAppendRefusesRecords(t *testing.T) {
	l := open(t, t.TempDir(), &keyring{}, Config{})
	defer closed(t, l)
	long := strings.Repeat("a", maxText+1)
	for name, change := range map[string]func(*Record){
		"no actor":    func(r *Record) { r.Actor = "" },
		"no action":   func(r *Record) { r.Action = "" },
		"no resource": func(r *Record) { r.Resource = "" },
		"no outcome":  func(r *Record) { r.Outcome = "" },
		"odd outcome": func(r *Record) { r.Outcome = "perhaps" },
		"long reason": func(r *Record) { r.Reason = long },
		"not UTF-8":   func(r *Record) { r.Origin = "\xff" },
		"long detail": func(r *Record) { r.Detail = map[string]string{"k": long} },
		"digits":      func(r *Record) { r.Numbers = map[string]int64{"4111111111111111": 1} },
		"nameless":    func(r *Record) { r.Detail = map[string]string{"": "v"} },
		"many details": func(r *Record) {
			r.Detail = map[string]string{}
			for i := range maxDetail + 1 {
				r.Detail[fmt.Sprint("k", i)] = "v"
			}
		},
	} {
		r := record(1)
		change(&r)
		if err := l.Append(t.Context(), r); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ctx, record(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// No text of a record can bring a card number into the log.
func TestNoCardNumberGetsIntoTheLog(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, &keyring{}, Config{})
	for _, pan := range []string{"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "4111.1111.1111.1111", "378282246310005"} {
		r := record(1)
		for _, to := range []*string{&r.Actor, &r.Action, &r.Resource, &r.Origin, &r.Reason, &r.Request} {
			*to = "x " + pan + " y"
		}
		r.Detail = map[string]string{"why": pan}
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, l)
	for name, text := range files(t, dir) {
		for _, digits := range []string{"4111", "1111", "3782", "0005"} {
			if bytes.Contains(text, []byte(digits)) {
				t.Errorf("%s holds %s", name, digits)
			}
		}
	}
}

func TestMaskDigits(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"case 12345678901":             "case 12345678901",
		"123456789012":                 "xxxxxxxxxxxx",
		"a123456789012b":               "axxxxxxxxxxxxb",
		"1234 5678-9012 .":             "xxxx xxxx-xxxx .",
		"1234  56789012":               "1234  56789012",
		"192.0.2.7:4711":               "192.0.2.7:4711",
		"2026-11-22T10:00:00Z":         "2026-11-22T10:00:00Z",
		"12345678901 2345678901234 56": "xxxxxxxxxxx xxxxxxxxxxxxx xx",
	} {
		if got := maskDigits(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Concurrent callers lose nothing, and share their fsyncs.
func TestConcurrentAppends(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	l := open(t, dir, ring, Config{SegmentBytes: 32 << 10})
	counted := &counting{segmentFile: l.file}
	l.file = counted
	const callers, each = 16, 20
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				r := record(i)
				r.Actor = fmt.Sprint("caller ", c)
				if err := l.Append(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	closed(t, l)
	got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: l.Head()})
	if got.Break != nil || got.Lines != uint64(callers*each+got.Segments+1) || got.Segments < 4 {
		t.Errorf("%d lines in %d segments, break %v", got.Lines, got.Segments, got.Break)
	}
	for c := range callers {
		var order []int64
		for e, err := range Read(t.Context(), dir, Filter{Actor: fmt.Sprint("caller ", c)}) {
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, e.Numbers["tokens"])
		}
		if len(order) != each || !slices.IsSorted(order) {
			t.Errorf("caller %d: %v", c, order)
		}
	}
	if counted.syncs >= counted.lines {
		t.Errorf("%d fsyncs for %d lines of the first segment", counted.syncs, counted.lines)
	}
}

type counting struct {
	segmentFile
	syncs, lines int
}

func (c *counting) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	return c.segmentFile.Write(p)
}

func (c *counting) Sync() error {
	c.syncs++
	time.Sleep(time.Millisecond) // so that others come while it lasts
	return c.segmentFile.Sync()
}

// A segment ends with its day; without a key for a new one it goes on.
func TestSegmentsEndWithTheDay(t *testing.T) {
	ring, dir := &keyring{}, t.TempDir()
	now := time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)
	l := open(t, dir, ring, Config{Now: func() time.Time { return now }})
	fill(t, l, 1)
	now = now.Add(2 * time.Minute)
	ring.err = errors.New("out of reach")
	fill(t, l, 1)
	ring.err = nil
	now = now.Add(rotateRetry)
	fill(t, l, 1)
	closed(t, l)
	if d := cmp.Diff([]string{ActionOpen, "detokenise.collect", "detokenise.collect", ActionRotate, "detokenise.collect", ActionClose}, actions(t, dir, Filter{})); d != "" {
		t.Error(d)
	}
	if got := verify(t, dir, VerifyConfig{Keys: ring, Anchor: l.Head()}); got.Break != nil || got.Segments != 2 {
		t.Errorf("%d segments, break %v", got.Segments, got.Break)
	}
	if got := len(actions(t, dir, Filter{Since: now})); got != 3 {
		t.Errorf("%d entries since the last minute, want 3", got)
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, &keyring{}, Config{})
	fill(t, l, 5)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for e, err := range Follow(ctx, dir, Filter{Action: "detokenise."}, 2) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Reason)
		switch len(got) {
		case 2:
			r := record(77)
			if err := l.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		case 3:
			closed(t, l)
			l = open(t, dir, &keyring{}, Config{})
			fill(t, l, 1)
		case 4:
			cancel()
		}
	}
	closed(t, l)
	if d := cmp.Diff([]string{"dispute 3", "dispute 4", "dispute 77", "dispute 0"}, got); d != "" {
		t.Error(d)
	}
}

func FuzzParseLine(f *testing.F) {
	line, _, err := appendLine(nil, &Entry{Seq: 1, Record: record(1), Segment: &Segment{Number: 1, Key: "ab"}}, keys.NewKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.TrimSuffix(line, []byte("\n")))
	f.Add([]byte(`{"seq":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p, err := parseLine(line)
		if err == nil && len(p.body)+suffixLen != len(line) {
			t.Error("a line was not taken apart whole")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := open(b, b.TempDir(), &keyring{}, Config{})
			defer closed(b, l)
			b.ReportAllocs()
			var wg sync.WaitGroup
			work := make(chan struct{})
			for range callers {
				wg.Go(func() {
					for range work {
						if err := l.Append(context.Background(), record(1)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
		})
	}
}
