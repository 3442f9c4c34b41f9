package outbox

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// DefaultTopic is the topic that events go to.
const DefaultTopic = "cardlake.transactions"

// Kafka produces to one topic of a Kafka cluster. The client must be idempotent and must
// require all acknowledgements, which are kgo's defaults, and needs
// kgo.AllowIdempotentProduceCancellation, or Produce cannot end while the brokers are away;
// what is produced twice is recognised by its event id. The client's creator closes it.
type Kafka struct {
	client *kgo.Client
	topic  string
}

// NewKafka returns a producer to topic; DefaultTopic if that is empty.
func NewKafka(client *kgo.Client, topic string) *Kafka {
	if topic == "" {
		topic = DefaultTopic
	}
	return &Kafka{client, topic}
}

// Produce implements Producer. A record's key chooses its partition, and its time stamp is
// the decision's.
func (k *Kafka) Produce(ctx context.Context, records []Record) error {
	rs := make([]*kgo.Record, len(records))
	for i, r := range records {
		rs[i] = &kgo.Record{Topic: k.topic, Key: r.Key, Value: r.Value, Timestamp: r.Time}
	}
	if err := k.client.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		return fmt.Errorf("produce to %s: %w", k.topic, err)
	}
	return nil
}
