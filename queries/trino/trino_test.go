package trino_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/x509"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/trino"
)

// coordinator answers as Trino's REST protocol has it, and keeps what it was asked.
type coordinator struct {
	*httptest.Server
	answer func(c *coordinator, page int) any // of the page; nil holds it until the client goes

	mu       sync.Mutex
	requests []*http.Request
	sql      string
}

func newCoordinator(t *testing.T, answer func(c *coordinator, page int) any) *coordinator {
	c := &coordinator{answer: answer}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *coordinator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	c.requests = append(c.requests, r)
	if r.Method == http.MethodPost {
		c.sql = string(body)
	}
	c.mu.Unlock()
	if r.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	page := 0
	if r.Method == http.MethodGet {
		fmt.Sscanf(r.URL.Path, "/v1/statement/executing/q1/%d", &page)
	}
	a := c.answer(c, page)
	if a == nil {
		<-r.Context().Done()
		return
	}
	_ = json.NewEncoder(w).Encode(a)
}

// asked returns the requests of a method so far.
func (c *coordinator) asked(method string) (out []*http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

type page map[string]any

func (c *coordinator) next(n int) string {
	return fmt.Sprintf("%s/v1/statement/executing/q1/%d", c.URL, n)
}

var stats = page{"state": "RUNNING", "physicalInputBytes": 1234, "processedRows": 56, "progressPercentage": 50.0}

func column(name, typ string, args ...any) page {
	if args == nil {
		args = []any{}
	}
	return page{"name": name, "type": typ, "typeSignature": page{"rawType": strings.Split(typ, "(")[0], "arguments": args}}
}

// rows answers rows of one BIGINT, page by page for ever.
func endless(c *coordinator, n int) any {
	p := page{"id": "q1", "infoUri": c.URL, "nextUri": c.next(n + 1), "stats": stats}
	if n > 0 {
		p["columns"] = []any{column("c1", "bigint")}
		p["data"] = [][]any{{n}}
	}
	return p
}

type secret struct{}

func (secret) Authorization(context.Context) (string, error) { return "Bearer s3cret", nil }

func (c *coordinator) engine(t *testing.T, change func(*trino.Config)) *queries.Gateway {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(c.Certificate())
	cfg := trino.Config{Server: c.URL, Catalog: "lake", User: "cardlake", Credentials: secret{}, RootCAs: pool}
	if change != nil {
		change(&cfg)
	}
	lake := queriestest.NewLake()
	if err := lake.Fill(3, 5); err != nil {
		t.Fatal(err)
	}
	e, err := trino.New(history{lake}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	return queries.New(parser, e, queriestest.Only(nil, "aurora"), &queriestest.Log{}, queries.Config{})
}

// history has the lake as it was with its first files.
type history struct{ *queriestest.Lake }

func (h history) PlanAt(ctx context.Context, t *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	s, files, err := h.Plan(ctx, t)
	if err != nil || id > s.ID {
		return s, nil, queries.ErrNoSnapshot
	}
	return catalog.Snapshot{ID: id}, files[:id], nil
}

// TestQueryAt: the statement names the snapshot and the one tenant, and columns come in batches.
func TestQueryAt(t *testing.T) {
	c := newCoordinator(t, func(c *coordinator, n int) any {
		if n == 0 {
			return endless(c, 0)
		}
		return page{"id": "q1", "columns": []any{column("c1", "bigint")}, "data": [][]any{{7}, {8}}, "stats": stats}
	})
	g := c.engine(t, nil)
	at := queries.At{Snapshots: map[string]int64{"cards.transactions": 2}, Tenant: "aurora"}
	r, err := g.QueryAt(t.Context(), queriestest.Caller, at, countSQL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !strings.Contains(c.sql, `FROM "lake"."cards"."transactions" FOR VERSION AS OF 2 WHERE "tenant" IN ('aurora'))`) {
		t.Errorf("asked %s", c.sql)
	}
	if s := r.Snapshots()[0]; s.ID != 2 || s.Rows != 5 {
		t.Errorf("snapshot %+v", s)
	}
	b, err := r.NextBatch()
	if err != nil || b.NumRows() != 2 || b.Column(0).(*array.Int64).Value(1) != 8 {
		t.Errorf("batch %v, %v", b, err)
	}
	for _, at := range []queries.At{{Tenant: "bolivar"}, {Snapshots: map[string]int64{"cards.transactions": 4}}} {
		asked := len(c.asked(http.MethodPost))
		if _, err := g.QueryAt(t.Context(), queriestest.Caller, at, countSQL); err == nil || len(c.asked(http.MethodPost)) > asked {
			t.Errorf("%+v: %v, and the server was asked %d times more", at, err, len(c.asked(http.MethodPost))-asked)
		}
	}
}

const countSQL = "SELECT count(*) FROM cards.transactions"

func TestWhatIsAsked(t *testing.T) {
	c := newCoordinator(t, func(c *coordinator, n int) any {
		if n == 0 {
			return endless(c, 0)
		}
		return page{"id": "q1", "columns": []any{column("c1", "bigint")}, "data": [][]any{{7}}, "stats": stats}
	})
	g := c.engine(t, func(cfg *trino.Config) { cfg.Session = map[string]string{"task_concurrency": "2"} })
	a, err := ask(t.Context(), g, countSQL)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.rows) != 1 || a.rows[0][0] != int64(7) {
		t.Errorf("answered %v", a.rows)
	}
	if !strings.Contains(c.sql, `FROM "lake"."cards"."transactions" FOR VERSION AS OF 3 WHERE "tenant" IN ('aurora')`) {
		t.Errorf("asked %s", c.sql)
	}
	post := c.asked(http.MethodPost)[0]
	for header, want := range map[string]string{
		"X-Trino-User": "cardlake", "X-Trino-Source": "cardlake", "X-Trino-Time-Zone": "UTC", "Authorization": "Bearer s3cret",
	} {
		if got := post.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if got := strings.Join(post.Header.Values("X-Trino-Client-Tags"), ","); !strings.Contains(got, "kind=data_scientist") {
		t.Errorf("tags %q", got)
	}
	if got := strings.Join(post.Header.Values("X-Trino-Session"), ","); !strings.Contains(got, "query_max_run_time=") || !strings.Contains(got, "task_concurrency=2") {
		t.Errorf("session %q", got)
	}
	for _, r := range c.requests {
		if strings.Contains(r.URL.String(), "s3cret") {
			t.Error("a URL holds the credential")
		}
	}
	if len(c.asked(http.MethodDelete)) > 0 {
		t.Error("a statement that was over was ended")
	}
}

// The credential goes to the server that was configured, whatever that server says.
func TestCredentialStaysWithTheServer(t *testing.T) {
	var got []string
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = append(got, r.Header.Get("Authorization")) }))
	defer other.Close()
	c := newCoordinator(t, func(c *coordinator, n int) any {
		return page{"id": "q1", "nextUri": other.URL + "/v1/statement/executing/q1/1", "stats": stats}
	})
	pool := x509.NewCertPool()
	pool.AddCert(c.Certificate())
	pool.AddCert(other.Certificate())
	_, err := ask(t.Context(), c.engine(t, func(cfg *trino.Config) { cfg.RootCAs = pool }), countSQL)
	if err == nil || len(got) > 0 {
		t.Errorf("another server was asked %d times, error %v", len(got), err)
	}
	if err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Error("the error holds the credential")
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestCancelled(t *testing.T) {
	c := newCoordinator(t, func(c *coordinator, n int) any {
		if n == 0 {
			return endless(c, 0)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(c.asked(http.MethodGet)) == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := ask(ctx, c.engine(t, nil), countSQL); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if d := c.asked(http.MethodDelete); len(d) == 0 || d[0].URL.Path != "/v1/query/q1" || d[0].Header.Get("Authorization") == "" {
		t.Errorf("the statement was not ended on the server: %d requests", len(d))
	}
}

func TestClosedEarly(t *testing.T) {
	c := newCoordinator(t, endless)
	r, err := c.engine(t, nil).Query(t.Context(), queriestest.Caller, countSQL)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]any, 1)
	for want := range int64(3) {
		if err := r.Next(row); err != nil || row[0] != want+1 {
			t.Fatal(row, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	await(t, "the statement was not ended on the server", func() bool { return len(c.asked(http.MethodDelete)) > 0 })
}

func TestFailures(t *testing.T) {
	for name, want := range map[string]struct {
		name, kind, message string
		is                  error
		isFault             bool
	}{
		"of a value":     {name: "INVALID_CAST_ARGUMENT", kind: "USER_ERROR", message: "Cannot cast 'row content' to INT", isFault: true},
		"of the text":    {name: "NOT_SUPPORTED", kind: "USER_ERROR", message: "Correlated subquery is not supported", isFault: true},
		"of time":        {name: "EXCEEDED_TIME_LIMIT", kind: "INSUFFICIENT_RESOURCES", message: "row content", is: queries.ErrTimeout},
		"of bytes":       {name: "EXCEEDED_SCAN_LIMIT", kind: "INSUFFICIENT_RESOURCES", message: "row content", isFault: true},
		"of permissions": {name: "PERMISSION_DENIED", kind: "USER_ERROR", message: "Access Denied: row content"},
		"of the server":  {name: "ICEBERG_BAD_DATA", kind: "EXTERNAL", message: "s3://bucket/row content"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCoordinator(t, func(c *coordinator, n int) any {
				if n == 0 {
					return endless(c, 0)
				}
				return page{"id": "q1", "stats": stats, "error": page{"message": want.message, "errorName": want.name, "errorType": want.kind}}
			})
			_, err := ask(t.Context(), c.engine(t, nil), countSQL)
			var fault *queries.Error
			if err == nil || errors.As(err, &fault) != want.isFault || want.is != nil && !errors.Is(err, want.is) {
				t.Errorf("error %#v", err)
			}
			if err != nil && strings.Contains(err.Error(), "row content") {
				t.Errorf("the error quotes a row: %v", err)
			}
			if fault != nil && fault.Offset != -1 {
				t.Error("a place in what was printed is given as one in the statement")
			}
		})
	}
}

// An answer of other types than were printed is none.
func TestOtherTypes(t *testing.T) {
	c := newCoordinator(t, func(c *coordinator, n int) any {
		return page{"id": "q1", "columns": []any{column("c1", "integer")}, "data": [][]any{{7}}, "stats": stats, "nextUri": c.next(n + 1)}
	})
	if _, err := ask(t.Context(), c.engine(t, nil), countSQL); err == nil || !strings.Contains(err.Error(), "not int64") {
		t.Errorf("error %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := trino.Config{Server: "https://trino.example:8443", Catalog: "lake", User: "cardlake", Credentials: secret{}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*trino.Config){
		"needs https":            func(c *trino.Config) { c.Server, c.Credentials = "http://trino.example:8080", nil },
		"sent by https alone":    func(c *trino.Config) { c.Server = "http://127.0.0.1:8080" },
		"more than a scheme":     func(c *trino.Config) { c.Server = "https://user:pass@trino.example" },
		"is not a URL":           func(c *trino.Config) { c.Server = "trino.example" },
		"Catalog must be set":    func(c *trino.Config) { c.Catalog = "" },
		"User must be set":       func(c *trino.Config) { c.User = "" },
		"must not be negative":   func(c *trino.Config) { c.MaxTime = -1 },
		"a scheme, a host and a": func(c *trino.Config) { c.Server = "https://trino.example/?SSLVerification=NONE" },
	} {
		c := good
		change(&c)
		if _, err := trino.New(nil, c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A certificate that nobody vouches for is refused.
func TestUnknownCertificate(t *testing.T) {
	c := newCoordinator(t, endless)
	g := c.engine(t, func(cfg *trino.Config) { cfg.RootCAs = x509.NewCertPool() })
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := ask(ctx, g, countSQL); err == nil {
		t.Error("the server was believed")
	}
	if n := len(c.asked(http.MethodPost)); n > 0 {
		t.Errorf("%d statements were sent to it", n)
	}
}

func TestColumnsAsksNobody(t *testing.T) {
	c := newCoordinator(t, endless)
	columns, err := c.engine(t, nil).Columns(t.Context(), queriestest.Caller, "SELECT tenant, sum(amount) AS s FROM cards.transactions GROUP BY 1")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{columns[0].Name, columns[1].Name}
	if !slices.Equal(names, []string{"tenant", "s"}) || len(c.requests) > 0 {
		t.Errorf("%v after %d requests", columns, len(c.requests))
	}
}
