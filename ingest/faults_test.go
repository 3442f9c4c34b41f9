package ingest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
)

// TestCommittedNeverWaits asks for the committed positions while a commit is tried again.
func TestCommittedNeverWaits(t *testing.T) {
	l := newLake(t, 1)
	l.fill(5)
	l.transactions.fault = func(int) fault { return refuse }
	w := l.worker(ingest.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for w.Stats().AppendErrors < 2 {
		time.Sleep(time.Millisecond)
	}
	answered := make(chan struct{})
	go func() { w.Committed(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(5 * time.Second):
		t.Error("Committed blocks as long as the catalog is away")
	}
	cancel()
	<-done
}

// TestRejectedTableAheadOfTheWindow: after a death between the two commits a smaller window
// takes the rejected table no further back.
func TestRejectedTableAheadOfTheWindow(t *testing.T) {
	l := newLake(t, 2)
	for i := range 10 {
		l.stream.append(0, l.event(i))
	}
	l.stream.append(1, []byte("no event"))
	w := l.worker(ingest.Config{WindowRows: 11, WindowAge: time.Hour, Grace: time.Nanosecond})
	l.transactions.fault = func(int) fault { return refuse }
	l.runUntil(w, func() bool { return l.rejected.at().Holds(l.stream.ends()) }) // dies between the two commits
	l.transactions.fault = nil
	l.stream.append(1, []byte("no event either"))
	deps := l.deps(l.keys)
	// A smaller window this time: five records of partition 0 and the new rejected one.
	src := &scripted{memSource: memSource{stream: l.stream}, polls: [][]pick{{{0, 0, 5}, {1, 0, 2}}, {{0, 5, 10}}}}
	deps.Source = src
	w = ingest.New(deps, ingest.Config{WindowRows: 6, WindowAge: 20 * time.Millisecond, Grace: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for end := time.Now().Add(5 * time.Second); !l.caughtUp() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if !l.caughtUp() {
		t.Errorf("stuck at %v after %d append errors", l.transactions.at(), w.Stats().AppendErrors)
	}
	cancel()
	<-done
}

type pick struct{ part, from, to int }

// scripted polls exactly what the script says, then nothing.
type scripted struct {
	memSource
	mu2   sync.Mutex
	polls [][]pick
	n     int
}

func (s *scripted) Poll(ctx context.Context) ([]ingest.Record, error) {
	for { // wait for the assignment
		s.mu.Lock()
		ok := s.assignee != nil
		s.mu.Unlock()
		if ok {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s.mu2.Lock()
	if s.n >= len(s.polls) {
		s.mu2.Unlock()
		<-ctx.Done()
		return nil, nil
	}
	script := s.polls[s.n]
	s.n++
	s.mu2.Unlock()
	var out []ingest.Record
	for _, p := range script {
		for at := p.from; at < p.to; at++ {
			out = append(out, ingest.Record{Position: cardlake.Position{StreamPartition: place(p.part), Offset: int64(at)}, Time: now, Value: s.stream.parts[p.part][at]})
		}
	}
	return out, nil
}

// TestRejectionIsTriedAgainWhole: the key service fails once while a record with an invalid
// field is sealed; the record is rejected all the same.
func TestRejectionIsTriedAgainWhole(t *testing.T) {
	l := newLake(t, 1)
	l.stream.append(0, l.invalid(0))
	var calls atomic.Int64
	w := ingest.New(l.deps(sealOutage{l.keys, &calls}), ingest.Config{WindowAge: 20 * time.Millisecond, Grace: time.Second})
	l.runUntil(w, l.caughtUp)
	var rows int64
	for _, f := range l.rejected.files() {
		rows += f.Rows
	}
	if rows != 1 || w.Stats().Duplicates != 0 {
		t.Errorf("%d rejected rows, %d duplicates, %d rows: the record is nowhere", rows, w.Stats().Duplicates, w.Stats().Rows)
	}
}

// sealOutage fails the first data key for a rejected record.
type sealOutage struct {
	keys.Provider
	calls *atomic.Int64
}

func (o sealOutage) NewDataKey(ctx context.Context, s keys.Scope) (keys.Key, []byte, error) {
	if s.Owner == keys.Lake && o.calls.Add(1) == 1 {
		return keys.Key{}, nil, errors.New("key service is away")
	}
	return o.Provider.NewDataKey(ctx, s)
}

// invalid is an event whose amount does not fit its column.
func (l *lake) invalid(n int) []byte {
	pan, err := card.ParsePAN("4111111111111111")
	if err != nil {
		l.t.Fatal(err)
	}
	id := eventID(n)
	m := &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: testTenant,
		Program: "aurora-visa", Region: "local", EventTime: now.UnixMicro(),
		Network: cardlake.Visa, Amount: cardlake.Money{Minor: 1 << 62, Currency: "MXN"}, // does not fit decimal(18,4)
		Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
	}}
	r, err := l.tenants.Lookup(testTenant)
	if err != nil {
		l.t.Fatal(err)
	}
	value, err := l.encoder.Append(context.Background(), nil, keys.OwnerOf(r.StorageID), m)
	if err != nil {
		l.t.Fatal(err)
	}
	return value
}

// TestRewindDuringPollLeavesNoGap: a revocation whose flush is fenced, while Poll waits. The
// records that Poll then returns lie behind a gap.
func TestRewindDuringPollLeavesNoGap(t *testing.T) {
	l := newLake(t, 2)
	for i := range 20 {
		l.stream.append(0, l.event(i))
	}
	l.stream.append(1, l.event(100))
	l.transactions.fault = func(n int) fault {
		if n == 1 {
			return conflict // lost the race sixteen times in a row: nothing moved
		}
		return none
	}
	src := &seeking{memSource: memSource{stream: l.stream}}
	src.hook = func() { // partition 1 goes to another worker while Poll waits
		src.assignee.Revoked([]cardlake.StreamPartition{place(1)}, false)
	}
	deps := l.deps(l.keys)
	deps.Source = src
	w := ingest.New(deps, ingest.Config{WindowAge: 200 * time.Millisecond, Grace: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for end := time.Now().Add(5 * time.Second); l.transactions.at()[place(0)].Next < 20 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if at := l.transactions.at(); at[place(0)].Next != 20 {
		t.Fatalf("table at %v", at)
	}
	rows := l.rows()
	for i := range 20 {
		if rows[eventID(i)] != 1 {
			t.Errorf("event %d is there %d times; the table is at %v", i, rows[eventID(i)], l.transactions.at())
		}
	}
}

// seeking is a source whose Seek takes effect at the next Poll, as the interface says.
type seeking struct {
	memSource
	polls   int
	hook    func()
	pending cardlake.Positions
}

func (s *seeking) Seek(p cardlake.Positions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = p
}

func (s *seeking) Poll(ctx context.Context) ([]ingest.Record, error) {
	s.mu.Lock()
	ok := s.assignee != nil
	if s.pending != nil {
		for p, at := range s.pending {
			s.at[p] = at
		}
		s.pending = nil
	}
	s.mu.Unlock()
	if !ok {
		time.Sleep(time.Millisecond)
		return nil, nil
	}
	if s.polls++; s.polls == 2 { // the first took ten records; the window is open
		s.hook()
	}
	return s.memSource.Poll(ctx)
}

// TestClockAheadHidesNoHistory: one event of a clock that runs ahead does not make a new
// worker forget the rest.
func TestClockAheadHidesNoHistory(t *testing.T) {
	l := newLake(t, 1)
	start := time.Now()
	clock := func() time.Time { return now.Add(time.Minute + time.Since(start)) }
	for _, n := range []int{0, 1, 5 * 86400} { // the last one's clock is five days ahead
		l.stream.append(0, l.event(n))
	}
	l.runUntil(l.worker(ingest.Config{Now: clock, WindowRows: 3}), l.caughtUp)
	l.stream.append(0, l.event(1)) // the relay's repeat, seconds later
	l.runUntil(l.worker(ingest.Config{Now: clock, WindowRows: 1}), l.caughtUp)
	if got := l.rows()[eventID(1)]; got != 1 {
		t.Errorf("event 1 is there %d times", got)
	}
}

// TestRecordIsInOneTableOnly: the worker dies between the two commits, and the next one judges
// differently: what is rejected already stays so, everything else is a row or rejected.
func TestRecordIsInOneTableOnly(t *testing.T) {
	l := newLake(t, 1)
	l.stream.append(0, l.event(0))
	l.stream.append(0, []byte("no event"))
	l.transactions.fault = func(int) fault { return refuse }
	l.runUntil(l.worker(ingest.Config{WindowRows: 2, Grace: time.Nanosecond}), func() bool { return l.rejected.at().Holds(l.stream.ends()) })
	l.transactions.fault = nil
	// The next worker's register does not have the tenant (a stale copy; likewise a key shredded meanwhile,
	// or an older worker that does not know the schema).
	empty, err := catalog.OpenTenants(t.TempDir() + "/tenants.json")
	if err != nil {
		t.Fatal(err)
	}
	deps := l.deps(l.keys)
	deps.Tenants = empty
	l.runUntil(ingest.New(deps, ingest.Config{WindowAge: 20 * time.Millisecond, Grace: time.Second}), l.caughtUp)
	var rejected int64
	for _, f := range l.rejected.files() {
		rejected += f.Rows
	}
	if rejected+int64(len(l.rows())) != 2 {
		t.Errorf("2 records: %d rows, %d rejected", len(l.rows()), rejected)
	}
}
