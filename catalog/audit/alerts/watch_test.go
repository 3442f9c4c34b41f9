package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

// kept is a sink that keeps what it is sent.
type kept struct{ all []Alert }

func (k *kept) Send(_ context.Context, a Alert) error {
	k.all = append(k.all, a)
	return nil
}

type place struct {
	testing.TB
	dir, state string
	ring       *local.Keyring
	sink       kept
	cfg        WatchConfig
}

func newPlace(t testing.TB) *place {
	t.Helper()
	at := t.TempDir()
	ring, err := local.CreateFile(filepath.Join(at, "keyring"), filepath.Join(at, "secret"), keys.LakePurposes)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.EnsureOwners(t.Context(), keys.Lake); err != nil {
		t.Fatal(err)
	}
	p := &place{TB: t, dir: filepath.Join(at, "log"), state: filepath.Join(at, "alerts", "state.json"), ring: ring}
	p.cfg = WatchConfig{State: p.state, Sinks: []Sink{&p.sink}, Rules: Config{RefusalCount: 3, ProbeTargets: -1}}
	return p
}

func (p *place) write(records ...audit.Record) {
	p.Helper()
	l, err := audit.OpenShared(p.Context(), p.dir, p.ring, audit.Config{Actor: "tester", Unsigned: true})
	if err != nil {
		p.Fatal(err)
	}
	for _, r := range records {
		if err := l.Append(p.Context(), r); err != nil {
			p.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		p.Fatal(err)
	}
}

func (p *place) watcher() *Watcher {
	return NewWatcher(audit.Dir(p.dir), audit.VerifyConfig{Keys: p.ring}, p.cfg)
}

// A watcher that is begun anew goes on where the one before it stopped: nothing is missed, and
// nothing told twice.
func TestWatcherGoesOn(t *testing.T) {
	p := newPlace(t)
	r := refusal(ana, "cards.transactions")
	for i := range 3 {
		p.write(r)
		w := p.watcher()
		if n, err := w.Once(t.Context()); err != nil || n != 3 {
			t.Fatal(n, err)
		}
		w.Close()
		if want := i / 2; len(p.sink.all) != want {
			t.Fatalf("%d alerts after %d refusals", len(p.sink.all), i+1)
		}
	}
	if a := p.sink.all[0]; a.Rule != Refusals || !slices.Equal(a.Evidence, []uint64{2, 5, 8}) {
		t.Errorf("%+v", a)
	}
}

// What is wrong with the log is told, and ends the watcher.
func TestWatcherTellsOfABrokenLog(t *testing.T) {
	for name, change := range map[string]func(p *place){
		"a line was changed": func(p *place) {
			path := filepath.Join(p.dir, audit.SegmentName(2))
			b, err := os.ReadFile(path)
			if err != nil {
				p.Fatal(err)
			}
			if err := os.WriteFile(path, bytes.Replace(b, []byte("ana"), []byte("eva"), 1), 0o600); err != nil {
				p.Fatal(err)
			}
		},
		"written anew": func(p *place) {
			if err := os.RemoveAll(p.dir); err != nil {
				p.Fatal(err)
			}
			p.write(refusal(ana, "x"), refusal(ana, "x"))
		},
		"a segment is gone": func(p *place) {
			p.write()
			if err := os.Remove(filepath.Join(p.dir, audit.SegmentName(2))); err != nil {
				p.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.write(refusal(ana, "x"))
			w := p.watcher()
			if _, err := w.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.Close()
			p.write(refusal(ana, "x"))
			change(p)
			if err := p.watcher().Run(t.Context()); !errors.Is(err, audit.ErrBreak) {
				t.Fatalf("error %v", err)
			}
			if n := len(p.sink.all); n != 1 || p.sink.all[0].Rule != LogBroken || p.sink.all[0].Severity != Critical {
				t.Errorf("%+v", p.sink.all)
			}
		})
	}
}

func TestWatcherTellsOfSilence(t *testing.T) {
	p := newPlace(t)
	p.write(refusal(ana, "x"))
	serves, now := false, time.Now()
	p.cfg.Serving, p.cfg.Now = func() bool { return serves }, func() time.Time { return now }
	w := p.watcher()
	defer w.Close()
	for _, c := range []struct {
		serves bool
		after  time.Duration
		want   int
	}{{true, 0, 0}, {false, time.Hour, 0}, {true, 0, 1}, {true, time.Hour, 1}} {
		serves, now = c.serves, now.Add(c.after)
		if _, err := w.Once(t.Context()); err != nil || len(p.sink.all) != c.want {
			t.Errorf("%+v: %+v, error %v", c, p.sink.all, err)
		}
	}
}

// Run ends with its context and keeps what it learned; a sink that fails stops nothing.
func TestWatcherRuns(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	p.cfg.Sinks = []Sink{failing{cancel}, &p.sink}
	p.write(refusal(ana, "x"), refusal(ana, "x"), refusal(ana, "x"))
	if err := p.watcher().Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.state); err != nil || len(p.sink.all) != 1 {
		t.Errorf("%d alerts, state: %v", len(p.sink.all), err)
	}
}

type failing struct{ did func() }

func (f failing) Send(context.Context, Alert) error {
	f.did()
	return errors.New("out of reach")
}

func TestSinks(t *testing.T) {
	a := Alert{Time: monday, Severity: Critical, Rule: Probing, Actor: ana, Reason: "words", Evidence: []uint64{1, 2}}
	var out bytes.Buffer
	if err := Lines(&out).Send(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	const want = `{"time":"2026-03-02T00:00:00Z","severity":"critical","rule":"probing","actor":"data_scientist/ana","reason":"words","evidence":[1,2]}` + "\n"
	if out.String() != want {
		t.Errorf("line %s", out.String())
	}

	registry := prometheus.NewRegistry()
	counter, err := NewCounter(registry)
	if err != nil {
		t.Fatal(err)
	}
	if err := counter.Send(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].Metric) != len(ids)*3 {
		t.Fatal(families, err)
	}
	sum := 0.0
	for _, m := range families[0].Metric {
		sum += m.GetCounter().GetValue()
	}
	if sum != 1 {
		t.Errorf("%v alerts were counted", sum)
	}

	var posted Alert
	status := http.StatusNoContent
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &posted); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
	}))
	defer web.Close()
	hook, err := NewWebhook(web.URL+"/secret-path", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := hook.Send(t.Context(), a); err != nil || posted.Rule != Probing {
		t.Errorf("posted %+v, error %v", posted, err)
	}
	status = http.StatusInternalServerError
	if err := hook.Send(t.Context(), a); err == nil {
		t.Error("no error for status 500")
	}
	web.Close()
	if err := hook.Send(t.Context(), a); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("error %v", err)
	}
	for _, address := range []string{"", "example.com", "http://example.com/x", "ftp://127.0.0.1/"} {
		if _, err := NewWebhook(address, nil); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}
