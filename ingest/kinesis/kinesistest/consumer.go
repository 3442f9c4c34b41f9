package kinesistest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
)

const (
	maxConsumers = 20
	maxEvent     = 1 << 20
)

type consumer struct {
	name, arn string
	made      time.Time
	active    time.Time
}

type consumerIn struct{ StreamARN, ConsumerName, ConsumerARN string }

// consumer finds a consumer by its ARN, or its name and its stream's ARN.
func (s *Server) consumer(in *consumerIn) (*stream, *consumer, error) {
	streamARN, name := in.StreamARN, in.ConsumerName
	if in.ConsumerARN != "" {
		var ok bool
		streamARN, name, ok = strings.Cut(in.ConsumerARN, "/consumer/")
		name, _, _ = strings.Cut(name, ":")
		if !ok || in.StreamARN != "" && in.StreamARN != streamARN {
			return nil, nil, refuse(invalidArgument, "invalid ConsumerARN")
		}
	}
	st, err := s.stream("", streamARN)
	if err != nil {
		return nil, nil, err
	}
	c := st.consumers[name]
	if c == nil || in.ConsumerARN != "" && c.arn != in.ConsumerARN {
		return st, nil, refuse(notFound, "consumer %s not found", name)
	}
	return st, c, nil
}

func (s *Server) describeConsumer(st *stream, c *consumer) map[string]any {
	status := "ACTIVE"
	if s.cfg.Now().Before(c.active) {
		status = "CREATING"
	}
	return map[string]any{
		"ConsumerName": c.name, "ConsumerARN": c.arn, "ConsumerStatus": status,
		"ConsumerCreationTimestamp": c.made.Unix(), "StreamARN": arnPrefix + st.name,
	}
}

func (s *Server) registerStreamConsumer(in *struct{ StreamARN, ConsumerName string }) (any, error) {
	if err := s.rate("RegisterStreamConsumer", "", 5); err != nil {
		return nil, err
	}
	st, err := s.stream("", in.StreamARN)
	if err != nil {
		return nil, err
	}
	switch {
	case !nameForm.MatchString(in.ConsumerName):
		return nil, refuse(invalidArgument, "invalid ConsumerName")
	case st.consumers[in.ConsumerName] != nil:
		return nil, refuse(inUse, "consumer %s is registered already", in.ConsumerName)
	case len(st.consumers) >= maxConsumers:
		return nil, refuse(limitExceeded, "stream %s has %d consumers", st.name, maxConsumers)
	}
	now := s.cfg.Now()
	c := &consumer{
		name: in.ConsumerName, made: now, active: now.Add(s.cfg.Transition),
		arn: fmt.Sprintf("%s%s/consumer/%s:%d", arnPrefix, st.name, in.ConsumerName, now.Unix()),
	}
	st.consumers[c.name] = c
	d := s.describeConsumer(st, c)
	delete(d, "StreamARN")
	return map[string]any{"Consumer": d}, nil
}

func (s *Server) describeStreamConsumer(in *consumerIn) (any, error) {
	if err := s.rate("DescribeStreamConsumer", "", 20); err != nil {
		return nil, err
	}
	st, c, err := s.consumer(in)
	if err != nil {
		return nil, err
	}
	return map[string]any{"ConsumerDescription": s.describeConsumer(st, c)}, nil
}

func (s *Server) deregisterStreamConsumer(in *consumerIn) (any, error) {
	if err := s.rate("DeregisterStreamConsumer", "", 5); err != nil {
		return nil, err
	}
	st, c, err := s.consumer(in)
	if err != nil {
		return nil, err
	}
	delete(st.consumers, c.name)
	for _, sh := range st.shards {
		sh.unsubscribe(c.arn)
	}
	return struct{}{}, nil
}

// unsubscribe ends the consumer's subscription of the shard, if there is one.
func (sh *shard) unsubscribe(consumerARN string) {
	if end := sh.subscriptionEnd[consumerARN]; end != nil {
		close(end)
		delete(sh.subscriptionEnd, consumerARN)
	}
}

type subscribeIn struct {
	ConsumerARN, ShardId string
	StartingPosition     startIn
}

// subscription is an answer of SubscribeToShard: events until it ends.
type subscription struct {
	*Server
	shard *shard
	arn   string
	at    cursor
	end   chan struct{} // closed when another takes over
}

func (s *Server) subscribe(in *subscribeIn) (any, error) {
	st, c, err := s.consumer(&consumerIn{ConsumerARN: in.ConsumerARN})
	if err != nil {
		return nil, err
	}
	sh, err := s.shard(st, in.ShardId)
	if err != nil {
		return nil, err
	}
	if err := s.rate("SubscribeToShard", c.arn+" "+sh.id, 1); err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	if now.Before(c.active) {
		return nil, refuse(inUse, "consumer %s is not active", c.name)
	}
	if at, ok := sh.subscribedAt[c.arn]; ok && now.Sub(at) < s.cfg.TakeOver {
		return nil, refuse(inUse, "another active subscription exists for this consumer")
	}
	at, err := s.cursor(st, sh, in.StartingPosition)
	if err != nil {
		return nil, err
	}
	sh.unsubscribe(c.arn)
	sub := &subscription{s, sh, c.arn, at, make(chan struct{})}
	sh.subscribedAt[c.arn], sh.subscriptionEnd[c.arn] = now, sub.end
	return sub, nil
}

// serve sends events: as records are put, and now and then without.
func (sub *subscription) serve(ctx context.Context, w http.ResponseWriter, fault Fault) {
	s := sub.Server
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sub.shard.subscriptionEnd[sub.arn] == sub.end {
			delete(sub.shard.subscriptionEnd, sub.arn)
		}
	}()
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.WriteHeader(http.StatusOK)
	if send(w, eventstreamapi.EventMessageType, "initial-response", struct{}{}) != nil {
		return
	}
	expiry := time.NewTimer(s.cfg.SubscriptionAge)
	defer expiry.Stop()
	for {
		s.mu.Lock()
		records, size, behind := s.fetch(sub.shard, &sub.at, maxGetRecords, maxEvent)
		put, over := sub.shard.put, sub.shard.exhausted(sub.at)
		event := map[string]any{"Records": records, "MillisBehindLatest": behind}
		if over {
			event["ChildShards"] = childShards(sub.shard)
			event["ContinuationSequenceNumber"] = nil
		} else {
			event["ContinuationSequenceNumber"] = max(sub.at.Seq, sub.shard.start)
		}
		s.mu.Unlock()
		if send(w, eventstreamapi.EventMessageType, "SubscribeToShardEvent", event) != nil || over {
			return
		}
		if fault.Done && fault.Code != "" {
			_ = send(w, eventstreamapi.ExceptionMessageType, fault.Code, map[string]string{"message": "injected"})
			return
		}
		pause := time.Duration(size) * time.Second / readBytes
		switch {
		case behind == 0:
			pause = s.cfg.Heartbeat
		case s.cfg.Unlimited:
			continue
		default:
			put = nil
		}
		wait := time.NewTimer(pause)
		select {
		case <-put:
		case <-wait.C:
		case <-expiry.C:
			wait.Stop()
			return
		case <-sub.end:
			wait.Stop()
			_ = send(w, eventstreamapi.ExceptionMessageType, inUse, map[string]string{"message": "another subscription took over"})
			return
		case <-ctx.Done():
			wait.Stop()
			return
		}
		wait.Stop()
	}
}

// send writes one message of the event stream (Amazon Event Stream specification).
func send(w http.ResponseWriter, messageType, name string, payload any) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	m := eventstream.Message{Payload: body}
	m.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(messageType))
	header := eventstreamapi.EventTypeHeader
	if messageType == eventstreamapi.ExceptionMessageType {
		header = eventstreamapi.ExceptionTypeHeader
	}
	m.Headers.Set(header, eventstream.StringValue(name))
	m.Headers.Set(eventstreamapi.ContentTypeHeader, eventstream.StringValue(contentType))
	if err := eventstream.NewEncoder().Encode(w, m); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
