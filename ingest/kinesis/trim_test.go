package kinesis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

// strangeShards is a stream with a shard that has no number.
type strangeShards struct{ *sdk.Client }

func (s strangeShards) ListShards(ctx context.Context, in *sdk.ListShardsInput, o ...func(*sdk.Options)) (*sdk.ListShardsOutput, error) {
	out, err := s.Client.ListShards(ctx, in, o...)
	if err == nil {
		out.Shards[0].ShardId = aws.String("shard-a")
	}
	return out, err
}

func seesTrimmed(m *member) bool {
	for _, err := range m.errors() {
		if errors.Is(err, kinesis.ErrTrimmed) {
			return true
		}
	}
	return false
}

// TestExpiredRecordsAreSeen leaves a stream unread for longer than its retention.
func TestExpiredRecordsAreSeen(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		for _, later := range []int{0, 20} { // records after those that expired
			w := newWorld(t, 1, kinesistest.Config{})
			cfg := slow(w.config("a"))
			cfg.Mode = mode
			w.put(20, 5)
			m := w.start(cfg)
			w.until("all are there", w.drained)
			m.leave()
			w.put(20, 5)
			time.Sleep(25 * time.Hour)
			w.put(later, 5)
			before := w.table.positions()
			m = w.start(cfg)
			w.until("the worker sees it", func() bool { return seesTrimmed(m) })
			time.Sleep(time.Hour)
			m.leave()
			if !w.table.positions().Equal(before) {
				t.Errorf("the table moved from %v to %v", before, w.table.positions())
			}
			cfg.SkipTrimmed = true
			m = w.start(cfg)
			w.put(20, 5)
			w.until("what is left is there", func() bool { return w.table.size() == 40+later })
			m.leave()
			if len(m.errors()) > 0 || !strings.Contains(w.logs.String(), "going on behind expired records") {
				t.Errorf("skipping gave the errors %v, and a word in the log: want the word only", m.errors())
			}
		}
	})
}

// TestIdleShardIsNoAlarm reads a shard that gets nothing for days, over restarts and a
// change of workers: that its last record expires loses nothing, and the leases prove it.
func TestIdleShardIsNoAlarm(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{Heartbeat: 25 * time.Second})
		cfg := slow(w.config("a"))
		cfg.Mode = mode
		w.put(20, 5)
		for range 2 {
			m := w.start(cfg)
			w.until("all are there", w.drained)
			time.Sleep(30 * time.Hour)
			m.leave()
			if errs := m.errors(); len(errs) > 0 {
				t.Fatalf("errors: %v", errs)
			}
			time.Sleep(20 * time.Hour) // less than the retention
			w.put(5, 5)
		}
		m := w.start(cfg)
		w.until("all are there", w.drained)
		m.leave()
		w.check()
	})
}

// TestNoProofIsAnAlarm takes the leases away, and with them the proof that nothing was lost.
func TestNoProofIsAnAlarm(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{Heartbeat: 25 * time.Second})
		cfg := slow(w.config("a"))
		cfg.Mode = mode
		w.put(20, 5)
		m := w.start(cfg)
		w.until("all are there", w.drained)
		time.Sleep(30 * time.Hour)
		m.leave()
		w.leases.mu.Lock()
		clear(w.leases.stored)
		w.leases.mu.Unlock()
		m = w.start(cfg)
		w.until("the worker sees it", func() bool { return seesTrimmed(m) })
		m.leave()
	})
}

// TestLaggardIsOvertakenByTheRetention lets records expire under a reader that is slower than
// they do, with iterators that never get old: it takes no record behind a gap.
func TestLaggardIsOvertakenByTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, kinesistest.Config{AnswerRecords: 10})
		for range 30 {
			w.put(20, 1)
			time.Sleep(time.Minute)
		}
		time.Sleep(23*time.Hour + 20*time.Minute) // the oldest have 10 minutes to live
		m := w.start(slow(w.config("a")))
		w.until("the worker sees it", func() bool { return seesTrimmed(m) })
		m.leave()
		if n := w.table.size(); n < 100 || n > 500 {
			t.Errorf("%d of %d records were taken", n, w.total())
		}
		for i, row := range w.table.order {
			if row != fmt.Sprint("key-0 ", i) {
				t.Fatalf("%s came when %d was due", row, i)
			}
		}
	})
}

// TestVanishedUnreadShardIsSeen leaves a stream through a split until the parent is not
// listed any more: its children are not read as if nothing had been before.
func TestVanishedUnreadShardIsSeen(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{})
		cfg := slow(w.config("a"))
		cfg.Mode = mode
		w.put(20, 5)
		m := w.start(cfg)
		w.until("all are there", w.drained)
		m.leave()
		w.put(20, 5)
		w.split("shardId-000000000000")
		w.put(20, 5)
		time.Sleep(25 * time.Hour)
		w.put(20, 5)
		m = w.start(cfg)
		w.until("the worker sees it", func() bool { return seesTrimmed(m) })
		time.Sleep(time.Hour)
		if n := w.table.size(); n != 20 {
			t.Errorf("the table has %d records, want it to stay at 20", n)
		}
		m.leave()
		w.table.skips = true
		cfg.SkipTrimmed = true
		m = w.start(cfg)
		w.until("what is left is there", func() bool { return w.table.size() == 40 })
		time.Sleep(time.Hour)
		if len(m.errors()) > 0 {
			t.Errorf("errors: %v", m.errors())
		}
		m.leave()
		if leases, _ := w.leases.List(t.Context()); len(leases) != 2 {
			t.Errorf("leases %v, want the children's", leases)
		}
	})
}
