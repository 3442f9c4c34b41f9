package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/processor/outbox"
)

func openDB(t testing.TB, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openOutbox(t testing.TB, db *pebble.DB, cfg outbox.Config) *outbox.Outbox {
	t.Helper()
	o, err := outbox.Open(db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func reserve(t testing.TB, db *pebble.DB, o *outbox.Outbox, value string) uint64 {
	t.Helper()
	b := db.NewBatch()
	seq, err := o.Add(b, outbox.Record{Key: []byte("card"), Value: []byte(value), Time: time.UnixMicro(int64(len(value)))})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(pebble.Sync); err != nil {
		t.Fatal(err)
	}
	return seq
}

func add(t testing.TB, db *pebble.DB, o *outbox.Outbox, values ...string) {
	t.Helper()
	for _, v := range values {
		o.Release(reserve(t, db, o, v), true)
	}
}

// stream is a producer that can be down and that reports every record it took.
type stream struct {
	mu    sync.Mutex
	down  error
	took  []string
	calls []int
	got   chan struct{}
}

func newStream() *stream { return &stream{got: make(chan struct{}, 1000)} }

func (s *stream) Produce(_ context.Context, rs []outbox.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.got <- struct{}{} }()
	if s.down != nil {
		return s.down
	}
	s.calls = append(s.calls, len(rs))
	for _, r := range rs {
		s.took = append(s.took, string(r.Value))
	}
	return nil
}

func (s *stream) set(down error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *stream) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.took)
}

// relay runs the relay until stop.
func relay(t testing.TB, o *outbox.Outbox, p outbox.Producer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx, p) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

func empty(o *outbox.Outbox) func() bool { return func() bool { return o.Stats().Depth == 0 } }

func TestRelaysInOrderAndDeletes(t *testing.T) {
	fs := vfs.NewMem()
	db := openDB(t, fs)
	o := openOutbox(t, db, outbox.Config{BatchRecords: 3})
	want := []string{"a", "b", "c", "d", "e", "f", "g"}
	add(t, db, o, want[:5]...)
	s := newStream()
	stop := relay(t, o, s)
	add(t, db, o, want[5:]...)
	await(t, "relaying", empty(o))
	stop()
	if diff := cmp.Diff(want, s.taken()); diff != "" {
		t.Error(diff)
	}
	if slices.Max(s.calls) > 3 {
		t.Errorf("batches of %v records, want at most 3", s.calls)
	}
	if st := o.Stats(); st.Relayed != 7 || !st.Oldest.IsZero() {
		t.Errorf("%+v", st)
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{outbox.Prefix}, UpperBound: []byte{outbox.Prefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	if it.First() {
		t.Error("an acknowledged entry is still stored")
	}
	if err := errors.Join(it.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	// The next process goes on behind the sequences of this one.
	db = openDB(t, fs)
	defer db.Close()
	o = openOutbox(t, db, outbox.Config{})
	if st := o.Stats(); st.Depth != 0 {
		t.Errorf("reopened: %+v", st)
	}
	if seq := reserve(t, db, o, "x"); seq != 7 {
		t.Errorf("next sequence %d, want 7", seq)
	}
}

func TestBytesBoundABatch(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	o := openOutbox(t, db, outbox.Config{BatchBytes: 64})
	big := string(make([]byte, 200))
	add(t, db, o, "aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", big, "c")
	s := newStream()
	stop := relay(t, o, s)
	await(t, "relaying", empty(o))
	stop()
	if diff := cmp.Diff([]int{1, 1, 1, 1}, s.calls); diff != "" {
		t.Error(diff)
	}
}

func TestLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, vfs.NewMem())
		defer db.Close()
		o := openOutbox(t, db, outbox.Config{BatchRecords: 3, Linger: time.Second})
		s := newStream()
		stop := relay(t, o, s)
		defer stop()
		expect := func(calls ...int) {
			t.Helper()
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if diff := cmp.Diff(calls, s.calls); diff != "" {
				t.Error(diff)
			}
		}
		add(t, db, o, "a")
		expect(1)
		add(t, db, o, "b")
		expect(1)
		add(t, db, o, "c")
		time.Sleep(time.Second - 1)
		expect(1)
		time.Sleep(1)
		expect(1, 2)
		time.Sleep(time.Minute)
		add(t, db, o, "d")
		expect(1, 2, 1)
		add(t, db, o, "e")
		expect(1, 2, 1)
		add(t, db, o, "f", "g", "h", "i", "j")
		time.Sleep(time.Second)
		expect(1, 2, 1, 3, 3) // no pause before a full one
	})
}

func TestWaitsForEarlierBatches(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	o := openOutbox(t, db, outbox.Config{})
	s := newStream()
	stop := relay(t, o, s)
	first, dropped, third := reserve(t, db, o, "first"), reserve(t, db, o, "dropped"), reserve(t, db, o, "third")
	if err := db.Delete(append([]byte{outbox.Prefix}, 0, 0, 0, 0, 0, 0, 0, byte(dropped)), pebble.Sync); err != nil {
		t.Fatal(err) // as if its batch had not been applied
	}
	o.Release(third, true)
	o.Release(dropped, false)
	if have := s.taken(); len(have) != 0 {
		t.Fatalf("%q went out before the first was durable", have)
	}
	o.Release(first, true)
	await(t, "relaying", empty(o))
	stop()
	if diff := cmp.Diff([]string{"first", "third"}, s.taken()); diff != "" {
		t.Error(diff)
	}
}

func TestStreamDownCostsOnlyDisk(t *testing.T) {
	fs := vfs.NewMem()
	db := openDB(t, fs)
	o := openOutbox(t, db, outbox.Config{MaxBackoff: time.Millisecond})
	s := newStream()
	s.set(errors.New("broker is gone"))
	stop := relay(t, o, s)
	add(t, db, o, "a", "bb")
	<-s.got
	<-s.got // tried again
	add(t, db, o, "ccc")
	st := o.Stats()
	if st.Depth != 3 || !st.Oldest.Equal(time.UnixMicro(1)) || st.Failures < 1 {
		t.Errorf("%+v", st)
	}
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	db = openDB(t, fs)
	defer db.Close()
	o = openOutbox(t, db, outbox.Config{})
	if st := o.Stats(); st.Depth != 3 || !st.Oldest.Equal(time.UnixMicro(1)) {
		t.Errorf("reopened: %+v", st)
	}
	s.set(nil)
	stop = relay(t, o, s)
	await(t, "relaying", empty(o))
	stop()
	if diff := cmp.Diff([]string{"a", "bb", "ccc"}, s.taken()); diff != "" {
		t.Error(diff)
	}
}

func TestKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, outbox.DefaultTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(outbox.DefaultTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var rs []outbox.Record
	for i := range 100 {
		rs = append(rs, outbox.Record{Key: []byte{byte(i % 5)}, Value: []byte{byte(i)}, Time: time.UnixMilli(int64(i + 1))})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := outbox.NewKafka(client, "").Produce(ctx, rs); err != nil {
		t.Fatal(err)
	}
	last, n := map[byte]byte{}, 0
	partition := map[byte]int32{}
	for n < len(rs) {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			key, value := r.Key[0], r.Value[0]
			if p, ok := partition[key]; ok && (p != r.Partition || value <= last[key]) {
				t.Errorf("key %d: %d follows %d, partition %d after %d", key, value, last[key], r.Partition, p)
			}
			partition[key], last[key] = r.Partition, value
			if r.Timestamp.UnixMilli() != int64(value)+1 {
				t.Errorf("time stamp %v of record %d", r.Timestamp, value)
			}
		})
	}
	dead, stop := context.WithCancel(ctx)
	stop()
	if err := outbox.NewKafka(client, "").Produce(dead, rs[:1]); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
