package export_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// TestLinks: a link is good as it was made, for whom it was made, until it ends, and not a bit
// beside.
func TestLinks(t *testing.T) {
	w := newWorld(t, 2, 10, nil)
	w.permit(queriestest.Only(nil, "aurora", "bolivar"))
	r := plain(export.CSV)
	r.Tenant = "aurora"
	j := w.run(ana, r)
	wantDone(t, j)
	r.Tenant = "bolivar"
	other := w.run(ana, r)
	wantDone(t, other)
	c := ana
	c.MFA = true
	link, err := w.Link(t.Context(), c, "/v1/downloads", j.ID, 1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(link.URL, "?")
	follow := func(method, path, query string, by *grants.Caller) (grants.Caller, error) {
		return w.Follow(t.Context(), method, path, query, by)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		who, err := follow(method, path, query, nil)
		if err != nil || who.Principal != ana.Principal || !who.MFA {
			t.Errorf("%s: %+v, %v", method, who, err)
		}
	}
	if _, err := follow(http.MethodGet, path, query, &ana); err != nil {
		t.Error(err)
	}
	_, err = follow(http.MethodGet, path, query, &eve)
	wantFault(t, err, export.Refused, "made for another principal")

	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, value string) string {
		v := url.Values{}
		for n, list := range values {
			v[n] = list
		}
		v.Set(name, value)
		return v.Encode()
	}
	for name, tc := range map[string]struct{ method, path, query string }{
		"another file":       {"GET", strings.TrimSuffix(path, "1") + "0", query},
		"another export":     {"GET", strings.Replace(path, j.ID, other.ID, 1), query},
		"another tenant":     {"GET", path, with("tenant", "bolivar")},
		"another principal":  {"GET", path, with("principal", eve.Principal.String())},
		"no principal":       {"GET", path, with("principal", "nobody")},
		"a later end":        {"GET", path, with("expires", "9999999999")},
		"no end":             {"GET", path, with("expires", "")},
		"another key":        {"GET", path, with("key", "abcdefgh")},
		"no signature":       {"GET", path, with("signature", "")},
		"another signature":  {"GET", path, with("signature", strings.Repeat("A", 43))},
		"without the factor": {"GET", path, with("mfa", "0")},
		"one thing more":     {"GET", path, query + "&tenant=bolivar"},
		"an unknown thing":   {"GET", path, query + "&x=1"},
		"another method":     {"POST", path, query},
		"nothing":            {"GET", path, ""},
		"garbage":            {"GET", path, "%zz;=&&"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := follow(tc.method, tc.path, tc.query, nil)
			wantFault(t, err, export.Refused, "signature is not right")
		})
	}

	// Another process of the folder takes it too; a lake with other keys does not.
	if _, err := w.open().Follow(t.Context(), "GET", path, query, nil); err != nil {
		t.Error(err)
	}
	if _, err := newWorld(t, 1, 10, nil).Follow(t.Context(), "GET", path, query, nil); err == nil {
		t.Error("another lake takes the link")
	}

	w.clock.add(time.Minute)
	_, err = follow(http.MethodGet, path, query, nil)
	wantFault(t, err, export.Gone, "the link ended at")

	// The key is changed, and links of the one before are good until they end.
	w.clock.add(24 * time.Hour)
	if _, err := w.Link(t.Context(), ana, "/v1/downloads", j.ID, 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	long, err := w.Link(t.Context(), ana, "/v1/downloads", j.ID, 1, 100*24*time.Hour)
	if err != nil || long.Expires.After(w.clock.now().Add(15*time.Minute)) {
		t.Errorf("a link until %v, %v", long.Expires, err)
	}
	path, query, _ = strings.Cut(long.URL, "?")
	before := values.Get("key")
	w.clock.add(29*24*time.Hour - 5*time.Minute)
	j = w.run(ana, r) // the first has expired
	wantDone(t, j)
	link, err = w.Link(t.Context(), ana, "/v1/downloads", j.ID, 1, 10*time.Minute)
	if err != nil || !strings.Contains(link.URL, before) {
		t.Fatalf("the key was changed too early, %v", err)
	}
	w.clock.add(6 * time.Minute)
	next, err := w.Link(t.Context(), ana, "/v1/downloads", j.ID, 1, time.Minute)
	if err != nil || strings.Contains(next.URL, before) {
		t.Fatalf("the key was not changed, %v", err)
	}
	path, query, _ = strings.Cut(link.URL, "?")
	if _, err := follow(http.MethodGet, path, query, nil); err != nil {
		t.Error("a link of the key before: ", err)
	}
}

// TestSettings: only who may change a tenant's grants says how its files are encrypted, with sound
// keys, on record; and it is heeded.
func TestSettings(t *testing.T) {
	w := newWorld(t, 1, 10, nil)
	must := func(s *export.Settings) error { s.MustEncrypt = true; return nil }
	wantFault(t, w.Change(t.Context(), ana, "aurora", must), export.Refused, "only who may change")
	if err := w.Change(t.Context(), admin, "aurora", must); err != nil {
		t.Fatal(err)
	}
	_, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	wantFault(t, err, export.Invalid, "encrypted")
	r := plain(export.CSV)
	r.Encryption = "age"
	_, _, err = w.Start(t.Context(), ana, r)
	wantFault(t, err, export.Invalid, "no public key registered")
	for _, key := range []string{"", "age1", "ssh-ed25519 AAAA", "AGE-SECRET-KEY-1"} {
		err := w.Change(t.Context(), admin, "aurora", func(s *export.Settings) error {
			s.Recipients = []export.Recipient{{Name: "x", Key: key}}
			return nil
		})
		wantFault(t, err, export.Invalid, "no public key of age")
	}
	r.Encryption = "kms"
	waiting, _, err := w.Start(t.Context(), ana, r)
	if err != nil {
		t.Fatal(err)
	}
	if j, err := w.RunOne(t.Context(), waiting.ID, nil); err != nil || j.State != export.Done {
		t.Error(j, err)
	}
	n := 0
	for _, one := range w.log.Records() {
		if one.Action == "export.settings" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d lines are on record", n)
	}
}
