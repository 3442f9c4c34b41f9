package kinesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
)

// silence is how long a subscription may be without an event before it counts as dead;
// without records there is one about every 5 s.
const silence = 30 * time.Second

// errSilent ends a subscription that brings nothing any more.
var errSilent = errors.New("the subscription is silent")

// ownCodec gives a subscription a decoder of its own. The client's is shared by all of them
// without a lock (aws/smithy-go issue 714), which is a data race.
func ownCodec(o *kinesis.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) }

// subscribe reads the shard by one subscription after the other until its end.
func (r *reader) subscribe(ctx context.Context) error {
	for {
		r.mu.Lock()
		pause := r.cfg.SubscribeInterval - time.Since(r.shard.subscribed)
		r.mu.Unlock()
		if pause > 0 && !sleep(ctx, pause) {
			return ctx.Err()
		}
		closed, err := r.subscription(ctx)
		if closed {
			wake(r.relist)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// subscription takes the events of one subscription: Kinesis ends it after 5 minutes. closed
// reports that the shard has ended.
func (r *reader) subscription(ctx context.Context) (closed bool, err error) {
	start := r.start()
	if r.continuation != "" && (r.at.Mark == "" || r.lossless()) {
		start = types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &r.continuation}
		r.expect = false
	} else {
		r.expect = r.at.Mark != ""
	}
	r.mu.Lock()
	consumer := r.consumer
	r.mu.Unlock()
	if consumer == "" {
		wake(r.relist)
		return false, errRegistering
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	overdue := time.AfterFunc(callTimeout, cancel)
	defer overdue.Stop()
	out, err := r.client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &consumer, ShardId: &r.shard.id, StartingPosition: &start,
	}, noRetry, ownCodec)
	if err != nil || !overdue.Stop() {
		if err == nil {
			out.GetStream().Close()
			err = ctx.Err()
		}
		return false, fmt.Errorf("subscribe to shard: %w", err)
	}
	stream := out.GetStream()
	defer stream.Close()
	r.mu.Lock()
	r.shard.subscribed = time.Now()
	r.mu.Unlock()
	dead := time.NewTimer(silence)
	defer dead.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-dead.C:
			return false, errSilent
		case e, ok := <-stream.Events():
			if !ok {
				if err := stream.Err(); err != nil {
					return false, fmt.Errorf("subscription: %w", err)
				}
				return false, nil
			}
			event, ok := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
			if !ok {
				continue
			}
			sure, closed, err := r.event(ctx, &event.Value)
			if err != nil || !sure || closed {
				return closed, err
			}
		}
		dead.Reset(silence)
	}
}

// event buffers one event's records, waiting for room if need be: meanwhile nothing is read
// from the connection, which holds Kinesis back.
func (r *reader) event(ctx context.Context, e *types.SubscribeToShardEvent) (sure, closed bool, err error) {
	a := answer{
		records: e.Records, closed: len(e.ChildShards) > 0,
		// It is as old as its way here, at most a subscription's 5 minutes, which skew covers.
		asked:  r.cfg.Now(),
		behind: time.Duration(aws.ToInt64(e.MillisBehindLatest)) * time.Millisecond,
	}
	bytes := min(a.bytes(), r.cfg.BufferBytes)
	if err := r.budget.Acquire(ctx, bytes); err != nil {
		return false, false, err
	}
	sure, err = r.take(a, bytes)
	if err != nil || !sure {
		r.continuation = ""
		return sure, false, err
	}
	if c := aws.ToString(e.ContinuationSequenceNumber); c != "" {
		r.continuation = c
	}
	if len(a.records) > 0 && !r.lossless() {
		r.continuation = ""
		return false, a.closed, nil
	}
	return true, a.closed, nil
}
