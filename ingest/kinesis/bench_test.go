package kinesis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// BenchmarkTake is what an answer of 10,000 records costs between the SDK and the caller of
// Poll.
func BenchmarkTake(b *testing.B) {
	const n = 10_000
	s := New(nil, nil, Config{Stream: "s", BufferBytes: 1 << 40})
	close(s.started)
	s.retention = 24 * time.Hour
	now := time.Now()
	records := make([]types.Record, n)
	for i := range records {
		seq, key := fmt.Sprintf("49%054d", i+1), fmt.Sprintf("card-%027d", i)
		records[i] = types.Record{SequenceNumber: &seq, PartitionKey: &key, Data: make([]byte, 400), ApproximateArrivalTimestamp: &now}
	}
	r := &reader{Source: s, shard: &shard{id: "shardId-000000000000"}}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		a := answer{records: records, asked: now}
		bytes := a.bytes()
		if err := s.budget.Acquire(ctx, bytes); err != nil {
			b.Fatal(err)
		}
		if _, err := r.take(a, bytes); err != nil {
			b.Fatal(err)
		}
		if got, err := s.Poll(ctx); err != nil || len(got) != n {
			b.Fatal(len(got), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
