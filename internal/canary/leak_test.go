package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2/ocf"
	"github.com/parquet-go/parquet-go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/ingest/telemetry"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/queries/render"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/queries/tail/tailtest"
	"github.com/cardlake/cardlake/writers/objects"
)

// TestNothingLeaves sends card numbers and authentication data through the whole system and
// looks for them wherever it can leave something. Then it plants one in each of those places,
// to see that it would have been found.
func TestNothingLeaves(t *testing.T) {
	f := newFlow(t)
	f.process()
	through := f.c.detector() // all that the processor was given
	through.in(t, "the stream that the processor wrote", f.folder(f.dir.Broker()))
	f.hostile()

	w, view := f.worker(time.Hour)
	stop := f.run(w.Run)
	ends := 0
	for p := range partitions {
		ends += int(f.broker.PartitionInfo("cardlake.transactions", int32(p)).HighWatermark)
	}
	for end := time.Now().Add(30 * time.Second); w.Stats().Records < int64(ends) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	s := w.Stats()
	if s.Records != int64(ends) || s.Rows < 100 || s.Rejected["undecodable"] == 0 || s.Rejected["unopenable"] == 0 || s.Rejected["unknown_tenant"] == 0 || s.Rejected["unknown_schema"] == 0 {
		t.Errorf("the records did not go all ways: %d of %d, %d rows, rejected %v", s.Records, ends, s.Rows, s.Rejected)
	}
	f.service.provoke()
	flight := f.flight(w)
	if rows := bytes.Count(flight, []byte("\n{")); rows < 100 {
		t.Errorf("the tail showed %d rows only", rows)
	}
	stop()

	channels := f.channels(w, view)
	channels["tail over Flight"] = flight
	d := f.c.detector()
	for name, b := range channels {
		d.in(t, name, b)
		if len(b) == 0 {
			t.Errorf("%s: nothing was captured", name)
		}
	}
	if !bytes.Contains(channels["query of cards.transactions"], []byte("SUPERMERCADO LUNA")) || !bytes.Contains(channels["parquet"], []byte("SUPERMERCADO LUNA")) {
		t.Error("the search did not see what the rows hold")
	}
	f.plant(w, view)
}

// channels are all places but the tail where the system may have left something, and what is
// there, decrypted and unpacked.
func (f *flow) channels(w *ingest.Worker, view *telemetry.View) map[string][]byte {
	f.t.Helper()
	f.check(f.traces.ForceFlush(f.t.Context()))
	status, err := json.Marshal(view.Report())
	f.check(err)
	out := map[string][]byte{
		"logs": f.log.Bytes(), "answers and errors": f.answers.Bytes(), "goroutine stacks": f.stacks.Bytes(),
		"traces": f.collector.Bytes(), "metrics": f.page(), "status": status,
		"statistics": fmt.Appendf(nil, "%+v %+v", w.Stats(), w.Status()),
		"audit log":  f.folder(f.dir.Audit("")), "vault": f.folder(f.dir.Vault()), "ledger": f.folder(f.dir.Ledger()),
		"catalog": f.folder(filepath.Dir(f.dir.Catalog())), "temporary files and folder": f.folder(string(f.dir), "broker"),
	}
	for info, err := range f.store.List(f.t.Context(), "") {
		f.check(err)
		body, err := objects.ReadAll(f.t.Context(), f.store, info.Name)
		f.check(err)
		kind := "metadata"
		switch filepath.Ext(info.Name) {
		case ".parquet":
			kind = "parquet"
			body = append(body, f.pages(body)...)
		case ".avro":
			kind = "manifests"
			body = append(body, f.records(body)...)
		}
		out[kind] = append(out[kind], body...)
	}
	// What the data makes of a statement; what its author wrote himself is his own.
	for _, sql := range []string{
		"SELECT CAST(merchant_name AS INTEGER) FROM cards.transactions", "SELECT CAST(detail AS DATE) FROM cards.transactions_rejected",
		"SELECT CAST(rrn AS BIGINT), sqrt(-length(merchant_city)) FROM cards.transactions", "SELECT CAST(card_token AS DOUBLE) FROM cards.transactions",
	} {
		out["SQL errors"] = append(out["SQL errors"], f.query(sql, nil)...)
	}
	for _, table := range cardlake.Tables {
		out["query of "+table.FullName()] = f.query("SELECT * FROM "+table.FullName(), nil)
	}
	return out
}

// folder is the content of all files in a folder, except what begins with one of the names.
func (f *flow) folder(dir string, except ...string) (all []byte) {
	f.t.Helper()
	f.check(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || slices.ContainsFunc(except, func(name string) bool {
			return strings.HasPrefix(path, filepath.Join(dir, name)+string(filepath.Separator))
		}) {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(append(all, path...), b...)
		return err
	}))
	return all
}

// pages are the values of a Parquet file's pages and dictionaries, unpacked, as text.
func (f *flow) pages(body []byte) []byte {
	f.t.Helper()
	file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	f.check(err)
	out := fmt.Appendf(nil, "%+v", file.Metadata())
	for _, group := range file.RowGroups() {
		for _, column := range group.ColumnChunks() {
			pages := column.Pages()
			for {
				page, err := pages.ReadPage()
				if err != nil {
					break // io.EOF
				}
				if dictionary := page.Dictionary(); dictionary != nil {
					for i := range dictionary.Len() {
						out = fmt.Appendf(out, "%v\n", dictionary.Index(int32(i)))
					}
				}
				values := make([]parquet.Value, page.NumValues())
				n, _ := page.Values().ReadValues(values)
				for _, v := range values[:n] {
					out = append(append(out, v.String()...), '\n')
				}
			}
			f.check(pages.Close())
		}
	}
	return out
}

// records are those of an Avro file, unpacked, as text.
func (f *flow) records(body []byte) (out []byte) {
	f.t.Helper()
	d, err := ocf.NewDecoder(bytes.NewReader(body))
	f.check(err)
	for d.HasNext() {
		var record any
		f.check(d.Decode(&record))
		out = fmt.Appendf(out, "%v\n", record)
	}
	f.check(d.Error())
	return out
}

// query is a statement's answer as JSON, or its error in words.
func (f *flow) query(sql string, t queries.Tail) []byte {
	f.t.Helper()
	parser := embedded.NewParser()
	defer parser.Close()
	engine := embedded.New(embedded.Tables(f.catalog.Table), f.store, embedded.Config{Tail: t, TailTimeout: 20 * time.Second})
	result, err := queries.New(parser, engine, queriestest.Everything, &queriestest.Log{}, queries.Config{}).Query(f.t.Context(), queriestest.Caller, sql)
	if err != nil {
		return fmt.Appendf(nil, "%v %+v %#v", err, err, err)
	}
	defer result.Close()
	var out bytes.Buffer
	if err := render.JSON(f.t.Context(), &out, result); err != nil {
		fmt.Fprintf(&out, "%v %+v %#v", err, err, err)
	}
	return out.Bytes()
}

// flight asks the worker for its tail over Arrow Flight, as a gateway does.
func (f *flow) flight(w *ingest.Worker) []byte {
	f.t.Helper()
	ca := tailtest.NewAuthority(f.t)
	server, err := tailserver.New(w, tailserver.Config{
		Certificate: ca.Server("localhost"), ClientCAs: ca.Pool(), Clients: []string{"gateway"}, Log: f.logger("tail"),
	})
	f.check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.check(err)
	defer f.run(func(ctx context.Context) error { return server.Serve(ctx, l) })()
	_, port, err := net.SplitHostPort(l.Addr().String())
	f.check(err)
	client, err := tail.New(net.JoinHostPort("localhost", port), ca.Client("gateway"), tail.Config{})
	f.check(err)
	defer client.Close()
	return f.query("SELECT * FROM cards.transactions", client)
}

// plant puts a canary into each channel the way a fault of the program would, and fails the
// test where it is not found.
func (f *flow) plant(w *ingest.Worker, view *telemetry.View) {
	f.t.Helper()
	ctx := f.t.Context()
	want := map[string]string{} // channel to place
	planted := func(channel string) string {
		want[channel] = "a leak into " + channel
		return f.c.pan(want[channel])
	}
	f.logger("fault").Debug("decode", "field", planted("logs"))
	fmt.Fprintf(&f.answers, "%v", fmt.Errorf("parse %s: %w", planted("answers and errors"), errors.ErrUnsupported))
	_, span := f.traces.Tracer("fault").Start(ctx, "take")
	span.SetAttributes(attribute.String("card", planted("traces")))
	span.End()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fault", ConstLabels: prometheus.Labels{"card": planted("metrics")}})
	f.check(f.metrics.Register(gauge))
	for channel, dir := range map[string]string{
		"audit log": f.dir.Audit("vault"), "vault": f.dir.Vault(), "ledger": f.dir.Ledger(),
		"catalog": filepath.Dir(f.dir.Catalog()), "temporary files and folder": os.TempDir(),
	} {
		f.check(os.WriteFile(filepath.Join(dir, "fault"), []byte(planted(channel)), 0o600))
	}
	// A row that quotes what it could not read, in an object like any other.
	object := func(name string, body []byte) { f.check(f.store.Put(ctx, name, keys.Lake, body)) }
	type row struct {
		Detail string `parquet:"detail,dict,zstd"`
	}
	var file bytes.Buffer
	rows := parquet.NewGenericWriter[row](&file)
	_, err := rows.Write([]row{{"field " + planted("parquet")}})
	f.check(errors.Join(err, rows.Close()))
	object("data/fault.parquet", file.Bytes())
	file.Reset()
	manifest, err := ocf.NewEncoder(`{"type":"record","name":"r","fields":[{"name":"bound","type":"string"}]}`, &file, ocf.WithCodec(ocf.ZStandard))
	f.check(err)
	f.check(errors.Join(manifest.Encode(map[string]any{"bound": planted("manifests")}), manifest.Close()))
	object("metadata/fault.avro", file.Bytes())
	object("metadata/fault.json", []byte(planted("metadata")))

	channels, d := f.channels(w, view), f.c.detector()
	for channel, place := range want {
		f.t.Run("planted in "+channel, func(t *testing.T) {
			if !slices.ContainsFunc(d.leaks(channels[channel]), func(s string) bool { return strings.Contains(s, place) }) {
				t.Error("it was not found")
			}
		})
	}
	for _, channel := range slices.Sorted(maps.Keys(channels)) {
		if want[channel] == "" {
			f.t.Run("put into "+channel, func(t *testing.T) {
				if d.leaks(append(channels[channel], f.issued[0]...)) == nil {
					t.Error("it was not found")
				}
			})
		}
	}
}

// asCrash makes the test binary end in a panic of the numbered kind.
const asCrash = "CARDLAKE_TEST_CRASH"

// crashes end a process while it has a card number in its hands.
var crashes = []func(*crashing){
	func(c *crashing) { panic(c.message) },
	func(c *crashing) { panic(c.issued) },
	func(c *crashing) {
		panic(fmt.Sprintf("%v %+v %#v %s", c.message.PAN, c.message, c.issued, c.message.PAN))
	},
	func(c *crashing) { panic(fmt.Errorf("open: %w", c.parse())) },
	func(c *crashing) { c.encode() },
	func(c *crashing) { c.decode() },
	func(c *crashing) { c.tokenise() },
	func(c *crashing) {
		slog.Error("crash", "message", c.message, "pan", c.message.PAN)
		panic(c.message.PAN)
	},
	func(c *crashing) { panic(c.digits) }, // the one that must be found
}

// TestCrash lets a process die in each of these ways and looks at what it leaves behind: its
// last words and the stacks of all goroutines, arguments included.
func TestCrash(t *testing.T) {
	c := newCrashing(t)
	if kind := os.Getenv(asCrash); kind != "" {
		for i := range crashes {
			if fmt.Sprint(i) == kind {
				go crashes[i](c)
				select {} // until the process is gone
			}
		}
		return
	}
	d := c.all.detector()
	for i := range crashes {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$")
		cmd.Env = append(os.Environ(), asCrash+"="+fmt.Sprint(i), "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("goroutine ")) {
			t.Fatalf("crash %d did not happen: %v\n%s", i, err, out)
		}
		leaks := d.leaks(out)
		if i == len(crashes)-1 {
			if leaks == nil {
				t.Error("a number in a panic was not found")
			}
			continue
		}
		for _, leak := range leaks {
			t.Errorf("crash %d: %s", i, leak)
		}
	}
}

// TestErrorsNameNoContent gives card numbers to everything that reads, and prints the errors.
func TestErrorsNameNoContent(t *testing.T) {
	var c canaries
	var said bytes.Buffer
	kinds := 0
	for name, read := range readers(t) {
		for form, text := range map[string]string{
			"alone": c.pan(name), "with a letter": c.pan(name+", with a letter") + "x", "in quotes": `"` + c.pan(name+", in quotes") + `"`,
			"with a line end": c.pan(name+", before a line end") + "\n" + c.pan(name+", behind a line end"),
			"negative":        "-" + c.pan(name+", negative"), "as JSON": `{"` + c.pan(name+", as a name of JSON") + `": "` + c.pan(name+", as JSON") + `"}`,
		} {
			err := read(text)
			if err == nil {
				continue
			}
			kinds++
			fmt.Fprintf(&said, "%s, %s: %v %+v %#v %q %s\n", name, form, err, err, err, err.Error(), everything(err))
		}
	}
	c.detector().in(t, "errors", said.Bytes())
	if kinds < 40 {
		t.Errorf("%d errors only", kinds)
	}
	planted := fmt.Errorf("parse: %w", &os.PathError{Op: "open", Path: c.pan("an error"), Err: fs.ErrNotExist})
	if c.detector().leaks(everything(planted)) == nil {
		t.Error("an error that quotes a number was not found")
	}
}

// everything is an error and all that it wraps.
func everything(err error) []byte {
	out := fmt.Appendf(nil, "%T %v %+v %#v\n", err, err, err, err)
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			out = append(out, everything(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			out = append(out, everything(inner)...)
		}
	}
	return out
}
