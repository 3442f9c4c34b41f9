package iceberg

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardlake/cardlake/catalog"
)

// postgresServer is a real PostgreSQL server on a unix socket.
type postgresServer struct {
	socketDir string
	schemas   int
	start     func() (stop func())
	stop      func()
}

const postgresSocket = ".s.PGSQL.5432"

// startPostgres starts a server of the installed PostgreSQL, from the PATH or where Debian
// puts it, and stops it when the test ends. Where there is none the test is skipped, unless
// CARDLAKE_REAL is 1.
func startPostgres(t *testing.T) *postgresServer {
	t.Helper()
	bin := postgresFolder()
	if bin == "" {
		if os.Getenv("CARDLAKE_REAL") == "1" {
			t.Fatal("PostgreSQL is not installed")
		}
		t.Skip("PostgreSQL is not installed")
	}
	// The path of a socket may have about a hundred bytes.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 { // as which PostgreSQL does not run
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
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
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
	s := &postgresServer{socketDir: dir}
	s.start = func() func() {
		server := command("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "synchronous_commit=off")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
			_ = server.Wait()
		}
	}
	s.stop = s.start()
	t.Cleanup(func() { s.stop() })
	s.waitReady(t)
	return s
}

func (s *postgresServer) waitReady(t *testing.T) {
	t.Helper()
	db := s.admin(t)
	for deadline := time.Now().Add(30 * time.Second); db.Ping() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("PostgreSQL does not answer")
		}
	}
}

func postgresFolder() string {
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

func (s *postgresServer) url(dir, schema string) string {
	return fmt.Sprintf("postgres://cardlake@/postgres?host=%s&port=5432&sslmode=disable&lock_timeout=1500&search_path=%s", dir, schema)
}

func (s *postgresServer) admin(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.url(s.socketDir, "public"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// newSchema makes an empty schema: a catalog of its own.
func (s *postgresServer) newSchema(t *testing.T) string {
	t.Helper()
	s.schemas++
	name := "s" + strconv.Itoa(s.schemas)
	if _, err := s.admin(t).Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	return name
}

// lockTable keeps the rows of the schema's tables from being changed until release is called.
func (s *postgresServer) lockTable(t *testing.T, schema string) (release func()) {
	t.Helper()
	tx, err := s.admin(t).Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("SELECT 1 FROM " + schema + ".iceberg_tables FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

func newPostgresAdapter(t *testing.T, s *postgresServer) adapter {
	schema, proxy := s.newSchema(t), startProxy(t, s.socketDir)
	return adapter{
		open: func(t *testing.T, store *memoryStore, readOnly bool) (*Catalog, error) {
			return Open(t.Context(), Config{DB: s.url(proxy.dir, schema), Objects: store, ReadOnly: readOnly})
		},
		fail: func(t *testing.T, _ *Table, f fault) {
			if f == refusal { // by a lock that is held for too long
				release := s.lockTable(t, schema)
				proxy.onAnswer(release)
				return
			}
			proxy.arm(f)
		},
	}
}

// proxy stands between the catalog and the server and loses the answer to a swap.
type proxy struct {
	dir, target string

	mu     sync.Mutex
	armed  *fault
	answer func()
	wg     sync.WaitGroup
}

func startProxy(t *testing.T, targetDir string) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, postgresSocket))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{dir: dir, target: filepath.Join(targetDir, postgresSocket)}
	p.wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		p.wg.Wait()
		os.RemoveAll(dir)
	})
	return p
}

func (p *proxy) arm(f fault) {
	p.mu.Lock()
	p.armed = &f
	p.mu.Unlock()
}

// onAnswer calls f when the next swap was answered, before the client hears of it.
func (p *proxy) onAnswer(f func()) {
	p.mu.Lock()
	p.answer = f
	p.mu.Unlock()
}

func (p *proxy) take() (f *fault, answer func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, answer = p.armed, p.answer
	p.armed, p.answer = nil, nil
	return f, answer
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", p.target)
	if err != nil {
		return // the client sees it, as if the server were down
	}
	defer server.Close()
	var mu sync.Mutex
	isMute := false // the answers do not go to the client any more
	var answer func()
	answered := make(chan struct{}, 1)
	p.wg.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			mu.Lock()
			mute, act := isMute, answer
			answer = nil
			mu.Unlock()
			if mute {
				select {
				case answered <- struct{}{}:
				default:
				}
			} else if n > 0 {
				if act != nil {
					act()
				}
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 && bytes.Contains(buf[:n], []byte("UPDATE iceberg_tables")) {
			f, act := p.take()
			mu.Lock()
			answer = act
			isMute = f != nil
			mu.Unlock()
			switch {
			case f == nil:
			case *f == before:
				return
			case *f == after:
				if _, err := server.Write(buf[:n]); err == nil {
					<-answered
				}
				return
			case *f == late:
				client.Close()
				time.Sleep(lateBy)
				if _, err := server.Write(buf[:n]); err == nil {
					<-answered
				}
				return
			}
		}
		if n > 0 {
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				return
			}
			return
		}
	}
}

// checkOutages takes the server away from a commit: its session is ended while the
// swap waits for a lock, and then the whole server is stopped and started again.
func checkOutages(t *testing.T, s *postgresServer) {
	a := newPostgresAdapter(t, s)
	store := newStore()
	tbl := a.mustTable(t, store)
	mustAppend(t, tbl, rangeAppend(0, 0, 10))
	release := s.lockTable(t, "s"+strconv.Itoa(s.schemas))
	next := rangeAppend(0, 10, 20)
	result := make(chan error, 1)
	go func() {
		_, err := tbl.Append(t.Context(), next)
		result <- err
	}()
	db := s.admin(t)
	for n := 0; n == 0; time.Sleep(10 * time.Millisecond) {
		if err := db.QueryRow(`SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE iceberg_tables%'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-result; !errors.Is(err, catalog.ErrUnknown) {
		t.Errorf("append in a session that is ended: %v, want unknown", err)
	}
	release()
	a.mustRecover(t, store, next, false)

	s.stop()
	next = rangeAppend(0, 20, 30)
	if _, err := tbl.Append(t.Context(), next); err == nil || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrConflict) {
		t.Errorf("append without a server: %v, want an error of its own", err)
	}
	s.stop = s.start()
	s.waitReady(t)
	mustAppend(t, tbl, next)
	a.mustRecover(t, store, next, true)

	var setting string
	if err := sqlDB(tbl).QueryRow("SHOW synchronous_commit").Scan(&setting); err != nil || setting != "on" {
		t.Errorf("synchronous_commit is %s, %v", setting, err)
	}
}

func TestPostgresNeedsTLS(t *testing.T) {
	for url, isAllowed := range map[string]bool{
		"postgres://u@db.example.com/lake":                                        false, // prefer: falls back to none
		"postgres://u@db.example.com/lake?sslmode=disable":                        false,
		"postgres://u@db.example.com/lake?sslmode=require":                        false, // any certificate
		"postgres://u@db.example.com/lake?sslmode=verify-full":                    true,
		"postgres://u@127.0.0.1/lake?sslmode=disable":                             true,
		"postgres://u@[::1]/lake":                                                 true,
		"postgresql://u@localhost/lake":                                           true,
		"postgres://u@/lake?host=/run/postgresql":                                 true,
		"postgres://u@/lake?host=localhost,db.example.com&sslmode=disable":        false,
		"postgres://u@/lake?host=a.example.com,b.example.com&sslmode=verify-full": true,
	} {
		if _, err := postgresConfig(url, false); (err == nil) != isAllowed {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestPostgresErrorsHideThePassword(t *testing.T) {
	for _, url := range []string{"postgres://u:hunter2@db.example.com/lake?sslmode=disable", "postgres://u:hunter2@h:port/lake"} {
		if _, err := Open(t.Context(), Config{DB: url, Objects: newStore()}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open: %v", err)
		}
	}
}

func TestClassifyPostgres(t *testing.T) {
	for state, want := range map[string]outcome{
		"40001": lost, "40P01": lost,
		"57014": failed, "55P03": failed, "23505": failed, "42501": failed, "25006": failed, "53100": failed,
		"57P01": unknown, "57P02": unknown, "08006": unknown, "40003": unknown, "58030": unknown, "XX000": unknown,
	} {
		if got := classifyPostgres(fmt.Errorf("write: %w", &pgconn.PgError{Code: state})); got != want {
			t.Errorf("SQLSTATE %s is classified %v, want %v", state, got, want)
		}
	}
	for _, err := range []error{io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, errors.New("other")} {
		if got := classifyPostgres(err); got != unknown {
			t.Errorf("%v is classified %v", err, got)
		}
	}
}
