package kinesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// skew is what the clocks of Kinesis and of this machine may differ by when the age of
// records is compared with the retention.
const skew = 10 * time.Minute

// reader reads one shard from one position on, until it is stopped or the shard ends.
type reader struct {
	*Source
	shard  *shard
	cancel context.CancelFunc
	done   chan struct{}

	// The reader's goroutine's own.
	at     cardlake.Offset // behind the last record that was buffered
	expect bool            // the next record must be at.Mark's own: then none was skipped
	// fresh is a time up to which all that arrived has been seen: the arrival of the last
	// record, or when the reader was at the tip.
	fresh        time.Time
	iterator     string // Polling: for the next call; empty: to be made from at
	continuation string // FanOut: where the last subscription ended; empty: at
	attempt      int    // failures in a row

	// Under mu.
	stopped  bool
	complete bool          // read to the end
	behind   time.Duration // MillisBehindLatest
	answered time.Time     // when that was
}

// run reads until the shard's end or the context's.
func (r *reader) run(ctx context.Context) {
	read := r.poll
	if r.cfg.Mode == FanOut {
		read = r.subscribe
	}
	for {
		err := validMark(r.at.Mark)
		if err == nil {
			err = read(ctx)
		}
		if err == nil || ctx.Err() != nil || errors.Is(err, errGivenUp) {
			return
		}
		if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
			if err = r.missing(err); errors.Is(err, errGivenUp) {
				return
			}
		}
		pause := 5 * time.Second
		if !isFlowControl(err) {
			r.iterator, r.continuation, r.expect = "", "", r.at.Mark != ""
			r.fail(r.shard.id, fmt.Errorf("read shard %s of stream %s: %w", r.shard.id, r.cfg.Stream, err))
			pause = r.cfg.RetryInterval
		} else {
			r.cfg.Log.Debug("held back", "shard", r.shard.id, "error", err)
		}
		if !sleep(ctx, backoff(r.cfg.PollInterval, r.attempt, pause)) {
			return
		}
		r.attempt++
	}
}

// missing is for a shard, or a consumer, that Kinesis says it does not have.
func (r *reader) missing(err error) error {
	r.mu.Lock()
	_, listed := r.graph[r.shard.id]
	r.consumer = "" // it may be this that is gone
	r.mu.Unlock()
	if !listed {
		return r.vanish(r)
	}
	wake(r.relist)
	return err
}

// validMark refuses what cannot be a sequence number (Kinesis API Reference,
// GetShardIterator: 0, or up to 128 digits that do not begin with 0).
func validMark(mark string) error {
	if mark == "" {
		return nil
	}
	for i := range len(mark) {
		if mark[i] < '0' || mark[i] > '9' || mark[0] == '0' && len(mark) > 1 || len(mark) > 129 {
			return errors.New("the position's mark is not a sequence number")
		}
	}
	return nil
}

// start is where to begin if no iterator or subscription can be gone on with: with the last
// record read, so that it shows itself.
func (r *reader) start() types.StartingPosition {
	switch {
	case r.at.Mark != "":
		return types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: &r.at.Mark}
	case !r.cfg.From.IsZero():
		return types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: &r.cfg.From}
	}
	return types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
}

// lossless reports whether nothing behind r.at can have expired.
func (r *reader) lossless() bool {
	r.mu.Lock()
	retention := r.retention
	r.mu.Unlock()
	return r.cfg.Now().Sub(r.fresh) < retention-skew
}

// answer is what Kinesis says of a shard, in either mode.
type answer struct {
	records []types.Record
	behind  time.Duration
	closed  bool      // the shard has no records after these
	asked   time.Time // no later than what it says
}

func (a *answer) bytes() int64 {
	const overhead = 256 // of the records' structs, rounded up
	var n int64
	for i := range a.records {
		n += int64(len(a.records[i].Data)) + int64(len(aws.ToString(a.records[i].PartitionKey))) + overhead
	}
	return n
}

// take checks that no record was skipped, and buffers the answer's. bytes of the budget are
// the answer's and are either with the buffer or given back afterwards. If sure is false,
// whether records were skipped must be seen by reading from r.at again.
func (r *reader) take(a answer, bytes int64) (sure bool, err error) {
	sure, err = r.check(&a)
	if err != nil || !sure {
		r.budget.Release(bytes)
		return sure, err
	}
	r.attempt = 0
	part := r.shard.part
	records := make([]ingest.Record, 0, len(a.records)+1)
	size := 0
	for i := range a.records {
		size += len(aws.ToString(a.records[i].PartitionKey))
	}
	keys := make([]byte, 0, size) // of all records, so that they cost one allocation
	for i := range a.records {
		k := &a.records[i]
		r.at.Mark = aws.ToString(k.SequenceNumber)
		begin := len(keys)
		keys = append(keys, aws.ToString(k.PartitionKey)...)
		records = append(records, ingest.Record{
			Position: cardlake.Position{StreamPartition: part, Offset: r.at.Next}, Mark: r.at.Mark,
			Time: aws.ToTime(k.ApproximateArrivalTimestamp), Key: keys[begin:len(keys):len(keys)], Value: k.Data,
		})
		r.at.Next++
		if t := aws.ToTime(k.ApproximateArrivalTimestamp); t.After(r.fresh) {
			r.fresh = t
		}
	}
	if a.closed {
		records = append(records, ingest.Record{
			Position: cardlake.Position{StreamPartition: part, Offset: r.at.Next}, Mark: End, End: true,
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		r.budget.Release(bytes)
		return true, nil
	}
	r.behind, r.answered, r.complete = a.behind, time.Now(), a.closed
	if a.behind == 0 {
		r.fresh = a.asked
		r.shard.mark, r.shard.caughtUp = r.at.Mark, a.asked
	}
	if len(records) == 0 {
		r.budget.Release(bytes)
	} else {
		r.queue = append(r.queue, chunk{r, records, bytes})
		wake(r.ready)
	}
	return true, nil
}

// check tells whether the answer goes on where r.at ends, and takes the record of r.at from
// it if that was asked for.
func (r *reader) check(a *answer) (sure bool, err error) {
	atTip := len(a.records) == 0 && (a.behind == 0 || a.closed)
	switch {
	case !r.expect:
		return len(a.records) == 0 || r.at.Mark == "" || r.lossless(), nil
	case len(a.records) == 0 && !atTip:
		return true, nil // the next answer will have it
	case len(a.records) > 0 && aws.ToString(a.records[0].SequenceNumber) == r.at.Mark:
		a.records = a.records[1:]
	case r.lossless():
	case r.cfg.SkipTrimmed:
		r.cfg.Log.Error("going on behind expired records", "shard", r.shard.id, "position", r.at.Next, "error", ErrTrimmed)
	default:
		return false, fmt.Errorf("the last record that was read is gone: %w", ErrTrimmed)
	}
	r.expect = false
	return true, nil
}

// isFlowControl reports whether Kinesis asks to come again later, or with a new iterator.
func isFlowControl(err error) bool {
	if errors.Is(err, errRegistering) || errors.Is(err, errSilent) {
		return true
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException",
		"ExpiredIteratorException", "ExpiredNextTokenException", "ResourceInUseException", "ThrottlingException":
		return true
	}
	return false
}

// backoff is full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter") from base
// doubling up to most.
func backoff(base time.Duration, attempt int, most time.Duration) time.Duration {
	ceiling := min(base<<min(attempt, 20), most)
	return ceiling/2 + rand.N(ceiling/2+1)
}

// sleep waits and reports whether ctx is still going on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
