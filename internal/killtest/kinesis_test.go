package killtest

import (
	"context"
	"database/sql"
	"errors"
	"math/big"
	"math/rand/v2"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest/kinesis"
	"github.com/cardlake/cardlake/ingest/kinesis/kinesistest"
)

// TestKilledWorkersOnKinesis kills two workers that share a stream whose shards are split and
// merged all the time. Its short form needs only Go; fan-out, where the service refuses a new
// subscription to a shard for five seconds, is of the long form.
func TestKilledWorkersOnKinesis(t *testing.T) {
	for _, mode := range []string{"polling", "fan-out"} {
		t.Run(mode, func(t *testing.T) {
			if mode == "fan-out" && !isLong() {
				t.Skipf("set %s", killsEnv)
			}
			n, seed := kills(t, 4), uint64(time.Now().UnixNano())
			t.Logf("seed %d, %d kills", seed, n)
			ctx, cancel := context.WithTimeout(t.Context(), runTime(n))
			defer cancel()
			s := newSite(t, ctx)
			k := newShards(ctx, s, rand.New(rand.NewPCG(seed, 2)))
			bin := build(t, ctx)
			var workers []*process
			for _, name := range []string{"w1", "w2"} {
				args := []string{
					"run", "-dir", string(s.dir), "-source", "kinesis", "-stream", k.name, "-leases", "catalog", "-group", k.name,
					"-instance", name, "-window", "200ms",
				}
				if mode == "fan-out" {
					args = append(args, "-fan-out")
				}
				workers = append(workers, &process{t: t, name: name, path: bin, args: args, env: k.env})
			}
			killWorkers(ctx, s, k, rand.New(rand.NewPCG(seed, 1)), n, workers)
			t.Logf("%d splits and %d merges; %d records were refused for their shard's rate and put again, the answer to %d batches was lost; %d leases were lost",
				k.splits, k.merges, k.refused, k.lost, workers[0].count("lease lost")+workers[1].count("lease lost"))
		})
	}
}

// shards is a Kinesis stream, and the leases of those who read it.
type shards struct {
	site   *site
	name   string // also the group's
	client *sdk.Client
	leases *kinesis.SQLLeases
	env    []string   // that leads the AWS SDK to the stream
	random *rand.Rand // of whoever puts; what disturbs has its own

	choices *rand.Rand
	at      cardlake.Positions // behind what was put, by the answers to it

	splits, merges, refused, lost int
}

const (
	shardCount  = 4
	atOnce      = 500 // records in a call of PutRecords
	loseAnswers = 40  // one batch in so many is put again as if the answer had been lost
)

func newShards(ctx context.Context, s *site, random *rand.Rand) *shards {
	s.t.Helper()
	service := kinesistest.New(kinesistest.Config{})
	server := httptest.NewServer(service)
	s.t.Cleanup(server.Close)
	dsn := url.URL{Scheme: "file", Path: s.dir.Catalog(), RawQuery: url.Values{"_pragma": {"busy_timeout(10000)"}}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() })
	nowhere := filepath.Join(s.t.TempDir(), "none")
	k := &shards{
		site: s, name: "card-events", client: service.Client(), at: cardlake.Positions{},
		random: random, choices: rand.New(rand.NewPCG(random.Uint64(), 3)),
		env: []string{
			"AWS_ENDPOINT_URL_KINESIS=" + server.URL, "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
			"AWS_CONFIG_FILE=" + nowhere, "AWS_SHARED_CREDENTIALS_FILE=" + nowhere,
		},
	}
	k.leases = kinesis.NewSQLLeases(db, k.name+"/"+k.name)
	if _, err := k.client.CreateStream(ctx, &sdk.CreateStreamInput{StreamName: &k.name, ShardCount: aws.Int32(shardCount)}); err != nil {
		s.t.Fatal(err)
	}
	return k
}

// put puts what was refused again, until nothing is. Sometimes it puts all of a batch again,
// as a producer does that never had the answer.
func (k *shards) put(ctx context.Context, batch []message) error {
	for part := range slices.Chunk(batch, atOnce) {
		if k.random.IntN(loseAnswers) == 0 {
			k.lost++
			if _, err := k.once(ctx, part); err != nil {
				return err
			}
		}
		for {
			refused, err := k.once(ctx, part)
			if err != nil {
				return err
			}
			if len(refused) == 0 {
				break
			}
			k.refused += len(refused)
			part = refused
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// once puts a batch and returns what was refused of it.
func (k *shards) once(ctx context.Context, batch []message) (refused []message, err error) {
	in := &sdk.PutRecordsInput{StreamName: &k.name}
	for _, m := range batch {
		in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: aws.String(m.key), Data: m.value})
	}
	out, err := k.client.PutRecords(ctx, in)
	if err != nil {
		return nil, err
	}
	for i, r := range out.Records {
		if r.SequenceNumber == nil {
			refused = append(refused, batch[i])
			continue
		}
		part, err := kinesis.Partition(k.name, aws.ToString(r.ShardId))
		if err != nil {
			return nil, err
		}
		k.at[part] = cardlake.Offset{Next: k.at[part].Next + 1, Mark: *r.SequenceNumber}
		k.site.stored(batch[i])
	}
	return refused, nil
}

// forget takes a worker's leases from it, and from the processes of that name before.
func (k *shards) forget(ctx context.Context, worker string) {
	k.site.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := k.freeLeases(ctx, worker)
		if err == nil {
			return
		}
		// Whoever finds the journal of a killed process rolls it back, and the others get
		// SQLITE_BUSY meanwhile, whatever busy_timeout says.
		if busy := new(sqlite.Error); !errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			k.site.t.Fatal(err)
		}
	}
}

func (k *shards) freeLeases(ctx context.Context, worker string) error {
	all, err := k.leases.List(ctx)
	if err != nil {
		return err
	}
	for _, l := range all {
		if !strings.HasPrefix(l.Owner, worker+"/") {
			continue
		}
		free := l
		free.Owner, free.Wanted, free.Counter = "", "", l.Counter+1
		if _, err := k.leases.Swap(ctx, l, free); err != nil { // one renewed meanwhile stays
			return err
		}
	}
	return nil
}

func (k *shards) list(ctx context.Context) []types.Shard {
	k.site.t.Helper()
	var all []types.Shard
	in := &sdk.ListShardsInput{StreamName: &k.name}
	for {
		out, err := k.client.ListShards(ctx, in)
		if err != nil {
			k.site.t.Fatal(err)
		}
		all = append(all, out.Shards...)
		if out.NextToken == nil {
			return all
		}
		in = &sdk.ListShardsInput{NextToken: out.NextToken}
	}
}

// disturb splits a shard, or merges two: by turns two of each. Before, it looks whether the
// table has something of a shard and not yet all of its parents.
func (k *shards) disturb(ctx context.Context, i int) {
	k.site.t.Helper()
	all := k.list(ctx)
	k.checkOrder(all, k.site.positions(ctx))
	low := func(s types.Shard) *big.Int { return hash(k.site.t, s.HashKeyRange.StartingHashKey) }
	high := func(s types.Shard) *big.Int { return hash(k.site.t, s.HashKeyRange.EndingHashKey) }
	open := slices.DeleteFunc(all, isClosed)
	slices.SortFunc(open, func(a, b types.Shard) int { return low(a).Cmp(low(b)) })
	var err error
	if i%4 < 2 {
		k.splits++
		s := open[k.choices.IntN(len(open))]
		middle := new(big.Int).Add(low(s), high(s))
		middle.Rsh(middle, 1).Add(middle, big.NewInt(1))
		_, err = k.client.SplitShard(ctx, &sdk.SplitShardInput{StreamName: &k.name, ShardToSplit: s.ShardId, NewStartingHashKey: aws.String(middle.String())})
	} else {
		k.merges++
		at := k.choices.IntN(len(open) - 1)
		_, err = k.client.MergeShards(ctx, &sdk.MergeShardsInput{StreamName: &k.name, ShardToMerge: open[at].ShardId, AdjacentShardToMerge: open[at+1].ShardId})
	}
	if err != nil {
		k.site.t.Fatal(err)
	}
}

func (k *shards) checkOrder(all []types.Shard, at cardlake.Positions) {
	k.site.t.Helper()
	for _, s := range all {
		for _, parent := range []*string{s.ParentShardId, s.AdjacentParentShardId} {
			if parent == nil || k.offset(at, s.ShardId) == (cardlake.Offset{}) {
				continue
			}
			if before := k.offset(at, parent); before.Mark != kinesis.End {
				k.site.t.Errorf("the table has %d records of %s, and of its parent %s only %d", k.offset(at, s.ShardId).Next, *s.ShardId, *parent, before.Next)
			}
		}
	}
}

func (k *shards) offset(at cardlake.Positions, id *string) cardlake.Offset {
	k.site.t.Helper()
	part, err := kinesis.Partition(k.name, aws.ToString(id))
	if err != nil {
		k.site.t.Fatal(err)
	}
	return at[part]
}

func hash(t *testing.T, text *string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(aws.ToString(text), 10)
	if !ok {
		t.Fatalf("hash key %q", aws.ToString(text))
	}
	return n
}

func isClosed(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != nil }

// ends implements stream. Nothing is put any more.
func (k *shards) ends(ctx context.Context) cardlake.Positions {
	k.site.t.Helper()
	out := k.at.Clone()
	for _, s := range k.list(ctx) {
		part, err := kinesis.Partition(k.name, aws.ToString(s.ShardId))
		if err != nil {
			k.site.t.Fatal(err)
		}
		if isClosed(s) {
			out[part] = cardlake.Offset{Next: out[part].Next, Mark: kinesis.End}
		}
	}
	return out
}
