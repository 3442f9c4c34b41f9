package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/queries/tail/tailtest"
	"github.com/cardlake/cardlake/sim"
)

// TestSeparateProcesses runs processor and worker as the binaries of their zones, on the
// keyrings and tenants of a folder, beside a broker of the test: the demo's path with process
// borders in it. Both are killed once on the way. Meanwhile cardlake query asks the worker
// over Arrow Flight for what is not committed yet.
func TestSeparateProcesses(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cardlake-processor", "../cardlake-worker", "../cardlake").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, wire.Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	f, err := openFolder(ctx, options{dir: t.TempDir(), seed: 1, tenants: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	dir, brokers := string(f.Dir), broker.ListenAddrs()[0]
	addr := freeAddr(t)

	var cards bytes.Buffer
	if err := card.WriteIssued(&cards, f.population.Cards()); err != nil {
		t.Fatal(err)
	}
	load := exec.CommandContext(ctx, filepath.Join(bin, "cardlake-processor"), "import", "-dir", dir)
	load.Stdin = &cards
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	processor := &restartable{t: t, path: filepath.Join(bin, "cardlake-processor"), args: []string{"serve", "-dir", dir, "-addr", addr, "-brokers", brokers}}
	worker := &restartable{t: t, path: filepath.Join(bin, "cardlake-worker"), args: []string{"run", "-dir", dir, "-brokers", brokers, "-window", "300ms", "-instance", "w1"}}
	tailAddr, certs := freeAddr(t), t.TempDir()
	writeCertificates(t, certs)
	in := func(name string) string { return filepath.Join(certs, name) }
	worker.args = append(worker.args, "-tail-listen", tailAddr, "-tail-tls-cert", in("worker.pem"), "-tail-tls-key", in("worker.key"),
		"-tail-client-ca", in("ca.pem"), "-tail-clients", "gateway")
	query := func() (out, notes string, err error) {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "cardlake"), "query", "-dir", dir, "-tail", strings.Replace(tailAddr, "127.0.0.1", "localhost", 1),
			"-tail-ca", in("ca.pem"), "-tail-cert", in("gateway.pem"), "-tail-key", in("gateway.key"),
			"SELECT count(*) - count(DISTINCT event_id) AS twice FROM cards.transactions")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err = cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	processor.start()
	worker.start()
	defer worker.stop()
	defer processor.stop()

	const events = 4000
	traffic, err := sim.Open(f.Simulator(), f.population, sim.RunConfig{Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer traffic.Close()
	var kills sync.WaitGroup
	kills.Go(func() {
		time.Sleep(1200 * time.Millisecond)
		processor.kill()
		time.Sleep(700 * time.Millisecond)
		worker.kill()
	})
	whole := 0 // answers to which nothing was lacking
	kills.Go(func() {
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
			out, notes, err := query()
			if err != nil {
				continue // the catalog is not there yet
			}
			if fields := strings.Fields(out); fields[len(fields)-1] != "0" {
				t.Errorf("rows are there twice:\n%s", out)
			}
			if !strings.Contains(notes, "without") {
				whole++
			}
		}
	})
	if _, err := traffic.Drive(ctx, sim.ClientConfig{Addr: addr, Timeout: time.Second}, events); err != nil {
		t.Fatalf("%v\n%s", err, processor.log())
	}
	kills.Wait()
	if whole == 0 {
		_, notes, err := query()
		t.Errorf("no answer had the whole tail; the last: %v\n%s\n%s", err, notes, worker.log())
	}
	for n := int64(0); n < events; {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d rows in the lake\n%s", n, events, worker.log())
		}
		time.Sleep(200 * time.Millisecond)
		if n, err = countRows(f.Dir); err != nil {
			n = 0 // the catalog is not there yet
		}
	}
	worker.stop()
	processor.stop()
	checkFolder(t, f, traffic, events)
}

// writeCertificates makes an authority and certificates of worker and gateway in a folder.
func writeCertificates(t *testing.T, dir string) {
	t.Helper()
	ca := tailtest.NewAuthority(t)
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", "CERTIFICATE", ca.DER())
	for name, c := range map[string]tls.Certificate{
		"worker":  ca.Issue("localhost", x509.ExtKeyUsageServerAuth, false),
		"gateway": ca.Issue("gateway", x509.ExtKeyUsageClientAuth, false),
	} {
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".pem", "CERTIFICATE", c.Certificate[0])
		write(name+".key", "PRIVATE KEY", key)
	}
}

// restartable is a process that can be killed and started again.
type restartable struct {
	t    *testing.T
	path string
	args []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	errs bytes.Buffer
}

func (r *restartable) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd = exec.Command(r.path, r.args...)
	r.cmd.Stderr = &r.errs
	if err := r.cmd.Start(); err != nil {
		r.t.Error(err)
	}
}

func (r *restartable) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.start()
}

// stop asks the process to end and fails the test unless it does so with code 0.
func (r *restartable) stop() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("%s: %v\n%s", filepath.Base(r.path), err, r.errs.String())
	}
	r.cmd = nil
}

// log is what the process wrote, after its end.
func (r *restartable) log() string {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
	return r.errs.String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}
