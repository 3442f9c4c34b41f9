package kinesis_test

import (
	"context"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/ingesttest"
	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

// TestConformance runs the suite for both modes, in real time: what stands behind the table
// keeps channels between tests, which a bubble of testing/synctest does not allow.
func TestConformance(t *testing.T) {
	const atOnce = 8 // they mostly wait
	var running errgroup.Group
	running.SetLimit(atOnce)
	for name, mode := range map[string]kinesis.Mode{"polling": kinesis.Polling, "fan-out": kinesis.FanOut} {
		open := func(t testing.TB, shards int) ingesttest.Stream { return openStream(t, shards, mode) }
		for _, c := range ingesttest.Cases() {
			running.Go(func() error {
				t.Run(name+"/"+c.Name, func(t *testing.T) {
					for _, finding := range c.Findings(t, open, ingesttest.Options{}) {
						t.Error(finding)
					}
				})
				return nil
			})
		}
	}
	_ = running.Wait() // the subtests have told
}

// openStream is a stream of kinesistest as the conformance suite wants it, with the service's
// times shortened so that a test of real time is quick.
func openStream(t testing.TB, shards int, mode kinesis.Mode) ingesttest.Stream {
	t.Helper()
	var ahead atomic.Int64 // of the clock
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	server := kinesistest.New(kinesistest.Config{
		Now: now, Unlimited: true, TakeOver: 20 * time.Millisecond, Heartbeat: 50 * time.Millisecond, AnswerRecords: 5,
	})
	client := server.Client()
	ctx, count := context.Background(), int32(shards)
	if _, err := client.CreateStream(ctx, &sdk.CreateStreamInput{StreamName: aws.String(streamName), ShardCount: &count}); err != nil {
		t.Fatal(err)
	}
	leases := &memLeases{stored: map[string]kinesis.Lease{}}
	var mu sync.Mutex
	networks := map[string]*network{}
	networkOf := func(member string) *network {
		mu.Lock()
		defer mu.Unlock()
		return networks[member]
	}
	const maxEvent, inFlight = 1 << 20, 2
	s := ingesttest.Stream{
		Source: func(t testing.TB, member string) ingest.Source {
			n, o := &network{latency: 2 * time.Millisecond}, client.Options()
			mu.Lock()
			networks[member] = n
			mu.Unlock()
			o.HTTPClient = n.do(o.HTTPClient)
			return kinesis.New(sdk.New(o), cutLeases{n, leases}, kinesis.Config{
				Stream: streamName, Mode: mode, Worker: member, Now: now,
				PollInterval: 5 * time.Millisecond, LeaseDuration: 1200 * time.Millisecond,
				DiscoverInterval: time.Second, SubscribeInterval: 25 * time.Millisecond, RetryInterval: 200 * time.Millisecond, BufferBytes: kinesis.MaxFetch,
				Log: slog.New(slog.NewTextHandler(testLog{t}, nil)).With("member", member),
			})
		},
		Produce: func(t testing.TB, hint int, key, value []byte) {
			_, err := client.PutRecord(ctx, &sdk.PutRecordInput{
				StreamName: aws.String(streamName), PartitionKey: aws.String(string(key)), Data: value,
				ExplicitHashKey: aws.String(hashOf(hint)),
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		Isolate: func(_ testing.TB, member string) func() { return networkOf(member).isolate() },
		Close:   func() {},
		Reshard: func(t testing.TB) {
			count := int32([]int{3, 4, 2}[(server.Calls("UpdateShardCount"))%3])
			_, err := client.UpdateShardCount(ctx, &sdk.UpdateShardCountInput{
				StreamName: aws.String(streamName), TargetShardCount: &count, ScalingType: types.ScalingTypeUniformScaling,
			})
			if err != nil {
				t.Fatal(err)
			}
		},
		Trim: func(testing.TB) { ahead.Add(int64(25 * time.Hour)) },
		Beyond: func(_ testing.TB, at cardlake.Positions) cardlake.Positions {
			beyond := cardlake.Positions{}
			for p, o := range at {
				beyond[p] = cardlake.Offset{Next: o.Next + 1000, Mark: o.Mark[:2] + strings.Repeat("9", len(o.Mark)-2)}
			}
			return beyond
		},
		// Records come in base64.
		Received:  func(member string) int64 { return networkOf(member).received.Load() * 3 / 4 },
		Buffer:    kinesis.MaxFetch,
		MaxRecord: 1<<20 - 256,
	}
	if mode == kinesis.FanOut {
		s.Buffer += int64(shards) * inFlight * maxEvent
	}
	return s
}

// hashOf spreads hints over the hash keys.
func hashOf(hint int) string {
	h := bigInt("340282366920938463463374607431768211456") // 2^128
	return h.Mul(h, new(big.Int).SetUint64(uint64(hint)*11400714819323198485)).Rsh(h, 64).String()
}

// testLog hands a log on to the test's, which shows it when the test fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
