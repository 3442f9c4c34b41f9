package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
)

// descriptors lists what this process has open, by the names the kernel gives it.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	var out []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			out = append(out, target)
		}
	}
	return out
}

func memoryFiles(t *testing.T) int {
	n := 0
	for _, d := range descriptors(t) {
		if strings.HasPrefix(d, "/memfd:cardlake") {
			n++
		}
	}
	return n
}

func TestMemoryFilesAreFreed(t *testing.T) {
	lake, g := fixture(t, 9, 50, queries.Config{})
	r, err := g.Query(t.Context(), queriestest.Caller, "SELECT count(*) FROM cards.transactions")
	if err != nil {
		t.Fatal(err)
	}
	if n := memoryFiles(t); n < 9 {
		t.Errorf("%d memory files while an answer is open, want 9", n)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"SELECT nope FROM cards.transactions",
		"SELECT CAST(merchant_name AS INTEGER) FROM cards.transactions",
	} {
		if _, err := g.Query(t.Context(), queriestest.Caller, sql); err == nil {
			t.Errorf("%s succeeded", sql)
		}
	}
	lake.Add(cardlake.Transactions, cardlake.DataFile{Name: "data/gone.parquet", Bytes: 10}, nil)
	if err := lake.Delete(t.Context(), "data/gone.parquet"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Query(t.Context(), queriestest.Caller, "SELECT count(*) FROM cards.transactions"); !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("a missing object gives %v", err)
	}
	if n := memoryFiles(t); n != 0 {
		t.Errorf("%d memory files are left", n)
	}
}

func TestOnlyNamedTablesAreRead(t *testing.T) {
	lake, g := fixture(t, 3, 10, queries.Config{})
	for sql, want := range map[string]int64{
		"SELECT 1": 0,
		"SELECT count(*) FROM cards.transactions_rejected":                                     0,
		"SELECT count(*) FROM cards.transactions":                                              3,
		"SELECT (SELECT count(*) FROM cards.transactions a JOIN cards.transactions b ON true)": 3,
	} {
		before := lake.Opened.Load()
		if _, err := answer(t.Context(), g.As(queriestest.Caller), sql); err != nil {
			t.Fatal(err)
		}
		if got := lake.Opened.Load() - before; got != want {
			t.Errorf("%s opened %d objects, want %d", sql, got, want)
		}
	}
}

func TestSnapshots(t *testing.T) {
	lake, g := fixture(t, 2, 10, queries.Config{})
	r, err := g.Query(t.Context(), queriestest.Caller, "SELECT count(*) FROM cards.transactions, cards.transactions_rejected")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	snapshot, files, err := lake.Plan(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	want := []queries.Snapshot{
		{Table: cardlake.Transactions, ID: snapshot.ID, CommittedAt: snapshot.CommittedAt, Files: 2, Bytes: files[0].Bytes + files[1].Bytes, Rows: 20},
		{Table: cardlake.Rejected},
	}
	if diff := cmp.Diff(want, r.Snapshots()); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
	if at, ok := r.AsOf(); !ok || !at.Equal(snapshot.CommittedAt) {
		t.Errorf("as of %v, %v", at, ok)
	}
}

// TestColumnsByID reads a file from before a column was renamed and another was added.
func TestColumnsByID(t *testing.T) {
	old := *cardlake.Rejected
	old.Columns = slices.Clone(old.Columns)
	old.Columns[1].Name = "cause"
	old.Columns = slices.Delete(old.Columns, 2, 3)
	body, err := queriestest.Parquet(&old, 2, func(c cardlake.Column, row int) any {
		switch c.Type {
		case cardlake.String:
			return c.Name
		case cardlake.Binary:
			return []byte{1}
		}
		return int64(row)
	})
	if err != nil {
		t.Fatal(err)
	}
	lake, g := fixture(t, 0, 0, queries.Config{})
	lake.Add(cardlake.Rejected, cardlake.DataFile{Name: "data/old.parquet", Rows: 2, Bytes: int64(len(body))}, body)
	got, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT reason, detail, stream, stream_offset FROM cards.transactions_rejected WHERE stream_offset = 1")
	if err != nil {
		t.Fatal(err)
	}
	const want = "reason utf8 | detail utf8 | stream utf8 | stream_offset int64\ncause | <nil> | stream | 1\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for sql, want := range map[string]string{
		"SELECT DISTINCT reason FROM cards.transactions_rejected": "reason utf8\ncause\n",
		"SELECT DISTINCT detail FROM cards.transactions_rejected": "detail utf8\n<nil>\n",
		"SELECT DISTINCT stream FROM cards.transactions_rejected": "stream utf8\nstream\n",
	} {
		if got, err := answer(t.Context(), g.As(queriestest.Caller), sql); got != want || err != nil {
			t.Errorf("%s: %q, error %v", sql, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	var names []string
	for _, table := range cardlake.Tables {
		names = append(names, table.FullName())
	}
	_, g := fixture(t, 1, 10, queries.Config{})
	for _, tc := range []struct{ name, sql, message, hint, at string }{
		{"column", "SELECT tenat FROM cards.transactions", `there is no column "tenat"`, "did you mean tenant?", "tenat"},
		{"no column near", "SELECT zzzzzzzz FROM cards.transactions", `there is no column "zzzzzzzz"`, "", "zzzzzzzz"},
		{"table", "SELECT 1 FROM cards.transaction", `there is no table "cards.transaction"`, "did you mean cards.transactions?", "cards.transaction"},
		{"namespace", "SELECT 1 FROM transactions", `there is no table "transactions"`, "did you mean cards.transactions?", "transactions"},
		{"file", "SELECT 1 FROM 'x.parquet'", `there is no table "x.parquet"`, "tables: " + strings.Join(names, ", "), "'x.parquet'"},
		{"function", "SELECT cuont(*) FROM cards.transactions", "function cuont does not exist or is not allowed", "did you mean count?", "cuont"},
		{"syntax", "SELECT 1 FORM cards.transactions", `syntax error at or near "cards"`, "", "cards"},
		{"group", "SELECT tenant, count(*) FROM cards.transactions", "column \"tenant\" must appear in the GROUP BY clause or must be part of an aggregate function.\nEither add it to the GROUP BY list, or use \"ANY_VALUE(tenant)\" if the exact value of \"tenant\" is not important.", "", "tenant"},
		{"value", "SELECT 1, CAST(merchant_name AS INTEGER) FROM cards.transactions", "a value does not suit the statement (conversion error)", "TRY_CAST and TRY give NULL instead of an error", "CAST"},
		{"type", "SELECT 1::UHUGEINT", "type UHUGEINT does not exist or is not allowed", "", ""},
		{"result type", "SELECT factorial(30)::HUGEINT + 170141183460469231731687303715884105000", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := answer(t.Context(), g.As(queriestest.Caller), tc.sql)
			var fault *queries.Error
			if !errors.As(err, &fault) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if tc.message == "" {
				return
			}
			offset := -1
			if tc.at != "" {
				offset = strings.Index(tc.sql, tc.at)
			}
			want := &queries.Error{Message: tc.message, Hint: tc.hint, Offset: offset}
			if diff := cmp.Diff(want, fault); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestErrorsHoldNoData provokes failures on rows and looks for the rows in the text.
func TestErrorsHoldNoData(t *testing.T) {
	_, g := fixture(t, 1, 10, queries.Config{})
	for _, expr := range []string{
		"CAST(merchant_name AS INTEGER)", "merchant_name::DATE", "merchant_name::DECIMAL(4,2)",
		"strptime(merchant_name, '%Y')", "CAST(amount * 1000000 AS SMALLINT)", "from_hex(merchant_name)",
		"make_date(2026, 13 + stream_partition, 1)", "date_part(merchant_name, event_time)", "chr(-1 - stream_partition)",
		"regexp_matches(merchant_name, merchant_name || '(')", "from_base64(merchant_name)", "date_trunc(merchant_name, event_time)",
		"CAST('SHOP' AS INTEGER)", "DATE 'SHOP'", // before any row is read
	} {
		_, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT "+expr+" FROM cards.transactions")
		if err == nil {
			t.Errorf("%s succeeded", expr)
		} else if strings.Contains(err.Error(), "SHOP") || strings.Contains(err.Error(), "0000") {
			t.Errorf("%s: the error quotes a row: %v", expr, err)
		}
	}
}

func TestLimits(t *testing.T) {
	lake, g := fixture(t, 2, 100, queries.Config{MaxRows: 150})
	t.Run("rows", func(t *testing.T) {
		r, err := g.Query(t.Context(), queriestest.Caller, "SELECT tenant FROM cards.transactions")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for row := make([]any, 1); err == nil; {
			err = r.Next(row)
		}
		if !errors.Is(err, queries.ErrTooManyRows) || r.Count() != 150 {
			t.Errorf("%d rows, error %v", r.Count(), err)
		}
		if _, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT tenant FROM cards.transactions LIMIT 150"); err != nil {
			t.Errorf("as many rows as are allowed: %v", err)
		}
	})
	const endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 7"
	t.Run("time", func(t *testing.T) {
		hasty := queries.New(embedded.NewParser(), embedded.New(lake, lake, embedded.Config{}), queriestest.Everything, &queriestest.Log{}, queries.Config{Timeout: 200 * time.Millisecond})
		if _, err := answer(t.Context(), hasty.As(queriestest.Caller), endless); !errors.Is(err, queries.ErrTimeout) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		patient := queries.New(embedded.NewParser(), embedded.New(lake, lake, embedded.Config{}), queriestest.Everything, &queriestest.Log{}, queries.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := answer(ctx, patient.As(queriestest.Caller), endless); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, queries.ErrTimeout) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		small := queries.New(embedded.NewParser(), embedded.New(lake, lake, embedded.Config{MaxBytes: 1000}), queriestest.Everything, &queriestest.Log{}, queries.Config{})
		before := lake.Opened.Load()
		if _, err := answer(t.Context(), small.As(queriestest.Caller), "SELECT count(*) FROM cards.transactions"); err == nil || lake.Opened.Load() != before {
			t.Errorf("error %v after %d objects were opened", err, lake.Opened.Load()-before)
		}
	})
}

// TestUncountedMemory: text and lists are not in DuckDB's own count of its memory.
func TestUncountedMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("the system does not tell how much memory is taken")
	}
	lake := queriestest.NewLake()
	s, _ := session(t, lake, lake, embedded.Config{Memory: 64 << 20}, queriestest.Everything)
	for _, sql := range []string{
		"SELECT count(*) FROM range(60000000) USING SAMPLE 60000000 ROWS",
		"WITH RECURSIVE t AS (SELECT 'a' s UNION ALL SELECT s||s FROM t WHERE length(s) < 400000000) SELECT max(length(s)) FROM t",
		"SELECT length(list_concat(l,l,l,l,l,l,l,l)) FROM (SELECT list(range) l FROM range(8000000))",
	} {
		_, err := answer(t.Context(), s, sql)
		var fault *queries.Error
		if !errors.As(err, &fault) || !strings.Contains(fault.Message, "64 MiB of memory") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if got := rowsText(t, s, "SELECT count(*) FROM range(1000)"); got != "1000" {
		t.Errorf("after that: %s", got)
	}
}

func TestWrongSize(t *testing.T) {
	lake, g := fixture(t, 0, 0, queries.Config{})
	file, body, err := queriestest.File(0, 10)
	if err != nil {
		t.Fatal(err)
	}
	file.Bytes--
	lake.Add(cardlake.Transactions, file, body)
	if _, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT count(*) FROM cards.transactions"); err == nil {
		t.Error("an object of another size than the catalog says was read")
	}
}

func TestGarbageIsNotRead(t *testing.T) {
	lake, g := fixture(t, 1, 10, queries.Config{})
	for _, body := range [][]byte{{}, []byte("PAR1"), bytes.Repeat([]byte("PAR1"), 1000)} {
		name := fmt.Sprintf("data/garbage%d.parquet", len(body))
		lake.Add(cardlake.Transactions, cardlake.DataFile{Name: name, Bytes: int64(len(body))}, body)
		if _, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT sum(amount) FROM cards.transactions"); err == nil {
			t.Errorf("an object of %d bytes of garbage was read", len(body))
		}
	}
}

func TestConcurrentStatements(t *testing.T) {
	_, g := fixture(t, 6, 200, queries.Config{})
	errs := make(chan error)
	for range 4 {
		go func() {
			got, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT count(*) AS n FROM cards.transactions")
			if err == nil && got != "n int64\n1200\n" {
				err = fmt.Errorf("got %s", got)
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestManyFiles(t *testing.T) {
	_, g := fixture(t, 600, 2, queries.Config{})
	got, err := answer(t.Context(), g.As(queriestest.Caller), "SELECT count(*) AS n, count(DISTINCT event_id) AS d FROM cards.transactions")
	if err != nil {
		t.Fatal(err)
	}
	if want := "n int64 | d int64\n1200 | 1200\n"; got != want {
		t.Errorf("got %s", got)
	}
	runtime.GC()
	if n := memoryFiles(t); n != 0 {
		t.Errorf("%d memory files are left", n)
	}
}
