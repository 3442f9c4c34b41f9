package iceberg

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/postgrestest"
)

const postgresSocket = ".s.PGSQL.5432"

// postgresServer is a real PostgreSQL server.
type postgresServer struct {
	*postgrestest.Server
	newest string // schema
}

func (s *postgresServer) admin(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.URL("public"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
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
	schema, proxy := s.Schema(t), startProxy(t, s.Dir)
	s.newest = schema
	through := *s.Server
	through.Dir = proxy.dir
	return adapter{
		open: func(t *testing.T, store *memoryStore, readOnly bool) (*Catalog, error) {
			return Open(t.Context(), Config{DB: through.URL(schema) + "&lock_timeout=1500", Objects: store, ReadOnly: readOnly})
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
	release := s.lockTable(t, s.newest)
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

	s.Stop()
	next = rangeAppend(0, 20, 30)
	if _, err := tbl.Append(t.Context(), next); err == nil || errors.Is(err, catalog.ErrUnknown) || errors.Is(err, catalog.ErrConflict) {
		t.Errorf("append without a server: %v, want an error of its own", err)
	}
	s.Restart(t)
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
