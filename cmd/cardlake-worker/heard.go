package main

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/ingest/kafka"
)

// listening is a Kafka source that tells when a broker last answered. Its client tries an
// unreachable broker again and again and meanwhile polls bring nothing, as on an idle stream.
type listening struct {
	*kafka.Source
	heard *heard
}

// listenTo returns the source of cfg, listening.
func listenTo(cfg kafka.Config) listening {
	h := &heard{}
	cfg.Options = append(cfg.Options, kgo.WithHooks(h))
	return listening{kafka.New(cfg), h}
}

// Answered returns the time of the last answer, zero before the first.
func (l listening) Answered() time.Time {
	if at := l.heard.at.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// heard implements kgo.HookBrokerE2E.
type heard struct{ at atomic.Int64 }

// OnBrokerE2E is called when a request was answered or failed. Fetches wait for records for
// a moment only, so that there is one all the time.
func (h *heard) OnBrokerE2E(_ kgo.BrokerMetadata, _ int16, e kgo.BrokerE2E) {
	if e.Err() == nil {
		h.at.Store(time.Now().UnixNano())
	}
}

var _ kgo.HookBrokerE2E = (*heard)(nil)
