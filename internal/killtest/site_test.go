package killtest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

const (
	tenant = cardlake.Tenant("aurora-pay")
	cards  = 5000
	rate   = 400 // events a second
	// One record in so many is an event of before (a relay's repeat), and one is no event.
	repeatEvery, spoilEvery = 97, 211
	// After so many events one card has a burst, of more than a shard of Kinesis takes at once.
	burstEvery, burst = 4000, 1300
)

// site is a lake on disk, and what was sent to it.
type site struct {
	t       *testing.T
	dir     home.Dir
	owner   keys.Owner
	encoder *wire.Encoder
	store   objects.Store
	lake    *iceberg.Catalog // nil until a worker has made it

	cards           []int // of each event: one that is repeated keeps its key
	copies, spoiled int   // records in the stream, of events and of others
}

func newSite(t *testing.T, ctx context.Context) *site {
	t.Helper()
	s := &site{t: t, dir: home.Dir(t.TempDir())}
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
	return s
}

// message is what one record holds.
type message struct {
	key     string
	value   []byte
	spoiled bool // no event
}

func eventID(n int) cardlake.EventID {
	return card.EventKey{Tenant: tenant, Network: cardlake.Visa, STAN: fmt.Sprint(n), MTI: "0100"}.ID()
}

// next makes an event that was not there before, of a card.
func (s *site) next(ctx context.Context, of int) (message, error) {
	s.cards = append(s.cards, of)
	return s.message(ctx, len(s.cards)-1)
}

// message makes the n-th event, once more if it was made before.
func (s *site) message(ctx context.Context, n int) (message, error) {
	of := s.cards[n]
	digits := fmt.Appendf(nil, "4%014d", of)
	pan, err := card.ParsePAN(append(digits, card.LuhnDigit(digits)))
	if err != nil {
		return message{}, err
	}
	value, err := s.encoder.Append(ctx, nil, s.owner, &card.Message{PAN: pan, Transaction: cardlake.Transaction{
		EventID: eventID(n), TransactionID: eventID(n), EventType: cardlake.Authorization, Tenant: tenant,
		Program: "aurora-visa", Region: "local", EventTime: time.Now().UnixMicro(), Network: cardlake.Visa,
		Amount: cardlake.Money{Minor: int64(n), Currency: "MXN"}, Channel: cardlake.POS, EntryMode: "chip",
		ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	return message{key: fmt.Sprintf("card-%d", of), value: value}, err
}

// stored takes note that the stream holds the message, once more.
func (s *site) stored(m message) {
	if m.spoiled {
		s.spoiled++
	} else {
		s.copies++
	}
}

// produce sends events at the rate until stop is closed.
func (s *site) produce(ctx context.Context, to stream, stop <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	start, sent := time.Now(), 0
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			var batch []message
			add := func(m message, err error) error {
				batch = append(batch, m)
				return err
			}
			for ; sent < int(now.Sub(start).Seconds()*rate); sent++ {
				n, same := len(s.cards), 1
				if sent%burstEvery == rate {
					same = burst
				}
				for range same {
					if err := add(s.next(ctx, n%cards)); err != nil {
						return err
					}
				}
				if n%repeatEvery == 0 {
					if err := add(s.message(ctx, max(0, n-rate))); err != nil {
						return err
					}
				}
				if n%spoilEvery == 0 {
					batch = append(batch, message{key: "key", value: []byte("no event"), spoiled: true})
				}
			}
			if len(batch) == 0 {
				continue
			}
			if err := to.put(ctx, batch); err != nil {
				return err
			}
		}
	}
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
	ids := map[cardlake.EventID][]cardlake.Position{}
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
			var at []cardlake.Position // of the file's rows
			if err == nil {
				err = parquet.Positions(ctx, body, func(p cardlake.Position) bool { at = append(at, p); return true })
			}
			for _, p := range at {
				places[p]++
			}
			row := 0
			if err == nil && of == cardlake.Transactions {
				err = parquet.EventIDs(body, 0, func(id cardlake.EventID, _ int64) bool {
					ids[id] = append(ids[id], at[row])
					row++
					return true
				})
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}
	}
	missing := 0
	for n := range s.cards {
		switch at := ids[eventID(n)]; {
		case len(at) == 0:
			missing++
		case len(at) > 1:
			s.t.Logf("event %d is in the lake from %v", n, at)
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
		len(s.cards), s.copies-len(s.cards), rows[cardlake.Transactions.Name], files, missing, duplicates, s.spoiled, rows[cardlake.Rejected.Name])
	if missing > 0 || duplicates > 0 || len(ids) != len(s.cards) {
		s.t.Errorf("missing %d, duplicates %d, %d different events in the lake of %d sent", missing, duplicates, len(ids), len(s.cards))
	}
	if again > 0 {
		s.t.Errorf("%d records became more than one row", again)
	}
	if got := rows[cardlake.Rejected.Name]; got != int64(s.spoiled) {
		s.t.Errorf("%d records are rejected, want %d", got, s.spoiled)
	}
}
