// Package trinotest runs a real Trino server for tests, over a lake that this module's own
// writer and catalog made: Iceberg's catalog in PostgreSQL, objects in an S3 service.
//
// The server needs about 2.5 GiB of memory and a Java of version 24 or later. It is Maven
// Central's io.trino:trino-server, 0.8 GB, which is fetched once with Maven.
package trinotest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Config says what a server is to be like. The zero value is usable.
type Config struct {
	// Catalogs are the properties of each catalog, by its name.
	Catalogs map[string]string
	// Rules are those of file-based access control, as JSON; none means that everything is
	// allowed.
	Rules string
	// Heap is Java's in MiB; 0 means 1800.
	Heap int
}

// Server is a running server.
type Server struct {
	URL string // http://127.0.0.1:port

	process *exec.Cmd
	output  *output
}

// output keeps the end of what the server says.
type output struct{ bytes.Buffer }

func (o *output) Write(p []byte) (int, error) {
	if o.Len() > 1<<20 {
		o.Next(o.Len() / 2)
	}
	return o.Buffer.Write(p)
}

// Installation is what a server is started from.
type Installation struct{ home, java string }

// Find returns the installation, after fetching it if it is not there. Unless CARDLAKE_REAL is 1
// the test is skipped. It comes before NewLake, which leaves the module's folder.
func Find(t testing.TB) Installation {
	t.Helper()
	if os.Getenv("CARDLAKE_REAL") != "1" {
		t.Skip("CARDLAKE_REAL is not 1")
	}
	home, err := distribution(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	java, err := java(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return Installation{home, java}
}

// Start starts a server and stops it when the test ends.
func (in Installation) Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Heap == 0 {
		cfg.Heap = 1800
	}
	dir := t.TempDir()
	port := freePort(t)
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", port), output: &output{}}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, properties := range cfg.Catalogs {
		write("catalog/"+name+".properties", properties)
	}
	config := write("config.properties", fmt.Sprintf(`coordinator=true
node-scheduler.include-coordinator=true
node.bind-ip=127.0.0.1
node.internal-address=127.0.0.1
http-server.http.port=%d
discovery.uri=%s
catalog.config-dir=%s
plugin.dir=%s
query.max-memory=600MB
query.max-memory-per-node=600MB
memory.heap-headroom-per-node=300MB
query.max-history=50
query.min-expire-age=30s
task.concurrency=2
access-control.config-files=%s
`, port, s.URL, filepath.Join(dir, "catalog"), filepath.Join(in.home, "plugin"), write("access-control.properties", accessControl(cfg.Rules, write))))
	// The flags that the server's launcher gives (core/trino-server-main, jvm.config).
	s.process = exec.Command(in.java, fmt.Sprintf("-Xmx%dM", cfg.Heap), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:+ExitOnOutOfMemoryError", "-XX:-OmitStackTraceInFastThrow", "-XX:ReservedCodeCacheSize=256M",
		"-Djdk.attach.allowAttachSelf=true", "-Djdk.nio.maxCachedBufferSize=2000000", "-Dfile.encoding=UTF-8",
		"--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow", "--add-modules=jdk.incubator.vector",
		"--add-opens=java.base/java.nio=ALL-UNNAMED", "-Dnode.environment=test", "-Dnode.id=test", "-Dnode.data-dir="+filepath.Join(dir, "data"),
		"-Dconfig="+config, "-cp", filepath.Join(in.home, "lib", "*"), "io.trino.server.TrinoServer")
	s.process.Dir, s.process.Stdout, s.process.Stderr = dir, s.output, s.output
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- s.process.Wait() }()
	t.Cleanup(func() {
		_ = s.process.Process.Kill()
		<-exited
	})
	s.await(t, exited)
	return s
}

func accessControl(rules string, write func(name, content string) string) string {
	if rules == "" {
		return "access-control.name=allow-all\n"
	}
	return "access-control.name=file\nsecurity.config-file=" + write("rules.json", rules) + "\n"
}

// await returns when the server answers.
func (s *Server) await(t testing.TB, exited chan error) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	for {
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("Trino ended: %v\n%s", err, s.tail())
		case <-deadline:
			t.Fatalf("Trino does not answer\n%s", s.tail())
		case <-time.After(200 * time.Millisecond):
		}
		res, err := http.Get(s.URL + "/v1/info")
		if err != nil {
			continue
		}
		var info struct {
			Starting bool `json:"starting"`
		}
		err = json.NewDecoder(res.Body).Decode(&info)
		res.Body.Close()
		if err == nil && !info.Starting {
			return
		}
	}
}

// tail is the end of the server's output.
func (s *Server) tail() string {
	lines := strings.Split(s.output.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
