package doors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/grants/grantstest"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/views"
	"github.com/cardlake/cardlake/writers/objects"
)

// door is a way to the lake.
type door struct {
	name string
	// format is that of answers.
	format render.Format
	// hasTail says that what is not committed yet is read too.
	hasTail bool
	// isThorough says that each door like it need not be asked as much.
	isThorough bool
	// isSlow says that each question costs a process of its own.
	isSlow bool
	ask    func(p grants.Principal, sql string) answer
	// list lists the tables, describe the columns of one.
	list     func(p grants.Principal) answer
	describe func(p grants.Principal, table string) answer
}

// answer is all that comes out of a door.
type answer struct {
	rows    string // the answer proper
	aside   string // what is told besides: state, headers, footers
	refusal string // empty if it was answered
}

// all is every byte that came out.
func (a answer) all() string { return a.rows + "\n" + a.aside + "\n" + a.refusal }

// world is one lake with its grants and the record of what was read, in this process.
type world struct {
	gateway *queries.Gateway
	grants  *grants.Grants
	log     *queriestest.Log
	lake    *queriestest.Lake
}

// newWorld makes the lake, without the rows of the tenants in without.
func newWorld(tb testing.TB, without ...cardlake.Tenant) *world {
	tb.Helper()
	w := &world{grants: grantstest.Open(tb, policies, register()...), log: &queriestest.Log{}, lake: lakeOf(tb, without...)}
	parser := embedded.NewParser()
	tb.Cleanup(func() { parser.Close() })
	engine := embedded.New(w.lake, w.lake, embedded.Config{Threads: 1, Tail: tail{without}, AnswerBytes: 16 << 20})
	w.gateway = queries.New(parser, engine, w.grants, w.log, queries.Config{Timeout: time.Minute, Views: views.All})
	return w
}

func caller(p grants.Principal) grants.Caller { return grants.Caller{Principal: p, Origin: "test"} }

// direct is the gateway as jobs and the dashboard have it.
func (w *world) direct(name string, format render.Format) door {
	return door{
		name: "gateway " + name, format: format, hasTail: true,
		ask: func(p grants.Principal, sql string) (a answer) {
			defer func() {
				if v := recover(); v != nil {
					a = answer{rows: fmt.Sprintf("panic: %v", v)} // which is no refusal
				}
			}()
			r, err := w.gateway.Query(context.Background(), caller(p), sql)
			if err != nil {
				return answer{refusal: err.Error()}
			}
			defer r.Close()
			var rows, aside bytes.Buffer
			if err := format(context.Background(), &rows, r); err != nil {
				return answer{rows: rows.String(), refusal: err.Error()}
			}
			for _, s := range r.Snapshots() {
				s.ID, s.CommittedAt, s.ReadAt = 0, time.Time{}, time.Time{} // of all tenants' commits, and public
				fmt.Fprintf(&aside, "%+v\n", s)
			}
			return answer{rows: rows.String(), aside: aside.String()}
		},
		list: func(p grants.Principal) answer {
			tables, err := w.gateway.Tables(context.Background(), caller(p))
			if err != nil {
				return answer{refusal: err.Error()}
			}
			var rows strings.Builder
			for _, t := range tables {
				fmt.Fprintln(&rows, t.Table.FullName(), t.Snapshot.Files, t.Snapshot.Bytes, t.Snapshot.Rows, t.Snapshot.Positions, t.Columns)
			}
			return answer{rows: rows.String()}
		},
		describe: func(p grants.Principal, table string) answer {
			t, err := w.gateway.Describe(context.Background(), caller(p), table)
			if err != nil {
				return answer{refusal: err.Error()}
			}
			var rows strings.Builder
			for _, c := range t.Columns {
				fmt.Fprintln(&rows, c.Name, c.Access)
			}
			return answer{rows: rows.String()}
		},
	}
}

// byHeader signs in whom a header names. Real sign-in has tests of its own.
type byHeader struct{}

func (byHeader) FromRequest(r *http.Request) (grants.Caller, error) {
	p, err := grants.ParsePrincipal(r.Header.Get("Test-Principal"))
	if err != nil {
		return grants.Caller{}, &signin.Error{Reason: signin.NoCredentials}
	}
	return grants.Caller{Principal: p, Origin: "test"}, nil
}

func (byHeader) Origin(*http.Request) string { return "test" }

// http is the server's door.
func (w *world) http(tb testing.TB, name, contentType string, format render.Format) door {
	tb.Helper()
	d, _ := w.httpDoor(tb, name, contentType, format)
	return d
}

// httpDoor is the door, and how a call is made, with the headers of its answer.
func (w *world) httpDoor(tb testing.TB, name, contentType string, format render.Format) (door, func(p grants.Principal, method, path, body string) (answer, http.Header)) {
	tb.Helper()
	server, err := api.New(api.Deps{Gateway: w.gateway, SignIn: byHeader{}, Permits: w.grants, Recorder: w.log},
		api.Config{PerMinute: 1_000_000, Burst: 1_000_000, PerPrincipal: 100, Queries: 100, SpoolDir: tb.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	listener := httptest.NewServer(server.Handler())
	tb.Cleanup(server.Close)
	tb.Cleanup(listener.Close)
	call := func(p grants.Principal, method, path, body string) (answer, http.Header) {
		r, err := http.NewRequest(method, listener.URL+path, strings.NewReader(body))
		if err != nil {
			return answer{refusal: err.Error()}, nil
		}
		r.Header.Set("Test-Principal", p.String())
		r.Header.Set("Content-Type", "application/json")
		if method == http.MethodPost {
			r.Header.Set("Accept", contentType)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return answer{refusal: err.Error()}, nil
		}
		defer response.Body.Close()
		var out bytes.Buffer
		if _, err := out.ReadFrom(response.Body); err != nil {
			return answer{rows: out.String(), refusal: err.Error()}, nil
		}
		told := response.Header.Clone()
		for _, varies := range []string{"X-Request-Id", "Date", "Content-Length", "Cardlake-As-Of", "Cardlake-Query", "Link", "Location"} {
			told.Del(varies)
		}
		aside := fmt.Sprint(told, response.Trailer)
		if response.StatusCode >= 300 {
			return answer{aside: aside, refusal: withoutRequest(out.Bytes())}, response.Header
		}
		return answer{rows: out.String(), aside: aside}, response.Header
	}
	do := func(p grants.Principal, method, path, body string) answer {
		a, _ := call(p, method, path, body)
		return a
	}
	return door{
		name: "HTTP " + name, format: format, hasTail: true,
		ask: func(p grants.Principal, sql string) answer {
			body, err := json.Marshal(map[string]string{"sql": sql})
			if err != nil {
				return answer{refusal: err.Error()}
			}
			a := do(p, http.MethodPost, "/v1/query", string(body))
			if name == "json" && a.refusal == "" {
				return rowsOf(a)
			}
			return a
		},
		list:     func(p grants.Principal) answer { return do(p, http.MethodGet, "/v1/tables", "") },
		describe: func(p grants.Principal, table string) answer { return do(p, http.MethodGet, "/v1/tables/"+table, "") },
	}, call
}

// withoutRequest takes a problem's request id out, which every one has of its own.
func withoutRequest(problem []byte) string {
	var fields map[string]any
	if json.Unmarshal(problem, &fields) != nil {
		return string(problem)
	}
	delete(fields, "request")
	delete(fields, "instance")
	text, err := json.Marshal(fields)
	if err != nil {
		return string(problem)
	}
	return string(text)
}

// rowsOf takes the rows out of the server's JSON.
func rowsOf(a answer) answer {
	const begin = `,"rows":`
	head, rest, ok := strings.Cut(a.rows, begin)
	rows, end, isEnded := strings.Cut(rest, `,"end":`)
	switch {
	case !ok || !isEnded:
		return answer{rows: a.rows, refusal: "the answer has no rows or no end"}
	case strings.Contains(end, `"error"`):
		return answer{rows: rows, refusal: end}
	}
	if i := strings.Index(head, `"columns"`); i >= 0 {
		a.aside += head[i:]
	}
	return answer{rows: rows, aside: a.aside + end}
}

// folder is a lake on disk, as cardlake-worker leaves one.
type folder struct{ dir, binary string }

// newFolder makes it, and builds the program that reads it.
func newFolder(tb testing.TB) folder {
	tb.Helper()
	f := folder{dir: tb.TempDir(), binary: filepath.Join(tb.TempDir(), "cardlake")}
	build := exec.Command("go", "build", "-o", f.binary, "github.com/cardlake/cardlake/cmd/cardlake")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	ctx, dir := tb.Context(), home.Dir(f.dir)
	if err := dir.Make(); err != nil {
		tb.Fatal(err)
	}
	ring, err := local.CreateFile(dir.LakeKeyring(), dir.LakeSecret(), keys.LakePurposes)
	if err != nil {
		tb.Fatal(err)
	}
	owners := []keys.Owner{keys.Lake}
	for _, t := range tenants {
		owners = append(owners, owner(t))
	}
	if err := ring.EnsureOwners(ctx, owners...); err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(register())
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(dir.Tenants(), text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(grantstest.Folder(tb, policies, register()...), dir.Grants()); err != nil {
		tb.Fatal(err)
	}
	store := objects.NewSealed(dir.Objects(), ring, objects.SealedConfig{})
	lake, err := iceberg.Open(ctx, iceberg.Config{DB: dir.Catalog(), Objects: store})
	if err != nil {
		tb.Fatal(err)
	}
	defer lake.Close()
	for _, o := range committed(tb) {
		if err := store.Put(ctx, o.file.Name, owner(o.file.Tenant), o.body); err != nil {
			tb.Fatal(err)
		}
		table, err := lake.Table(ctx, o.table)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := table.Append(ctx, catalog.Append{Files: []cardlake.DataFile{o.file}}); err != nil {
			tb.Fatal(err)
		}
	}
	return f
}

// cli is the command line's door.
func (f folder) cli(name string, format render.Format) door {
	run := func(p grants.Principal, args ...string) answer {
		cmd := exec.Command(f.binary, append([]string{args[0], "-dir", f.dir, "-as", p.String(), "-format", name}, args[1:]...)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			return answer{rows: out.String(), refusal: err.Error() + ": " + errs.String()}
		}
		return answer{rows: out.String(), aside: errs.String()}
	}
	return door{
		name: "CLI " + name, format: format, isSlow: true,
		ask:      func(p grants.Principal, sql string) answer { return run(p, "query", sql) },
		list:     func(p grants.Principal) answer { return run(p, "tables") },
		describe: func(p grants.Principal, table string) answer { return run(p, "describe", table) },
	}
}
