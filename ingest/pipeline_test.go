package ingest_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake/ingest"
)

// TestSlowCommitsStopPolling: while the catalog is away the worker takes what its windows
// hold and no more, says that it is stalled, and goes on by itself afterwards.
func TestSlowCommitsStopPolling(t *testing.T) {
	const events = 400
	for _, pending := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d pending", pending), func(t *testing.T) {
			l := newLake(t, 2)
			l.fill(events)
			var away atomic.Bool
			away.Store(true)
			l.transactions.fault = func(int) fault {
				if away.Load() {
					return refuse
				}
				return none
			}
			var clock atomic.Int64
			clock.Store(now.UnixNano())
			w := l.worker(ingest.Config{
				WindowRows: 20, WindowAge: time.Minute, Pending: pending, StallAfter: 10 * time.Second,
				Now: func() time.Time { return time.Unix(0, clock.Load()) },
			})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			most := 20 * (pending + 1) // those that wait and the open one, which is full
			for w.Status().OpenRows < 20 || w.Status().Pending < pending {
				time.Sleep(time.Millisecond)
			}
			if err := w.Ready(); err != nil {
				t.Errorf("not ready although nothing is overdue: %v", err)
			}
			for w.Stats().AppendErrors < 4 {
				time.Sleep(time.Millisecond)
			}
			if s := w.Stats(); s.Rows != int64(most) {
				t.Errorf("%d rows taken while nothing can be committed, want %d", s.Rows, most)
			}
			clock.Add(int64(71 * time.Second))
			if err := w.Ready(); err == nil || !strings.Contains(err.Error(), "no commit since the start") {
				t.Errorf("stalled for 71 s of a window of 60 s, and ready says %v", err)
			}
			away.Store(false)
			for !l.caughtUp() {
				time.Sleep(time.Millisecond)
				clock.Add(int64(time.Second))
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			l.checkOnce(events)
		})
	}
}

// TestFencedWithWindowsWaiting: the first of several closed windows loses the race; those
// behind it must not be committed, and all is read again.
func TestFencedWithWindowsWaiting(t *testing.T) {
	const events = 200
	for nth := 1; nth <= 5; nth++ {
		l := newLake(t, 2)
		l.fill(events)
		release := make(chan struct{})
		l.transactions.fault = func(n int) fault {
			if n == nth {
				<-release
				return conflict
			}
			return none
		}
		w := l.worker(ingest.Config{WindowRows: 10, Pending: 3, WindowAge: 50 * time.Millisecond})
		go func() {
			for w.Status().Pending < 3 {
				time.Sleep(time.Millisecond)
			}
			close(release)
		}()
		l.runUntil(w, l.caughtUp)
		l.checkOnce(events)
		if got := w.Stats().Conflicts; got != 1 {
			t.Errorf("fenced %d times, want once", got)
		}
	}
}

func TestStatus(t *testing.T) {
	l := newLake(t, 2)
	l.fill(30)
	w := l.worker(ingest.Config{WindowAge: time.Hour})
	if err := w.Ready(); err == nil {
		t.Error("ready before it has polled")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for w.Status().OpenRows < 30 {
		time.Sleep(time.Millisecond)
	}
	s := w.Status()
	if len(s.Partitions) != 2 || s.Partitions[1].Taken != 15 || s.Partitions[1].Committed != 0 || s.Oldest.IsZero() {
		t.Errorf("status %+v", s)
	}
	if p := s.Partitions[1]; !p.LastRecord.Equal(now) || p.Watermark.IsZero() {
		t.Errorf("partition %+v", p)
	}
	if err := w.Ready(); err != nil {
		t.Error(err)
	}
	cancel()
	<-done
	l.checkOnce(30)
}
