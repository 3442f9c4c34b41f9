package export_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// TestKilled: a process is killed while it writes files; another one's export has every row
// once, and nothing of the first stays.
func TestKilled(t *testing.T) {
	const env = "CARDLAKE_EXPORT_KILLED"
	const rows = 12_000
	if dir := os.Getenv(env); dir != "" {
		w := newWorld(t, 1, rows, func(w *world) {
			w.dir = filepath.Join(dir, "jobs")
			w.deps.Files = &faulty{Store: objects.NewSealed(filepath.Join(dir, "files"), objectstest.NewKeys(), objects.SealedConfig{}), put: func(n int64) error {
				if n == 3 {
					fmt.Println("WRITTEN")
					select {} // until it is killed
				}
				return nil
			}}
		})
		r := plain(export.CSV)
		r.MaxFileBytes, r.Key = 1<<20, "killed"
		w.run(ana, r)
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), env+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 0, 1000)
	for !bytes.Contains(text, []byte("WRITTEN")) {
		n, err := out.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	w := newWorld(t, 1, rows, func(w *world) {
		w.dir = filepath.Join(dir, "jobs")
		w.files = objects.NewSealed(filepath.Join(dir, "files"), w.keys, objects.SealedConfig{})
		w.deps.Files = w.files
	})
	jobs, err := w.List(t.Context(), ana)
	if err != nil || len(jobs) != 1 || jobs[0].State != export.Running {
		t.Fatal(jobs, err)
	}
	if j, err := w.RunOne(t.Context(), jobs[0].ID, nil); err != nil || j.Attempt != 1 {
		t.Fatalf("it was begun beside the process that runs it: attempt %d, %v", j.Attempt, err)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	j, err := w.RunOne(t.Context(), jobs[0].ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantDone(t, j)
	events := map[string]bool{}
	for _, f := range j.Files[1:] {
		for _, line := range w.lines(ana, j, f.Number)[1:] {
			if events[line[0]] {
				t.Fatal("a row is there twice")
			}
			events[line[0]] = true
		}
	}
	if len(events) != rows || j.Attempt != 2 || w.objects() != len(j.Files) {
		t.Errorf("%d rows after attempt %d, %d objects of %d files", len(events), j.Attempt, w.objects(), len(j.Files))
	}
	usage := w.run(ana, export.Request{Table: table, Format: export.CSV, To: queriestest.Epoch.Add(time.Second)})
	wantDone(t, usage)
}

// TestTwoProcesses: two services on one folder run each export once.
func TestTwoProcesses(t *testing.T) {
	w := newWorld(t, 6, 200, nil)
	w.permit(queriestest.Everything)
	const n = 12
	var ids []string
	for i := range n {
		r := plain(export.CSV)
		r.Tenant = queriestest.Tenants[i%3].Name
		j, _, err := w.Start(t.Context(), ana, r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, s := range []*export.Service{w.Service, w.open()} {
		go func() { ended <- s.Run(ctx) }()
	}
	for _, id := range ids {
		for {
			j, err := w.Job(t.Context(), ana, id)
			if err != nil {
				t.Fatal(err)
			}
			if j.State.IsFinal() {
				wantDone(t, j)
				if j.Attempt != 1 {
					t.Errorf("it was begun %d times", j.Attempt)
				}
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := w.objects(); got != 2*n {
		t.Errorf("%d objects", got)
	}
	if left, err := os.ReadDir(filepath.Join(w.dir, "running")); err != nil || len(left) != 0 {
		t.Errorf("%d locks stay, %v", len(left), err)
	}
}

// TestFair: tenants take turns, however many exports one of them asks for.
func TestFair(t *testing.T) {
	w := newWorld(t, 6, 10, func(w *world) { w.cfg.Workers = 1 })
	w.permit(queriestest.Everything)
	for _, tenant := range []cardlake.Tenant{"aurora", "aurora", "aurora", "aurora", "bolivar", "cobre"} {
		w.clock.add(time.Second)
		if _, _, err := w.Start(t.Context(), ana, export.Request{Tenant: tenant, Table: table, Format: export.CSV}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for {
		w.clock.add(time.Millisecond)
		jobs, err := w.List(t.Context(), ana)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(jobs, func(j *export.Job) bool { return !j.State.IsFinal() }) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	var order []string
	for _, r := range w.log.Records() {
		if r.Action == "export.finished" {
			order = append(order, r.Detail["tenant"])
		}
	}
	if got := strings.Join(order[:3], " "); got != "aurora bolivar cobre" {
		t.Errorf("in order: %v", order)
	}
}

// TestShutdown: a job whose process ends properly is begun anew, and that is not a failure of it.
func TestShutdown(t *testing.T) {
	w := newWorld(t, 1, 3000, nil)
	j, _, err := w.Start(t.Context(), ana, plain(export.CSV))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		if j, err = w.RunOne(ctx, j.ID, func(*export.Job) { cancel() }); err != nil || j.State != export.Queued || j.Attempt != 0 {
			t.Fatalf("the export is %s after attempt %d, %v", j.State, j.Attempt, err)
		}
	}
	if j, err = w.RunOne(t.Context(), j.ID, nil); err != nil {
		t.Fatal(err)
	}
	wantDone(t, j)
}
