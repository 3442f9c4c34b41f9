package kinesis_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kinesis"
)

// TestAgainstAnEndpoint reads a stream of another implementation of Kinesis through a split
// and a merge, by polling. CARDLAKE_KINESIS_ENDPOINT is its URL; it gets credentials and
// region from the environment, as the SDK does.
func TestAgainstAnEndpoint(t *testing.T) {
	endpoint := os.Getenv("CARDLAKE_KINESIS_ENDPOINT")
	if endpoint == "" {
		t.Skip("CARDLAKE_KINESIS_ENDPOINT is not set")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client, err := kinesis.NewClient(ctx, kinesis.Endpoint{Region: os.Getenv("AWS_REGION"), URL: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	stream := aws.String(fmt.Sprintf("cardlake-%d", time.Now().UnixNano()))
	if _, err := client.CreateStream(ctx, &sdk.CreateStreamInput{StreamName: stream, ShardCount: aws.Int32(2)}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := client.DeleteStream(context.WithoutCancel(ctx), &sdk.DeleteStreamInput{StreamName: stream}); err != nil {
			t.Error(err)
		}
	}()
	ready := func() {
		t.Helper()
		for {
			out, err := client.DescribeStreamSummary(ctx, &sdk.DescribeStreamSummaryInput{StreamName: stream})
			if err != nil {
				t.Fatal(err)
			}
			if out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive {
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	ready()
	sent := map[string]int{}
	put := func(n int) {
		t.Helper()
		in := &sdk.PutRecordsInput{StreamName: stream}
		for i := range n {
			key := fmt.Sprint("key-", i%17)
			in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: fmt.Appendf(nil, "%d", sent[key])})
			sent[key]++
		}
		if out, err := client.PutRecords(ctx, in); err != nil || *out.FailedRecordCount > 0 {
			t.Fatal(out, err)
		}
	}

	leases := &memLeases{stored: map[string]kinesis.Lease{}}
	got := &collector{at: cardlake.Positions{}, seen: map[string]int{}}
	var running sync.WaitGroup
	run := func(stop context.Context) *kinesis.Source {
		source := kinesis.New(client, leases, kinesis.Config{Stream: *stream, LeaseDuration: 2 * time.Second, DiscoverInterval: 2 * time.Second})
		running.Go(func() { _ = source.Run(stop, got) })
		running.Go(func() {
			for stop.Err() == nil {
				records, err := source.Poll(stop)
				if err != nil {
					t.Log(err)
				}
				got.take(t, records)
				_ = source.Commit(stop, got.positions())
			}
		})
		return source
	}
	wait := func(n int) {
		t.Helper()
		for !got.has(n) {
			if ctx.Err() != nil {
				t.Fatalf("%v of %d records", got.positions(), n)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	first, stop := context.WithCancel(ctx)
	run(first)
	put(200)
	wait(200)
	half := aws.String("42535295865117307932921825928971026432") // of the first shard's hash keys
	if _, err := client.SplitShard(ctx, &sdk.SplitShardInput{StreamName: stream, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: half}); err != nil {
		t.Fatal(err)
	}
	ready()
	put(200)
	wait(400)
	stop()
	running.Wait()
	put(100)
	if _, err := client.MergeShards(ctx, &sdk.MergeShardsInput{StreamName: stream, ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001")}); err != nil {
		t.Fatal(err)
	}
	ready()
	put(200)
	second, stop := context.WithCancel(ctx)
	run(second)
	wait(700)
	stop()
	running.Wait()
	if !maps.Equal(got.seen, sent) {
		t.Errorf("records by key: %v, want %v", got.seen, sent)
	}
	t.Logf("%d records over %v", 700, got.positions())
}

// collector is a table of the test above.
type collector struct {
	mu   sync.Mutex
	at   cardlake.Positions
	seen map[string]int
	rows int
}

func (c *collector) take(t *testing.T, records []ingest.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		at := cardlake.Offset{Next: r.Position.Offset, Mark: r.Mark}
		if c.at[r.Position.StreamPartition].Next != at.Next {
			t.Errorf("the record at %s came at %d", r.Position, c.at[r.Position.StreamPartition].Next)
		}
		if !r.End {
			at.Next++
			c.rows++
			if fmt.Sprint(c.seen[string(r.Key)]) != string(r.Value) {
				t.Errorf("record %s of %s came when %d was due", r.Value, r.Key, c.seen[string(r.Key)])
			}
			c.seen[string(r.Key)]++
		}
		c.at[r.Position.StreamPartition] = at
	}
}

func (c *collector) has(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows >= n
}

func (c *collector) positions() cardlake.Positions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at.Clone()
}

func (c *collector) Assigned([]cardlake.StreamPartition) (cardlake.Positions, error) {
	return c.positions(), nil
}

func (c *collector) Revoked([]cardlake.StreamPartition, bool) {}
