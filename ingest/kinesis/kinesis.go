// Package kinesis reads an Amazon Kinesis data stream, sharing its shards among workers.
//
// A shard is a partition, numbered as its id is ("shardId-000000000012" is 12). Kinesis gives
// its records sequence numbers that are neither dense nor small, so an offset is a pair
// ([cardlake.Offset]): Next counts the records of the shard from the first one that was read,
// and Mark is the sequence number of the last one, or [End]. The count is exact because every
// reader begins from the pair that the table holds.
//
// # Order
//
// A split or a merge closes a shard and opens children. A shard that was read to its end
// yields one record with End set; a child is read only when the table's positions show that
// all its parents have ended, so that a card's events keep their order.
//
// # Leases
//
// Workers divide the shards by leases ([Leases]). Correctness never rests on them: a worker
// that reads a shard it no longer holds (a zombie) is stopped by the table, which refuses its
// commit. Leases only avoid double work. No two machines' clocks are compared: a lease has
// expired for whoever has watched its counter stand still for [Config].LeaseDuration, as in
// the Kinesis Client Library.
//
// # Expired records
//
// Kinesis positions an iterator whose record is older than the retention at the oldest record
// left, without a word. The source therefore begins at the last record read, not after it,
// and if that one is gone, and nothing proves that none was lost, the shard stops with
// [ErrTrimmed], which Poll returns again and again until somebody decides
// ([Config].SkipTrimmed). The proof is that the reader was at the tip of the shard less than
// the retention ago; leases carry it between workers, and without it the alarm is raised.
// A shard of which nothing was ever committed has no last record, so nothing is proved of it.
//
// # Aggregated records
//
// Records that the Kinesis Producer Library aggregated are passed on as the single records
// that they are to Kinesis. The decoder rejects them, and they are kept among the rejected.
package kinesis

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"golang.org/x/sync/semaphore"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// End is the mark of a shard that was read to its end.
const End = "end"

// ErrTrimmed says that records of a shard expired before they were read, or that it cannot be
// excluded.
var ErrTrimmed = errors.New("records expired before they were read")

// Client is what is called of Kinesis; *kinesis.Client implements it. The last three methods
// are called in mode FanOut only.
type Client interface {
	DescribeStreamSummary(context.Context, *kinesis.DescribeStreamSummaryInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamSummaryOutput, error)
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
	GetShardIterator(context.Context, *kinesis.GetShardIteratorInput, ...func(*kinesis.Options)) (*kinesis.GetShardIteratorOutput, error)
	GetRecords(context.Context, *kinesis.GetRecordsInput, ...func(*kinesis.Options)) (*kinesis.GetRecordsOutput, error)
	RegisterStreamConsumer(context.Context, *kinesis.RegisterStreamConsumerInput, ...func(*kinesis.Options)) (*kinesis.RegisterStreamConsumerOutput, error)
	DescribeStreamConsumer(context.Context, *kinesis.DescribeStreamConsumerInput, ...func(*kinesis.Options)) (*kinesis.DescribeStreamConsumerOutput, error)
	SubscribeToShard(context.Context, *kinesis.SubscribeToShardInput, ...func(*kinesis.Options)) (*kinesis.SubscribeToShardOutput, error)
}

// Mode is how records are had.
type Mode int

const (
	// Polling calls GetRecords. All readers of a shard share 5 calls and 2 MB a second.
	Polling Mode = iota
	// FanOut subscribes to shards as a registered consumer, which has 2 MB a second of each
	// shard for itself and gets records within some 70 ms; AWS charges for it.
	FanOut
)

// Config configures a Source. Stream is required.
type Config struct {
	Stream string // its name
	Mode   Mode
	// Consumer is the name that all workers of mode FanOut read under; it is registered if it
	// is not yet, and never deregistered. Default "cardlake".
	Consumer string
	// Worker names this worker in the leases, for those who look there; each Run adds to it
	// what makes it unique. Default "worker".
	Worker string
	Log    *slog.Logger // default: none

	// From is where a shard of which nothing has been committed begins: at the first record
	// that arrived then or later. Zero: at the oldest record that the stream has
	// (TRIM_HORIZON).
	From time.Time
	// SkipTrimmed goes on behind records that expired, with an error in the log instead of
	// ErrTrimmed. It is a decision to lose them.
	SkipTrimmed bool

	// PollInterval is the least time between two GetRecords calls of a shard; default 250 ms.
	// Kinesis allows 5 calls a second over all readers of a shard.
	PollInterval time.Duration
	// SubscribeInterval is the least time between two subscriptions to a shard; default 5 s,
	// before which Kinesis refuses the second.
	SubscribeInterval time.Duration
	// BufferBytes bounds what is fetched and not yet taken by Poll, over all shards; default
	// 64 MiB, at least MaxFetch. In mode Polling each call holds MaxFetch of it while under
	// way. In mode FanOut each shard may have two events beyond it, in the hands of the client.
	BufferBytes int64
	// LeaseDuration is how long a lease must stand still before another worker may take it,
	// so it bounds how long a dead worker's shards are not read; default 10 s.
	LeaseDuration time.Duration
	// DiscoverInterval is how often the stream's shards are listed; default 1 min. They are
	// also listed whenever a shard ends.
	DiscoverInterval time.Duration
	// Steals bounds how many leases a worker asks of others at a time to even out the load;
	// default 5.
	Steals int
	// RetryInterval is the longest pause after a failure; default 30 s.
	RetryInterval time.Duration
	// Now is the clock that the age of records is judged by; default time.Now.
	Now func() time.Time
}

// MaxFetch is the most that one GetRecords call returns (Kinesis Data Streams, "Quotas and
// limits"), in bytes.
const MaxFetch = 10 << 20

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.PollInterval, 250*time.Millisecond)
	def(&c.SubscribeInterval, 5*time.Second)
	def(&c.LeaseDuration, 10*time.Second)
	def(&c.DiscoverInterval, time.Minute)
	def(&c.RetryInterval, 30*time.Second)
	if c.Consumer == "" {
		c.Consumer = "cardlake"
	}
	if c.Worker == "" {
		c.Worker = "worker"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = 64 << 20
	}
	c.BufferBytes = max(c.BufferBytes, MaxFetch)
	if c.Steals == 0 {
		c.Steals = 5
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Source implements ingest.Source. Make it with New, run it once.
//
// Three kinds of goroutines work on it: Run's own calls the Assignee; the keeper lists shards,
// renews leases and takes new ones, whatever the Assignee is busy with; and each assigned
// shard has a reader. They meet in the fields below mu, which is never held during a call.
type Source struct {
	client Client
	leases Leases
	cfg    Config
	budget *semaphore.Weighted // bytes

	started  chan struct{} // closed by Run
	ready    chan struct{} // Poll has something to look at
	changed  chan struct{} // Run's goroutine has
	keepNow  chan struct{} // the keeper has
	relist   chan struct{} // and shall list the shards first
	instance string        // of this Run, in the leases; set before started is closed
	readers  sync.WaitGroup

	mu        sync.Mutex
	shards    map[cardlake.StreamPartition]*shard
	graph     graph
	retention time.Duration
	consumer  string // its ARN, in mode FanOut
	queue     []chunk
	taken     int64 // bytes that Poll returned last
	out       bool  // records are with the caller of Poll
	waiting   bool  // a revocation waits for them to come back
	revoking  bool
	stored    map[string]Lease   // as listed last
	seek      cardlake.Positions // to go to at the next Poll
	// ended are shards that the table has shown to be at their end, since the last Seek.
	ended map[cardlake.StreamPartition]bool
	// hints are corrections of Lease.Ended that the keeper shall store, by shard id.
	hints map[string]bool
	// errs are failures that Poll shall return, by where they happened.
	errs map[string]error
}

// New returns a source; Run connects it.
func New(client Client, leases Leases, cfg Config) *Source {
	cfg = cfg.withDefaults()
	return &Source{
		client: client, leases: leases, cfg: cfg, budget: semaphore.NewWeighted(cfg.BufferBytes),
		started: make(chan struct{}), ready: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		keepNow: make(chan struct{}, 1), relist: make(chan struct{}, 1),
		shards: map[cardlake.StreamPartition]*shard{}, seek: cardlake.Positions{},
		ended: map[cardlake.StreamPartition]bool{}, hints: map[string]bool{}, errs: map[string]error{},
	}
}

// noRetry leaves retrying to the source: one layer, which knows when to give a shard up.
func noRetry(o *kinesis.Options) { o.RetryMaxAttempts = 1 }

// wake tells whoever waits on c to look; a wake-up that waits already is enough.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// chunk is a run of records of one shard, in order.
type chunk struct {
	reader  *reader
	records []ingest.Record
	bytes   int64 // of the budget
}

// Poll implements ingest.Source. It returns what one answer of Kinesis held.
func (s *Source) Poll(ctx context.Context) ([]ingest.Record, error) {
	select {
	case <-s.started:
	case <-ctx.Done():
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget.Release(s.taken)
	s.taken, s.out = 0, false
	if s.waiting {
		wake(s.changed)
	}
	s.applySeek()
	for ctx.Err() == nil {
		if len(s.errs) > 0 {
			errs := slices.Collect(maps.Values(s.errs))
			clear(s.errs)
			return nil, errors.Join(errs...)
		}
		if len(s.queue) > 0 && !s.revoking {
			c := s.queue[0]
			s.queue[0] = chunk{}
			s.queue = s.queue[1:]
			s.taken, s.out = c.bytes, true
			return c.records, nil
		}
		s.mu.Unlock()
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
		s.mu.Lock()
	}
	return nil, nil
}

// drop forgets what the reader has buffered. s.mu is held.
func (s *Source) drop(r *reader) {
	s.queue = slices.DeleteFunc(s.queue, func(c chunk) bool {
		if c.reader != r {
			return false
		}
		s.budget.Release(c.bytes)
		return true
	})
}

// fail makes the next Poll return err, which happened at where.
func (s *Source) fail(where string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs[where] = err
	wake(s.ready)
}

// Seek implements ingest.Source.
func (s *Source) Seek(p cardlake.Positions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.seek, p)
}

// applySeek redirects the readers. The table has moved, so what it showed of ended shards is
// forgotten too: where nothing of a shard is committed any more, its parents' ends must be
// seen again. s.mu is held.
func (s *Source) applySeek() {
	if len(s.seek) == 0 {
		return
	}
	clear(s.ended)
	for part, at := range s.seek {
		if sh := s.shards[part]; sh != nil && sh.announced && sh.leaving == staying {
			s.begin(sh, at)
		}
	}
	clear(s.seek)
	wake(s.changed)
}

// Commit implements ingest.Source: shards that the table shows at their end are given back,
// which lets their children be read.
func (s *Source) Commit(_ context.Context, p cardlake.Positions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for part, at := range p {
		if at.Mark != End {
			continue
		}
		s.ended[part] = true
		if sh := s.shards[part]; sh != nil && sh.announced && sh.leaving == staying {
			s.leave(sh, finished)
		}
	}
	return nil
}

// Lag is how far behind the tip of its shard each reader was at its last answer from Kinesis,
// and the time since then if that is longer than an idle reader waits for one.
func (s *Source) Lag() map[cardlake.StreamPartition]time.Duration {
	const idle = 10 * time.Second // FanOut has an event at least every 5 s
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := make(map[cardlake.StreamPartition]time.Duration, len(s.shards))
	for part, sh := range s.shards {
		if r := sh.reader; r != nil && !r.answered.IsZero() {
			lag[part] = r.behind
			if since := time.Since(r.answered); since > idle && !r.complete {
				lag[part] += since
			}
		}
	}
	return lag
}

var _ ingest.Source = (*Source)(nil)
