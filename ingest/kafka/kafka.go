// Package kafka reads a stream over the Kafka protocol, as a member of a consumer group.
//
// Where a partition begins is not what the group committed but what the Assignee says: the
// lake's own positions. [Registry] resolves the schema ids that its records carry.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// Source implements ingest.Source.
type Source struct {
	cfg Config

	down    chan error // why no broker can be reached, before started
	started chan struct{}
	client  *kgo.Client // set before started is closed

	records []ingest.Record // of the last Poll
	fetched []*kgo.Record   // the client's, of the same

	mu    sync.Mutex
	seek  cardlake.Positions // to go to before the next fetch
	marks map[cardlake.StreamPartition]mark
}

// mark is what the newest fetch said of a partition.
type mark struct {
	next, end int64 // after the last record given to the worker; after the newest on the broker
	err       error
}

// New returns a source; Run checks the configuration and connects it.
func New(cfg Config) *Source {
	return &Source{
		cfg: cfg.withDefaults(), down: make(chan error, 1), started: make(chan struct{}),
		marks: map[cardlake.StreamPartition]mark{},
	}
}

// commitTimeout bounds the publishing of offsets, which nothing depends on.
const commitTimeout = 5 * time.Second

// Run implements ingest.Source.
func (s *Source) Run(ctx context.Context, a ingest.Assignee) error {
	if err := s.cfg.Validate(); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	connect, err := s.cfg.connect(ctx)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	failed := func(err error) {
		select {
		case s.down <- err:
		default: // the last one has not been polled yet
		}
	}
	if ok, err := s.cfg.prepare(ctx, slices.Concat(connect, s.cfg.Options), failed); !ok {
		if err != nil {
			err = fmt.Errorf("kafka: %w", err)
		}
		return err
	}
	lost := func(parts map[string][]int32, isLost bool) {
		gone := partitions(parts)
		a.Revoked(gone, isLost)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range gone {
			delete(s.marks, p)
		}
	}
	opts := append(slices.Concat(connect, s.cfg.consume()),
		kgo.AdjustFetchOffsetsFn(func(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			return assign(a, offsets)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { lost(parts, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { lost(parts, true) }),
	)
	client, err := kgo.NewClient(append(opts, s.cfg.Options...)...)
	if err != nil {
		return fmt.Errorf("kafka: client: %w", err)
	}
	s.client = client
	close(s.started)
	<-ctx.Done()
	client.CloseAllowingRebalance() // leaves the group, which revokes the partitions
	return nil
}

// assign replaces what the group committed by what the assignee says.
func assign(a ingest.Assignee, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	var parts []cardlake.StreamPartition
	for topic, ps := range offsets {
		for p := range ps {
			parts = append(parts, cardlake.StreamPartition{Stream: topic, Partition: p})
		}
	}
	if len(parts) == 0 {
		return offsets, nil
	}
	positions, err := a.Assigned(parts)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if at, ok := positions[p]; ok {
			offsets[p.Stream][p.Partition] = kgo.NewOffset().At(at.Next)
		} else {
			offsets[p.Stream][p.Partition] = kgo.NewOffset().AtStart()
		}
	}
	return offsets, nil
}

func partitions(byTopic map[string][]int32) []cardlake.StreamPartition {
	var parts []cardlake.StreamPartition
	for topic, ps := range byTopic {
		for _, p := range ps {
			parts = append(parts, cardlake.StreamPartition{Stream: topic, Partition: p})
		}
	}
	return parts
}

// Poll implements ingest.Source. An error of one partition does not hold back the records of
// others: it is logged, and Faults tells it until the partition gives records again. Poll
// returns errors only when there are no records.
func (s *Source) Poll(ctx context.Context) ([]ingest.Record, error) {
	select {
	case <-s.started:
	case err := <-s.down:
		return nil, err
	case <-ctx.Done():
		return nil, nil
	}
	s.recycle()
	s.redirect()
	s.client.AllowRebalance() // after the redirection, which no rebalance may meet
	fetches := s.client.PollRecords(ctx, s.cfg.MaxRecords)
	var errs []error
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range fetches {
		for j := range fetches[i].Topics {
			topic := &fetches[i].Topics[j]
			for k := range topic.Partitions {
				if err := s.take(topic.Topic, &topic.Partitions[k]); err != nil {
					errs = append(errs, err)
				}
			}
		}
	}
	if len(s.records) == 0 {
		return nil, errors.Join(errs...)
	}
	for _, err := range errs {
		s.cfg.Log.Warn("fetch", "error", err)
	}
	return s.records, nil
}

// take appends a fetched partition's records. mu is held.
func (s *Source) take(topic string, p *kgo.FetchPartition) error {
	at := cardlake.StreamPartition{Stream: topic, Partition: p.Partition}
	s.fetched = append(s.fetched, p.Records...)
	for _, r := range p.Records {
		s.records = append(s.records, ingest.Record{
			Position: cardlake.Position{StreamPartition: at, Offset: r.Offset},
			Time:     r.Timestamp, Key: r.Key, Value: r.Value,
		})
	}
	err := p.Err
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, kgo.ErrClientClosed):
		return nil // the poll's end, not a fault
	case err != nil:
		err = fmt.Errorf("%s: %w", at, err)
	}
	if topic == "" || p.Partition < 0 {
		return err // of the client as a whole
	}
	m := s.marks[at]
	if n := len(p.Records); n > 0 {
		m.next = p.Records[n-1].Offset + 1
	}
	if p.HighWatermark >= 0 && err == nil {
		m.end = p.HighWatermark
	}
	m.err = err
	s.marks[at] = m
	return err
}

// recycle takes the memory of the last poll's records back: they are the worker's no more.
func (s *Source) recycle() {
	for _, r := range s.fetched {
		r.Recycle()
	}
	clear(s.fetched)
	clear(s.records)
	s.fetched, s.records = s.fetched[:0], s.records[:0]
}

// redirect does what Seek was told.
func (s *Source) redirect() {
	s.mu.Lock()
	seek := s.seek
	s.seek = nil
	s.mu.Unlock()
	if seek != nil {
		s.client.SetOffsets(groupOffsets(seek))
	}
}

func groupOffsets(p cardlake.Positions) map[string]map[int32]kgo.EpochOffset {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for sp, at := range p {
		if offsets[sp.Stream] == nil {
			offsets[sp.Stream] = map[int32]kgo.EpochOffset{}
		}
		offsets[sp.Stream][sp.Partition] = kgo.EpochOffset{Epoch: -1, Offset: at.Next}
	}
	return offsets
}

// Seek implements ingest.Source. It takes effect at the next Poll, because the client must
// not be redirected from within a rebalance.
func (s *Source) Seek(p cardlake.Positions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seek = p
}

// Commit implements ingest.Source: it commits the group's offsets.
func (s *Source) Commit(ctx context.Context, p cardlake.Positions) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var failed error
	s.client.CommitOffsetsSync(ctx, groupOffsets(p), func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	return failed
}

// Ends implements ingest.Ender.
func (s *Source) Ends(ctx context.Context, parts []cardlake.StreamPartition) (map[cardlake.StreamPartition]int64, error) {
	select {
	case <-s.started:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	listed, err := kadm.NewClient(s.client).ListEndOffsets(ctx, s.cfg.Topic)
	if err != nil {
		return nil, fmt.Errorf("kafka: list end offsets: %w", err)
	}
	ends := make(map[cardlake.StreamPartition]int64, len(parts))
	for _, p := range parts {
		end, ok := listed.Lookup(p.Stream, p.Partition)
		if !ok || end.Err != nil {
			return nil, fmt.Errorf("kafka: end of %s: %w", p, errors.Join(end.Err, ctx.Err()))
		}
		ends[p] = end.Offset
	}
	return ends, nil
}

// Lag returns for each partition that is assigned and was fetched how many records the
// broker has beyond those that Poll returned, as of its newest fetch. It asks no broker.
func (s *Source) Lag() map[cardlake.StreamPartition]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := make(map[cardlake.StreamPartition]int64, len(s.marks))
	for p, m := range s.marks {
		lag[p] = max(0, m.end-m.next)
	}
	return lag
}

// Faults returns the partitions whose newest fetch failed, with the error: they stand still
// while others may go on.
func (s *Source) Faults() map[cardlake.StreamPartition]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := map[cardlake.StreamPartition]error{}
	for p, m := range s.marks {
		if m.err != nil {
			faults[p] = m.err
		}
	}
	return faults
}

var _ ingest.Source = (*Source)(nil)
