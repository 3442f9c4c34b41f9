// Package postgrestest runs a real PostgreSQL server for tests, from the PATH or where Debian
// puts it, on a unix socket in a folder of its own.
package postgrestest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running server. Its commits are not durable unless a session asks for it
// (synchronous_commit is off), so that a test can show that a session does.
type Server struct {
	// Dir holds the socket, .s.PGSQL.5432.
	Dir string

	start   func(t testing.TB)
	process *exec.Cmd
	schemas int
}

// Start starts a server and stops it when the test ends. Where PostgreSQL is not installed
// the test is skipped, or fails if CARDLAKE_REAL is 1.
func Start(t testing.TB) *Server {
	t.Helper()
	bin := folder()
	if bin == "" {
		if os.Getenv("CARDLAKE_REAL") == "1" {
			t.Fatal("PostgreSQL is not installed")
		}
		t.Skip("PostgreSQL is not installed")
	}
	// The path of a socket may have about a hundred bytes, which t.TempDir can exceed.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 { // as which PostgreSQL does not run
		attr.Credential = unprivileged(t, dir)
	}
	var output bytes.Buffer
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dir, attr, &output, &output
		return cmd
	}
	data := filepath.Join(dir, "data")
	if err := command("initdb", "-D", data, "-A", "trust", "-U", "cardlake", "-E", "UTF8", "--no-sync", "--no-locale").Run(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output.String())
	}
	s := &Server{Dir: dir}
	s.start = func(t testing.TB) {
		s.process = command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "synchronous_commit=off")
		if err := s.process.Start(); err != nil {
			t.Fatal(err)
		}
	}
	s.Restart(t)
	t.Cleanup(s.Stop)
	return s
}

// unprivileged hands dir to another user and returns that user.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func folder() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(slices.Max(found))
}

// Restart starts the server, after it was stopped, and returns when it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.start(t)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), s.URL("public"))
		if err == nil {
			_ = conn.Close(t.Context())
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("PostgreSQL does not answer: ", err)
		}
	}
}

// Stop ends the server's sessions and shuts it down (fast shutdown).
func (s *Server) Stop() { s.signal(syscall.SIGINT) }

// Crash ends the server at once, as if it crashed: it recovers from its log at the next
// Restart (immediate shutdown).
func (s *Server) Crash() { s.signal(syscall.SIGQUIT) }

func (s *Server) signal(sig syscall.Signal) {
	if s.process != nil {
		_ = s.process.Process.Signal(sig)
		_ = s.process.Wait()
		s.process = nil
	}
}

// URL names the server's database; unqualified names are those of the schema.
func (s *Server) URL(schema string) string {
	return fmt.Sprintf("postgres://cardlake@/postgres?host=%s&port=5432&sslmode=disable&search_path=%s", s.Dir, schema)
}

// Schema makes an empty schema, a database of one's own for one test, and returns its name.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	s.schemas++
	name := "s" + strconv.Itoa(s.schemas)
	s.Exec(t, "CREATE SCHEMA "+name)
	return name
}

// Exec runs a statement as the server's owner.
func (s *Server) Exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("public"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}
