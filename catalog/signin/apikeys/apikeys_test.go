package apikeys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
)

var (
	ana  = grants.Principal{Kind: grants.TenantAnalyst, Name: "ana"}
	bert = grants.Principal{Kind: grants.DataScientist, Name: "bert"}
	olga = grants.Principal{Kind: grants.Operator, Name: "olga"}
)

const anaSubject = "oidc:x#ana"

// asAna is ana as she signed in.
var asAna = grants.Caller{Principal: ana, Subject: anaSubject, MFA: true, Origin: "192.0.2.1", Request: "r"}

// desk is a store and what stands around it.
type desk struct {
	*testing.T
	path  string
	store *apikeys.Store

	mu      sync.Mutex
	now     time.Time
	records []audit.Record
	down    bool
	known   map[string]grants.Principal
}

func newDesk(t *testing.T, cfg apikeys.Config) *desk {
	t.Helper()
	d := &desk{
		T: t, path: filepath.Join(t.TempDir(), "sub", "keys.db"), now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC),
		known: map[string]grants.Principal{anaSubject: ana, "oidc:x#bert": bert},
	}
	d.store = d.open(cfg)
	return d
}

func (d *desk) open(cfg apikeys.Config) *apikeys.Store {
	d.Helper()
	cfg.Now = func() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.now }
	s, err := apikeys.Open(d.Context(), d.path, d, cfg)
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		if err := s.Close(); err != nil {
			d.Error(err)
		}
	})
	return s
}

// Append implements apikeys.Log.
func (d *desk) Append(_ context.Context, r audit.Record) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return errors.New("disk full")
	}
	d.records = append(d.records, r)
	return nil
}

// PrincipalOf implements signin.Principals.
func (d *desk) PrincipalOf(subject string) (grants.Principal, bool) {
	p, ok := d.known[subject]
	return p, ok
}

func (d *desk) issue(c grants.Caller, r apikeys.Request) (apikeys.Key, string) {
	d.Helper()
	k, secret, err := d.store.Issue(d.Context(), c, r)
	if err != nil {
		d.Fatal(err)
	}
	return k, secret
}

func (d *desk) wantReason(tokens signin.Tokens, token string, want signin.Reason) {
	d.Helper()
	refused := new(signin.Error)
	if id, err := tokens.Verify(d.Context(), token); !errors.As(err, &refused) || refused.Reason != want {
		d.Errorf("%+v, %v (%s), want %s", id, err, refused.Reason, want)
	}
}

func TestKey(t *testing.T) {
	d := newDesk(t, apikeys.Config{})
	k, secret := d.issue(asAna, apikeys.Request{Name: " nightly ", Tenant: "acme", Days: 7})
	want := apikeys.Key{ID: k.ID, Name: "nightly", Tenant: "acme", CreatedAt: d.now, ExpiresAt: d.now.AddDate(0, 0, 7)}
	if diff := cmp.Diff(want, k); diff != "" || len(secret) != 68 || !strings.HasPrefix(secret, "clk_") {
		t.Error(diff, secret)
	}
	id, err := d.store.Verify(t.Context(), secret)
	if diff := cmp.Diff(signin.Identity{Subject: anaSubject, Principal: ana, Tenant: "acme", Key: k.ID, Until: k.ExpiresAt}, id); diff != "" || err != nil {
		t.Error(diff, err)
	}
	// Another process sees what this one did: that it was used, and that it is revoked.
	other := d.open(apikeys.Config{})
	at := d.now
	want.LastUsedAt = &at
	for range 2 { // within the minute it is not written again
		list, err := other.List(t.Context(), asAna)
		if diff := cmp.Diff([]apikeys.Key{want}, list); diff != "" || err != nil {
			t.Error(diff, err)
		}
		d.now = d.now.Add(59 * time.Second)
		if _, err := other.Verify(t.Context(), secret); err != nil {
			t.Error(err)
		}
		d.now = at
	}
	d.now = d.now.Add(time.Minute)
	if _, err := other.Verify(t.Context(), secret); err != nil {
		t.Error(err)
	}
	if list, err := d.store.List(t.Context(), asAna); err != nil || !list[0].LastUsedAt.Equal(d.now) {
		t.Errorf("%+v, %v", list, err)
	}
	if err := other.Revoke(t.Context(), asAna, k.ID); err != nil {
		t.Fatal(err)
	}
	d.wantReason(d.store, secret, signin.UnknownAPIKey)
	if err := d.store.Revoke(t.Context(), asAna, k.ID); !errors.Is(err, apikeys.ErrUnknown) {
		t.Error(err)
	}
	wantRecords := []audit.Record{
		{Actor: "tenant_analyst/ana", Action: "api_key.issue", Resource: "api key " + k.ID, Outcome: audit.Allowed, Origin: "192.0.2.1", Request: "r",
			Detail: map[string]string{"name": "nightly", "tenant": "acme", "until": "2026-03-08T09:00:00Z", "subject": anaSubject}},
		{Actor: "tenant_analyst/ana", Action: "api_key.revoke", Resource: "api key " + k.ID, Outcome: audit.Allowed, Origin: "192.0.2.1", Request: "r"},
		{Actor: "tenant_analyst/ana", Action: "api_key.revoke", Resource: "api key", Outcome: audit.Refused, Origin: "192.0.2.1", Request: "r", Reason: apikeys.ErrUnknown.Error()},
	}
	if diff := cmp.Diff(wantRecords, d.records); diff != "" {
		t.Error(diff)
	}
	// The secret lies nowhere.
	_, kept := d.issue(asAna, apikeys.Request{Name: "kept"})
	for _, name := range []string{d.path, d.path + "-wal"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(kept[4:20])) {
			t.Errorf("%s holds a secret", filepath.Base(name))
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
}

// TestMatrix: a key is its maker's, as the maker is now, and never more.
func TestMatrix(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(d *desk)
		want   signin.Reason
	}{
		"as it was":           {func(*desk) {}, ""},
		"maker is gone":       {func(d *desk) { delete(d.known, anaSubject) }, signin.UnknownSubject},
		"maker is another":    {func(d *desk) { d.known[anaSubject] = bert }, signin.UnknownSubject},
		"maker is promoted":   {func(d *desk) { d.known[anaSubject] = grants.Principal{Kind: grants.Operator, Name: "ana"} }, signin.UnknownSubject},
		"just before it ends": {func(d *desk) { d.now = d.now.AddDate(0, 0, 30).Add(-time.Second) }, ""},
		"it has ended":        {func(d *desk) { d.now = d.now.AddDate(0, 0, 30) }, signin.Expired},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, apikeys.Config{})
			k, secret := d.issue(asAna, apikeys.Request{Name: "x", Tenant: "acme"})
			v, err := signin.New(d, signin.Config{Tokens: d.store.Before(nil)})
			if err != nil {
				t.Fatal(err)
			}
			tc.change(d)
			c, err := v.Caller(t.Context(), signin.Credentials{Token: secret, Origin: "192.0.2.9"})
			if tc.want != "" {
				refused := new(signin.Error)
				if !errors.As(err, &refused) || refused.Reason != tc.want || c != (grants.Caller{}) {
					t.Errorf("%+v, %v (%s), want %s", c, err, refused.Reason, tc.want)
				}
				return
			}
			if diff := cmp.Diff(grants.Caller{Principal: ana, Subject: anaSubject, Origin: "192.0.2.9", Tenant: "acme", Key: k.ID}, c); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
	t.Run("kinds that have none", func(t *testing.T) {
		d := newDesk(t, apikeys.Config{Kinds: []grants.Kind{grants.TenantAnalyst}})
		_, secret := d.issue(asAna, apikeys.Request{Name: "x"})
		d.wantReason(d.open(apikeys.Config{Kinds: []grants.Kind{grants.DataScientist}}), secret, signin.UnknownSubject)
	})
}

// TestChain: what begins as keys do is a key or nothing; the issuer is asked for all else.
func TestChain(t *testing.T) {
	d := newDesk(t, apikeys.Config{})
	_, secret := d.issue(asAna, apikeys.Request{Name: "x"})
	next := issuer{}
	chain := d.store.Before(next)
	if id, err := chain.Verify(t.Context(), secret); err != nil || id.Subject != anaSubject {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := chain.Verify(t.Context(), "a.b.c"); err != nil || id.Subject != "issuer" {
		t.Errorf("%+v, %v", id, err)
	}
	last := secret[len(secret)-1]
	flipped := secret[:len(secret)-1] + string(rune('a'+(last-'a'+1)%16))
	d.wantReason(chain, flipped, signin.UnknownAPIKey)
	for _, bad := range []string{"clk_", secret[:67], secret + "a", "clk_" + strings.Repeat("q", 64), "clk_" + strings.ToUpper(secret[4:]), "clk_' OR 1=1 --"} {
		d.wantReason(chain, bad, signin.Malformed)
	}
	d.wantReason(d.store.Before(nil), "a.b.c", signin.Malformed)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused := new(signin.Error)
	if _, err := d.store.Verify(ended, secret); !errors.As(err, &refused) || !refused.IsTemporary() {
		t.Errorf("a store that can't be read: %v", err)
	}
}

type issuer struct{}

func (issuer) Verify(context.Context, string) (signin.Identity, error) {
	return signin.Identity{Subject: "issuer"}, nil
}

// TestRefusals: who may make none, and what none is made of.
func TestRefusals(t *testing.T) {
	d := newDesk(t, apikeys.Config{PerPrincipal: 2})
	byKey, nobody := asAna, asAna
	byKey.Key, nobody.Subject = "k", ""
	good := apikeys.Request{Name: "x"}
	k, secret := d.issue(asAna, good)
	for name, c := range map[string]grants.Caller{"a key": byKey, "nobody who signed in": nobody, "a certificate": {Principal: ana, Subject: "spiffe://acme.example/batch"}, "an operator": {Principal: olga, Subject: "oidc:x#olga", MFA: true}} {
		before := len(d.records)
		if k, secret, err := d.store.Issue(t.Context(), c, good); !errors.Is(err, apikeys.ErrNotPermitted) || secret != "" || k != (apikeys.Key{}) {
			t.Errorf("%s makes one: %v", name, err)
		}
		if err := d.store.Revoke(t.Context(), c, k.ID); !errors.Is(err, apikeys.ErrNotPermitted) {
			t.Errorf("%s revokes one: %v", name, err)
		}
		if list, err := d.store.List(t.Context(), c); !errors.Is(err, apikeys.ErrNotPermitted) || list != nil {
			t.Errorf("%s lists them: %v", name, err)
		}
		if n := len(d.records) - before; n != 2 || d.records[before].Outcome != audit.Refused {
			t.Errorf("%s: %d records", name, n)
		}
	}
	if err := d.store.Revoke(t.Context(), grants.Caller{Principal: bert, Subject: "oidc:x#bert"}, k.ID); !errors.Is(err, apikeys.ErrUnknown) {
		t.Errorf("bert revokes ana's: %v", err)
	}
	if list, err := d.store.List(t.Context(), grants.Caller{Principal: bert, Subject: "oidc:x#bert"}); err != nil || len(list) != 0 {
		t.Errorf("bert sees %v, %v", list, err)
	}
	for name, r := range map[string]apikeys.Request{
		"no name": {}, "spaces": {Name: "  "}, "two lines": {Name: "a\nb"}, "long": {Name: strings.Repeat("a", 65)}, "not text": {Name: "\xff"},
		"a card": {Name: "card 4111111111111111"}, "for ever": {Name: "x", Days: 91}, "yesterday": {Name: "x", Days: -1}, "no tenant": {Name: "x", Tenant: "../acme"},
	} {
		if _, _, err := d.store.Issue(t.Context(), asAna, r); !errors.Is(err, apikeys.ErrRequest) || r.Name != "" && strings.Contains(err.Error(), r.Name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.issue(asAna, apikeys.Request{Name: "y", Days: apikeys.MaxDays})
	if _, _, err := d.store.Issue(t.Context(), asAna, good); !errors.Is(err, apikeys.ErrTooMany) {
		t.Errorf("a third: %v", err)
	}
	if last := d.records[len(d.records)-1]; last.Action != "api_key.issue" || last.Outcome != audit.Refused || last.Reason != apikeys.ErrTooMany.Error() {
		t.Errorf("a third is not on record: %+v", last)
	}
	d.now = d.now.AddDate(0, 0, 30)
	d.issue(asAna, good) // the first has ended
	d.now = d.now.AddDate(0, 0, 31)
	d.issue(asAna, good)
	if list, err := d.store.List(t.Context(), asAna); err != nil || len(list) != 3 {
		t.Errorf("ended long ago, and listed: %+v, %v", list, err)
	}

	d.down = true
	if _, _, err := d.store.Issue(t.Context(), grants.Caller{Principal: bert, Subject: "oidc:x#bert"}, good); !errors.Is(err, apikeys.ErrUnrecorded) {
		t.Errorf("not on record: %v", err)
	}
	if list, err := d.store.List(t.Context(), grants.Caller{Principal: bert, Subject: "oidc:x#bert"}); err != nil || len(list) != 0 {
		t.Errorf("made and not on record: %v, %v", list, err)
	}
	list, err := d.store.List(t.Context(), asAna)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.store.Revoke(t.Context(), asAna, list[0].ID); !errors.Is(err, apikeys.ErrUnrecorded) {
		t.Error(err)
	}
	if after, err := d.store.List(t.Context(), asAna); err != nil || len(after) != len(list) {
		t.Error("revoked and not on record")
	}
	_ = secret
}

// TestAtOnce: of callers at once, in several processes, no more keys come than there may be.
func TestAtOnce(t *testing.T) {
	d := newDesk(t, apikeys.Config{PerPrincipal: 5})
	stores := []*apikeys.Store{d.store, d.open(apikeys.Config{PerPrincipal: 5})}
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 12 {
		all.Go(func() {
			_, secret, err := stores[i%2].Issue(t.Context(), asAna, apikeys.Request{Name: fmt.Sprint("k", i)})
			if err != nil && !errors.Is(err, apikeys.ErrTooMany) {
				t.Error(err)
			}
			if err == nil {
				if _, err := stores[(i+1)%2].Verify(t.Context(), secret); err != nil {
					t.Error(err)
				}
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if made != 5 {
		t.Errorf("%d were made", made)
	}
}
