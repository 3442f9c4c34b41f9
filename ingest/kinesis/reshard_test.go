package kinesis_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

// TestReshardWhileReading splits and merges under two workers: every record is taken once,
// each key's in order, and no child's before its parents' end (the table looks at that).
func TestReshardWhileReading(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 2, kinesistest.Config{PageShards: 3})
		cfg := w.config("a")
		cfg.Mode = mode
		a := w.start(cfg)
		b := w.start(cfg)
		w.put(400, 23)
		w.split("shardId-000000000000")
		w.put(400, 23)
		time.Sleep(3 * time.Second)
		w.merge("shardId-000000000003", "shardId-000000000001")
		w.put(400, 23)
		w.split("shardId-000000000002")
		time.Sleep(time.Second)
		w.put(400, 23)
		count := int32(6)
		_, err := w.client.UpdateShardCount(t.Context(), &sdk.UpdateShardCountInput{
			StreamName: aws.String(streamName), TargetShardCount: &count, ScalingType: types.ScalingTypeUniformScaling,
		})
		if err != nil {
			t.Fatal(err)
		}
		w.put(400, 23)
		w.until("all are there", w.drained)
		if open := w.server.Shards(streamName); len(open) != 6 {
			t.Errorf("open shards: %v", open)
		}
		w.until("both read", func() bool { return len(a.shards()) == 3 && len(b.shards()) == 3 })
		a.leave()
		b.leave()
		w.check()
		if errs := slices.Concat(a.errors(), b.errors()); len(errs) > 0 {
			t.Errorf("errors: %v", errs)
		}
	})
}

// TestChildWaitsForTheTable holds the parent's last records back from the table: knowing that
// the shard has ended is not enough.
func TestChildWaitsForTheTable(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{})
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		w.put(10, 3)
		w.until("the first are there", w.drained)
		release := m.hold()
		w.put(10, 3)
		w.split("shardId-000000000000")
		w.put(10, 3)
		time.Sleep(5 * time.Minute)
		if got := fmt.Sprint(m.shards()); got != "[0]" {
			t.Errorf("shards %s are read, want the parent alone", got)
		}
		release()
		w.until("all are there", w.drained)
		m.leave()
		w.check()
	})
}

// TestRollbackGoesBackToParents takes the table back to before a split, under a worker that
// has given the parent up long ago.
func TestRollbackGoesBackToParents(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{})
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		w.put(40, 5)
		w.until("the parent is there", w.drained)
		w.split("shardId-000000000000")
		w.put(40, 5)
		w.until("the children are there", w.drained)
		w.split("shardId-000000000001")
		w.put(40, 5)
		w.until("the grandchildren are there", w.drained)

		root := cardlake.StreamPartition{Stream: streamName}
		back := cardlake.Positions{root: {Next: 15, Mark: w.mark(root, 15)}}
		w.table.mu.Lock()
		rows := w.table.rows[root][:15]
		w.table.at = back
		w.table.rows = map[cardlake.StreamPartition][]string{root: rows}
		w.table.order = slices.Clone(rows)
		w.table.mu.Unlock()
		w.put(40, 5) // whose positions the table now refuses
		w.until("all are there again", w.drained)
		m.leave()
		w.check()
	})
}

// mark is the sequence number of the n-th record of a shard, counted from 1.
func (w *world) mark(p cardlake.StreamPartition, n int) string {
	w.t.Helper()
	it, err := w.client.GetShardIterator(w.t.Context(), &sdk.GetShardIteratorInput{
		StreamName: &p.Stream, ShardId: aws.String(kinesis.ShardID(p)), ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for next := it.ShardIterator; ; {
		out, err := w.client.GetRecords(w.t.Context(), &sdk.GetRecordsInput{ShardIterator: next})
		if err != nil {
			w.t.Fatal(err)
		}
		if n <= len(out.Records) {
			return *out.Records[n-1].SequenceNumber
		}
		n -= len(out.Records)
		next = out.NextShardIterator
	}
}

// TestEndedShardIsGivenBack looks at what a worker is told: a parent is revoked once its end
// is committed, and borrowed at most for a moment afterwards.
func TestEndedShardIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, kinesistest.Config{})
		m := w.start(w.config("a"))
		w.put(10, 3)
		w.until("all are there", w.drained)
		w.split("shardId-000000000000")
		w.until("the children are read", func() bool { return fmt.Sprint(m.shards()) == "[1 2]" })
		m.leave()
		again := w.start(w.config("a"))
		w.until("the children are read", func() bool { return fmt.Sprint(again.shards()) == "[1 2]" })
		again.leave()
		if got, want := fmt.Sprint(m.events[:2]), "[+0 -0]"; got != want {
			t.Errorf("events %v, want %v first", m.events, want)
		}
		w.check()
	})
}

// TestVanishedShardsAreForgotten waits until the parents' records are older than the
// retention.
func TestVanishedShardsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, kinesistest.Config{})
		m := w.start(slow(w.config("a")))
		w.put(10, 3)
		w.split("shardId-000000000000")
		w.until("the children are read", func() bool { return fmt.Sprint(m.shards()) == "[1 2]" })
		time.Sleep(25 * time.Hour)
		leases, err := w.leases.List(t.Context())
		if err != nil || len(leases) != 2 {
			t.Errorf("leases %v, want those of the children", leases)
		}
		w.put(10, 3)
		w.until("all are there", w.drained)
		m.leave()
		w.check()
		if errs := m.errors(); len(errs) > 0 {
			t.Errorf("errors: %v", errs)
		}
	})
}
