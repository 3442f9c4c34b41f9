package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
)

func TestEveryEventOnce(t *testing.T) {
	for _, c := range []struct{ partitions, events, windowRows int }{
		{1, 1, 1000}, {1, 95, 10}, {3, 100, 7}, {8, 200, 1000},
	} {
		t.Run(fmt.Sprintf("%d partitions, %d events, %d a window", c.partitions, c.events, c.windowRows), func(t *testing.T) {
			l := newLake(t, c.partitions)
			l.fill(c.events)
			w := l.worker(ingest.Config{WindowRows: c.windowRows})
			l.runUntil(w, l.caughtUp)
			l.checkOnce(c.events)
			if s := w.Stats(); s.Rows != int64(c.events) || s.Records != s.Rows {
				t.Errorf("stats say %d records, %d rows", s.Records, s.Rows)
			}
		})
	}
}

// TestFaultsLoseAndDoubleNothing injects each fault at each of the first appends and puts.
func TestFaultsLoseAndDoubleNothing(t *testing.T) {
	const events = 60
	for name, f := range map[string]fault{"refused": refuse, "unknown, not done": unknownBefore, "unknown, done": unknownAfter, "conflict": conflict} {
		for nth := 1; nth <= 4; nth++ {
			t.Run(fmt.Sprintf("append %d %s", nth, name), func(t *testing.T) {
				l := newLake(t, 2)
				l.fill(events)
				l.transactions.fault = func(n int) fault {
					if n == nth || n == nth+1 {
						return f
					}
					return none
				}
				l.runUntil(l.worker(ingest.Config{WindowRows: 20}), l.caughtUp)
				l.checkOnce(events)
			})
		}
	}
	for nth := 1; nth <= 3; nth++ {
		t.Run(fmt.Sprintf("put %d fails", nth), func(t *testing.T) {
			l := newLake(t, 2)
			l.fill(events)
			l.store.fail = func(n int) error {
				if n == nth || n == nth+1 {
					return errors.New("store is away")
				}
				return nil
			}
			l.runUntil(l.worker(ingest.Config{WindowRows: 20}), l.caughtUp)
			l.checkOnce(events)
		})
	}
}

// TestRestartGoesOnFromTheTable stops workers at arbitrary points; the last ones finish.
func TestRestartGoesOnFromTheTable(t *testing.T) {
	const events = 200
	l := newLake(t, 4)
	l.fill(events)
	for !l.caughtUp() {
		left := int64(events)
		for _, at := range l.transactions.at() {
			left -= at.Next
		}
		w := l.worker(ingest.Config{WindowRows: 15, WindowAge: time.Hour})
		l.runUntil(w, func() bool { return w.Stats().Records >= min(20, left) })
	}
	l.checkOnce(events)
}

// TestKilledWorkerLosesNothing abandons workers without their last commit.
func TestKilledWorkerLosesNothing(t *testing.T) {
	const events = 120
	l := newLake(t, 2)
	l.fill(events)
	for range 4 {
		w := l.worker(ingest.Config{WindowRows: 25, WindowAge: time.Hour, Grace: time.Nanosecond})
		before := l.transactions.at()
		l.transactions.fault = func(int) fault {
			if w.Stats().Commits >= 1 {
				return refuse // from here on the worker is as good as dead
			}
			return none
		}
		l.runUntil(w, func() bool { return !l.transactions.at().Equal(before) })
	}
	l.transactions.fault = nil
	l.runUntil(l.worker(ingest.Config{}), l.caughtUp)
	l.checkOnce(events)
}

// TestZombieIsFenced lets another worker commit the same records first.
func TestZombieIsFenced(t *testing.T) {
	const events = 50
	l := newLake(t, 2)
	l.fill(events)
	zombie := l.worker(ingest.Config{WindowAge: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- zombie.Run(ctx) }()
	for zombie.Stats().Records < events {
		time.Sleep(time.Millisecond)
	}
	l.runUntil(l.worker(ingest.Config{}), l.caughtUp)
	cancel() // the zombie now commits its window, too late
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.checkOnce(events)
	if got := zombie.Stats().Conflicts; got != 1 {
		t.Errorf("the zombie was fenced %d times, want once", got)
	}
}

func TestRepeatedEventIsDropped(t *testing.T) {
	l := newLake(t, 1)
	for _, n := range []int{0, 1, 1, 2, 0} {
		l.stream.append(0, l.event(n))
	}
	w := l.worker(ingest.Config{})
	l.runUntil(w, l.caughtUp)
	if got := w.Stats().Duplicates; got != 2 {
		t.Errorf("%d duplicates counted, want 2", got)
	}
	// A new worker knows the events from the table; it commits positions without rows.
	l.stream.append(0, l.event(2))
	l.stream.append(0, l.event(1))
	w = l.worker(ingest.Config{})
	l.runUntil(w, l.caughtUp)
	if got := w.Stats().Duplicates; got != 2 {
		t.Errorf("%d duplicates counted after the restart, want 2", got)
	}
	l.checkOnce(3)
}

func TestRepeatBeyondTheWindowIsARow(t *testing.T) {
	l := newLake(t, 1)
	for _, n := range []int{0, 100, 250, 0} { // seconds of event time
		l.stream.append(0, l.event(n))
	}
	w := l.worker(ingest.Config{Dedup: 100 * time.Second, Now: func() time.Time { return now.Add(time.Hour) }, WindowAge: 20 * time.Millisecond, WindowRows: 4})
	l.runUntil(w, l.caughtUp)
	if got := l.rows()[eventID(0)]; got != 2 {
		t.Errorf("an event repeated after 250 s of a 100 s window is there %d times, want twice: the window's promise is bounded", got)
	}
}

func TestLateEventsGoToTheirDayAndAreCounted(t *testing.T) {
	l := newLake(t, 1)
	for _, n := range []int{2 * 86400, 1, 2*86400 - 60} {
		l.stream.append(0, l.event(n))
	}
	w := l.worker(ingest.Config{Now: func() time.Time { return now.Add(72 * time.Hour) }, WindowRows: 3})
	l.runUntil(w, l.caughtUp)
	if s := w.Stats(); s.OutOfOrder != 2 || s.Late != 1 {
		t.Errorf("%d out of order, %d late, want 2 and 1", s.OutOfOrder, s.Late)
	}
	days := map[cardlake.Day]int64{}
	for _, f := range l.transactions.files() {
		days[f.Day] += f.Rows
	}
	first := cardlake.DayOf(now.UnixMicro())
	if days[first] != 1 || days[first+2] != 2 {
		t.Errorf("rows by day: %v", days)
	}
}

func TestRejectedRecordsAreSealedAndKeptOnce(t *testing.T) {
	l := newLake(t, 1)
	good := l.event(0)
	unknownSchema := append([]byte{0, 0, 0, 0, 77}, good[5:]...)
	garbage := []byte("4111111111111111 is not an event")
	tampered := append([]byte(nil), good...)
	tampered[len(tampered)-1] ^= 1
	stranger := append([]byte(nil), good...)
	copy(stranger[strings.Index(string(stranger), string(testTenant)):], "zurora")
	for _, value := range [][]byte{good, garbage, unknownSchema, tampered, stranger, l.event(1)} {
		l.stream.append(0, value)
	}
	// The worker dies between the two commits: the first of the main table fails for good.
	w := l.worker(ingest.Config{WindowRows: 6, Grace: time.Nanosecond})
	l.transactions.fault = func(int) fault { return refuse }
	l.runUntil(w, func() bool { return l.rejected.at().Holds(l.stream.ends()) })
	if len(l.transactions.files()) != 0 {
		t.Fatal("the main table was committed")
	}
	l.transactions.fault = nil
	w = l.worker(ingest.Config{})
	l.runUntil(w, l.caughtUp)
	l.checkOnce(2)

	var rows int64
	for _, f := range l.rejected.files() {
		rows += f.Rows
		body := l.store.objects[f.Name]
		if strings.Contains(string(body), "4111111111111111") {
			t.Error("a rejected payload lies in clear")
		}
	}
	if rows != 4 {
		t.Errorf("%d rejected rows, want 4", rows)
	}
	if strings.Contains(l.logs.String(), "4111111111111111") {
		t.Error("a payload is in the log")
	}
}

func TestRejectionReasons(t *testing.T) {
	l := newLake(t, 1)
	good := l.event(0)
	tampered := append([]byte(nil), good...)
	tampered[len(tampered)-1] ^= 1
	for _, value := range [][]byte{
		[]byte("no event"), append([]byte{0, 0, 0, 0, 77}, good[5:]...), tampered,
	} {
		l.stream.append(0, value)
	}
	w := l.worker(ingest.Config{})
	l.runUntil(w, l.caughtUp)
	got := w.Stats().Rejected
	for _, reason := range []string{"undecodable", "unknown_schema", "unopenable"} {
		if got[reason] != 1 {
			t.Errorf("%d rejected as %s, want 1", got[reason], reason)
		}
	}
}

// TestKeyServiceOutageIsWaitedFor: nothing is rejected because the keys are away for a while.
func TestKeyServiceOutageIsWaitedFor(t *testing.T) {
	l := newLake(t, 1)
	l.fill(20)
	var calls atomic.Int64
	w := ingest.New(l.deps(outage{l.keys, &calls}), ingest.Config{WindowAge: 20 * time.Millisecond, Grace: time.Second})
	l.runUntil(w, l.caughtUp)
	l.checkOnce(20)
	if s := w.Stats(); s.KeyRetries != 3 || len(s.Rejected) != 0 {
		t.Errorf("%d retries, rejected %v, want 3 and none", s.KeyRetries, s.Rejected)
	}
}

// outage fails the first three unwraps.
type outage struct {
	keys.Provider
	calls *atomic.Int64
}

func (o outage) UnwrapDataKey(ctx context.Context, s keys.Scope, wrapped []byte) (keys.Key, error) {
	if o.calls.Add(1) <= 3 {
		return keys.Key{}, errors.New("key service is away")
	}
	return o.Provider.UnwrapDataKey(ctx, s, wrapped)
}

func TestParsePayloadRefusesCutOnes(t *testing.T) {
	for _, p := range [][]byte{nil, {5, 'a'}, {0x80}} {
		if _, _, err := ingest.ParsePayload(p); err == nil {
			t.Errorf("payload of %d bytes parses", len(p))
		}
	}
	key, value, err := ingest.ParsePayload([]byte{1, 'k', 'v', 'v'})
	if err != nil || string(key) != "k" || string(value) != "vv" {
		t.Errorf("key %q, value %q, error %v", key, value, err)
	}
}
