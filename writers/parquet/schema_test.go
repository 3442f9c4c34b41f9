package parquet_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"
	pqgo "github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The schema of the files is fixed: what is in the lake cannot be changed.
func TestSchemaGolden(t *testing.T) {
	var got bytes.Buffer
	for _, def := range cardlake.Tables {
		fmt.Fprintf(&got, "%s\n", def.FullName())
		body := emptyFile(t, def)
		f, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range f.Metadata().Schema {
			fmt.Fprintf(&got, "  %s: id %d", e.Name, e.FieldID)
			if e.Type.Valid {
				fmt.Fprintf(&got, ", %s, %s", e.RepetitionType.V, e.Type.V)
			}
			if e.ConvertedType.Valid {
				fmt.Fprintf(&got, ", converted type %d", e.ConvertedType.V)
			}
			if e.Precision.Valid {
				fmt.Fprintf(&got, ", precision %d, scale %d", e.Precision.V, e.Scale.V)
			}
			if e.LogicalType.Value != nil {
				fmt.Fprintf(&got, ", %s", &e.LogicalType)
			}
			fmt.Fprintln(&got)
		}
	}
	const golden = "testdata/schema.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// emptyFile is a file of the table without rows.
func emptyFile(t *testing.T, def *cardlake.Table) []byte {
	t.Helper()
	schema := cardlake.ArrowSchema(def)
	var columns []arrow.Array
	for _, f := range schema.Fields() {
		columns = append(columns, arrayOf(f.Type, nil, false, nil))
	}
	rec := array.NewRecordBatch(schema, columns, 0)
	body, splits, err := parquet.NewEncoder(def, parquet.Config{}).Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if len(splits) != 0 {
		t.Errorf("%d row groups without rows", len(splits))
	}
	return body
}

// Readers take the application and its version from created_by to know of its mistakes.
func TestCreatedBy(t *testing.T) {
	body, _ := encode(t, parquet.Config{}, writerstest.New(1).Next())
	f, _ := readAll(t, body)
	form := regexp.MustCompile(`^cardlake version ` + regexp.QuoteMeta(cardlake.Version) + ` \(build [0-9a-z.-]+\)$`)
	if by := f.Metadata().CreatedBy; !form.MatchString(by) {
		t.Errorf("created by %q", by)
	}
}
