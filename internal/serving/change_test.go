package serving

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/home"
)

// recorded are records in memory.
type recorded []audit.Record

func (k *recorded) Append(_ context.Context, r audit.Record) error {
	*k = append(*k, r)
	return nil
}

// TestAChangeOfTheGrantsIsOnRecord: from which set to which.
func TestAChangeOfTheGrantsIsOnRecord(t *testing.T) {
	dir := home.Dir(t.TempDir())
	makeGrants(t, dir)
	o := Options{Grants: dir.Grants(), Tenants: dir.Tenants(), Development: true}
	var record recorded
	permits, err := o.permits(slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry(), &record)
	if err != nil {
		t.Fatal(err)
	}
	before := permits.Set().Version()
	more := `@id("more") forbid (principal, action == Lake::Action::"export", resource);`
	if err := os.WriteFile(filepath.Join(dir.Grants(), "policies", "more.cedar"), []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := permits.Reload(); err != nil {
		t.Fatal(err)
	}
	if len(record) != 1 || record[0].Action != "grants.change" || record[0].Detail["before"] != before || record[0].Detail["version"] != permits.Set().Version() {
		t.Errorf("%+v", record)
	}
}
