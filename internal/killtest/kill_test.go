// Package killtest proves the promise of the worker the hard way: real worker processes on
// a real broker, killed at random moments, and then the lake is counted.
package killtest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/kafkareal"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

const (
	tenant     = cardlake.Tenant("aurora-pay")
	partitions = 8
	rate       = 400 // events a second
	// One record in so many is an event of before (a relay's repeat), and one is no event.
	repeatEvery, spoilEvery = 97, 211
)

// kills is how many there are: CARDLAKE_KILLS, by default 10.
func kills(t *testing.T) int {
	text := os.Getenv("CARDLAKE_KILLS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CARDLAKE_KILLS is %q", text)
	}
	return n
}

// TestKilledWorkersLoseAndDoubleNothing kills two workers that share eight partitions, one
// after the other at random moments, and starts them again each time. Every other kill is
// followed by the group's learning of it at once, so that the partitions go to the other
// worker and come back; sometimes a worker loses its partitions alive, which makes a zombie
// of it. At the end every event is in the lake once.
func TestKilledWorkersLoseAndDoubleNothing(t *testing.T) {
	broker := kafkareal.Start(t, kafkareal.Options{})
	for _, protocol := range []string{"cooperative", "server-side"} {
		t.Run(protocol, func(t *testing.T) { killWorkers(t, broker.Addr, protocol) })
	}
}

func killWorkers(t *testing.T, broker, protocol string) {
	n := kills(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills", seed, n)
	random := rand.New(rand.NewPCG(seed, 1))

	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*10*time.Second+3*time.Minute)
	defer cancel()
	s := newSite(t, ctx, broker, protocol)
	bin := build(t, ctx)
	var workers []*process
	for _, name := range []string{"w1", "w2"} {
		workers = append(workers, &process{t: t, name: name, path: bin, args: []string{
			"run", "-dir", string(s.dir), "-brokers", broker, "-topic", s.topic, "-group", s.topic,
			"-instance", name, "-protocol", protocol, "-window", "200ms",
		}})
	}
	for _, w := range workers {
		w.start()
		defer w.end()
	}
	s.wait(ctx, "the first commit", func(at cardlake.Positions) bool { return len(at) > 0 }, workers)

	produced := make(chan error, 1)
	produceCtx, stopProducing := context.WithCancel(ctx)
	go func() { produced <- s.produce(produceCtx) }()
	var forgotten, zombies int
	for i := range n {
		// From in the middle of its start to well into its work.
		time.Sleep(time.Duration(100+random.IntN(1900)) * time.Millisecond)
		w := workers[random.IntN(len(workers))]
		if random.IntN(5) == 0 {
			s.forget(ctx, workers[random.IntN(len(workers))].name)
			zombies++
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond)
		}
		w.kill()
		if i%2 == 0 {
			s.forget(ctx, w.name)
			forgotten++
			time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
		}
		w.start()
		if i%50 == 49 {
			t.Logf("%d kills, table at %v", i+1, s.positions(ctx))
		}
	}
	stopProducing()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	end := s.ends(ctx)
	s.wait(ctx, "all is committed", func(at cardlake.Positions) bool {
		return at.Holds(end) && workers[0].isUp() && workers[1].isUp()
	}, workers)
	for _, w := range workers {
		w.stop()
	}
	takeovers := 0
	for _, w := range workers {
		takeovers += w.count("partitions assigned")
	}
	t.Logf("%d kills, %d of them told to the group, %d members forgotten alive, %d assignments", n, forgotten, zombies, takeovers)
	s.check(ctx)
}

// site is a broker's topic and a lake on disk.
type site struct {
	t       *testing.T
	dir     home.Dir
	topic   string // also the group's name
	client  *kgo.Client
	admin   *kadm.Client
	owner   keys.Owner
	encoder *wire.Encoder
	store   objects.Store
	lake    *iceberg.Catalog // nil until a worker has made it

	events, repeats, spoiled int // produced
}

func newSite(t *testing.T, ctx context.Context, broker, protocol string) *site {
	t.Helper()
	s := &site{t: t, dir: home.Dir(t.TempDir()), topic: wire.Topic + "." + protocol}
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fatal(s.dir.Make())
	cardKeys, err := local.CreateFile(s.dir.CardKeyring(), s.dir.CardSecret(), keys.CardPurposes)
	fatal(err)
	lakeKeys, err := local.CreateFile(s.dir.LakeKeyring(), s.dir.LakeSecret(), keys.LakePurposes)
	fatal(err)
	tenants, err := catalog.OpenTenants(s.dir.Tenants())
	fatal(err)
	record, err := tenants.Create(tenant, "MX", "MXN", time.Now())
	fatal(err)
	s.owner = keys.OwnerOf(record.StorageID)
	fatal(cardKeys.EnsureOwners(ctx, keys.Lake, s.owner))
	fatal(lakeKeys.EnsureOwners(ctx, keys.Lake, s.owner))
	s.encoder = wire.NewEncoder(cardKeys, wire.EncoderConfig{})
	s.store = objects.NewSealed(s.dir.Objects(), lakeKeys, objects.SealedConfig{})

	s.client, err = kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(s.topic))
	fatal(err)
	t.Cleanup(s.client.Close)
	s.admin = kadm.NewClient(s.client)
	created, err := s.admin.CreateTopic(ctx, partitions, 1, nil, s.topic)
	fatal(err)
	fatal(created.Err)
	fatal(s.send(ctx, 0)) // so that the workers have something to make the table for
	return s
}

func eventID(n int) cardlake.EventID {
	return card.EventKey{Tenant: tenant, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
}

// send produces the n-th event.
func (s *site) send(ctx context.Context, n int) error {
	digits := fmt.Appendf(nil, "4%014d", n%5000)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		return err
	}
	value, err := s.encoder.Append(ctx, nil, s.owner, &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: eventID(n), TransactionID: eventID(n), EventType: cardlake.Authorization, Tenant: tenant,
		Program: "aurora-visa", Region: "local", EventTime: time.Now().UnixMicro(), Network: cardlake.Visa,
		Amount: cardlake.Money{Minor: int64(n), Currency: "MXN"}, Channel: cardlake.POS, EntryMode: "chip",
		ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	if err != nil {
		return err
	}
	s.events = max(s.events, n+1)
	return s.put(ctx, fmt.Appendf(nil, "card-%d", n%5000), value)
}

func (s *site) put(ctx context.Context, key, value []byte) error {
	return s.client.ProduceSync(ctx, &kgo.Record{Key: key, Value: value}).FirstErr()
}

// produce sends events at the rate until ctx ends.
func (s *site) produce(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	start, sent := time.Now(), 0
	alive := context.WithoutCancel(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			for ; sent < int(now.Sub(start).Seconds()*rate); sent++ {
				n := s.events
				if err := s.send(alive, n); err != nil {
					return err
				}
				if n%repeatEvery == 0 {
					s.repeats++
					if err := s.send(alive, max(0, n-rate)); err != nil {
						return err
					}
				}
				if n%spoilEvery == 0 {
					s.spoiled++
					if err := s.put(alive, []byte("key"), []byte("no event")); err != nil {
						return err
					}
				}
			}
		}
	}
}

// forget takes a member out of the group, as the end of its session does. A member that is
// not in the group just now is as well.
func (s *site) forget(ctx context.Context, instance string) {
	s.t.Helper()
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{s.topic}
	described, err := describe.RequestWith(ctx, s.client)
	if err != nil {
		s.t.Fatal(err)
	}
	if described.Groups[0].ErrorCode != 0 { // a group of the classic protocol
		if _, err := s.admin.LeaveGroup(ctx, kadm.LeaveGroup(s.topic).InstanceIDs(instance).Reason("the test says so")); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	for _, m := range described.Groups[0].Members {
		if m.InstanceID != nil && *m.InstanceID == instance {
			leave := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			leave.Group, leave.MemberID, leave.InstanceID, leave.MemberEpoch = s.topic, m.MemberID, &instance, -1
			if _, err := leave.RequestWith(ctx, s.client); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

func (s *site) ends(ctx context.Context) cardlake.Positions {
	s.t.Helper()
	ends, err := s.admin.ListEndOffsets(ctx, s.topic)
	if err != nil {
		s.t.Fatal(err)
	}
	out := cardlake.Positions{}
	ends.Each(func(o kadm.ListedOffset) {
		out[cardlake.StreamPartition{Stream: o.Topic, Partition: o.Partition}] = cardlake.Offset{Next: o.Offset}
	})
	return out
}

func (s *site) table(ctx context.Context, of *cardlake.Table) (*iceberg.Table, error) {
	if s.lake == nil {
		lake, err := iceberg.Open(ctx, iceberg.Config{DB: s.dir.Catalog(), Objects: s.store, ReadOnly: true, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		s.t.Cleanup(func() { _ = lake.Close() })
		s.lake = lake
	}
	return s.lake.Table(ctx, of)
}

// positions are the table's, none as long as there is no table.
func (s *site) positions(ctx context.Context) cardlake.Positions {
	table, err := s.table(ctx, cardlake.Transactions)
	if err != nil {
		return nil
	}
	at, err := table.Positions(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return at
}

func (s *site) wait(ctx context.Context, what string, ok func(cardlake.Positions) bool, workers []*process) {
	s.t.Helper()
	for !ok(s.positions(ctx)) {
		select {
		case <-ctx.Done():
			for _, w := range workers {
				s.t.Logf("%s: %s", w.name, w.log())
			}
			s.t.Fatalf("waited in vain for %s; the table is at %v", what, s.positions(context.WithoutCancel(ctx)))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// check counts the lake.
func (s *site) check(ctx context.Context) {
	s.t.Helper()
	ids := map[cardlake.EventID]int{}
	places := map[cardlake.Position]int{}
	rows := map[string]int64{}
	files := 0
	for _, of := range []*cardlake.Table{cardlake.Transactions, cardlake.Rejected} {
		table, err := s.table(ctx, of)
		if err != nil {
			s.t.Fatal(err)
		}
		all, err := table.Files(ctx, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		files += len(all)
		for _, f := range all {
			rows[of.Name] += f.Rows
			body, err := objects.ReadAll(ctx, s.store, f.Name)
			if err == nil && of == cardlake.Transactions {
				err = parquet.EventIDs(body, 0, func(id cardlake.EventID, _ int64) bool { ids[id]++; return true })
			}
			if err == nil {
				err = parquet.Positions(ctx, body, func(p cardlake.Position) bool { places[p]++; return true })
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
	missing := 0
	for n := range s.events {
		if ids[eventID(n)] == 0 {
			missing++
		}
	}
	duplicates := rows[cardlake.Transactions.Name] - int64(len(ids))
	again := 0
	for _, n := range slices.Collect(maps.Values(places)) {
		if n > 1 {
			again++
		}
	}
	s.t.Logf("%d events and %d repeats sent, %d rows in %d files, missing %d, duplicates %d; %d records spoiled, %d rejected",
		s.events, s.repeats, rows[cardlake.Transactions.Name], files, missing, duplicates, s.spoiled, rows[cardlake.Rejected.Name])
	if missing > 0 || duplicates > 0 || len(ids) != s.events {
		s.t.Errorf("missing %d, duplicates %d, %d different events in the lake of %d sent", missing, duplicates, len(ids), s.events)
	}
	if again > 0 {
		s.t.Errorf("%d records became more than one row", again)
	}
	if got := rows[cardlake.Rejected.Name]; got != int64(s.spoiled) {
		s.t.Errorf("%d records are rejected, want %d", got, s.spoiled)
	}
}
