package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries/webhook"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// count appends rows of two days of each tenant, in one partition of the stream, and the control
// totals of them. It returns the first day.
func (f *fed) count(t *testing.T) (day string) {
	t.Helper()
	first := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -2)
	w, totals := f.writer.Open(), writers.NewTotals(f.lake.Store, f.tenants, writers.Config{}).Open()
	defer w.Release()
	defer totals.Release()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := int64(0)
	for _, r := range f.tenants.All() {
		sequence := int64(1)
		for _, minute := range []time.Time{first.Add(23*time.Hour + 59*time.Minute), first.Add(24 * time.Hour)} {
			c := &cardlake.ControlTotal{
				Region: "south", Processor: "aaaaaaaaaaaaaaaa", Tenant: r.Name, Minute: minute.UnixMicro(), FirstSequence: sequence,
				EmittedAt: minute.UnixMicro() + 75_000_000, IngestedAt: minute.UnixMicro() + 76_000_000,
			}
			c.Amount.Currency, c.ApprovedAmount.Currency = "CLP", "CLP"
			for i := range 5 {
				tx := writerstest.Bare()
				tx.EventID, tx.Tenant = cardlake.EventID{7, byte(n)}, r.Name
				tx.EventTime = minute.Add(time.Duration(i) * 10 * time.Second).UnixMicro()
				tx.Position.Offset = n
				n++
				fatal(w.Add(tx))
				c.Events, c.Amount.Minor = c.Events+1, c.Amount.Minor+tx.Amount.Minor
			}
			sequence += c.Events
			c.LastSequence = sequence - 1
			c.Position = cardlake.Position{StreamPartition: writerstest.Bare().Position.StreamPartition, Offset: 1000 + sequence}
			fatal(totals.Add(c))
		}
	}
	to := cardlake.Positions{writerstest.Bare().Position.StreamPartition: {Next: 2000}}
	files, err := w.Flush(t.Context(), nil, to)
	fatal(err)
	_, err = f.table.Append(t.Context(), catalog.Append{Files: files, To: to})
	fatal(err)
	table, err := f.lake.Table(t.Context(), cardlake.ControlTotals)
	fatal(err)
	files, err = totals.Flush(t.Context(), nil, to)
	fatal(err)
	_, err = table.Append(t.Context(), catalog.Append{Files: files, To: to})
	fatal(err)
	return first.Format(time.DateOnly)
}

// hooks takes webhooks.
type hooks struct {
	mu     sync.Mutex
	secret webhook.Secret
	ids    []string
	bodies []string
	bad    int
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if webhook.Verify(r.Header, body, time.Now(), 0, h.secret) != nil {
		h.bad++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.ids, h.bodies = append(h.ids, r.Header.Get(webhook.HeaderID)), append(h.bodies, string(body))
}

func (h *hooks) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids)
}

// TestReadyAndEvents: a day that is over and complete is listed, and told of, signed.
func TestReadyAndEvents(t *testing.T) {
	f := newFed(t)
	day := f.count(t)
	t.Setenv("CARDLAKE_AS", "")
	do := func(args ...string) (string, string, error) {
		var out, errs bytes.Buffer
		err := changesCommand(t.Context(), args, &out, &errs)
		return out.String(), errs.String(), err
	}
	dir := []string{"-dir", string(f.dir)}
	out, errs, err := do(append([]string{"ready"}, dir...)...)
	if err != nil || strings.Count(out, day) != 3 || !strings.Contains(out, day+"  aurora   5     yes") || strings.Count(out, "yes") != 3 {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	out, errs, err = changesOf(t, f.dir, "-since", "start", "-watermark")
	var end struct{ Cardlake marker }
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || json.Unmarshal([]byte(lines[len(lines)-1]), &end) != nil || len(end.Cardlake.ValidThrough) != 3 || end.Cardlake.Rows != 30 {
		t.Fatalf("%v: %s%s", err, lines[len(lines)-1], errs)
	}

	h := &hooks{secret: webhook.NewSecret()}
	server := httptest.NewServer(h)
	defer server.Close()
	folder := t.TempDir()
	file := filepath.Join(folder, "subscribers.json")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(folder, "s"), h.secret.Reveal()+"\n")
	subscribers := `{"subscribers": [{"name": "warehouse", "principal": "data_scientist/local", "url": "` + server.URL + `", "secret_file": "s"}], "allow": ["127.0.0.0/8"]}`
	write(file, subscribers)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- changesCommand(ctx, append([]string{"events", "run", "-subscribers", file}, dir...), io.Discard, io.Discard)
	}()
	for start := time.Now(); h.count() < 3 && time.Since(start) < time.Minute; {
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if h.count() != 3 || h.bad > 0 || !strings.Contains(h.bodies[0], `"detail-type":"Partition Ready"`) || !strings.Contains(h.bodies[0], `"sums":{"CLP":"-5.0000"}`) {
		t.Fatalf("%d events, %d bad: %v", h.count(), h.bad, h.bodies)
	}
	if out, errs, err := do(append([]string{"events", "list", "-tenant", "aurora"}, dir...)...); err != nil || !strings.Contains(out, `"Sent":["warehouse"]`) {
		t.Errorf("list: %v: %s%s", err, out, errs)
	}
	if _, errs, err := do(append([]string{"events", "send", "-subscribers", file, "-tenant", "aurora", "-day", day, "-to", "warehouse"}, dir...)...); err != nil || h.count() != 4 || h.ids[3] != h.ids[0] {
		t.Errorf("send: %v: %s, %v", err, errs, h.ids)
	}

	for want, args := range map[string][]string{
		"say what to do":        {"events"},
		"there is no \"watch\"": {"events", "watch"},
		"needs -subscribers":    {"events", "run"},
		"needs -tenant":         {"events", "list"},
		"needs -day and -to":    {"events", "send", "-subscribers", file, "-tenant", "aurora"},
		"-days is from":         {"ready", "-days", "0"},
		"unknown format":        {"ready", "-format", "csv"},
		"not permitted":         {"ready", "-as", "tenant_service/nobody", "-dir", string(f.dir)},
	} {
		if out, errs, err := do(args...); err == nil || out != "" || !strings.Contains(errs+err.Error(), want) {
			t.Errorf("%v: %v: %s%.300s", args, err, out, errs)
		}
	}
	for want, text := range map[string]string{
		"unknown field":         strings.Replace(subscribers, "url", "uri", 1),
		"secret_file":           strings.Replace(subscribers, `"s"`, `"missing"`, 1),
		"principal":             strings.Replace(subscribers, "data_scientist/local", "x", 1),
		"not a public":          strings.Replace(subscribers, "127.0.0.0/8", "10.0.0.0/8", 1),
		"allow":                 strings.Replace(subscribers, "127.0.0.0/8", "everything", 1),
		"a webhook needs a URL": strings.Replace(subscribers, server.URL, "http://example.com", 1),
	} {
		write(file, text)
		if _, _, err := do(append([]string{"events", "run", "-subscribers", file}, dir...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
