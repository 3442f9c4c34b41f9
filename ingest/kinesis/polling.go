package kinesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// readRate is what all readers of a shard may have of it a second by GetRecords, in bytes
// (Kinesis Data Streams, "Quotas and limits").
const readRate = 2 << 20

// callTimeout bounds a call of a reader: one that hangs is not waited for until its
// connection breaks.
const callTimeout = 30 * time.Second

// poll reads the shard by GetRecords until its end.
func (r *reader) poll(ctx context.Context) error {
	for {
		if r.iterator == "" {
			if err := r.position(ctx); err != nil {
				return err
			}
		}
		// What comes back can have any size up to MaxFetch.
		if err := r.budget.Acquire(ctx, MaxFetch); err != nil {
			return err
		}
		asked, called := r.cfg.Now(), time.Now()
		out, err := r.records(ctx)
		if err != nil {
			r.budget.Release(MaxFetch)
			if _, expired := errors.AsType[*types.ExpiredIteratorException](err); expired {
				r.renewIterator()
			}
			return fmt.Errorf("get records: %w", err)
		}
		a := answer{
			records: out.Records, closed: aws.ToString(out.NextShardIterator) == "", asked: asked,
			behind: time.Duration(aws.ToInt64(out.MillisBehindLatest)) * time.Millisecond,
		}
		bytes := min(a.bytes(), MaxFetch)
		r.budget.Release(MaxFetch - bytes)
		sure, err := r.take(a, bytes)
		if err != nil {
			return err
		}
		switch {
		case !sure:
			r.renewIterator()
		case a.closed:
			wake(r.relist)
			return nil
		default:
			r.iterator = *out.NextShardIterator
			if len(a.records) > 0 && !r.lossless() {
				r.renewIterator() // the next records may expire before they are asked for
			}
		}
		pause := max(r.cfg.PollInterval-time.Since(called), time.Duration(bytes)*time.Second/readRate)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

func (r *reader) records(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return r.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: &r.iterator}, noRetry)
}

// renewIterator makes the next call begin from r.at.
func (r *reader) renewIterator() {
	r.iterator, r.expect = "", r.at.Mark != ""
}

// position asks for an iterator at r.at.
func (r *reader) position(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	start := r.start()
	out, err := r.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &r.cfg.Stream, ShardId: &r.shard.id,
		ShardIteratorType: start.Type, StartingSequenceNumber: start.SequenceNumber, Timestamp: start.Timestamp,
	}, noRetry)
	if err != nil {
		return fmt.Errorf("get shard iterator: %w", err)
	}
	r.iterator = aws.ToString(out.ShardIterator)
	return nil
}
