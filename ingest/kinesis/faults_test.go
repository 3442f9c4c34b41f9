package kinesis_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

// TestFlowControlIsNoError throttles every operation in turns: the worker sees nothing of it.
func TestFlowControlIsNoError(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 2, kinesistest.Config{Transition: 3 * time.Second})
		time.Sleep(5 * time.Second)
		codes := []string{"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException", "ThrottlingException"}
		for _, operation := range []string{"GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary", "RegisterStreamConsumer", "DescribeStreamConsumer", "SubscribeToShard"} {
			w.server.Inject(operation, func(n int) *kinesistest.Fault {
				if n%3 == 0 {
					return nil
				}
				return &kinesistest.Fault{Code: codes[n%len(codes)], Done: n%2 == 0}
			})
		}
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		for range 5 {
			w.put(200, 10)
			time.Sleep(10 * time.Second)
		}
		w.server.Inject("ListShards", nil) // which the test asks too
		w.until("all are there", w.drained)
		m.leave()
		w.check()
		if errs := m.errors(); len(errs) > 0 {
			t.Errorf("errors: %v", errs)
		}
	})
}

// TestFailuresAreSeen breaks reading for good: the worker sees why, again and again but not
// in a rush, and goes on afterwards.
func TestFailuresAreSeen(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{})
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		w.put(10, 3)
		w.until("the first are there", w.drained)
		for _, operation := range []string{"GetRecords", "SubscribeToShard"} {
			w.server.Inject(operation, func(int) *kinesistest.Fault {
				return &kinesistest.Fault{Code: "AccessDeniedException", Done: operation == "SubscribeToShard"}
			})
		}
		calls := w.server.Calls("GetRecords") + w.server.Calls("SubscribeToShard")
		w.put(10, 3)
		time.Sleep(30 * time.Minute)
		if n := w.server.Calls("GetRecords") + w.server.Calls("SubscribeToShard") - calls; n < 20 || n > 500 {
			t.Errorf("%d attempts in 30 minutes of refusal", n)
		}
		errs := m.errors()
		if len(errs) < 20 || !strings.Contains(errs[len(errs)-1].Error(), "AccessDenied") || !strings.Contains(errs[len(errs)-1].Error(), "shardId-000000000000") {
			t.Errorf("%d errors, the last is %v", len(errs), errs[len(errs)-1:])
		}
		w.server.Inject("GetRecords", nil)
		w.server.Inject("SubscribeToShard", nil)
		w.until("all are there", w.drained)
		m.leave()
		w.check()
	})
}

// TestLimitsOfTheServiceAreKept reads what is far more than a shard gives a second: the reader
// keeps to the limits by itself.
func TestLimitsOfTheServiceAreKept(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{})
		for i := range 30 { // the shard takes 1 MB a second
			_, err := w.client.PutRecord(t.Context(), &sdk.PutRecordInput{
				StreamName: aws.String(streamName), PartitionKey: aws.String("big"),
				Data: append(fmt.Appendf(nil, "big %d", i), make([]byte, 900<<10)...),
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		w.put(100, 5)
		cfg := w.config("a")
		cfg.Mode = mode
		began := time.Now()
		m := w.start(cfg)
		w.until("all are there", func() bool { return w.table.size() == 130 })
		if took := time.Since(began); took < 8*time.Second {
			t.Errorf("27 MB were read in %v", took)
		}
		if mode == kinesis.Polling {
			if n := strings.Count(w.logs.String(), "Throughput"); n > 0 {
				t.Errorf("a reader alone was throttled %d times", n)
			}
		}
		m.leave()
	})
}

// TestSlowConsumerKeepsItsPlace stands still for longer than an iterator or a subscription
// lives, with more on the stream than the buffer takes.
func TestSlowConsumerKeepsItsPlace(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{Unlimited: true})
		cfg := w.config("a")
		cfg.Mode, cfg.BufferBytes = mode, kinesis.MaxFetch
		m := w.start(cfg)
		w.put(1, 1)
		w.until("it reads", w.drained)
		release := m.hold()
		big := make([]byte, 500<<10)
		for i := range 60 {
			_, err := w.client.PutRecord(t.Context(), &sdk.PutRecordInput{
				StreamName: aws.String(streamName), PartitionKey: aws.String("key-0"), Data: append(fmt.Appendf(nil, "big %d ", i), big...),
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		calls := w.server.Calls("GetRecords") + w.server.Calls("SubscribeToShard")
		time.Sleep(20 * time.Minute)
		if n := w.server.Calls("GetRecords") + w.server.Calls("SubscribeToShard") - calls; n > 10 {
			t.Errorf("%d calls while nobody took the records", n)
		}
		release()
		w.until("all are there", func() bool { return w.table.size() == 61 })
		m.leave()
		w.table.mu.Lock()
		defer w.table.mu.Unlock()
		for i, row := range w.table.order[1:] {
			if !strings.HasPrefix(row, fmt.Sprintf("big %d ", i)) {
				t.Fatalf("record %d is %.10q", i, row)
			}
		}
		if mode == kinesis.Polling && !strings.Contains(w.logs.String(), "ExpiredIterator") {
			t.Error("no iterator expired: the test proves nothing")
		}
		if errs := m.errors(); len(errs) > 0 {
			t.Errorf("errors: %v", errs)
		}
	})
}

// TestSubscriptionsAreRenewed runs longer than a subscription lives, with ends of every kind.
func TestSubscriptionsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, kinesistest.Config{})
		cfg := w.config("a")
		cfg.Mode = kinesis.FanOut
		m := w.start(cfg)
		w.server.Inject("SubscribeToShard", func(n int) *kinesistest.Fault {
			switch n % 4 {
			case 0:
				return &kinesistest.Fault{Code: "InternalFailureException", Done: true}
			case 1:
				return &kinesistest.Fault{Code: "ResourceInUseException", Done: true}
			}
			return nil
		})
		for range 120 {
			w.put(20, 7)
			time.Sleep(15 * time.Second)
		}
		w.until("all are there", w.drained)
		m.leave()
		w.check()
		if n := w.server.Calls("SubscribeToShard"); n < 10 || n > 100 {
			t.Errorf("%d subscriptions in 30 minutes", n)
		}
	})
}

// TestConsumerIsRegisteredOnce lets two workers begin at once, and a consumer be removed.
func TestConsumerIsRegisteredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, kinesistest.Config{Transition: 10 * time.Second})
		time.Sleep(15 * time.Second)
		cfg := w.config("a")
		cfg.Mode, cfg.Consumer = kinesis.FanOut, "lake"
		a, b := w.start(cfg), w.start(cfg)
		w.put(50, 10)
		w.until("all are there", w.drained)
		summary, err := w.client.DescribeStreamSummary(t.Context(), &sdk.DescribeStreamSummaryInput{StreamName: aws.String(streamName)})
		if err != nil || *summary.StreamDescriptionSummary.ConsumerCount != 1 {
			t.Fatalf("%v consumers, %v", summary, err)
		}
		_, err = w.client.DeregisterStreamConsumer(t.Context(), &sdk.DeregisterStreamConsumerInput{
			StreamARN: summary.StreamDescriptionSummary.StreamARN, ConsumerName: aws.String("lake"),
		})
		if err != nil {
			t.Fatal(err)
		}
		w.put(50, 10)
		w.until("all are there, by a new consumer", w.drained)
		a.leave()
		b.leave()
		w.check()
	})
}

// TestSeek goes back: what was buffered is dropped, and the shard read from there.
func TestSeek(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{AnswerRecords: 20, Unlimited: true})
		w.put(400, 10)
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		root := cardlake.StreamPartition{Stream: streamName}
		for round := range 5 {
			w.until("some are there", func() bool { return w.table.size() >= 60*(round+1) })
			release := m.hold()
			time.Sleep(2 * time.Second) // it has polled, and more is buffered
			back := w.table.positions()[root].Next - 10
			mark := w.mark(root, int(back))
			w.table.mu.Lock()
			w.table.at[root] = cardlake.Offset{Next: back, Mark: mark}
			w.table.rows[root] = w.table.rows[root][:back]
			w.table.order = slices.Clone(w.table.rows[root])
			w.table.mu.Unlock()
			release()
			w.put(50, 10)
			w.until("all are there", w.drained)
		}
		m.leave()
		w.check()
		if w.table.fenced != 5 {
			t.Errorf("the table refused %d records, want the one that showed each of 5 moves", w.table.fenced)
		}
	})
}

// TestBadMarks begins where the stream never was.
func TestBadMarks(t *testing.T) {
	for name, mark := range map[string]string{
		"no number": "shard end", "another stream's": "49590338271490256608559692538361571095921575989136588898", "too short": "7",
	} {
		t.Run(name, func(t *testing.T) {
			inModes(t, func(t *testing.T, mode kinesis.Mode) {
				w := newWorld(t, 1, kinesistest.Config{})
				w.put(20, 5)
				root := cardlake.StreamPartition{Stream: streamName}
				bad := cardlake.Positions{root: {Next: 7, Mark: mark}}
				w.table.at = bad.Clone()
				cfg := w.config("a")
				cfg.Mode = mode
				m := w.start(cfg)
				w.until("the worker sees it", func() bool { return len(m.errors()) > 3 })
				if !w.table.positions().Equal(bad) {
					t.Errorf("the table moved to %v", w.table.positions())
				}
				if text := fmt.Sprint(m.errors()); strings.Contains(text, mark) {
					t.Errorf("the error shows the mark: %s", text)
				}
				m.leave()
			})
		})
	}
}

// TestLag looks at a shard that is behind and one that is not.
func TestLag(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{AnswerRecords: 10})
		w.put(500, 5)
		time.Sleep(time.Hour)
		cfg := w.config("a")
		cfg.Mode = mode
		m := w.start(cfg)
		root := cardlake.StreamPartition{Stream: streamName}
		w.until("it reads", func() bool { return w.table.size() > 0 })
		if w.table.size() < 500 {
			if lag := m.Lag()[root]; lag < 59*time.Minute || lag > 61*time.Minute {
				t.Errorf("the lag is %v an hour behind", lag)
			}
		}
		w.until("all are there", w.drained)
		time.Sleep(time.Minute)
		if lag := m.Lag()[root]; lag != 0 {
			t.Errorf("the lag is %v at the tip", lag)
		}
		release := m.hold()
		w.put(10, 5)
		time.Sleep(time.Minute)
		release()
		for _, operation := range []string{"GetRecords", "SubscribeToShard"} {
			w.server.Inject(operation, func(int) *kinesistest.Fault { return &kinesistest.Fault{Code: "AccessDeniedException"} })
		}
		time.Sleep(10 * time.Minute)
		if lag := m.Lag()[root]; lag < 4*time.Minute {
			t.Errorf("the lag is %v when nothing has been heard for minutes", lag)
		}
		m.leave()
		if lag := m.Lag(); len(lag) != 0 {
			t.Errorf("a source that ended has the lag %v", lag)
		}
	})
}

// TestFrom begins a stream that was never read at a time.
func TestFrom(t *testing.T) {
	inModes(t, func(t *testing.T, mode kinesis.Mode) {
		w := newWorld(t, 1, kinesistest.Config{})
		w.put(50, 5)
		time.Sleep(time.Hour)
		cfg := w.config("a")
		cfg.Mode, cfg.From = mode, time.Now()
		m := w.start(cfg)
		time.Sleep(time.Minute)
		w.put(50, 5)
		w.until("the later half is there", func() bool { return w.table.size() == 50 })
		m.leave()
		if at := w.table.positions()[cardlake.StreamPartition{Stream: streamName}]; at.Next != 50 {
			t.Errorf("the position is %d after 50 records", at.Next)
		}
	})
}

// TestAggregatedRecordIsOneRecord passes the producer library's form on as it is.
func TestAggregatedRecordIsOneRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, kinesistest.Config{})
		aggregated := append([]byte{0xf3, 0x89, 0x9a, 0xc2}, bytes.Repeat([]byte("many"), 20)...)
		_, err := w.client.PutRecord(t.Context(), &sdk.PutRecordInput{StreamName: aws.String(streamName), PartitionKey: aws.String("a"), Data: aggregated})
		if err != nil {
			t.Fatal(err)
		}
		m := w.start(w.config("a"))
		w.until("it is there", func() bool { return w.table.size() == 1 })
		m.leave()
		if w.table.order[0] != string(aggregated) {
			t.Errorf("the record is %q", w.table.order[0])
		}
	})
}

// TestStrangeShardIDsAreRefused lists a shard whose id has no number.
func TestStrangeShardIDsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, kinesistest.Config{})
		m := w.startWith(w.config("a"), strangeShards{w.client}, w.leases)
		w.until("the worker sees it", func() bool { return len(m.errors()) > 0 })
		if err := m.errors()[0].Error(); !strings.Contains(err, `"shard-a"`) {
			t.Errorf("error %s, want one that names the shard", err)
		}
		m.leave()
	})
}
