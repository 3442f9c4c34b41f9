package kafkareal_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/internal/kafkareal"
)

func TestABrokerAnswers(t *testing.T) {
	b := kafkareal.Start(t, kafkareal.Options{})
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	brokers, err := kadm.NewClient(client).ListBrokers(context.Background())
	if err != nil || len(brokers) != 1 {
		t.Errorf("%d brokers, error %v", len(brokers), err)
	}
}
