package iceberg

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"testing"

	iceberg "github.com/apache/iceberg-go"
	sqlcatalog "github.com/apache/iceberg-go/catalog/sql"
	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/cardlake/cardlake"
)

// TestJDBCLayout opens the catalog with iceberg-go's SQL catalog, which knows nothing of
// this package, and plans a scan of a tenant's day.
func TestJDBCLayout(t *testing.T) {
	tbl, _, _ := newTable(t, cardlake.Transactions)
	checkJDBC(t, tbl, sqlcatalog.SQLite)
}

func checkJDBC(t *testing.T, tbl *Table, dialect sqlcatalog.SupportedDialect) {
	t.Helper()
	var last string
	for n := range 20 {
		last = strconv.FormatInt(mustAppend(t, tbl, window(n, 3)).ID, 10)
	}

	icebergio.Register("cardlake", func(ctx context.Context, _ *url.URL, _ map[string]string) (icebergio.IO, error) {
		return foreign{ctx, tbl}, nil
	})
	defer icebergio.Unregister("cardlake")
	other, err := sqlcatalog.NewCatalog(catalogName, sqlDB(tbl), dialect, iceberg.Properties{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for ident, err := range other.ListTables(t.Context(), []string{"cards"}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, ident...)
	}
	if !slices.Equal(names, []string{"cards", "transactions"}) {
		t.Errorf("it lists %v", names)
	}
	theirs, err := other.LoadTable(t.Context(), []string{"cards", "transactions"})
	if err != nil {
		t.Fatal(err)
	}
	if id := strconv.FormatInt(theirs.CurrentSnapshot().SnapshotID, 10); id != last {
		t.Errorf("its snapshot is %s, want %s", id, last)
	}
	for filter, want := range map[iceberg.BooleanExpression]int{
		iceberg.EqualTo(iceberg.Reference("tenant"), "tenant-1"):                        20,
		iceberg.LessThan(iceberg.Reference("event_time"), iceberg.Timestamp(noon)):      0,
		iceberg.LessThan(iceberg.Reference("event_time"), iceberg.Timestamp(noon+1e6)):  3,
		iceberg.GreaterThan(iceberg.Reference("event_time"), iceberg.Timestamp(noon+4)): 60,
	} {
		tasks, err := theirs.Scan(table.WithRowFilter(filter)).PlanFiles(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(tasks) != want {
			t.Errorf("a scan where %s has %d files, want %d", filter, len(tasks), want)
		}
	}
}
