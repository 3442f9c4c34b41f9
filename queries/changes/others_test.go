package changes_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/changes"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// withOthers is a table of rows of bolivar, with so many events of others before each.
func withOthers(t *testing.T, before func(n int) int64) *world {
	w := newWorld(t, 1)
	others := 0
	for commit := range 4 {
		var rows []cardlake.Transaction
		for i := range 25 {
			n := commit*25 + i
			sp := cardlake.StreamPartition{Stream: "s", Partition: int32(n % 3)}
			at := w.positions[sp].Next + before(n)
			tx := *writerstest.Bare()
			tx.EventID, tx.Tenant, tx.EventTime = cardlake.EventID{1, byte(n)}, "bolivar", writerstest.Start+int64(n)
			tx.Position = cardlake.Position{StreamPartition: sp, Offset: at}
			rows = append(rows, tx)
			w.positions = w.positions.Clone()
			w.positions[sp] = cardlake.Offset{Next: at + 1}
		}
		files := append(slices.Clone(w.files[w.current().ID]), w.put(rows, w.sequence+1))
		if before(1) > 0 {
			tx := *writerstest.Bare()
			others++
			tx.EventID, tx.Tenant, tx.EventTime = cardlake.EventID{2, byte(others)}, "aurora", writerstest.Start
			tx.Position = rows[0].Position
			tx.Position.Offset--
			files = append(files, w.put([]cardlake.Transaction{tx}, w.sequence+1))
		}
		w.commit("append", files)
	}
	return w
}

// TestOthersDoNotShow: which rows a batch has, whether there are more, how long its cursor is and
// what is told besides do not depend on how many events of others there were, wherever those were.
func TestOthersDoNotShow(t *testing.T) {
	seal := sealer(t)
	read := func(before func(int) int64, limit int64) (told []string) {
		w := withOthers(t, before)
		feed := w.feed(queriestest.Only(nil, "bolivar"), &queriestest.Log{}, seal)
		for since := changes.Start; ; {
			b, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: since, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			place := slices.IndexFunc(b.Columns(), func(c queries.Column) bool { return c.Name == "event_id" })
			row := make([]any, len(b.Columns()))
			for {
				err := b.Next(row)
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, row[place].(string))
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			slices.Sort(ids)
			if b.More && int64(len(ids)) != limit {
				t.Errorf("%d rows come at a time, of %d", len(ids), limit)
			}
			told = append(told, fmt.Sprint(ids, b.More, len(b.Cursor), b.Until, b.About))
			if since = b.Cursor; !b.More {
				return told
			}
		}
	}
	for _, limit := range []int64{1, 7, 33, 99, 100, 1000} {
		alone := read(func(int) int64 { return 0 }, limit)
		for name, before := range map[string]func(int) int64{
			"as many":          func(int) int64 { return 1 },
			"many":             func(int) int64 { return 100_000 },
			"ever more":        func(n int) int64 { return 1 + int64(n*n) },
			"in one partition": func(n int) int64 { return 1 + 5000*int64(n%3/2) },
			"more than can be": func(int) int64 { return 1 << 40 },
		} {
			if diff := cmp.Diff(alone, read(before, limit)); diff != "" {
				t.Errorf("%s, batches of %d (-without others +with):\n%.800s", name, limit, diff)
			}
		}
	}
}

// TestWithdrawnWhileRead: a grant that is taken away ends a batch within a second, and one that
// is withdrawn between two batches lets no cursor go on.
func TestWithdrawnWhileRead(t *testing.T) {
	seal := sealer(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 7)
		for range 5 {
			w.add(200)
		}
		now := queriestest.Everything
		permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision { return now(c, a, t) })
		var log queriestest.Log
		feed := w.feed(permits, &log, seal)
		b, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: changes.Start})
		if err != nil {
			t.Fatal(err)
		}
		row := make([]any, len(b.Columns()))
		if err := b.Next(row); err != nil {
			t.Fatal(err)
		}
		now = queriestest.Nothing
		time.Sleep(time.Second)
		n := 0
		for ; err == nil; n++ {
			err = b.Next(row)
		}
		if !errors.Is(err, queries.ErrNotPermitted) || n > 1 {
			t.Errorf("%d rows came after the grant was withdrawn, then %v", n-1, err)
		}
		_ = b.Close()
		if _, err := feed.Read(t.Context(), queriestest.Caller, changes.Request{Table: transactions, Since: b.Cursor}); !errors.Is(err, queries.ErrNotPermitted) {
			t.Errorf("a cursor from before is gone on from: %v", err)
		}
		records := log.Records()
		if last := records[len(records)-1]; last.Outcome != audit.Refused {
			t.Errorf("the last record is %+v", last)
		}
	})
}
