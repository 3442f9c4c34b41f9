package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// membership is the workers' consumer group, as an administrator sees it.
type membership struct{ admin *kadm.Client }

func newMembership(broker string) (*membership, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		return nil, err
	}
	return &membership{kadm.NewClient(client)}, nil
}

// forget takes a member out of the group, as the end of its session does. That it is not in
// the group just now is no error.
func (m *membership) forget(ctx context.Context, name string) error {
	_, err := m.admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(name).Reason("it was killed"))
	return err
}

func (m *membership) close() { m.admin.Close() }
