package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cardlake/cardlake/internal/postgrestest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/vaulttest"
)

const owner keys.Owner = "ownera"

func openTest(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestStore runs the suite, and what only this adapter has to show, on one real server.
func TestStore(t *testing.T) {
	server := postgrestest.Start(t)
	t.Run("Suite", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) vaulttest.Place {
			url := server.URL(server.Schema(t))
			return vaulttest.Place{Shared: true, Open: func(t testing.TB) (vault.Store, func()) {
				s, err := Open(t.Context(), Config{URL: url})
				if err != nil {
					t.Fatal(err)
				}
				return s, func() { s.Close() }
			}}
		})
	})
	t.Run("OpensAtOnce", func(t *testing.T) { opensAtOnce(t, server) })
	t.Run("LooksUpByIndex", func(t *testing.T) { looksUpByIndex(t, server) })
	t.Run("RefusesANewerFormat", func(t *testing.T) { refusesANewerFormat(t, server) })
	t.Run("AsksForThePassword", func(t *testing.T) { asksForThePassword(t, server) })
	t.Run("SurvivesCrashes", func(t *testing.T) { survivesCrashes(t, server) })
}

func opensAtOnce(t *testing.T, server *postgrestest.Server) {
	url := server.URL(server.Schema(t))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			s, err := Open(t.Context(), Config{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	all.Wait()
	s := openTest(t, url)
	var n int
	if err := s.pool.QueryRow(t.Context(), "SELECT count(*) FROM cardlake_vault_format").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d formats, %v", n, err)
	}
	for setting, want := range map[string]string{
		"synchronous_commit": "on", "default_transaction_isolation": "read committed", "lock_timeout": "10s", "application_name": "cardlake-vault",
	} {
		var got string
		if err := s.pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", setting, got, err, want)
		}
	}
}

// looksUpByIndex asks for the plans on a table of which the planner knows nothing.
func looksUpByIndex(t *testing.T, server *postgrestest.Server) {
	s := openTest(t, server.URL(server.Schema(t)))
	changes := make([]vault.Change, 5000)
	for i := range changes {
		changes[i] = vault.Change{Token: tokenize.Token{Version: i + 1}, New: []byte("value")}
	}
	if err := s.Write(t.Context(), owner, changes); err != nil {
		t.Fatal(err)
	}
	versions, values := make([]int32, 1000), make([][]byte, 1000)
	for statement, args := range map[string][]any{
		readSQL:   {string(owner), versions, values},
		scanSQL:   {string(owner), int32(0), []byte{}, 1000},
		updateSQL: {string(owner), int32(1), []byte{}, []byte{}, []byte{}},
		deleteSQL: {string(owner), int32(1), []byte{}, []byte{}},
	} {
		rows, err := s.pool.Query(t.Context(), "EXPLAIN "+statement, args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan := strings.Join(lines, "\n")
		if err != nil || !strings.Contains(plan, "Index Scan using cardlake_vault_pkey") || strings.Contains(plan, "Sort") ||
			statement != scanSQL && !strings.Contains(plan, "AND (bits = ") {
			t.Errorf("%v\n%s\n%s", err, statement, plan)
		}
	}
}

func refusesANewerFormat(t *testing.T, server *postgrestest.Server) {
	schema := server.Schema(t)
	openTest(t, server.URL(schema))
	server.Exec(t, fmt.Sprintf("UPDATE %s.cardlake_vault_format SET format = %d", schema, vault.Format+1))
	if _, err := Open(t.Context(), Config{URL: server.URL(schema)}); !errors.Is(err, vault.ErrFormat) {
		t.Errorf("error %v, want ErrFormat", err)
	}
}

func asksForThePassword(t *testing.T, server *postgrestest.Server) {
	asked, broken := 0, errors.New("the password cannot be read")
	url := server.URL(server.Schema(t))
	s, err := Open(t.Context(), Config{URL: url, Password: func(context.Context) (string, error) { asked++; return "secret of a test", nil }})
	if err != nil || asked == 0 {
		t.Fatalf("asked %d times, %v", asked, err)
	}
	s.Close()
	if _, err := Open(t.Context(), Config{URL: url, Password: func(context.Context) (string, error) { return "", broken }}); !errors.Is(err, broken) {
		t.Errorf("error %v, want the password's", err)
	}
}

// survivesCrashes crashes the server while several vaults pin: what they acknowledged is there.
func survivesCrashes(t *testing.T, server *postgrestest.Server) {
	url := server.URL(server.Schema(t))
	openTest(t, url)
	card := func(n int) tokenize.Card {
		c := tokenize.Card{Candidates: []tokenize.Token{{Version: 2}, {Version: 1}}, Sealed: fmt.Appendf(nil, "%0100d", n)}
		for i := range c.Candidates {
			copy(c.Candidates[i].Bits[:], fmt.Sprintf("%016x", n*7919))
		}
		return c
	}
	var mu sync.Mutex
	acknowledged, next := map[int]bool{}, 0
	for range 3 {
		stop := make(chan struct{})
		enough := sync.OnceFunc(func() { close(stop) })
		var all sync.WaitGroup
		failures := 0
		for range 3 {
			s, err := Open(t.Context(), Config{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			v := vault.New(s, vault.Config{})
			all.Go(func() {
				for i := 0; ; i++ {
					mu.Lock()
					next++
					n := next / 2 // two vaults have the same card
					mu.Unlock()
					_, err := v.Pin(t.Context(), owner, []tokenize.Card{card(n)})
					mu.Lock()
					if err != nil {
						failures++
						mu.Unlock()
						return
					}
					acknowledged[n] = true
					mu.Unlock()
					if i == 40 {
						enough()
					}
				}
			})
		}
		<-stop
		server.Crash()
		all.Wait()
		if failures != 3 {
			t.Errorf("%d of 3 vaults noticed the crash", failures)
		}
		server.Restart(t)
	}
	s := openTest(t, url)
	v := vault.New(s, vault.Config{})
	for n := range acknowledged {
		c := card(n)
		if sealed, err := v.Sealed(t.Context(), owner, c.Candidates[0]); err != nil || string(sealed) != string(c.Sealed) {
			t.Errorf("card %d of %d that were acknowledged: %v", n, len(acknowledged), err)
		}
	}
	counts, err := v.Count(t.Context(), owner)
	if err != nil || counts.Cards != counts.Indexes || counts.Cards < len(acknowledged) {
		t.Errorf("%+v, %v of %d acknowledged cards: some are half pinned", counts, err, len(acknowledged))
	}
}

func TestClassify(t *testing.T) {
	for state, isRetried := range map[string]bool{
		"40001": true, "40P01": true,
		"40003": false, "55P03": false, "57014": false, "57P01": false, "53100": false, "23505": false, "08006": false,
	} {
		if err := classify(&pgconn.PgError{Code: state}); errors.Is(err, vault.ErrChanged) != isRetried {
			t.Errorf("SQLSTATE %s: %v", state, err)
		}
	}
}

func TestConfig(t *testing.T) {
	for url, want := range map[string]error{
		"postgres://u@db.example.com/vault":                                        ErrTLS, // prefer: falls back to none
		"postgres://u@db.example.com/vault?sslmode=disable":                        ErrTLS,
		"postgres://u@db.example.com/vault?sslmode=require":                        ErrTLS, // any certificate
		"postgres://u@db.example.com/vault?sslmode=verify-full":                    nil,
		"postgres://u@127.0.0.1/vault?sslmode=disable":                             nil,
		"postgres://u@[::1]/vault":                                                 nil,
		"postgresql://u@localhost/vault":                                           nil,
		"postgres://u@/vault?host=/run/postgresql":                                 nil,
		"postgres://u@/vault?host=localhost,db.example.com&sslmode=disable":        ErrTLS,
		"postgres://u@a.example.com,b.example.com/vault?sslmode=verify-full":       nil,
		"postgres://u@/vault?host=a.example.com,b.example.com&sslmode=verify-full": nil,
		"postgres://u:hunter2@db.example.com/vault?sslmode=verify-full":            ErrPassword,
		"postgres://u:@db.example.com/vault?sslmode=verify-full":                   ErrPassword,
		"postgres://u@db.example.com/vault?sslmode=verify-full&password=hunter2":   ErrPassword,
		"host=db.example.com password=hunter2":                                     ErrURL,
		"postgres://u:hunter2@h:port/vault":                                        ErrURL,
		"mysql://u@db.example.com/vault":                                           ErrURL,
		"":                                                                         ErrURL,
	} {
		_, err := (&Config{URL: url}).pool()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password", url)
		}
	}
}
