// Package readers holds a proof only: readers that share no code with cardlake, or with each
// other, find the same rows in a lake that real workers wrote to S3 as cardlake query does.
package readers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/postgrestest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// answers are those of one reader, by the question's name.
type answers map[string][][]string

// TestIndependentReadersAgree lets a worker fill a lake, asks every reader, lets another
// worker add to it, and asks again: what changed, every reader must have seen.
func TestIndependentReadersAgree(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if os.Getenv("CARDLAKE_REAL") != "1" || python == "" {
		t.Skip("CARDLAKE_REAL is not 1, or CARDLAKE_PYTHON names no Python with pyarrow and pyiceberg")
	}
	bin := binaries(t)
	t.Run("SQLite", func(t *testing.T) {
		s := newSite(t, bin, "")
		s.check(python, "sqlite:///"+s.dir.Catalog())
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := postgrestest.Start(t)
		schema := server.Schema(t)
		s := newSite(t, bin, server.URL(schema))
		s.check(python, fmt.Sprintf("postgresql+psycopg2://cardlake@/postgres?host=%s&port=5432&options=-csearch_path%%3D%s", server.Dir, schema))
	})
}

// check is the test, of a lake whose catalog SQLAlchemy finds at the URL.
func (s *site) check(python, catalogURL string) {
	s.t.Helper()
	s.permit()
	asked := questions(s.noon.UnixMicro())
	var before answers
	for _, events := range []int{1200, 700} {
		for range 2 { // of which the second goes on where the first has ended
			s.produce(events / 2)
			s.work()
		}
		ours := s.query(asked)
		if got, want := ours["all"][0][0], fmt.Sprint(s.events); got != want {
			s.t.Errorf("cardlake query counts %s events of %s", got, want)
		}
		if got := count(ours["rejected"], 2); got != s.spoiled {
			s.t.Errorf("cardlake query counts %d rejected records of %d", got, s.spoiled)
		}
		if got := count(ours["totals"], 3); got != s.totals {
			s.t.Errorf("cardlake query counts %d control totals of %d", got, s.totals)
		}
		others := s.readers(python, catalogURL, asked)
		others["parquet-go"] = s.parquetGo(asked)
		for _, reader := range slices.Sorted(maps.Keys(others)) {
			for _, name := range slices.Sorted(maps.Keys(asked)) {
				if diff := cmp.Diff(ours[name], others[reader][name]); diff != "" {
					s.t.Errorf("%s: %s differs from cardlake query (-query +%s):\n%s", name, reader, reader, diff)
				}
				if before != nil && cmp.Equal(before[name], others[reader][name]) {
					s.t.Errorf("%s: %s finds nothing of what was added", name, reader)
				}
			}
		}
		before = ours
	}
	s.t.Logf("%d events, %d rejected records and %d control totals are the same for all", s.events, s.spoiled, s.totals)
}

// permit makes the grants under which operators query everything, and the audit log's key.
func (s *site) permit() {
	s.t.Helper()
	lakeKeys, err := local.CreateFile(s.dir.LakeKeyring(), s.dir.LakeSecret(), keys.LakePurposes)
	if err == nil {
		err = lakeKeys.EnsureOwners(s.t.Context(), keys.Lake)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	register, err := catalog.OpenTenants(s.dir.Tenants())
	if err == nil {
		err = grants.Init(s.dir.Grants(), register)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir.Grants(), "policies", "readers.cedar"), []byte(`@id("readers.query")
@description("The readers' test compares all columns.")
permit (principal in Lake::Persona::"operator", action == Lake::Action::"query", resource is Lake::Slice);
`), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// count adds a column of an answer.
func count(rows [][]string, column int) (n int) {
	for _, row := range rows {
		var one int
		fmt.Sscan(row[column], &one)
		n += one
	}
	return n
}

// query asks cardlake query.
func (s *site) query(asked map[string]question) answers {
	s.t.Helper()
	out := answers{}
	for name, q := range asked {
		cmd := exec.CommandContext(s.t.Context(), filepath.Join(s.bin, "cardlake"), slices.Concat([]string{"query", "-as", "operator/local", "-format", "json"}, s.flags, []string{q.sql()})...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", q.sql(), err, stderr.String())
		}
		var rows []map[string]string
		if err := json.Unmarshal(text, &rows); err != nil {
			s.t.Fatalf("%s: %v\n%s", q.sql(), err, text)
		}
		for _, row := range rows {
			var values []string
			for _, column := range slices.Sorted(maps.Keys(row)) {
				values = append(values, row[column])
			}
			out[name] = append(out[name], values)
		}
		slices.SortFunc(out[name], compareRows)
	}
	return out
}

// readers asks those of Python.
func (s *site) readers(python, catalogURL string, asked map[string]question) map[string]answers {
	s.t.Helper()
	in, err := json.Marshal(map[string]any{
		"catalog": catalogURL, "location": s.bucket + "/" + prefix, "endpoint": s.endpoint, "region": s3test.Region, "ca": s.ca, "questions": asked,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), python, filepath.Join(s.source, "testdata", "read.py"))
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	text, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, stderr.String())
	}
	var out map[string]answers
	if err := json.Unmarshal(text, &out); err != nil {
		s.t.Fatalf("%v\n%s", err, text)
	}
	for _, a := range out {
		for _, rows := range a {
			slices.SortFunc(rows, compareRows)
		}
	}
	return out
}

// parquetGo reads every file of the newest snapshots with parquet-go.
func (s *site) parquetGo(asked map[string]question) answers {
	s.t.Helper()
	l, err := s.open(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	rows := map[string][]map[string]parquet.Value{}
	for _, def := range cardlake.Tables {
		table, err := l.Table(s.t.Context(), def)
		if errors.Is(err, iceberg.ErrNoTable) {
			continue // nobody has written to it
		}
		if err != nil {
			s.t.Fatal(err)
		}
		files, err := table.Files(s.t.Context(), 0)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range files {
			body, err := objects.ReadAll(s.t.Context(), l.Store, f.Name)
			if err != nil {
				s.t.Fatal(err)
			}
			in, err := readParquetGo(body)
			if err != nil || int64(len(in)) != f.Rows {
				s.t.Errorf("parquet-go finds %d rows of %d in %s: %v", len(in), f.Rows, f.Name, err)
			}
			rows[def.Name] = append(rows[def.Name], in...)
		}
	}
	out := answers{}
	for name, q := range asked {
		out[name] = q.answer(rows[q.Table])
	}
	return out
}
