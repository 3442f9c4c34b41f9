package retention

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
)

const goodPolicy = `{
	"version": 1,
	"tables": {
		"cards.transactions": {"days": 365, "tenants": {"acme": 90}},
		"cards.transactions_rejected": {"days": 14},
		"audit.events": {"days": 366}
	},
	"stream_days": 3,
	"holds": [{"id": "hold-a", "tenant": "acme", "person": "pabcdefghijklmnopabcdefghijklmnop", "case": "17/2026", "why": "court order", "by": "operator/ana", "at": "2026-03-01T00:00:00Z"}]
}`

func TestParsePolicy(t *testing.T) {
	p, err := ParsePolicy([]byte(goodPolicy))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		table  *cardlake.Table
		tenant cardlake.Tenant
		want   int
	}{
		{cardlake.Transactions, acme, 90}, {cardlake.Transactions, zeta, 365},
		{cardlake.ControlTotals, acme, 90}, {cardlake.ControlTotals, zeta, 365}, {cardlake.Rejected, "", 14},
	} {
		if got := p.Days(c.table, c.tenant); got != c.want {
			t.Errorf("%s of %q is kept %d days, want %d", c.table.FullName(), c.tenant, got, c.want)
		}
	}
	if p.Stream().Hours() != 3*24 || p.Results().Hours() != 7*24 {
		t.Errorf("stream %v, results %v", p.Stream(), p.Results())
	}
	unsaid := &Policy{Version: PolicyVersion}
	if unsaid.Days(cardlake.Transactions, acme) != 730 || unsaid.Days(cardlake.Rejected, "") != 30 || unsaid.Days(&cardlake.Table{Namespace: "audit", Name: "events"}, "") != 400 {
		t.Error("the defaults are not what is documented")
	}
}

func TestPolicyFaults(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":        {`{`, "unexpected EOF"},
		"unknown member":  {`{"version":1,"table":{}}`, "unknown field"},
		"two":             {`{"version":1}{}`, "follows"},
		"version":         {`{}`, "version is 0"},
		"unknown table":   {`{"version":1,"tables":{"cards.other":{"days":1}}}`, `no table "cards.other"`},
		"totals":          {`{"version":1,"tables":{"cards.control_totals":{"days":9}}}`, "as long as cards.transactions"},
		"too few":         {`{"version":1,"tables":{"cards.transactions":{"days":-1}}}`, "days is from 1 to 3660"},
		"too many":        {`{"version":1,"tables":{"cards.transactions_rejected":{"days":400}}}`, "days is from 1 to 366"},
		"audit":           {`{"version":1,"tables":{"audit.events":{"days":365}}}`, "days is from 366"},
		"a tenant's days": {`{"version":1,"tables":{"cards.transactions":{"tenants":{"acme":0}}}}`, "tenant acme: days"},
		"a tenant's name": {`{"version":1,"tables":{"cards.transactions":{"tenants":{"A B":3}}}}`, "tenant name"},
		"not by tenant":   {`{"version":1,"tables":{"cards.transactions_rejected":{"tenants":{"acme":3}}}}`, "not by tenant"},
		"stream":          {`{"version":1,"stream_days":31}`, "stream_days"},
		"results":         {`{"version":1,"result_days":-1}`, "result_days"},
		"hold":            {`{"version":1,"holds":[{"id":"a","tenant":"acme","case":"1","why":"","by":"x","at":"2026-03-01T00:00:00Z"}]}`, "why is 1 to"},
		"hold since":      {`{"version":1,"holds":[{"id":"a","tenant":"acme","case":"1","why":"w","by":"x","at":"0001-01-01T00:00:00Z"}]}`, "at is missing"},
		"customer as it is": {`{"version":1,"holds":[{"id":"a","tenant":"acme","person":"cu-17","case":"1","why":"w","by":"x","at":"2026-03-01T00:00:00Z"}]}`,
			"a customer id in clear"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParsePolicy([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestChangePolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "retention.json")
	if p, err := ReadPolicy(path); err != nil || p.Version != PolicyVersion {
		t.Fatalf("a file that is not there: %+v, %v", p, err)
	}
	for range 2 {
		if err := ChangePolicy(path, func(p *Policy) error {
			h := hold(acme, "")
			h.ID += strings.Repeat("a", len(p.Holds))
			p.Holds = append(p.Holds, h)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ReadPolicy(path)
	if err != nil || len(p.Holds) != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	refused := errors.New("no")
	for want, do := range map[error]func(*Policy) error{
		refused: func(p *Policy) error { p.Holds = nil; return refused },
		nil:     func(p *Policy) error { p.Version = 7; return nil },
	} {
		if err := ChangePolicy(path, do); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("error %v", err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || cmp.Diff(before, after) != "" {
		t.Errorf("a refused change is in the file: %v", err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(goodPolicy))
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"tables":{"cards.transactions":{"days":3,"tenants":{"":1}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		for _, def := range cardlake.Tables {
			for _, tenant := range []cardlake.Tenant{"", acme} {
				if n := p.Days(def, tenant); n < 1 || n > 3660 {
					t.Errorf("%s of %q is kept %d days", def.FullName(), tenant, n)
				}
			}
		}
	})
}
