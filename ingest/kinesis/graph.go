package kinesis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/cardlake/cardlake"
)

const shardPrefix = "shardId-"

// Partition returns the partition that the shard of stream is: the number in its id. It
// refuses an id of any form but "shardId-" and twelve digits of at most 2,147,483,647.
func Partition(stream, shardID string) (cardlake.StreamPartition, error) {
	digits, ok := strings.CutPrefix(shardID, shardPrefix)
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil || len(digits) != 12 {
		return cardlake.StreamPartition{}, fmt.Errorf("shard id %q of stream %s is not %q and a number of twelve digits that fits 31 bits", shardID, stream, shardPrefix)
	}
	return cardlake.StreamPartition{Stream: stream, Partition: int32(n)}, nil
}

// ShardID is the inverse of Partition.
func ShardID(p cardlake.StreamPartition) string {
	return fmt.Sprintf("%s%012d", shardPrefix, p.Partition)
}

// graph holds the shards that the stream lists, open or not, with their parents' ids.
// Shards whose records have all expired are not listed any more, even as parents they are
// still named. It is never changed once made.
type graph map[string][]string

// eligible returns the shards that may be leased: those that have not ended and whose
// parents have. A parent without a lease that is not listed any more is forgotten.
//
// A shard that is not listed any more, but has a lease and has not ended, is among them: it
// vanished before it was read to its end, and somebody must look into that.
func (g graph) eligible(leases map[string]Lease) []string {
	var out []string
	for id, parents := range g {
		if leases[id].Ended {
			continue
		}
		open := false
		for _, parent := range parents {
			lease, leased := leases[parent]
			_, listed := g[parent]
			open = open || (leased || listed) && !lease.Ended
		}
		if !open {
			out = append(out, id)
		}
	}
	for id, lease := range leases {
		if _, listed := g[id]; !listed && !lease.Ended {
			out = append(out, id)
		}
	}
	return out
}

// describe asks Kinesis for the stream's ARN and its retention.
func (s *Source) describe(ctx context.Context) (arn string, retention time.Duration, err error) {
	out, err := s.client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &s.cfg.Stream}, noRetry)
	if err != nil {
		return "", 0, fmt.Errorf("describe stream %s: %w", s.cfg.Stream, err)
	}
	d := out.StreamDescriptionSummary
	return aws.ToString(d.StreamARN), time.Duration(aws.ToInt32(d.RetentionPeriodHours)) * time.Hour, nil
}

// listShards asks Kinesis for the stream's shards.
func (s *Source) listShards(ctx context.Context) (graph, error) {
	g := graph{}
	in := &kinesis.ListShardsInput{StreamName: &s.cfg.Stream}
	for {
		page, err := s.client.ListShards(ctx, in, noRetry)
		if err != nil {
			return nil, fmt.Errorf("list shards of stream %s: %w", s.cfg.Stream, err)
		}
		for _, shard := range page.Shards {
			if _, err := Partition(s.cfg.Stream, aws.ToString(shard.ShardId)); err != nil {
				return nil, err
			}
			g[*shard.ShardId] = parents(shard)
		}
		if page.NextToken == nil {
			return g, nil
		}
		in = &kinesis.ListShardsInput{NextToken: page.NextToken}
	}
}

func parents(shard types.Shard) []string {
	var ids []string
	for _, id := range []*string{shard.ParentShardId, shard.AdjacentParentShardId} {
		if id != nil && *id != "" {
			ids = append(ids, *id)
		}
	}
	return ids
}
