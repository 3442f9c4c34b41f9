package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// releaseTimeout bounds release. Without it the worker waits for its former self's session
// to end, which is no harm.
const releaseTimeout = 10 * time.Second

// leftForNow is the member epoch by which a static member leaves and keeps its partitions
// until its next self comes (KIP-848, "Static Membership").
const leftForNow = -2

// pingTimeout bounds one attempt to reach a broker, pingPause is between two.
const (
	pingTimeout = 10 * time.Second
	pingPause   = time.Second
)

// prepare waits until a broker answers, which includes TLS and authentication, and hands
// each failure to failed: as long as a client cannot connect, it says so in its log only.
// Then it makes room for this member in the group. It reports whether ctx still goes on.
func (c Config) prepare(ctx context.Context, opts []kgo.Opt, failed func(error)) (bool, error) {
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return false, fmt.Errorf("client: %w", err)
	}
	defer client.Close()
	for {
		attempt, cancel := context.WithTimeout(ctx, pingTimeout)
		err := client.Ping(attempt)
		cancel()
		if ctx.Err() != nil {
			return false, nil
		}
		if err == nil {
			break
		}
		failed(fmt.Errorf("reach a broker: %w", err))
		select {
		case <-ctx.Done():
			return false, nil
		case <-time.After(pingPause):
		}
	}
	if c.Protocol == ServerSide && c.InstanceID != "" {
		if err := c.release(ctx, client); err != nil {
			c.Log.Warn("take over from the former self", "error", err)
		}
	}
	return true, nil
}

// release says goodbye for this member's former self if that was killed. The consumer
// protocol, unlike the classic one, refuses a second member of the same instance id until
// the first has left or its session is over (UNRELEASED_INSTANCE_ID).
func (c Config) release(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{c.Group}
	described, err := describe.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("describe group: %w", err)
	}
	for _, g := range described.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			if errors.Is(err, kerr.GroupIDNotFound) {
				continue // nobody was ever there, or the group is a classic one
			}
			return fmt.Errorf("describe group: %w", err)
		}
		for _, m := range g.Members {
			if m.InstanceID == nil || *m.InstanceID != c.InstanceID || m.MemberEpoch < 0 {
				continue
			}
			leave := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			leave.Group, leave.MemberID, leave.InstanceID, leave.MemberEpoch = c.Group, m.MemberID, &c.InstanceID, leftForNow
			left, err := leave.RequestWith(ctx, client)
			if err == nil {
				err = kerr.ErrorForCode(left.ErrorCode)
			}
			if err != nil && !errors.Is(err, kerr.UnknownMemberID) {
				return fmt.Errorf("leave group for the former self: %w", err)
			}
		}
	}
	return nil
}
