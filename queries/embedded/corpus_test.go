package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixture is a small lake and a gateway to it.
func fixture(t testing.TB, files, rows int, cfg queries.Config) (*queriestest.Lake, *queries.Gateway) {
	t.Helper()
	lake := queriestest.NewLake()
	if err := lake.Fill(files, rows); err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	return lake, queries.New(parser, embedded.New(lake, lake, embedded.Config{Threads: 2}), queriestest.Everything, &queriestest.Log{}, cfg)
}

// statements reads a corpus: a statement a line, comments aside.
func statements(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); line != "" && !strings.HasPrefix(line, "-- ") {
			out = append(out, line)
		}
	}
	return out
}

// whole is a read of all of the table.
func whole(t *cardlake.Table) queries.Read {
	return queries.Read{Table: t, Decision: queriestest.Everything(queriestest.Caller, grants.Query, t)}
}

// answer renders a result as text.
func answer(ctx context.Context, s queries.Session, sql string) (_ string, err error) {
	r, err := s.Query(ctx, sql)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var b strings.Builder
	for i, c := range r.Columns() {
		if i > 0 {
			b.WriteString(" | ")
		}
		fmt.Fprintf(&b, "%s %s", c.Name, c.Type)
	}
	b.WriteByte('\n')
	row := make([]any, len(r.Columns()))
	for {
		err := r.Next(row)
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		for i, v := range row {
			if i > 0 {
				b.WriteString(" | ")
			}
			fmt.Fprint(&b, v)
		}
		b.WriteByte('\n')
	}
}

func TestRefused(t *testing.T) {
	lake, g := fixture(t, 1, 10, queries.Config{})
	corpus := statements(t, "testdata/refused.sql")
	corpus = append(corpus,
		"SELECT 1 -- ;\n; SELECT 2",
		"SELECT 1;\n\nDROP VIEW cards.transactions",
		"SELECT 1\x00; DROP VIEW cards.transactions",
		"SELECT '\xff'",
		"", " \n\t", ";", "-- nothing", "SELECT", "SELEC 1",
		"SELECT "+strings.Repeat("(", 30_000)+"1"+strings.Repeat(")", 30_000),
		"SELECT 1"+strings.Repeat("+1", 30_000),
		"SELECT '"+strings.Repeat("a", 70_000)+"'",
		"SELECT "+strings.Repeat("*, ", 64)+"* FROM cards.transactions",
		"SELECT concat("+strings.Repeat("'', ", 4096)+"'')",
	)
	for _, sql := range corpus {
		// Check, not Query: the engine must not be what refuses it.
		_, err := g.Check(t.Context(), sql)
		var fault *queries.Error
		if !errors.As(err, &fault) {
			t.Errorf("not refused by the check: %.200s\nerror: %v", sql, err)
		}
		if r, err := g.Query(t.Context(), queriestest.Caller, sql); err == nil {
			r.Close()
			t.Errorf("answered: %.200s", sql)
		}
	}
	if n := lake.Opened.Load(); n != 0 {
		t.Errorf("%d objects were decrypted for refused statements", n)
	}
}

func TestAllowed(t *testing.T) {
	_, g := fixture(t, 6, 100, queries.Config{})
	var out strings.Builder
	for _, sql := range statements(t, "testdata/allowed.sql") {
		got, err := answer(t.Context(), g.As(queriestest.Caller), sql)
		if err != nil {
			t.Errorf("%s\n%v", sql, err)
			continue
		}
		fmt.Fprintf(&out, "%s\n%s\n", sql, got)
	}
	const golden = "testdata/allowed.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("answers changed (-want +got); -update rewrites them:\n%s", diff)
	}
}

// TestLocked runs attacks past the check: the instance itself must refuse what touches files,
// settings or the network.
func TestLocked(t *testing.T) {
	lake := queriestest.NewLake()
	if err := lake.Fill(1, 10); err != nil {
		t.Fatal(err)
	}
	secret := t.TempDir() + "/secret.csv"
	if err := os.WriteFile(secret, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	engine := embedded.New(lake, lake, embedded.Config{})
	for _, sql := range []string{
		"SELECT * FROM read_csv('" + secret + "')",
		"SELECT * FROM read_text('" + secret + "')",
		"SELECT * FROM read_blob('" + secret + "')",
		"SELECT * FROM '" + secret + "'",
		"SELECT * FROM glob('" + secret + "')",
		"SELECT * FROM sniff_csv('" + secret + "')",
		"SELECT * FROM read_text('/proc/self/environ')",
		"SELECT * FROM read_parquet('https://example.com/x.parquet')",
		"COPY (SELECT 1) TO '" + secret + ".out'",
		"EXPORT DATABASE '" + secret + ".out'",
		"ATTACH '" + secret + ".db' AS other",
		"SET enable_external_access=true",
		"SET lock_configuration=false",
		"RESET lock_configuration",
		"SET allowed_paths=['" + secret + "']",
		"SET allowed_directories=['/']",
		"SET temp_directory='/tmp'",
		"SET memory_limit='100GB'",
		"SET threads=64",
		"PRAGMA memory_limit='100GB'",
		"INSTALL httpfs", "LOAD httpfs", "LOAD '" + secret + "'",
		"CREATE PERSISTENT SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')",
		"PRAGMA enable_profiling='json'; PRAGMA profiling_output='" + secret + ".out'; SELECT 1",
	} {
		rows, err := engine.Query(t.Context(), queries.Statement{SQL: sql, Reads: []queries.Read{whole(cardlake.Transactions)}})
		if err == nil {
			rows.Close()
			t.Errorf("the locked instance ran %s", sql)
		}
	}
	if _, err := os.Stat(secret + ".out"); err == nil {
		t.Error("a file was written")
	}
}

func FuzzCheck(f *testing.F) {
	for _, path := range []string{"testdata/refused.sql", "testdata/allowed.sql"} {
		for _, sql := range statements(f, path) {
			f.Add(sql)
		}
	}
	parser := embedded.NewParser()
	defer parser.Close()
	lake := queriestest.NewLake()
	engine := embedded.New(lake, lake, embedded.Config{Threads: 1})
	g := queries.New(parser, engine, queriestest.Everything, &queriestest.Log{}, queries.Config{})
	forbidden := []string{"read_text", "read_csv", "read_parquet", "glob", "getenv", "current_setting"}
	f.Fuzz(func(t *testing.T, sql string) {
		s, err := g.Check(t.Context(), sql)
		if err != nil {
			return
		}
		for _, r := range s.Reads {
			if table := r.Table; !slices.Contains(cardlake.Tables, table) {
				t.Errorf("table %s was allowed", table.FullName())
			}
		}
		tree, err := parser.Parse(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range forbidden {
			if strings.Contains(strings.ToLower(string(tree)), `"function_name":"`+name+`"`) {
				t.Errorf("%s was allowed in %q", name, sql)
			}
		}
	})
}
