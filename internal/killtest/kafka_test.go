package killtest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/internal/kafkareal"
)

// TestKilledWorkersLoseAndDoubleNothing kills two workers that share eight partitions of a
// real broker.
func TestKilledWorkersLoseAndDoubleNothing(t *testing.T) {
	broker := kafkareal.Start(t, kafkareal.Options{})
	for _, protocol := range []string{"cooperative", "server-side"} {
		t.Run(protocol, func(t *testing.T) {
			n, seed := kills(t, 10), uint64(time.Now().UnixNano())
			t.Logf("seed %d, %d kills", seed, n)
			ctx, cancel := context.WithTimeout(t.Context(), runTime(n))
			defer cancel()
			s := newSite(t, ctx)
			k := newTopic(ctx, s, broker.Addr, wire.Topic+"."+protocol)
			bin := build(t, ctx)
			var workers []*process
			for _, name := range []string{"w1", "w2"} {
				workers = append(workers, &process{t: t, name: name, path: bin, args: []string{
					"run", "-dir", string(s.dir), "-brokers", broker.Addr, "-topic", k.name, "-group", k.name,
					"-instance", name, "-protocol", protocol, "-window", "200ms",
				}})
			}
			killWorkers(ctx, s, k, rand.New(rand.NewPCG(seed, 1)), n, workers)
		})
	}
}

// topic is a topic of a broker, and the group that reads it.
type topic struct {
	site   *site
	name   string // also the group's
	client *kgo.Client
	admin  *kadm.Client
}

const partitions = 8

func newTopic(ctx context.Context, s *site, broker, name string) *topic {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(name))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	k := &topic{site: s, name: name, client: client, admin: kadm.NewClient(client)}
	created, err := k.admin.CreateTopic(ctx, partitions, 1, nil, name)
	if err == nil {
		err = created.Err
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

func (k *topic) put(ctx context.Context, batch []message) error {
	records := make([]*kgo.Record, len(batch))
	for i, m := range batch {
		records[i] = &kgo.Record{Key: []byte(m.key), Value: m.value}
	}
	if err := k.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	for _, m := range batch {
		k.site.stored(m)
	}
	return nil
}

// disturb does nothing: a topic's partitions stay.
func (k *topic) disturb(context.Context, int) {}

// forget takes a member out of the group, as the end of its session does. A member that is
// not in the group just now is as well.
func (k *topic) forget(ctx context.Context, instance string) {
	k.site.t.Helper()
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{k.name}
	described, err := describe.RequestWith(ctx, k.client)
	if err != nil {
		k.site.t.Fatal(err)
	}
	if described.Groups[0].ErrorCode != 0 { // a group of the classic protocol
		if _, err := k.admin.LeaveGroup(ctx, kadm.LeaveGroup(k.name).InstanceIDs(instance).Reason("the test says so")); err != nil {
			k.site.t.Fatal(err)
		}
		return
	}
	for _, m := range described.Groups[0].Members {
		if m.InstanceID != nil && *m.InstanceID == instance {
			leave := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			leave.Group, leave.MemberID, leave.InstanceID, leave.MemberEpoch = k.name, m.MemberID, &instance, -1
			if _, err := leave.RequestWith(ctx, k.client); err != nil {
				k.site.t.Fatal(err)
			}
		}
	}
}

func (k *topic) ends(ctx context.Context) cardlake.Positions {
	k.site.t.Helper()
	ends, err := k.admin.ListEndOffsets(ctx, k.name)
	if err != nil {
		k.site.t.Fatal(err)
	}
	out := cardlake.Positions{}
	ends.Each(func(o kadm.ListedOffset) {
		out[cardlake.StreamPartition{Stream: o.Topic, Partition: o.Partition}] = cardlake.Offset{Next: o.Offset}
	})
	return out
}
