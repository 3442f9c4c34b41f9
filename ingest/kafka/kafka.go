// Package kafka reads a stream over the Kafka protocol, as a member of a consumer group.
//
// Where a partition begins is not what the group committed but what the Assignee says: the
// lake's own positions.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// Config configures a Source. Brokers, Topic and Group are required.
type Config struct {
	Brokers []string // host:port
	Topic   string
	Group   string
	// InstanceID names this member of the group (KIP-345): a worker that comes back under the
	// same name takes its partitions at once, without waiting for its former self to time
	// out. Two workers must not share one. Empty: a dynamic member.
	InstanceID string
	TLS        *tls.Config // nil: plain, for loopback only
	Log        *slog.Logger

	// MaxRecords bounds one Poll; default 10,000.
	MaxRecords int
	// BufferBytes bounds what is fetched ahead; default 32 MiB.
	BufferBytes int32
	// Options are appended to the client's, for what has no field here.
	Options []kgo.Opt
}

// Source implements ingest.Source.
type Source struct {
	cfg Config

	started chan struct{}
	client  *kgo.Client // set before started is closed

	mu      sync.Mutex
	seek    cardlake.Positions // to go to before the next fetch
	records []ingest.Record
}

// New returns a source; Run connects it.
func New(cfg Config) *Source {
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = 10_000
	}
	if cfg.BufferBytes == 0 {
		cfg.BufferBytes = 32 << 20
	}
	return &Source{cfg: cfg, started: make(chan struct{})}
}

// commitTimeout bounds the publishing of offsets, which nothing depends on.
const commitTimeout = 5 * time.Second

// Run implements ingest.Source.
func (s *Source) Run(ctx context.Context, a ingest.Assignee) error {
	opts := []kgo.Opt{
		kgo.SeedBrokers(s.cfg.Brokers...),
		kgo.ClientID("cardlake-worker"),
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.ConsumeTopics(s.cfg.Topic),
		kgo.FetchMaxBytes(s.cfg.BufferBytes),
		kgo.FetchMaxWait(250 * time.Millisecond),
		kgo.DisableAutoCommit(),
		// A position that the broker no longer has is an error to be seen, never a silent jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(func(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			return assign(a, offsets)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			a.Revoked(partitions(parts), false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			a.Revoked(partitions(parts), true)
		}),
	}
	if s.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(s.cfg.InstanceID))
	}
	if s.cfg.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(s.cfg.TLS))
	}
	client, err := kgo.NewClient(append(opts, s.cfg.Options...)...)
	if err != nil {
		return fmt.Errorf("kafka client: %w", err)
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

// Poll implements ingest.Source.
func (s *Source) Poll(ctx context.Context) ([]ingest.Record, error) {
	select {
	case <-s.started:
	case <-ctx.Done():
		return nil, nil
	}
	s.mu.Lock()
	if seek := s.seek; seek != nil {
		s.seek = nil
		offsets := map[string]map[int32]kgo.EpochOffset{}
		for p, offset := range seek {
			if offsets[p.Stream] == nil {
				offsets[p.Stream] = map[int32]kgo.EpochOffset{}
			}
			offsets[p.Stream][p.Partition] = kgo.EpochOffset{Epoch: -1, Offset: offset.Next}
		}
		s.client.SetOffsets(offsets)
	}
	s.mu.Unlock()
	s.client.AllowRebalance() // after the redirection, which no rebalance may meet
	fetches := s.client.PollRecords(ctx, s.cfg.MaxRecords)
	var errs []error
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, fmt.Errorf("%s/%d: %w", topic, partition, err))
		}
	})
	s.records = s.records[:0]
	fetches.EachRecord(func(r *kgo.Record) {
		s.records = append(s.records, ingest.Record{
			Position: cardlake.Position{
				StreamPartition: cardlake.StreamPartition{Stream: r.Topic, Partition: r.Partition}, Offset: r.Offset,
			},
			Time: r.Timestamp, Key: r.Key, Value: r.Value,
		})
	})
	if len(s.records) > 0 {
		for _, err := range errs {
			s.cfg.Log.Warn("fetch", "error", err)
		}
		return s.records, nil
	}
	return nil, errors.Join(errs...)
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
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for sp, offset := range p {
		if offsets[sp.Stream] == nil {
			offsets[sp.Stream] = map[int32]kgo.EpochOffset{}
		}
		offsets[sp.Stream][sp.Partition] = kgo.EpochOffset{Epoch: -1, Offset: offset.Next}
	}
	var commitErr error
	s.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, _ *kmsg.OffsetCommitResponse, err error) {
		commitErr = err
	})
	return commitErr
}

var _ ingest.Source = (*Source)(nil)
