package session

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// around is what stands around a manager, and finishes sign-ins as it is told.
type around struct {
	finish func() error
}

func (around) FromRequest(*http.Request) (grants.Caller, error) { return grants.Caller{}, nil }
func (around) Identified(*http.Request, signin.Identity) (grants.Caller, error) {
	return grants.Caller{Principal: grants.Principal{Kind: grants.Auditor, Name: "a"}}, nil
}
func (around) Origin(*http.Request) string                                  { return "192.0.2.7" }
func (around) AuthorizeURL(context.Context, signin.Attempt) (string, error) { return "", nil }
func (around) SignOutURL(context.Context, string) string                    { return "" }
func (around) Append(context.Context, audit.Record) error                   { return nil }
func (a around) Finish(context.Context, signin.Attempt, url.Values) (signin.Identity, error) {
	return signin.Identity{Subject: "s"}, a.finish()
}

func newAround(t *testing.T, finish func() error) (*Manager, *bytes.Buffer) {
	t.Helper()
	a, logged := around{finish}, &bytes.Buffer{}
	m, err := New(Deps{SignIn: a, Client: a, Recorder: a}, Config{URL: "https://lake.example", Sessions: 100, PerPrincipal: 100, Log: slog.New(slog.NewTextHandler(logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return m, logged
}

// comeBack is a callback of a new attempt, and returns where it leads.
func comeBack(t *testing.T, m *Manager) string {
	sealed, err := m.seal(attempt{Attempt: signin.NewAttempt(), To: "/overview", Begun: time.Now()})
	if err != nil {
		t.Error(err)
	}
	r := httptest.NewRequest(http.MethodGet, "https://lake.example"+CallbackPath+"?code=x", nil)
	r.AddCookie(&http.Cookie{Name: m.cookieName(cookieAttempt), Value: sealed})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	return w.Header().Get("Location")
}

// TestFlood: whoever makes callbacks up, without signing in, takes no room of who does, and fills
// no log.
func TestFlood(t *testing.T) {
	m, logged := newAround(t, func() error { return &signin.Error{Reason: signin.IssuerUnavailable, Err: errors.New("status 400")} })
	for range 20 {
		if to := comeBack(t, m); to != "/?signin=unavailable" {
			t.Fatal(to)
		}
	}
	if n := len(m.finished.done); n != 0 {
		t.Errorf("%d attempts that failed are remembered", n)
	}
	if n := strings.Count(logged.String(), "status 400"); n < 1 || n > 5 {
		t.Errorf("%d lines in the log", n)
	}
}

// TestTurns: who comes back when as many sign-ins are being finished as may waits for a turn.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		m, _ := newAround(t, func() error { <-gate; return nil })
		var all sync.WaitGroup
		for range maxFinishing + 1 {
			all.Go(func() {
				if to := comeBack(t, m); to != "/overview" {
					t.Errorf("leads to %s", to)
				}
			})
		}
		synctest.Wait()
		close(gate)
		all.Wait()
		// And in vain if none comes.
		gate = make(chan struct{})
		for range maxFinishing {
			all.Go(func() { comeBack(t, m) })
		}
		synctest.Wait()
		if to := comeBack(t, m); to != "/?signin=unavailable" {
			t.Errorf("leads to %s", to)
		}
		close(gate)
		all.Wait()
	})
}
