package outbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/processor/outbox"
)

// TestProduceEndsWithItsContext although the broker went away under it: with a client that may
// cancel idempotent records, as NewKafka asks.
func TestProduceEndsWithItsContext(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.AllowIdempotentProduceCancellation())
	if err != nil {
		t.Fatal(err)
	}
	p := outbox.NewKafka(client, "events")
	rs := []outbox.Record{{Key: []byte("k"), Value: []byte("v"), Time: time.Now()}}
	if err := p.Produce(context.Background(), rs); err != nil {
		t.Fatal(err)
	}
	cluster.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Produce(ctx, rs) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("records are acknowledged by a broker that is gone")
		}
	case <-time.After(30 * time.Second):
		t.Error("Produce goes on 28 s after its context ended")
	}
	client.Close()
}
