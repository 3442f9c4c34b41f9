package canary

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
)

// Words that are in rows of one kind each, so that finding one tells which rows are left.
const (
	erased    = "customer-who-asks-to-go"
	stays     = "customer-who-stays"
	expired   = "customer-of-an-old-day"
	offShop   = "shop-of-the-tenant-that-leaves"
	otherShop = "shop-of-the-tenant-that-stays"
)

// visit puts an event on the stream: a customer with the n-th card at a shop.
func (s *site) visit(of cardlake.Tenant, at time.Time, n int, customer, shop string) {
	s.t.Helper()
	s.events++
	id := card.EventKey{Tenant: of, Network: cardlake.Visa, STAN: fmt.Sprint(s.events), MTI: "0100"}.ID()
	number, err := card.ParsePAN(pan(n))
	s.check(err)
	value, err := s.sealed.Append(s.t.Context(), nil, s.owners[of], &card.Message{PAN: number, Transaction: cardlake.Transaction{
		EventID: id, TransactionID: id, EventType: cardlake.Authorization, Tenant: of,
		Program: "visa", Region: "local", EventTime: at.UnixMicro() + int64(s.events), Network: cardlake.Visa,
		Amount: cardlake.Money{Minor: int64(n), Currency: "BRL"}, Channel: cardlake.POS, EntryMode: "chip",
		CustomerID: customer, AccountID: "account of " + customer, MerchantName: shop,
		ResponseCode: "00", Approved: true, MTI: "0100",
	}})
	s.check(err)
	s.put(value)
}

// lakeStore is the store of the site's lake.
func (s *site) lakeStore() *objects.Sealed {
	s.t.Helper()
	k, err := local.OpenFile(s.dir.LakeKeyring(), s.dir.LakeSecret())
	s.check(err)
	return objects.NewSealed(s.dir.Objects(), k, objects.SealedConfig{})
}

// parquetRows reads a file, each row as its columns' text.
func (s *site) parquetRows(body []byte) (out []map[string]string) {
	s.t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(body))
	s.check(err)
	defer r.Close()
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 1024}, memory.DefaultAllocator)
	s.check(err)
	records, err := fr.GetRecordReader(s.t.Context(), nil, nil)
	s.check(err)
	defer records.Release()
	for records.Next() {
		rec := records.RecordBatch()
		for i := range int(rec.NumRows()) {
			row := map[string]string{}
			for c, f := range rec.Schema().Fields() {
				row[f.Name] = rec.Column(c).ValueStr(i)
			}
			out = append(out, row)
		}
	}
	s.check(records.Err())
	return out
}

// table reads all rows of cards.transactions as its newest snapshot has them, by event id.
func (s *site) table() map[string]map[string]string {
	s.t.Helper()
	store := s.lakeStore()
	c, err := iceberg.Open(s.t.Context(), iceberg.Config{DB: s.dir.Catalog(), Objects: store, ReadOnly: true})
	s.check(err)
	defer c.Close()
	t, err := c.Table(s.t.Context(), cardlake.Transactions)
	s.check(err)
	files, err := t.Files(s.t.Context(), 0)
	s.check(err)
	out := map[string]map[string]string{}
	for _, f := range files {
		body, err := objects.ReadAll(s.t.Context(), store, f.Name)
		if errors.Is(err, keys.ErrNoKey) {
			continue
		}
		s.check(err)
		for _, row := range s.parquetRows(body) {
			out[row["event_id"]] = row
		}
	}
	return out
}

// search opens every object of the lake, decodes those that are Parquet, and reads every
// file of the folder as it lies. It returns where the word is, with some words for each place.
func (s *site) search(word string) (where []string) {
	s.t.Helper()
	store := s.lakeStore()
	for info, err := range store.List(s.t.Context(), "") {
		s.check(err)
		body, err := objects.ReadAll(s.t.Context(), store, info.Name)
		if errors.Is(err, keys.ErrNoKey) {
			continue // whose bytes are looked at below
		}
		s.check(err)
		isThere := bytes.Contains(body, []byte(word)) || strings.Contains(info.Name, word)
		if bytes.HasPrefix(body, []byte("PAR1")) {
			for _, row := range s.parquetRows(body) {
				for v := range maps.Values(row) {
					isThere = isThere || strings.Contains(v, word)
				}
			}
		}
		if isThere {
			where = append(where, info.Name)
		}
	}
	s.check(filepath.WalkDir(string(s.dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		if rel := strings.TrimPrefix(path, string(s.dir)+"/"); bytes.Contains(body, []byte(word)) || strings.Contains(rel, word) {
			where = append(where, "file "+rel)
		}
		return err
	}))
	return where
}

// plant puts a copy of an object back under another name, and reports whether the search
// finds the word in it; then it takes the copy away.
func (s *site) plant(of cardlake.Tenant, body []byte, word string) {
	s.t.Helper()
	const name = "data/transactions/planted.parquet"
	store := s.lakeStore()
	s.check(store.Put(s.t.Context(), name, s.owners[of], body))
	if where := s.search(word); !slices.Contains(where, name) {
		s.t.Errorf("the search for %q does not find a planted remainder: %v", word, where)
	}
	s.check(store.Delete(s.t.Context(), name))
}

// holding returns the content of the first data file with the word.
func (s *site) holding(word string) []byte {
	s.t.Helper()
	for _, name := range s.search(word) {
		if strings.HasPrefix(name, "data/") {
			body, err := objects.ReadAll(s.t.Context(), s.lakeStore(), name)
			s.check(err)
			return body
		}
	}
	s.t.Fatalf("%q is in no data file", word)
	return nil
}

// cleared compares rows of before and after: those that keep names must be equal, the others
// gone if mayGo says so, and else anonymised.
func cleared(t *testing.T, before, after map[string]map[string]string, keep func(row map[string]string) bool, isGone bool) {
	t.Helper()
	naming := []string{"card_token", "bin", "last4", "customer_id", "account_id"}
	for id, was := range before {
		is, ok := after[id]
		switch {
		case keep(was):
			if !maps.Equal(was, is) {
				t.Errorf("row %s of %s changed", id, was["customer_id"])
			}
		case ok == isGone:
			t.Errorf("row %s of %s: there %v", id, was["customer_id"], ok)
		case !isGone:
			for column := range was {
				if (was[column] != is[column]) != slices.Contains(naming, column) {
					t.Errorf("row %s: %s is %q, was %q", id, column, is[column], was[column])
				}
			}
		}
	}
}

// TestGone erases a person, keeps the days of the policy, and off-boards a tenant, all with
// the binaries, and looks for what is left of them in every object and every file.
func TestGone(t *testing.T) {
	s := newSite(t, aurora, boreal)
	old := s.minute.AddDate(0, 0, -10)
	for n := range 6 {
		s.visit(aurora, s.minute, n, stays, otherShop)
		s.visit(aurora, old, n, expired, otherShop)
		s.visit(boreal, s.minute, n, stays, offShop)
	}
	for n := range 3 {
		s.visit(aurora, s.minute, 100+n, erased, otherShop)
	}
	s.ingest(21, 0)
	for n := range 3 {
		s.visit(aurora, s.minute, 100+n, erased, otherShop)
	}
	s.ingest(24, 0)
	as := func(args ...string) []string {
		return slices.Concat([]string{"maintain"}, args, []string{"-as", "operator/local", "-grace", "0s"})
	}

	t.Run("a person", func(t *testing.T) {
		before, body := s.table(), s.holding(erased)
		var tokens []string
		for _, row := range before {
			if row["customer_id"] == erased && !slices.Contains(tokens, row["card_token"]) {
				tokens = append(tokens, row["card_token"])
			}
		}
		r := s.run("cardlake", erased+"\n", as("erase", "-tenant", "aurora", "-cards", filepath.Join(t.TempDir(), "cards"))...)
		if r.code != 0 || !strings.Contains(r.stdout, "6 rows of 3 cards in 2 files") || strings.Contains(r.stdout+r.stderr, erased) {
			t.Fatalf("code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		for _, word := range append(tokens, erased) {
			if where := s.search(word); where != nil {
				t.Errorf("%q is still in %v", word, where)
			}
		}
		cleared(t, before, s.table(), func(row map[string]string) bool { return row["customer_id"] != erased }, false)
		s.plant(aurora, body, erased)
		s.plant(aurora, body, tokens[0])

		// What comes late is erased by the next pass.
		s.visit(aurora, s.minute, 100, erased, otherShop)
		s.visit(aurora, s.minute, 101, "", otherShop)
		s.ingest(26, 0)
		if where := s.search(erased); len(where) != 1 {
			t.Errorf("a late row is in %v", where)
		}
		s.runs("cardlake", "", as("retention", "enforce")...)
		for _, word := range append(tokens, erased) {
			if where := s.search(word); where != nil {
				t.Errorf("%q is still in %v", word, where)
			}
		}
	})
	t.Run("days", func(t *testing.T) {
		before, body := s.table(), s.holding(expired)
		s.check(os.WriteFile(s.dir.Retention(), []byte(`{"version": 1, "tables": {"cards.transactions": {"days": 9}}}`), 0o600))
		if out := s.runs("cardlake", "", as("retention", "plan")...); !strings.Contains(out, "cards.transactions") || s.search(expired) == nil {
			t.Errorf("a plan removes rows, or says nothing:\n%s", out)
		}
		s.runs("cardlake", "", as("retention", "enforce")...)
		if where := s.search(expired); where != nil {
			t.Errorf("rows of the day are still in %v", where)
		}
		cleared(t, before, s.table(), func(row map[string]string) bool { return row["customer_id"] != expired }, true)
		s.plant(aurora, body, expired)
	})
	t.Run("a tenant", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("takes two people: whom sudo was used by is believed of root alone")
		}
		before, body := s.table(), s.holding(offShop)
		hold := strings.TrimSpace(s.runs("cardlake", "", as("hold", "add", "-tenant", "boreal", "-case", "17/2026", "-why", "court order")...))
		offboard := func(by string) ran {
			t.Setenv("SUDO_USER", by)
			return s.run("cardlake-vault", "", "tenant", "offboard", "-tenant", "boreal", "-confirm", "boreal", "-reason", "contract ended", "-grace", "0s")
		}
		if r := offboard("ana"); r.code != 1 || !strings.Contains(r.stderr, hold) {
			t.Fatalf("in spite of a hold: code %d\n%s", r.code, r.stderr)
		}
		s.runs("cardlake", "", as("hold", "release", "-id", hold, "-why", "case closed")...)
		if r := offboard("ana"); r.code != 0 || s.search(offShop) == nil {
			t.Fatalf("asked: code %d\n%s", r.code, r.stderr)
		}
		if r := offboard("ana"); r.code != 1 {
			t.Fatalf("the same person: code %d\n%s", r.code, r.stderr)
		}
		if r := offboard("bea"); r.code != 0 || !strings.Contains(r.stdout, `"left": []`) {
			t.Fatalf("another: code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		if where := s.search(offShop); where != nil {
			t.Errorf("rows of the tenant are still in %v", where)
		}
		// Manifests and the register tell its storage id; no object has it in its name.
		for _, where := range s.search(string(s.owners[boreal])) {
			if !strings.HasPrefix(where, "metadata/") && !slices.Contains([]string{"file tenants.json", "file keys/lake.keyring", "file keys/card.keyring"}, where) {
				t.Errorf("its storage id is in %s", where)
			}
		}
		cleared(t, before, s.table(), func(row map[string]string) bool { return row["tenant"] != "boreal" }, true)
		s.owners[boreal] = s.owners[aurora] // whose key still seals
		s.plant(boreal, body, offShop)
		if r := s.run("cardlake", "", "query", "-format", "csv", "SELECT count(*) AS n FROM cards.transactions"); r.code != 0 {
			t.Errorf("query: code %d\n%s", r.code, r.stderr)
		}
	})
}
