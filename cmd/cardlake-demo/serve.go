package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/sim"
)

// status is what GET /status answers while the demo is served.
type status struct {
	Answered   uint64  `json:"answered"`
	Approved   uint64  `json:"approved"`
	Lag        int64   `json:"lag"`
	LakeRows   int64   `json:"lake_rows"`
	LakeFiles  int64   `json:"lake_files"`
	Commits    int64   `json:"commits"`
	Duplicates int64   `json:"duplicates_dropped"`
	NewestRowS float64 `json:"newest_row_age_seconds"`
	Processor  string  `json:"processor"`
	Broker     string  `json:"broker"`
}

// keepServing keeps everything running with live traffic until ctx ends, and serves the dashboard
// with its API, and before them /status, /healthz (the process runs) and /readyz (the last commit
// is no older than three windows).
func keepServing(ctx context.Context, f *folder, h *host, traffic *sim.Run, live *live, o options, log *slog.Logger, stderr io.Writer) error {
	doors, err := doorsOf(f, h, o)
	if err != nil {
		return err
	}
	doors.Before = map[string]http.Handler{
		"/healthz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }),
		"/readyz": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			age := time.Since(h.worker.Stats().LastCommit)
			if age > 3*o.window {
				http.Error(w, fmt.Sprintf("no commit for %.1f s", age.Seconds()), http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, "ok")
		}),
		"/status": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := h.status(r.Context(), traffic)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(s)
		}),
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	served := make(chan error, 1)
	go func() {
		err := serving.Run(running, doors, log, stderr)
		end(err) // without its doors the demo ends
		served <- err
	}()
	fmt.Fprintf(stderr, "status     http://%s/status  Ctrl-C ends the demo\n", o.serve)

	err = drive(running, f, h, traffic, live, o, math.MaxInt64) // until ctx ends
	live.clear()
	end(nil)
	if e := <-served; e != nil {
		return fmt.Errorf("serve: %w (another address with -serve)", e)
	}
	if ctx.Err() != nil {
		return nil // asked to end
	}
	return err
}

// doorsOf are those of "cardlake serve" over the demo's folder, with sign-in for trying out, and
// with the rows that the worker has not committed yet.
func doorsOf(f *folder, h *host, o options) (serving.Options, error) {
	doors := serving.Options{Tail: ownTail{h.worker}, Brief: true}
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	doors.Define(fs)
	if err := errors.Join(fs.Parse([]string{"-dir", string(f.Dir), "-listen", o.serve, "-dev-sign-in", "-watermarks", "data_scientist/local"}), doors.Complete()); err != nil {
		return doors, err
	}
	if at := serving.ProductsDir(f.Dir); !exists(at) {
		if err := products.Init(at); err != nil {
			return doors, err
		}
	}
	return doors, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ownTail is the tail of the demo's own worker.
type ownTail struct{ worker *ingest.Worker }

// Tail implements queries.Tail.
func (t ownTail) Tail(_ context.Context, from cardlake.Positions) (queries.TailRows, error) {
	rows, err := t.worker.Tail(from)
	if err != nil {
		return queries.TailRows{}, err
	}
	return queries.TailRows{To: rows.To, Records: rows.Rows, Free: rows.Release}, nil
}

func (h *host) status(ctx context.Context, traffic *sim.Run) (status, error) {
	lag, err := h.lag(ctx)
	if err != nil {
		return status{}, err
	}
	snapshot, err := h.table.Current(ctx)
	if err != nil {
		return status{}, err
	}
	p, w := traffic.Progress(), h.worker.Stats()
	s := status{
		Answered: p.Answered, Approved: p.Approved, Lag: lag, LakeRows: snapshot.Rows, LakeFiles: snapshot.Files,
		Commits: w.Commits, Duplicates: w.Duplicates, Processor: h.server.Addr().String(), Broker: h.brokers()[0],
	}
	if !w.Watermark.IsZero() {
		s.NewestRowS = time.Since(w.Watermark).Seconds()
	}
	return s, nil
}
