package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/tokenize/discover"
)

// topic searches the records that a topic has now: keys, values and headers. It joins no
// consumer group and commits nothing. Columns are those of a partition, so the share of card
// numbers is that of its records.
func (s *scan) topic(ctx context.Context, scheme, rest string) error {
	brokers, topic, ok := strings.Cut(rest, "/")
	if !ok || brokers == "" || topic == "" {
		return errors.New("not of the form kafka://BROKER[,BROKER]/TOPIC")
	}
	opts := []kgo.Opt{kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ClientID(program), kgo.KeepControlRecords()}
	if scheme == "kafkas" {
		opts = append(opts, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("first offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("last offsets: %w", err)
	}
	t := &topicScan{scan: s, name: scheme + "://" + rest, columns: map[columnKey]*discover.Column{}, left: map[int32]int64{}}
	from := map[string]map[int32]kgo.Offset{topic: {}}
	starts.Each(func(o kadm.ListedOffset) {
		if end, ok := ends.Lookup(topic, o.Partition); ok && end.Offset > o.Offset {
			from[topic][o.Partition] = kgo.NewOffset().At(o.Offset)
			t.left[o.Partition] = end.Offset
		}
	})
	if len(t.left) == 0 {
		return nil
	}
	client.AddConsumePartitions(from)
	err = t.consume(ctx, client)
	for _, c := range t.columns {
		c.Flush()
	}
	return err
}

// patience is how long a broker may have nothing of what it said it has.
const patience = 30 * time.Second

type columnKey struct {
	partition int32
	part      string
}

// topicScan is the search of one topic.
type topicScan struct {
	*scan
	name    string
	columns map[columnKey]*discover.Column
	left    map[int32]int64 // by partition not read to its end yet: the end
}

func (t *topicScan) consume(ctx context.Context, client *kgo.Client) error {
	for len(t.left) > 0 && t.failed == nil {
		poll, cancel := context.WithTimeout(ctx, patience)
		fetches := client.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if poll.Err() != nil && fetches.Empty() {
			return fmt.Errorf("%d partitions have not been read to their end: no record for %v", len(t.left), patience)
		}
		var failed error
		fetches.EachError(func(_ string, partition int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				failed = errors.Join(failed, fmt.Errorf("partition %d: %w", partition, err))
			}
		})
		if failed != nil {
			return failed
		}
		fetches.EachRecord(t.record)
	}
	return nil
}

func (t *topicScan) record(r *kgo.Record) {
	end, wanted := t.left[r.Partition]
	if !wanted || r.Offset >= end {
		delete(t.left, r.Partition)
		return
	}
	if r.Offset == end-1 {
		delete(t.left, r.Partition)
	}
	if r.Attrs.IsControl() {
		return
	}
	t.origin = discover.Origin{Since: r.Timestamp, Basis: "the record's time stamp"}
	t.column(r.Partition, "key").Add(0, r.Offset+1, r.Key)
	t.column(r.Partition, "value").Add(0, r.Offset+1, r.Value)
	for _, h := range r.Headers {
		t.column(r.Partition, "header "+h.Key).Add(0, r.Offset+1, h.Value)
	}
}

func (t *topicScan) column(partition int32, part string) *discover.Column {
	key := columnKey{partition, part}
	c := t.columns[key]
	if c == nil {
		c = t.scanner.Column(discover.Place{Path: fmt.Sprintf("%s/%d", t.name, partition), Field: part}, func(d discover.Detection) bool {
			d.Path, d.Row = fmt.Sprintf("%s@%d", d.Path, d.Row-1), 0
			return t.tell(d)
		})
		t.columns[key] = c
	}
	return c
}
