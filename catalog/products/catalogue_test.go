package products

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

// TestHealth: promises are held against what is there, and what is not known is not told.
func TestHealth(t *testing.T) {
	p := newPlace(t)
	p.change(t, func(x *Product) { x.Promise = Promise{Fresh: "5m", Quality: 90} })
	yes, no := true, false
	for name, tc := range map[string]struct {
		age     time.Duration
		quality float64
		err     error
		want    Health
	}{
		"kept":    {4 * time.Minute, 90, nil, Health{IsFresh: &yes, IsGood: &yes}},
		"broken":  {6 * time.Minute, 89.9, nil, Health{IsFresh: &no, IsGood: &no}},
		"unknown": {0, 0, errors.New("away"), Health{}},
	} {
		cfg := p.config()
		cfg.Dictionary = dictionary{}
		cfg.AsOf = func(context.Context, string) (time.Time, error) { return p.now.Add(-tc.age), tc.err }
		cfg.Quality = func(context.Context, string) (float64, time.Time, error) { return tc.quality, p.now, tc.err }
		desk := NewDesk(func() (*Catalogue, error) { return Load(p.productsDir(), dictionary{}) }, p.store, p.grants, p.record, cfg)
		got, err := desk.Product(t.Context(), who("data_scientist/ana"), "transactions")
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b *bool) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
		if !same(got.Health.IsFresh, tc.want.IsFresh) || !same(got.Health.IsGood, tc.want.IsGood) || len(got.Schema) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestStarter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "products")
	if err := Init(dir); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir, dictionary{})
	if err != nil || len(c.Products) != 4 {
		t.Fatalf("%v, %v", c, err)
	}
	if err := Init(dir); err == nil {
		t.Error("made twice")
	}
	for _, p := range c.Products {
		before, _ := os.ReadFile(filepath.Join(dir, p.Name+".json"))
		if err := c.setStatus(p, Deprecated); err != nil {
			t.Fatal(err)
		}
		var was, is map[string]any
		after, _ := os.ReadFile(filepath.Join(dir, p.Name+".json"))
		if err := errors.Join(json.Unmarshal(before, &was), json.Unmarshal(after, &is)); err != nil {
			t.Fatal(err)
		}
		was["status"] = "deprecated"
		if fmt.Sprint(was) != fmt.Sprint(is) {
			t.Errorf("publishing changes\n%v to\n%v", was, is)
		}
	}
}

func TestFaultsOfAFolder(t *testing.T) {
	p := newPlace(t)
	for want, change := range map[string]func(*Product){
		"name the file so":             nil,
		"title is empty":               func(x *Product) { x.Title = "" },
		"version is not":               func(x *Product) { x.Version = "1" },
		"status is not":                func(x *Product) { x.Status = "live" },
		`"ana" is not KIND/NAME`:       func(x *Product) { x.Owner = "ana" },
		"no table or view \"cards.x\"": func(x *Product) { x.Relations = []string{"cards.x"} },
		"tables lacks cards.transactions": func(x *Product) {
			x.Relations, x.Terms.Tables = []string{"views.x"}, []string{"cards.control_totals"}
		},
		"audit.events is read by":         func(x *Product) { x.Terms.Tables = append(x.Terms.Tables, "audit.events") },
		`"sealed" is not one of the tags`: func(x *Product) { x.Terms.Clear = []cardlake.Tag{"sealed"} },
		"both clear and masked":           func(x *Product) { x.Terms.Masked = x.Terms.Clear },
		"would give nothing":              func(x *Product) { x.Terms.Clear, x.Terms.Masked = nil, nil },
		`"grant" is not one of the act`:   func(x *Product) { x.Terms.Actions = []grants.Action{grants.Grant} },
		`no kind "king"`:                  func(x *Product) { x.Terms.Kinds = []grants.Kind{"king"} },
		"tenants: a name":                 func(x *Product) { x.Terms.Tenants = []cardlake.Tenant{`x"`} },
		"days is not":                     func(x *Product) { x.Terms.Days = 1000 },
		"fresh is not":                    func(x *Product) { x.Promise.Fresh = "soon" },
		"quality is not":                  func(x *Product) { x.Promise.Quality = 101 },
		`there is no term "x"`:            func(x *Product) { x.Glossary = []string{"x"} },
		"instead is for":                  func(x *Product) { x.Instead = "transactions" },
		`there is no product "y"`:         func(x *Product) { x.Status, x.Instead = Deprecated, "y" },
	} {
		c, err := Load(p.productsDir(), dictionary{})
		if err != nil {
			t.Fatal(err)
		}
		before := *c.Products[0]
		at := filepath.Join(p.productsDir(), "other.json")
		if change == nil {
			text, _ := json.Marshal(before)
			write(t, at, string(text))
		} else {
			p.change(t, change)
		}
		if _, err := Load(p.productsDir(), dictionary{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		_ = os.Remove(at)
		p.put(t, before)
	}
	write(t, filepath.Join(p.productsDir(), "more.json"), `{"name": "more", "owners": []}`)
	write(t, filepath.Join(p.productsDir(), "more.yaml"), "")
	if _, err := Load(p.productsDir(), dictionary{}); err == nil || !strings.Contains(err.Error(), `unknown field "owners"`) || !strings.Contains(err.Error(), "more.yaml is not a *.json file") {
		t.Errorf("error %v", err)
	}
}

// TestManySubscriptions: however many there are, no file is longer than grants takes, and all of
// them load.
func TestManySubscriptions(t *testing.T) {
	p := newPlace(t)
	c, err := Load(p.productsDir(), dictionary{})
	if err != nil {
		t.Fatal(err)
	}
	until := p.now.Add(time.Hour)
	var all []Subscription
	for range 300 {
		all = append(all, Subscription{ID: newID(), Product: "transactions", Version: "1.0.0", Subscriber: who("data_scientist/ana").Principal, State: Approved, Until: until,
			DecidedBy: who("operator/owner").Principal, Given: c.Products[0].Terms.withDefaults()})
	}
	files, done := compile(p.grants.Set(), c, all, p.now)
	if done.Given != 300 || len(files) < 2 {
		t.Fatalf("%d files, %+v", len(files), done)
	}
	whole, err := stage(p.grantsDir(), files)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(whole)
	if _, err := grants.Load(whole, tenants); err != nil {
		t.Error(err)
	}
	// Fewer of them leave no file behind.
	dir := filepath.Join(p.grantsDir(), policiesDir)
	if _, err := writePolicies(dir, files); err != nil {
		t.Fatal(err)
	}
	files, _ = compile(p.grants.Set(), c, all[:1], p.now)
	if changed, err := writePolicies(dir, files); err != nil || !changed {
		t.Errorf("%v, %v", changed, err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, policyPrefix+"*")); err != nil || len(names) != 1 {
		t.Errorf("left %v, %v", names, err)
	}
}

// FuzzFold: whatever lines there are, nothing is approved by who asked for it, nor longer than
// was asked for.
func FuzzFold(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{0, 9, 1, 40, 0x80})
	names := []string{"data_scientist/ana", "operator/owner", "nobody"}
	steps := []string{ActionRequest, ActionApprove, ActionReject, ActionRevoke}
	f.Fuzz(func(t *testing.T, text []byte) {
		all := map[string]*Subscription{}
		for i, b := range text {
			before := maps.Clone(all)
			ok := fold(all, audit.Entry{Time: time.Unix(int64(i), 0), Record: audit.Record{
				Actor: names[int(b>>2)%3], Action: steps[b&3], Resource: "transactions", Outcome: audit.Allowed,
				Detail:  map[string]string{detailID: strings.Repeat(string(rune('a'+b>>6)), 20), detailVersion: "1.0.0"},
				Numbers: map[string]int64{numberDays: int64(b&15) + 1},
			}})
			if !ok && !maps.Equal(before, all) {
				t.Fatal("a line that is passed over changes something")
			}
			for _, s := range all {
				if s.State == Approved && (s.DecidedBy == s.Subscriber || s.Until.Sub(s.DecidedAt) > time.Duration(s.Days)*24*time.Hour) {
					t.Fatalf("%+v", s)
				}
			}
		}
	})
}
