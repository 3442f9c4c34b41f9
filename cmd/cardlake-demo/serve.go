package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"

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

// keepServing keeps everything running with live traffic until ctx ends, and serves /status,
// /healthz (the process runs) and /readyz (the last commit is no older than three windows).
func keepServing(ctx context.Context, f *folder, h *host, traffic *sim.Run, live *live, o options, stderr io.Writer) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		age := time.Since(h.worker.Stats().LastCommit)
		if age > 3*o.window {
			http.Error(w, fmt.Sprintf("no commit for %.1f s", age.Seconds()), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := h.status(r.Context(), traffic)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s)
	})
	listener, err := net.Listen("tcp", o.serve)
	if err != nil {
		return fmt.Errorf("serve status: %w (another address with -serve)", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(stderr, "status     http://%s/status  Ctrl-C ends the demo\n", listener.Addr())

	err = drive(ctx, f, h, traffic, live, o, math.MaxInt64) // until ctx ends
	live.clear()
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := server.Shutdown(shutdown); e != nil {
		err = errors.Join(err, e)
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if ctx.Err() != nil {
		return nil // asked to end
	}
	return err
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
