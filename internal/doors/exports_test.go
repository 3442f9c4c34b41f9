package doors_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// exports is the door of files: the answer to a statement, asked for, written, sealed, downloaded.
// Its answers are of one tenant, and its action is grants.Export.
func (w *world) exports(tb testing.TB, tenant cardlake.Tenant) door {
	tb.Helper()
	parser := embedded.NewParser()
	tb.Cleanup(func() { parser.Close() })
	engine := embedded.New(w.lake, w.lake, embedded.Config{Threads: 1})
	keyring := objectstest.NewKeys()
	s, err := export.Open(context.Background(), tb.TempDir(), export.Deps{
		Gateway: func(p queries.Permits) *queries.Gateway {
			return queries.New(parser, engine, p, w.log, queries.Config{MaxRows: -1, Views: views.All})
		},
		Permits: w.grants, Rulings: w.grants, Recorder: w.log, Planner: w.lake, Lake: w.lake,
		Files: objects.NewSealed(tb.TempDir(), keyring, objects.SealedConfig{}), Tenants: registered{}, Keys: keyring,
	}, export.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return door{
		name: "export of " + string(tenant), format: render.CSV, isSlow: true,
		ask: func(p grants.Principal, sql string) answer {
			j, _, err := s.Start(context.Background(), caller(p), export.Request{Tenant: tenant, SQL: sql, Format: export.CSV, RawText: true})
			if err == nil {
				j, err = s.RunOne(context.Background(), j.ID, nil)
			}
			if err != nil {
				return answer{refusal: err.Error()}
			}
			if j.State != export.Done {
				return answer{refusal: j.Error}
			}
			read := func(number int) string {
				f, err := s.Open(context.Background(), caller(p), j.ID, number, 0)
				if err != nil {
					return err.Error()
				}
				defer f.Close()
				var b bytes.Buffer
				_, _ = io.Copy(&b, io.NewSectionReader(f, 0, f.Size()))
				return b.String()
			}
			return answer{rows: read(1), aside: read(0)} // the manifest names snapshot ids and digests: leave those out when comparing
		},
	}
}

// registered is the register of the world's tenants.
type registered struct{}

func (registered) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	for _, r := range register() {
		if r.Name == name {
			return r, nil
		}
	}
	return catalog.TenantRecord{}, catalog.ErrNoTenant
}

// exportsFiles are the kinds whose policies are for more actions than to query, with export among
// them.
var exportsFiles = []grants.Kind{grants.ETLJob, grants.TenantAnalyst, grants.TenantService}

// of is the part of what is expected that is the tenant's.
func (e expected) of(p grants.Principal, table *cardlake.Table, tenant cardlake.Tenant) expected {
	out := expected{tenants: []cardlake.Tenant{tenant}}
	for i, c := range e.columns {
		if given(p, table, c, tenant) == grants.Dropped {
			continue
		}
		out.columns = append(out.columns, c)
		at := 0
		for _, row := range e.rows[max(0, slices.Index(e.tenants, tenant))*committedRows:][:committedRows] {
			if len(out.rows) == at {
				out.rows = append(out.rows, nil)
			}
			out.rows[at] = append(out.rows[at], row[i])
			at++
		}
	}
	return out
}

// TestExports takes every table away as every principal, for every tenant, and wants exactly
// what is given of that one.
func TestExports(t *testing.T) {
	w := newWorld(t)
	for _, tenant := range append(slices.Clone(tenants), "nemo") {
		d := w.exports(t, tenant)
		for _, p := range principals() {
			for _, table := range []*cardlake.Table{cardlake.Transactions, cardlake.ControlTotals, cardlake.Rejected} {
				who := fmt.Sprintf("%s, %s of %s", p, table.FullName(), tenant)
				e := expect(p, table, committedRows)
				a := d.ask(p, "SELECT * FROM "+table.FullName()+" ORDER BY "+order(table))
				checkBytes(t, who, p, a)
				isGiven := slices.Contains(exportsFiles, p.Kind) && table.ByTenant && slices.Contains(e.tenants, tenant)
				if !isGiven {
					if a.refusal == "" {
						t.Errorf("%s: exported although nothing is given:\n%.500s", who, a.rows)
					}
					continue
				}
				checkAnswer(t, who, d, a, e.of(p, table, tenant).answer())
				for _, other := range tenants {
					if other != tenant && (strings.Contains(a.aside, string(other)) && !strings.Contains(p.Name, string(other)) || strings.Contains(a.aside, tailPosition)) {
						t.Errorf("%s: the manifest tells of %s: %s", who, other, a.aside)
					}
				}
			}
		}
	}
}

// TestExportsTellNothingOfTenants: who may not export a tenant's rows is told the same of one
// that is there, one that is suspended and one that never was.
func TestExportsTellNothingOfTenants(t *testing.T) {
	w := newWorld(t)
	p := grants.Principal{Kind: grants.TenantAnalyst, Name: "analyst@" + string(aurora)}
	var first string
	for _, tenant := range []cardlake.Tenant{bolivar, duero, "nemo"} {
		a := w.exports(t, tenant).ask(p, "SELECT * FROM cards.transactions")
		if a.refusal == "" {
			t.Fatalf("rows of %s were exported", tenant)
		}
		if first == "" {
			first = a.refusal
		}
		if a.refusal != first {
			t.Errorf("%s is refused with %q, %s with %q", tenant, a.refusal, bolivar, first)
		}
	}
}
