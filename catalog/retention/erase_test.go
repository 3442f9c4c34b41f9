package retention

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

const (
	maria = "cu-maria-of-the-mountains"
	paulo = "cu-paulo"
)

// namings are the columns that an erasure changes.
var namings = []string{"card_token", "bin", "last4", "customer_id", "account_id"}

// tokensOf are the customer's two cards as rowsOf has them.
func tokensOf(customer string) []string {
	var out []string
	for i := range 2 {
		out = append(out, "tk3_"+strings.Repeat(string(rune('a'+i)), 31)+string(rune('a'+len(customer)%16)))
	}
	return out
}

// peopled is a lake with rows of two customers, in several files and days.
func peopled(t *testing.T, cfg parquet.Config) *lake {
	t.Helper()
	l := newLake(t)
	l.config = cfg
	l.put(append(l.rowsOf(acme, "2026-03-02", 400, maria, 9), l.rowsOf(zeta, "2026-03-02", 100, paulo, 4)...)...)
	l.put(l.rowsOf(acme, "2026-03-02", 300, paulo, 3)...)
	l.put(l.rowsOf(acme, "2026-03-03", 300, maria, 2)...)
	// Declined without a customer, by one of their cards; and one under another's name.
	some := l.rowsOf(acme, "2026-03-04", 100, maria, 2)
	some[0].CustomerID, some[0].AccountID = "", ""
	some[1].CustomerID, some[1].AccountID = "cu-another", "ac-another"
	l.put(some...)
	return l
}

// checkErased compares rows of before and after an erasure of maria's 12 rows.
func checkErased(t *testing.T, before, after map[string]row) {
	t.Helper()
	if sums(before) != sums(after) {
		t.Error("sums and counts are not as before")
	}
	theirs := 0
	tokens := map[string]map[string]bool{}
	for id, b := range before {
		a := after[id]
		isTheirs := b["tenant"] == string(acme) && (b["customer_id"] == maria || b["customer_id"] == "(null)" && slices.Contains(tokensOf(maria), b["card_token"]))
		for _, column := range slices.Sorted(maps.Keys(b)) {
			switch {
			case !isTheirs || !slices.Contains(namings, column):
				if a[column] != b[column] {
					t.Errorf("row %s: %s is %q, was %q", id, column, a[column], b[column])
				}
			case column == "card_token":
				if len(a[column]) != len(b[column]) || !strings.HasPrefix(a[column], "tk3_") || strings.Trim(a[column][4:], "abcdefghijklmnop") != "" {
					t.Errorf("row %s has the token %q, want one of the form of %q", id, a[column], b[column])
				}
				if tokens[b[column]] == nil {
					tokens[b[column]] = map[string]bool{}
				}
				tokens[b[column]][a[column]] = true
			case a[column] != "(null)":
				t.Errorf("row %s: %s is %q, want none", id, column, a[column])
			}
		}
		if isTheirs {
			theirs++
		}
	}
	if theirs != 12 {
		t.Errorf("%d rows are theirs, want 12", theirs)
	}
	for old, fresh := range tokens {
		if len(fresh) != 1 {
			t.Errorf("token %s has %d successors, want one", old, len(fresh))
		}
	}
}

func TestErase(t *testing.T) {
	for name, cfg := range map[string]parquet.Config{
		"no filters": {}, "filters": {BloomRows: 1}, "several row groups": {BloomRows: 1, RowGroupRows: 64}, "plain": {PlainEncodings: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := peopled(t, cfg)
			before := l.rows()
			if where := l.find(maria); len(where) == 0 {
				t.Fatal("the search does not find who is there")
			}
			positions, err := l.table(cardlake.Transactions).Positions(t.Context())
			l.check(err)

			dry, err := l.keeper().Erase(t.Context(), acme, maria, true)
			l.check(err)
			if diff := cmp.Diff(before, l.rows()); diff != "" {
				t.Error("a dry run changes rows")
			}
			e, err := l.keeper().Erase(t.Context(), acme, maria, false)
			l.check(err)
			if e.Rows != 12 || e.Files != 3 || e.Others != 1 || dry.Rows != e.Rows || dry.Files != e.Files || !slices.Equal(e.Cards, tokensOf(maria)) {
				t.Errorf("erased %+v, the dry run said %+v", e, dry)
			}
			checkErased(t, before, l.rows())
			if where := l.find(maria); where != nil {
				t.Errorf("the customer is still in %v", where)
			}
			// One token stays under another customer's name.
			if where := l.find(tokensOf(maria)[0]); where != nil {
				t.Errorf("a token is still in %v", where)
			}
			if where := l.find(tokensOf(maria)[1]); len(where) != 1 {
				t.Errorf("the token of two holders is in %v", where)
			}
			if got, err := l.table(cardlake.Transactions).Positions(t.Context()); err != nil || !maps.Equal(got, positions) {
				t.Errorf("positions %v, %v, were %v", got, err, positions)
			}
			for _, line := range l.lines.all {
				for _, text := range append(tokensOf(maria), maria) {
					if strings.Contains(cmp.Diff(line, nil), text) {
						t.Errorf("the audit log names them: %+v", line)
					}
				}
			}
			if want := []string{"erase.look allowed", "erase.look.done allowed", "erase allowed", "erase.done allowed"}; !slices.Equal(l.lines.actions(), want) {
				t.Errorf("recorded %v, want %v", l.lines.actions(), want)
			}
			again, err := l.keeper().Erase(t.Context(), acme, maria, false)
			if err != nil || again.Rows != 0 || again.Files != 0 {
				t.Errorf("the second time: %+v, %v", again, err)
			}
		})
	}
}

// TestEraseComesAgain erases rows that arrive after their customer was erased.
func TestEraseComesAgain(t *testing.T) {
	l := peopled(t, parquet.Config{})
	unknownCard := "tk3_" + strings.Repeat("k", 32)
	unknown := l.rowsOf(acme, "2026-03-01", 10, maria, 1) // declined, by a card of which nobody knows whose it is
	unknown[0].CustomerID, unknown[0].AccountID, unknown[0].CardToken = "", "", unknownCard
	l.put(unknown...)
	_, err := l.keeper().Erase(t.Context(), acme, maria, false)
	l.check(err)
	if again, err := l.keeper().Reapply(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("nothing came, and %+v, %v", again, err)
	}
	late := l.rowsOf(acme, "2026-03-05", 50, maria, 3)
	late[0].CustomerID, late[0].AccountID = "", "" // by a card that is remembered, and by it alone
	late[1].CardToken = unknownCard
	late[2].CardToken = tokensOf(maria)[1]
	l.put(late...)
	l.put(l.rowsOf(zeta, "2026-03-05", 20, maria, 5)...) // another tenant's customer of the same name
	again, err := l.keeper().Reapply(t.Context())
	if err != nil || len(again) != 1 || again[0].Rows != 4 {
		t.Fatalf("%+v, %v, want 4 rows", again, err)
	}
	if where := l.find(unknownCard, tokensOf(maria)[0]); len(where) != 1 { // zeta's file
		t.Errorf("a card is still in %v", where)
	}
	for _, r := range l.rows() {
		if r["customer_id"] == maria && r["tenant"] != string(zeta) {
			t.Error("a late row names the customer")
		}
	}
	// What was gone through is not gone through again.
	l.put(l.rowsOf(acme, "2026-03-06", 10, paulo, 1)...)
	if again, err := l.keeper().Reapply(t.Context()); err != nil || len(again) != 1 || again[0].Looked != 1 || again[0].Rows != 0 {
		t.Errorf("one new file: %+v, %v", again, err)
	}
	// It ends when no row of before can be there any more.
	l.cfg.Now = func() time.Time { return time.Now().AddDate(0, 0, 730+7+2) }
	l.put(l.rowsOf(acme, "2026-03-07", 10, maria, 1)...)
	if again, err := l.keeper().Reapply(t.Context()); err != nil || len(again) != 0 {
		t.Errorf("after its time: %+v, %v", again, err)
	}
	for info, err := range l.store.List(t.Context(), "retention/") {
		l.check(err)
		if strings.Contains(info.Name, "/erased/") || strings.Contains(info.Name, "/done/") {
			t.Errorf("%s is remembered", info.Name)
		}
	}
}

// crash is a table that kills who works on it at a step, once: it panics, so that nobody
// tidies up.
type crash struct {
	Table
	at *string
}

var errCrash = errors.New("killed")

func (c crash) step(name string) {
	if *c.at == name {
		*c.at = ""
		panic(errCrash)
	}
}

// killed reports whether do was killed.
func killed(do func()) (was bool) {
	defer func() {
		if r := recover(); r != nil {
			if was = r == errCrash; !was {
				panic(r)
			}
		}
	}()
	do()
	return false
}

func (c crash) Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error) {
	c.step("before replace")
	s, err := c.Table.Replace(ctx, r)
	c.step("after replace")
	return s, err
}

func (c crash) Forget(ctx context.Context, names []string) (int, error) {
	c.step("before forget")
	n, err := c.Table.Forget(ctx, names)
	c.step("after forget")
	return n, err
}

var steps = []string{"before replace", "after replace", "before forget", "after forget"}

// TestEraseAfterACrash kills an erasure at each step; the same command, and the next pass
// alone, finish it.
func TestEraseAfterACrash(t *testing.T) {
	for _, at := range steps {
		for _, by := range []string{"erase", "reapply"} {
			t.Run(at+", "+by, func(t *testing.T) {
				l := peopled(t, parquet.Config{})
				before := l.rows()
				step := at
				l.wrap = func(t Table) Table { return crash{t, &step} }
				if !killed(func() { _, _ = l.keeper().Erase(t.Context(), acme, maria, false) }) {
					t.Fatal("nothing is killed")
				}
				// Later, so that files which were put and not committed are left behind.
				l.cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
				var err error
				if by == "erase" {
					_, err = l.keeper().Erase(t.Context(), acme, maria, false)
				} else {
					_, err = l.keeper().Reapply(t.Context())
				}
				l.check(err)
				checkErased(t, before, l.rows())
				if where := l.find(maria); where != nil {
					t.Errorf("the customer is still in %v", where)
				}
			})
		}
	}
}

// TestReapplyAfterACrash kills a pass between its commit and the removal of what it replaced.
func TestReapplyAfterACrash(t *testing.T) {
	for _, at := range steps {
		t.Run(at, func(t *testing.T) {
			l := peopled(t, parquet.Config{})
			_, err := l.keeper().Erase(t.Context(), acme, maria, false)
			l.check(err)
			l.put(l.rowsOf(acme, "2026-03-05", 50, maria, 3)...)
			step := at
			l.wrap = func(t Table) Table { return crash{t, &step} }
			if !killed(func() { _, _ = l.keeper().Reapply(t.Context()) }) {
				t.Fatal("nothing is killed")
			}
			l.cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
			_, err = l.keeper().Reapply(t.Context())
			l.check(err)
			if where := l.find(maria); where != nil {
				t.Errorf("the customer is still in %v", where)
			}
		})
	}
}

// careless is a table whose older snapshots nobody expires.
type careless struct{ Table }

func (c careless) Named(context.Context) ([]string, error)       { return nil, nil }
func (c careless) Forget(context.Context, []string) (int, error) { return 0, nil }

// TestSearchFindsAnOldSnapshot proves that the search finds what an erasure would leave that
// does not expire snapshots.
func TestSearchFindsAnOldSnapshot(t *testing.T) {
	l := peopled(t, parquet.Config{})
	l.wrap = func(t Table) Table { return careless{t} }
	_, err := l.keeper().Erase(t.Context(), acme, maria, false)
	l.check(err)
	if where := l.find(maria); len(where) == 0 {
		t.Error("the search finds nothing in files of older snapshots")
	}
}

// moving is a table of which another replaces the files first.
type moving struct {
	Table
	l     *lake
	times *int
}

func (m moving) Replace(ctx context.Context, r catalog.Replace) (catalog.Snapshot, error) {
	if *m.times > 0 {
		*m.times--
		m.l.again()
		return m.Table.Replace(ctx, r)
	}
	return m.Table.Replace(ctx, r)
}

// again replaces every live file of transactions by a copy, as compaction would.
func (l *lake) again() {
	l.t.Helper()
	change := catalog.Replace{Operation: catalog.OpReplace}
	for _, f := range l.live(cardlake.Transactions) {
		body, err := objects.ReadAll(l.t.Context(), l.store, f.Name)
		l.check(err)
		r, err := l.tenants.Lookup(f.Tenant)
		l.check(err)
		change.Remove = append(change.Remove, f.Name)
		f.Name = strings.TrimSuffix(f.Name, ".parquet") + "x.parquet"
		l.check(l.store.Put(l.t.Context(), f.Name, owner(r), body))
		change.Add = append(change.Add, f)
	}
	_, err := l.table(cardlake.Transactions).Replace(l.t.Context(), change)
	l.check(err)
}

// TestEraseBesideCompaction erases while the files are replaced under it.
func TestEraseBesideCompaction(t *testing.T) {
	l := peopled(t, parquet.Config{})
	before := l.rows()
	times := 3
	l.wrap = func(t Table) Table { return moving{t, l, &times} }
	l.cfg.Batch = 1
	_, err := l.keeper().Erase(t.Context(), acme, maria, false)
	l.check(err)
	if times != 0 {
		t.Error("nothing moved")
	}
	checkErased(t, before, l.rows())
	if where := l.find(maria); where != nil {
		t.Errorf("the customer is still in %v", where)
	}
	left := 0
	for _, err := range l.store.List(t.Context(), "data/transactions/") {
		l.check(err)
		left++
	}
	if live := len(l.live(cardlake.Transactions)); left-live > 1 { // zeta's, whose rows are nobody's concern
		t.Errorf("%d objects are left for %d files", left, live)
	}
	// An unknown tenant, one that left, and no customer.
	for tenant, customer := range map[cardlake.Tenant]string{"other": maria, acme: "", zeta: strings.Repeat("x", 1000)} {
		if _, err := l.keeper().Erase(t.Context(), tenant, customer, false); err == nil {
			t.Errorf("tenant %s is erased", tenant)
		}
	}
}

// TestEraseUnrecorded erases nothing if it cannot be recorded.
func TestEraseUnrecorded(t *testing.T) {
	l := peopled(t, parquet.Config{})
	before := l.rows()
	l.lines.fail = errors.New("the disk is full")
	if _, err := l.keeper().Erase(t.Context(), acme, maria, false); !errors.Is(err, l.lines.fail) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(before, l.rows()); diff != "" {
		t.Error("rows changed")
	}
}
