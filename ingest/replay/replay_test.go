package replay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/ingesttest"
	"github.com/cardlake/cardlake/ingest/replay"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// register is the tenants' register, from which one may be missing.
type register struct {
	*catalog.Tenants
	missing cardlake.Tenant
}

func (r *register) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	if name == r.missing {
		return catalog.TenantRecord{}, catalog.ErrNoTenant
	}
	return r.Tenants.Lookup(name)
}

// lake is what the workers of a test share.
type lake struct {
	t                      *testing.T
	ring                   *ingesttest.Keyring
	tenants                *register
	store                  *ingesttest.Store
	transactions, rejected *ingesttest.Table
	stream                 [][]byte
}

func newLake(t *testing.T) *lake {
	t.Helper()
	tenants, err := catalog.OpenTenants(t.TempDir() + "/tenants.json")
	if err != nil {
		t.Fatal(err)
	}
	l := &lake{t: t, ring: &ingesttest.Keyring{}, tenants: &register{Tenants: tenants}, store: ingesttest.NewStore(), transactions: &ingesttest.Table{}, rejected: &ingesttest.Table{}}
	l.register("aurora")
	return l
}

func (l *lake) register(name cardlake.Tenant) {
	l.t.Helper()
	if _, err := l.tenants.Create(name, "MX", "MXN", time.Now()); err != nil {
		l.t.Fatal(err)
	}
}

// event puts event n of the tenant on the stream.
func (l *lake) event(n int, tenant cardlake.Tenant, owner keys.Owner) {
	l.t.Helper()
	pan, err := card.ParsePAN("4111111111111111")
	if err != nil {
		l.t.Fatal(err)
	}
	id := eventID(n)
	value, err := wire.NewEncoder(l.ring, wire.EncoderConfig{}).Append(l.t.Context(), nil, owner, &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: tenant, Program: "p", Region: "local",
		EventTime: 1_772_452_800_000_000 + int64(n), Network: cardlake.Visa, Amount: cardlake.Money{Minor: 100, Currency: "MXN"},
		Channel: cardlake.POS, EntryMode: "chip", ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	if err != nil {
		l.t.Fatal(err)
	}
	l.stream = append(l.stream, value)
}

func eventID(n int) cardlake.EventID {
	return card.EventKey{Tenant: "aurora", Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
}

// source reads the stream.
type source struct {
	stream [][]byte
	begun  chan int64
	at     int64
}

var part = cardlake.StreamPartition{Stream: "cards"}

func (s *source) Run(ctx context.Context, a ingest.Assignee) error {
	at, err := a.Assigned([]cardlake.StreamPartition{part})
	if err != nil {
		return err
	}
	s.begun <- at[part].Next
	<-ctx.Done()
	a.Revoked([]cardlake.StreamPartition{part}, false)
	return nil
}

func (s *source) Poll(ctx context.Context) (out []ingest.Record, _ error) {
	select {
	case s.at = <-s.begun:
	default:
		if s.at < 0 {
			time.Sleep(time.Millisecond)
			return nil, nil
		}
	}
	for ; s.at < int64(len(s.stream)); s.at++ {
		out = append(out, ingest.Record{Position: cardlake.Position{StreamPartition: part, Offset: s.at}, Time: time.UnixMicro(1), Key: []byte("k"), Value: s.stream[s.at]})
	}
	if out == nil {
		<-ctx.Done()
	}
	return out, nil
}

func (s *source) Seek(p cardlake.Positions)                        { s.begun <- p[part].Next }
func (s *source) Commit(context.Context, cardlake.Positions) error { return nil }

func (l *lake) worker(src ingest.Source, history ingest.History) *ingest.Worker {
	return ingest.New(ingest.Deps{
		Source: src, Tenants: l.tenants, Keys: l.ring, Secrets: l.ring, Transactions: l.transactions, Rejected: l.rejected,
		History: history, Kept: ingest.KeptIn(l.rejected, l.store),
		Writer: writers.New(l.store, l.tenants, writers.Config{}), RejectWriter: writers.NewRejected(l.store, writers.Config{}),
		Log: slog.New(slog.DiscardHandler),
	}, ingest.Config{WindowAge: 20 * time.Millisecond, WindowRows: 4, Grace: time.Second, Dedup: 100 * 365 * 24 * time.Hour})
}

// run runs the worker until done.
func (l *lake) run(w *ingest.Worker, done func() bool) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	finished := make(chan error, 1)
	go func() { finished <- w.Run(ctx) }()
	for !done() {
		if ctx.Err() != nil {
			l.t.Fatal("the worker did not get there")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-finished; err != nil {
		l.t.Fatal(err)
	}
}

// ingest reads the stream to its end.
func (l *lake) ingest() {
	l.t.Helper()
	w := l.worker(&source{stream: l.stream, begun: make(chan int64, 10), at: -1}, ingest.HistoryOf(l.transactions, l.store))
	l.run(w, func() bool { return l.transactions.At()[part].Next == int64(len(l.stream)) })
}

// replay replays what is rejected now and returns what the worker counted.
func (l *lake) replay(reasons ...string) ingest.Stats {
	l.t.Helper()
	deps, cfg := replay.Deps{Rejected: l.rejected, Store: l.store, Keys: l.ring}, replay.Config{Reasons: reasons, MaxRecords: 3}
	src, err := replay.New(deps, cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	w := l.worker(src, replay.History(deps, cfg, nil, l.transactions))
	l.run(w, func() bool {
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Millisecond)
		defer cancel()
		ends, err := src.Ends(ctx)
		if err != nil {
			return false
		}
		at := l.transactions.At()
		for p, end := range ends {
			if at[p].Next < end.Next {
				return false
			}
		}
		return true
	})
	return w.Stats()
}

// rows counts the rows of each event.
func (l *lake) rows() map[cardlake.EventID]int {
	out := map[cardlake.EventID]int{}
	files, _ := l.transactions.Files(l.t.Context(), 0)
	for _, f := range files {
		body, err := objects.ReadAll(l.t.Context(), l.store, f.Name)
		if err != nil {
			l.t.Fatal(err)
		}
		if err := parquet.EventIDs(body, 0, func(id cardlake.EventID, _ int64) bool { out[id]++; return true }); err != nil {
			l.t.Fatal(err)
		}
	}
	return out
}

// TestReplay: records of a tenant that was unknown become rows after it is registered, each
// once, although commits fail in every way and some events have come in meanwhile; what is
// still wrong stays rejected, and is found by the next replay.
func TestReplay(t *testing.T) {
	for name, fault := range map[string]func(int) ingesttest.Fault{
		"no faults": nil,
		"faults": func(n int) ingesttest.Fault {
			return []ingesttest.Fault{ingesttest.None, ingesttest.UnknownAfter, ingesttest.Conflict, ingesttest.UnknownBefore, ingesttest.Refuse}[n%5]
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t)
			l.register("borealis")
			borealis, _ := l.tenants.Lookup("borealis")
			known, _ := l.tenants.Lookup("aurora")
			for n := range 20 {
				if n%2 == 0 {
					l.event(n, "aurora", keys.OwnerOf(known.StorageID))
				} else {
					l.event(n, "borealis", keys.OwnerOf(borealis.StorageID))
				}
				if n%7 == 0 {
					l.stream = append(l.stream, []byte("no event"))
				}
			}
			l.tenants.missing = "borealis"
			l.ingest()
			if rows := l.rows(); len(rows) != 10 || l.rejected.Rows() != 13 {
				t.Fatalf("%d rows, %d rejected", len(rows), l.rejected.Rows())
			}
			l.tenants.missing = ""
			l.event(3, "borealis", keys.OwnerOf(borealis.StorageID)) // comes again, and is taken now
			l.ingest()
			l.transactions.Inject(fault)
			l.rejected.Inject(fault)

			if s := l.replay("unknown_tenant"); fault == nil && (s.Records != 10 || s.Rows != 9 || s.Duplicates != 1) {
				t.Errorf("stats %+v", s)
			}
			check := func() {
				t.Helper()
				rows := l.rows()
				for n := range 20 {
					if rows[eventID(n)] != 1 {
						t.Errorf("event %d is there %d times", n, rows[eventID(n)])
					}
				}
				if len(rows) != 20 {
					t.Errorf("%d events", len(rows))
				}
			}
			check()
			if s := l.replay("unknown_tenant"); s.Records != 0 {
				t.Errorf("a second replay found %d records", s.Records)
			}
			if s := l.replay(); fault == nil && (s.Records != 3 || s.Rejected["undecodable"] != 3) {
				t.Errorf("replay of what is still wrong: %+v", s)
			}
			if n := l.rejected.Rows(); n != 16 {
				t.Errorf("%d rejected rows, want the three once more", n)
			}
			if s := l.replay("undecodable"); fault == nil && s.Records != 3 {
				t.Errorf("the next replay found %d records, want the three that were rejected again", s.Records)
			}
			check()
		})
	}
}

func TestReplayOfUnknownReason(t *testing.T) {
	if _, err := replay.New(replay.Deps{}, replay.Config{Reasons: []string{"bad luck"}}); err == nil {
		t.Error("no error")
	}
}

// TestReplayGoesOnOnlyWhereItWas: the file that the last replay ended in is gone.
func TestReplayGoesOnOnlyWhereItWas(t *testing.T) {
	l := newLake(t)
	p, err := replay.Partition("undecodable")
	if err != nil {
		t.Fatal(err)
	}
	l.transactions.Set(cardlake.Positions{p: {Next: 4, Mark: "data/transactions_rejected/gone.parquet#3"}})
	src, err := replay.New(replay.Deps{Rejected: l.rejected, Store: l.store, Keys: l.ring}, replay.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := l.worker(src, func(context.Context, time.Duration, int64, func(cardlake.EventID, int64)) error { return nil })
	if err := w.Run(t.Context()); !errors.Is(err, replay.ErrGone) {
		t.Errorf("got %v", err)
	}
}
