package main

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/ingest/kafka"
)

func TestOnlyAnAnswerCounts(t *testing.T) {
	l := listenTo(kafka.Config{})
	l.heard.OnBrokerE2E(kgo.BrokerMetadata{}, 1, kgo.BrokerE2E{ReadErr: errors.New("connection reset")})
	l.heard.OnBrokerE2E(kgo.BrokerMetadata{}, 1, kgo.BrokerE2E{WriteErr: errors.New("connection reset")})
	if at := l.Answered(); !at.IsZero() {
		t.Errorf("answered at %s by failures", at)
	}
	l.heard.OnBrokerE2E(kgo.BrokerMetadata{}, 1, kgo.BrokerE2E{})
	if l.Answered().IsZero() {
		t.Error("not answered by an answer")
	}
}
