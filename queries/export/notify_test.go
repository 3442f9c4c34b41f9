package export_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/webhook"
)

// TestNotify: a tenant is told of each export that ended, signed, until it has heard, also by
// another process; not of rows, and not from inside a private network.
func TestNotify(t *testing.T) {
	var mu sync.Mutex
	var heard []string
	status := http.StatusServiceUnavailable
	var secret webhook.Secret
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhook.Verify(r.Header, body, time.Now(), time.Minute, secret)
		}
		if err != nil {
			t.Error(err)
		}
		heard = append(heard, r.Header.Get(webhook.HeaderID)+" "+string(body))
		w.WriteHeader(status)
	}))
	defer receiver.Close()
	w := newWorld(t, 1, 10, func(w *world) {
		w.deps.Sender = webhook.New(webhook.Config{Attempts: 1, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	})
	if _, err := w.SetWebhook(t.Context(), ana, "aurora", receiver.URL); err == nil {
		t.Error("whoever exports says who is told")
	}
	for _, url := range []string{"http://example.com/", "https://10.0.0.1/", "file:///etc/passwd", "https://u:p@example.com/"} {
		_, err := w.SetWebhook(t.Context(), admin, "aurora", url)
		wantFault(t, err, export.Invalid, "webhook")
	}
	text, err := w.SetWebhook(t.Context(), admin, "aurora", receiver.URL)
	if err != nil {
		t.Fatal(err)
	}
	if set, err := w.Settings(t.Context(), "aurora"); err != nil || strings.Contains(set.Secret, strings.TrimPrefix(text, "whsec_")) {
		t.Errorf("the secret is kept in clear, %v", err)
	}
	if secret, err = webhook.ParseSecret(text); err != nil {
		t.Fatal(err)
	}
	j := w.run(ana, plain(export.CSV))
	wantDone(t, j)
	w.permit(queriestest.Only(nil, "aurora"))
	for range 3 {
		if err := w.Tend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(heard) != 1 { // it waits after a failure
		t.Fatalf("heard %d times", len(heard))
	}
	status = http.StatusNoContent
	w.clock.add(3 * time.Minute)
	for _, s := range []*export.Service{w.open(), w.Service} {
		if err := s.Tend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(heard) != 2 || heard[0] != heard[1] || !strings.HasPrefix(heard[0], "export-"+j.ID+" ") || !strings.Contains(heard[0], `"type":"export.done"`) || !strings.Contains(heard[0], `"rows":10`) {
		t.Errorf("heard %q", heard)
	}
	if _, err := w.SetWebhook(t.Context(), admin, "aurora", ""); err != nil {
		t.Fatal(err)
	}
	wantDone(t, w.run(ana, plain(export.CSV)))
	if err := errors.Join(w.Tend(t.Context()), w.Tend(t.Context())); err != nil || len(heard) != 2 {
		t.Errorf("heard %d times, %v", len(heard), err)
	}
}
