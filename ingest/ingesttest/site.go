package ingesttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// patience bounds each wait of a case. It is far longer than any takes, session time-outs
// of a loaded broker included.
const patience = 60 * time.Second

const tenant = cardlake.Tenant("aurora-pay")

// site is what one case runs on: a stream, a lake in memory, the workers in between.
type site struct {
	t            testing.TB
	stream       Stream
	keys         *Keyring
	tenants      *catalog.Tenants
	owner        keys.Owner
	store        *Store
	transactions *Table
	rejected     *Table
	encoder      *wire.Encoder
	start        time.Time
	log          *slog.Logger

	events, poison int // produced so far
	running        []*worker
	heals          []func() // of members that crashed
	findings       []string
}

// errGaveUp unwinds a case that cannot go on.
var errGaveUp = errors.New("gave up")

func newSite(t testing.TB, stream Stream, o Options) *site {
	t.Helper()
	tenants, err := catalog.OpenTenants(t.TempDir() + "/tenants.json")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r, err := tenants.Create(tenant, "MX", "MXN", start)
	if err != nil {
		t.Fatal(err)
	}
	k := &Keyring{}
	return &site{
		t: t, stream: stream, keys: k, tenants: tenants, owner: keys.OwnerOf(r.StorageID), store: NewStore(),
		transactions: &Table{unfenced: o.Unfenced}, rejected: &Table{unfenced: o.Unfenced},
		encoder: wire.NewEncoder(k, wire.EncoderConfig{}), start: start,
		log: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

// testLog hands a log on to the test's, which shows it when the test fails.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// end stops what a case left running.
func (s *site) end() {
	for _, heal := range s.heals {
		heal()
	}
	for _, w := range s.running {
		w.door.Kill()
		w.door.Release()
		w.cancel()
	}
	for _, w := range s.running {
		<-w.ended
	}
	s.stream.Close()
}

func (s *site) find(format string, args ...any) {
	s.findings = append(s.findings, fmt.Sprintf(format, args...))
}

// wait polls until ok; a case that waits too long is given up.
func (s *site) wait(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.find("waited in vain until %s; the table is at %v, %d records were produced", what, s.transactions.At(), s.events+s.poison)
			panic(errGaveUp)
		}
	}
}

func eventID(n int) cardlake.EventID {
	return card.EventKey{Tenant: tenant, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
}

// event is the n-th event, as a record's value.
func (s *site) event(n int) []byte {
	s.t.Helper()
	digits := fmt.Appendf(nil, "4%014d", n%1000)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		s.t.Fatal(err)
	}
	value, err := s.encoder.Append(context.Background(), nil, s.owner, &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: eventID(n), TransactionID: eventID(n), EventType: cardlake.Authorization, Tenant: tenant,
		Program: "aurora-visa", Region: "local", EventTime: s.start.Add(time.Duration(n) * time.Millisecond).UnixMicro(),
		Network: cardlake.Visa, Amount: cardlake.Money{Minor: int64(n), Currency: "MXN"},
		Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

// produce puts the next n events on the stream, spread over its partitions.
func (s *site) produce(n int) {
	s.t.Helper()
	for range n {
		s.stream.Produce(s.t, s.events, fmt.Appendf(nil, "key-%d", s.events), s.event(s.events))
		s.events++
	}
}

// spoil puts a record on the stream that is no event.
func (s *site) spoil(value []byte) {
	s.t.Helper()
	s.stream.Produce(s.t, s.poison, []byte("key"), value)
	s.poison++
}

// worker is one worker of the group while it runs.
type worker struct {
	*ingest.Worker
	door   *Door // to the transactions table
	cancel context.CancelFunc
	ended  chan struct{}
	once   sync.Once
	err    error // after ended
}

// work starts a worker as the named member.
func (s *site) work(member string, cfg ingest.Config) *worker {
	s.t.Helper()
	if cfg.WindowAge == 0 {
		cfg.WindowAge = 30 * time.Millisecond
	}
	if cfg.Grace == 0 {
		cfg.Grace = time.Second
	}
	door := &Door{Table: s.transactions}
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{door: door, cancel: cancel, ended: make(chan struct{}), Worker: ingest.New(ingest.Deps{
		Source: s.stream.Source(s.t, member), Tenants: s.tenants, Keys: s.keys, Secrets: s.keys,
		Transactions: door, Rejected: s.rejected,
		History:      ingest.HistoryOf(s.transactions, s.store),
		Kept:         ingest.KeptIn(s.rejected, s.store),
		Writer:       writers.New(s.store, s.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(s.store, writers.Config{}),
		Log:          s.log.With("member", member),
	}, cfg)}
	s.running = append(s.running, w)
	go func() {
		defer close(w.ended)
		w.err = w.Run(ctx)
	}()
	return w
}

// stop ends a worker in good order.
func (s *site) stop(w *worker) {
	w.cancel()
	<-w.ended
	w.once.Do(func() {
		if w.err != nil {
			s.find("a worker ended with an error: %v", w.err)
		}
	})
}

// kill ends a worker so that its open window is lost.
func (s *site) kill(w *worker) {
	w.door.Kill()
	w.cancel()
	<-w.ended
}

// crash ends a worker at once: service and table hear nothing of it any more.
func (s *site) crash(w *worker, member string) {
	w.door.Kill()
	s.heals = append(s.heals, s.stream.Isolate(s.t, member))
	w.cancel()
}

// taken is how many records the table's positions are past, in all.
func (s *site) taken() (n int64) {
	for _, at := range s.transactions.At() {
		n += at.Next
	}
	return n
}

func (s *site) caughtUp() bool { return s.taken() >= int64(s.events+s.poison) }

// drain waits until the table has everything, stops the workers and checks the table.
func (s *site) drain(workers ...*worker) {
	s.t.Helper()
	s.wait("all records are taken", s.caughtUp)
	for _, w := range workers {
		s.stop(w)
	}
	s.check()
}

// check looks for every event once, every rejected record once, and every record's position
// once, below the table's.
func (s *site) check() {
	s.t.Helper()
	ctx := context.Background()
	ids, places := map[cardlake.EventID]int{}, map[cardlake.Position]int{}
	read := func(table *Table, each func(body []byte) error) {
		files, _ := table.Files(ctx, 0)
		for _, f := range files {
			body, err := objects.ReadAll(ctx, s.store, f.Name)
			if err != nil {
				s.find("a committed file cannot be read: %v", err)
				continue
			}
			err = errors.Join(each(body), parquet.Positions(ctx, body, func(p cardlake.Position) bool { places[p]++; return true }))
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
	read(s.transactions, func(body []byte) error {
		return parquet.EventIDs(body, 0, func(id cardlake.EventID, _ int64) bool { ids[id]++; return true })
	})
	read(s.rejected, func([]byte) error { return nil })
	var missing, repeated int
	for n := range s.events {
		switch got := ids[eventID(n)]; {
		case got == 0:
			missing++
		case got > 1:
			repeated++
		}
	}
	if missing+repeated > 0 || len(ids) > s.events {
		s.find("of %d events %d are missing, %d are there more than once, %d are strange", s.events, missing, repeated, max(0, len(ids)-s.events+missing))
	}
	if got := s.rejected.Rows(); got != int64(s.poison) {
		s.find("%d records are rejected, want %d", got, s.poison)
	}
	at := s.transactions.At()
	var again, ahead int
	for p, n := range places {
		if n > 1 {
			again++
		}
		if p.Offset >= at[p.StreamPartition].Next {
			ahead++
		}
	}
	if again+ahead > 0 {
		s.find("%d records became more than one row, %d are beyond the positions of their table, %v", again, ahead, at)
	}
	if want := int64(s.events + s.poison); s.taken() != want || int64(len(places)) != want {
		s.find("%d records were produced, the table is past %d and has the positions of %d", want, s.taken(), len(places))
	}
}
