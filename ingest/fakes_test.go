package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// lake is what workers of a test share: keys, tenants, store, tables and a stream.
type lake struct {
	t            *testing.T
	keys         *local.Keyring
	tenants      *catalog.Tenants
	register     string // its file
	store        *memStore
	transactions *memTable
	rejected     *memTable
	stream       *memStream
	encoder      *wire.Encoder
	logs         bytes.Buffer
}

const testTenant = cardlake.Tenant("aurora-pay")

var now = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)

var keyringDir string

// keyring is shared by all tests: deriving its master key is slow on purpose.
var keyring = sync.OnceValues(func() (*local.Keyring, error) {
	var err error
	if keyringDir, err = os.MkdirTemp("", "ingest-test"); err != nil {
		return nil, err
	}
	return local.Create(keyringDir+"/k", []byte("a secret for this test"), slices.Concat(keys.CardPurposes, keys.LakePurposes))
})

func newLake(t *testing.T, partitions int) *lake {
	t.Helper()
	ctx := context.Background()
	k, err := keyring()
	if err != nil {
		t.Fatal(err)
	}
	register := t.TempDir() + "/tenants.json"
	tenants, err := catalog.OpenTenants(register)
	if err != nil {
		t.Fatal(err)
	}
	r, err := tenants.Create(testTenant, "MX", "MXN", now)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(ctx, keys.Lake, keys.OwnerOf(r.StorageID)); err != nil {
		t.Fatal(err)
	}
	return &lake{
		t: t, keys: k, tenants: tenants, register: register, store: &memStore{objects: map[string][]byte{}},
		transactions: &memTable{}, rejected: &memTable{},
		stream: newStream(partitions), encoder: wire.NewEncoder(k, wire.EncoderConfig{}),
	}
}

// event is the n-th test event: its id, time and card depend on n only.
func (l *lake) event(n int) []byte {
	l.t.Helper()
	return l.eventOf(n, int64(n))
}

// eventOf is the n-th test event, of an amount in minor units.
func (l *lake) eventOf(n int, amount int64) []byte {
	l.t.Helper()
	return l.encode(l.message(n, amount))
}

func (l *lake) message(n int, amount int64) *card.Message {
	l.t.Helper()
	pan, err := card.ParsePAN(fmt.Sprintf("%015d", 411111100000000+n%7) + "0")
	if err != nil {
		l.t.Fatal(err)
	}
	id := eventID(n)
	return &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: testTenant,
		Program: "aurora-visa", Region: "local", EventTime: now.Add(time.Duration(n) * time.Second).UnixMicro(),
		Network: cardlake.Visa, Amount: cardlake.Money{Minor: amount, Currency: "MXN"},
		Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
	}}
}

func (l *lake) encode(m *card.Message) []byte {
	l.t.Helper()
	owner := keys.Owner("")
	if r, err := l.tenants.Lookup(testTenant); err == nil {
		owner = keys.OwnerOf(r.StorageID)
	}
	value, err := l.encoder.Append(context.Background(), nil, owner, m)
	if err != nil {
		l.t.Fatal(err)
	}
	return value
}

func eventID(n int) cardlake.EventID {
	return card.EventKey{Tenant: testTenant, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
}

// fill puts events 0 to n-1 on the stream, spread over its partitions.
func (l *lake) fill(n int) {
	for i := range n {
		l.stream.append(i%len(l.stream.parts), l.event(i))
	}
}

func (l *lake) worker(cfg ingest.Config) *ingest.Worker {
	if cfg.WindowAge == 0 {
		cfg.WindowAge = 20 * time.Millisecond
	}
	if cfg.Grace == 0 {
		cfg.Grace = 2 * time.Second
	}
	return ingest.New(l.deps(l.keys), cfg)
}

func (l *lake) deps(provider keys.Provider) ingest.Deps {
	return ingest.Deps{
		Source: &memSource{stream: l.stream}, Tenants: l.tenants, Keys: provider, Secrets: l.keys,
		Transactions: l.transactions, Rejected: l.rejected, History: ingest.HistoryOf(l.transactions, l.store),
		Kept:         ingest.KeptIn(l.rejected, l.store),
		Writer:       writers.New(l.store, l.tenants, writers.Config{}),
		RejectWriter: writers.NewRejected(l.store, writers.Config{}),
		Log:          slog.New(slog.NewTextHandler(&l.logs, nil)),
	}
}

// runUntil runs w until done holds, then stops it and waits for it.
func (l *lake) runUntil(w *ingest.Worker, done func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- w.Run(ctx) }()
	for !done() {
		if ctx.Err() != nil {
			l.t.Fatalf("the worker did not get there; committed %v of %v; it says\n%s", l.transactions.at(), l.stream.ends(), tail(&l.logs))
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-finished; err != nil {
		l.t.Fatal(err)
	}
}

// caughtUp reports whether the table stands at the end of the stream.
func (l *lake) caughtUp() bool { return l.transactions.at().Holds(l.stream.ends()) }

// rows counts the rows of each event in the committed files.
func (l *lake) rows() map[cardlake.EventID]int {
	l.t.Helper()
	out := map[cardlake.EventID]int{}
	for _, f := range l.transactions.files() {
		body, err := objects.ReadAll(context.Background(), l.store, f.Name)
		if err != nil {
			l.t.Fatal(err)
		}
		err = parquet.EventIDs(body, 0, func(id cardlake.EventID, _ int64) bool { out[id]++; return true })
		if err != nil {
			l.t.Fatal(err)
		}
	}
	return out
}

// checkOnce fails unless events 0 to n-1 are in the table once each, and nothing else is.
func (l *lake) checkOnce(n int) {
	l.t.Helper()
	rows := l.rows()
	for i := range n {
		if got := rows[eventID(i)]; got != 1 {
			l.t.Errorf("event %d is in the table %d times, want once", i, got)
		}
		delete(rows, eventID(i))
	}
	if len(rows) > 0 {
		l.t.Errorf("%d rows of other events", len(rows))
	}
}

// memTable is a table with the commit protocol of package catalog, and faults to inject.
type memTable struct {
	mu        sync.Mutex
	positions cardlake.Positions
	committed []cardlake.DataFile
	appends   int
	// fault is asked before each append, counted from 1.
	fault func(n int) fault
}

type fault int

const (
	none          fault = iota
	refuse              // an error, nothing happened
	unknownBefore       // ErrUnknown, nothing happened
	unknownAfter        // ErrUnknown, it happened
	conflict            // ErrConflict, nothing happened
)

func (m *memTable) at() cardlake.Positions {
	m.mu.Lock()
	defer m.mu.Unlock()
	return cardlake.Positions{}.Merge(m.positions)
}

func (m *memTable) files() []cardlake.DataFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]cardlake.DataFile(nil), m.committed...)
}

func (m *memTable) Files(context.Context, int64) ([]cardlake.DataFile, error) { return m.files(), nil }

func (m *memTable) Positions(context.Context) (cardlake.Positions, error) { return m.at(), nil }

func (m *memTable) Append(_ context.Context, a catalog.Append) (catalog.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	f := none
	if m.fault != nil {
		f = m.fault(m.appends)
	}
	switch f {
	case refuse:
		return catalog.Snapshot{}, errors.New("catalog is away")
	case unknownBefore:
		return catalog.Snapshot{}, catalog.ErrUnknown
	case conflict:
		return catalog.Snapshot{}, catalog.ErrConflict
	}
	for p, to := range a.To {
		if to.Next < a.From[p].Next {
			return catalog.Snapshot{}, fmt.Errorf("positions of %s go from %d to %d", p, a.From[p].Next, to.Next)
		}
	}
	if !m.positions.Holds(a.From) {
		return catalog.Snapshot{}, catalog.ErrConflict
	}
	m.positions = m.positions.Merge(a.To)
	m.committed = append(m.committed, a.Files...)
	if f == unknownAfter {
		return catalog.Snapshot{}, catalog.ErrUnknown
	}
	return catalog.Snapshot{Positions: m.positions}, nil
}

// memStore is an object store in memory, with faults to inject.
type memStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    int
	fail    func(put int) error // asked before each Put, counted from 1
}

func (s *memStore) Put(_ context.Context, name string, _ keys.Owner, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.fail != nil {
		if err := s.fail(s.puts); err != nil {
			return err
		}
	}
	if _, ok := s.objects[name]; ok {
		return objects.ErrExists
	}
	s.objects[name] = bytes.Clone(body)
	return nil
}

type memObject struct{ *bytes.Reader }

func (memObject) Close() error { return nil }

func (s *memStore) Open(_ context.Context, name string) (objects.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, ok := s.objects[name]
	if !ok {
		return nil, objects.ErrNotFound
	}
	return memObject{bytes.NewReader(body)}, nil
}

func (s *memStore) List(_ context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for name, body := range s.objects {
			if strings.HasPrefix(name, prefix) && !yield(objects.Info{Name: name, Size: int64(len(body))}, nil) {
				return
			}
		}
	}
}

func (s *memStore) Delete(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, name)
	return nil
}

// memStream is a stream in memory.
type memStream struct {
	mu    sync.Mutex
	parts [][][]byte
}

const streamName = "events"

func newStream(partitions int) *memStream { return &memStream{parts: make([][][]byte, partitions)} }

func (s *memStream) append(p int, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[p] = append(s.parts[p], value)
}

func place(p int) cardlake.StreamPartition {
	return cardlake.StreamPartition{Stream: streamName, Partition: int32(p)}
}

func (s *memStream) ends() cardlake.Positions {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := cardlake.Positions{}
	for p, values := range s.parts {
		out[place(p)] = cardlake.Offset{Next: int64(len(values))}
	}
	return out
}

// memSource reads all partitions of a memStream, ten records a poll.
type memSource struct {
	stream   *memStream
	mu       sync.Mutex
	assignee ingest.Assignee
	at       cardlake.Positions
}

func (s *memSource) Run(ctx context.Context, a ingest.Assignee) error {
	parts := s.all()
	at, err := a.Assigned(parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		at[p] = at[p] // one that the table does not know begins at 0
	}
	s.mu.Lock()
	s.at, s.assignee = at, a
	s.mu.Unlock()
	<-ctx.Done()
	a.Revoked(parts, false)
	return nil
}

func (s *memSource) all() []cardlake.StreamPartition {
	var parts []cardlake.StreamPartition
	for p := range s.stream.ends() {
		parts = append(parts, p)
	}
	return parts
}

func (s *memSource) Poll(ctx context.Context) ([]ingest.Record, error) {
	for {
		var out []ingest.Record
		s.mu.Lock()
		s.stream.mu.Lock()
		for p := range s.stream.parts {
			at, ok := s.at[place(p)]
			for ok && at.Next < int64(len(s.stream.parts[p])) && len(out) < 10 {
				out = append(out, ingest.Record{
					Position: cardlake.Position{StreamPartition: place(p), Offset: at.Next},
					Time:     now, Key: []byte("key"), Value: s.stream.parts[p][at.Next],
				})
				at.Next++
			}
			if ok {
				s.at[place(p)] = at
			}
		}
		s.stream.mu.Unlock()
		s.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *memSource) Seek(p cardlake.Positions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sp, at := range p {
		s.at[sp] = at
	}
}

func (s *memSource) Commit(context.Context, cardlake.Positions) error { return nil }

// tail is the end of what was logged.
func tail(logs *bytes.Buffer) []byte { return logs.Bytes()[max(0, logs.Len()-1000):] }
