package tailserver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/queries/tail/tailtest"
	"github.com/cardlake/cardlake/writers/writerstest"
)

const reader = "gateway.lake.example"

// workerFunc is a worker.
type workerFunc func(from cardlake.Positions) (*ingest.Tail, error)

func (f workerFunc) Tail(from cardlake.Positions) (*ingest.Tail, error) { return f(from) }

func tailOf(to cardlake.Positions, rows ...arrow.RecordBatch) workerFunc {
	return func(cardlake.Positions) (*ingest.Tail, error) { return &ingest.Tail{To: to, Rows: rows}, nil }
}

// rig is a server with an authority of its own.
type rig struct {
	t         testing.TB
	authority *tailtest.Authority
	addr      string
	stop      func() error // ends the server and returns what Serve did
}

func serve(t testing.TB, worker tailserver.Worker, cfg tailserver.Config) *rig {
	t.Helper()
	a := tailtest.NewAuthority(t)
	return serveWith(t, a, a.Server("worker.example"), worker, cfg)
}

func serveWith(
	t testing.TB, a *tailtest.Authority, cert func(*tls.ClientHelloInfo) (*tls.Certificate, error),
	worker tailserver.Worker, cfg tailserver.Config,
) *rig {
	t.Helper()
	r := &rig{t: t, authority: a}
	cfg.Certificate, cfg.ClientCAs = cert, a.Pool()
	if cfg.Clients == nil {
		cfg.Clients = []string{reader}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s, err := tailserver.New(worker, cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return r
}

// client is a client that the server lets in.
func (r *rig) client(cfg tail.Config) *tail.Client {
	r.t.Helper()
	config := r.authority.Client(reader)
	config.ServerName = "worker.example"
	c, err := tail.New(r.addr, config, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// raw is a connection with no client of ours on it.
func (r *rig) raw(opts ...grpc.DialOption) flight.Client {
	r.t.Helper()
	config := r.authority.Client(reader)
	config.ServerName = "worker.example"
	conn, err := grpc.NewClient("passthrough:///"+r.addr, append(opts, grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithNoProxy())...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return flight.NewClientFromConn(conn, nil)
}

var place = cardlake.StreamPartition{Stream: "cards", Partition: 1}

func at(next int64) cardlake.Positions { return cardlake.Positions{place: {Next: next}} }

// viewOf is a view of a batch of a tenant's rows whose offsets begin at first.
func viewOf(t testing.TB, tenant cardlake.Tenant, first int64, rows int) arrow.RecordBatch {
	t.Helper()
	b, g := cardlake.NewBatch(), writerstest.New(uint64(first)+uint64(len(tenant)))
	for i := range rows {
		tx := g.Next()
		tx.Tenant, tx.Position = tenant, cardlake.Position{StreamPartition: place, Offset: first + int64(i)}
		if err := b.Append(tx); err != nil {
			t.Fatal(err)
		}
	}
	return b.View()
}

// bareView has a row whose nullable columns are all null: its dictionaries are empty.
func bareView(t testing.TB, first int64) arrow.RecordBatch {
	t.Helper()
	b, tx := cardlake.NewBatch(), writerstest.Bare()
	tx.Position = cardlake.Position{StreamPartition: place, Offset: first}
	if err := b.Append(tx); err != nil {
		t.Fatal(err)
	}
	return b.View()
}

// Records come as they were: values, nulls, dictionaries, order, schema.
func TestRecordsComeAsTheyWere(t *testing.T) {
	a, b := viewOf(t, "aurora-pay", 0, 100), viewOf(t, "borealis", 100, 100)
	empty := cardlake.NewBatch().View()
	for _, c := range []struct {
		name string
		sent []arrow.RecordBatch
		to   int64
	}{
		{"no records", nil, 40},
		{"one", []arrow.RecordBatch{a}, 100},
		{"two tenants", []arrow.RecordBatch{a, b}, 200},
		{"dictionaries that come again", []arrow.RecordBatch{a, bareView(t, 300), a, b, bareView(t, 301), b}, 302},
		{"bare row first", []arrow.RecordBatch{bareView(t, 0), a}, 100},
		{"slices", []arrow.RecordBatch{a.NewSlice(7, 31), b.NewSlice(99, 100), a.NewSlice(63, 65), b.NewSlice(64, 100)}, 200},
		{"slice of a slice", []arrow.RecordBatch{a.NewSlice(5, 95).NewSlice(8, 70)}, 100},
		{"empty records between", []arrow.RecordBatch{empty, a, a.NewSlice(3, 3), b}, 200},
		{"one more than a message holds", []arrow.RecordBatch{viewOf(t, "aurora-pay", 0, 8193), b}, 8193},
		{"three messages of a slice", []arrow.RecordBatch{viewOf(t, "aurora-pay", 0, 20_000).NewSlice(1000, 19_001)}, 20_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := serve(t, tailOf(at(c.to), c.sent...), tailserver.Config{})
			got, err := r.client(tail.Config{}).Tail(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Release()
			if !got.To.Equal(at(c.to)) {
				t.Errorf("the tail ends at %v, want %v", got.To, at(c.to))
			}
			i := 0
			for _, sent := range c.sent {
				for from := int64(0); from < sent.NumRows(); i++ {
					if i == len(got.Records) {
						t.Fatalf("%d records came", i)
					}
					part := sent.NewSlice(from, from+got.Records[i].NumRows())
					if !part.Schema().Equal(got.Records[i].Schema()) {
						t.Errorf("record %d has schema %v", i, got.Records[i].Schema())
					}
					checkEqual(t, i, part, got.Records[i])
					from += part.NumRows()
				}
			}
			if i != len(got.Records) {
				t.Errorf("%d records came, want %d", len(got.Records), i)
			}
		})
	}
}

// checkEqual compares column by column and, beside Arrow's opinion, cell by cell, because a
// code means nothing without its dictionary.
func checkEqual(t *testing.T, record int, want, got arrow.RecordBatch) {
	t.Helper()
	for i, c := range cardlake.Transactions.Columns {
		w, g := want.Column(i), got.Column(i)
		if !array.Equal(w, g) {
			t.Errorf("record %d: column %s differs", record, c.Name)
		}
		if d, ok := w.(*array.Dictionary); ok && !array.Equal(d.Dictionary(), g.(*array.Dictionary).Dictionary()) {
			t.Errorf("record %d: column %s has another dictionary", record, c.Name)
		}
		for row := range w.Len() {
			if w.IsNull(row) != g.IsNull(row) || w.ValueStr(row) != g.ValueStr(row) {
				t.Errorf("record %d: column %s differs in row %d", record, c.Name, row)
				break
			}
		}
	}
}

func TestAskedPositionsReachTheWorker(t *testing.T) {
	asked := cardlake.Positions{place: {Next: 7}, {Stream: "shards", Partition: 2}: {Next: 3, Mark: "495"}}
	var seen cardlake.Positions
	r := serve(t, workerFunc(func(from cardlake.Positions) (*ingest.Tail, error) {
		seen = from
		return &ingest.Tail{To: from}, nil
	}), tailserver.Config{})
	got, err := r.client(tail.Config{}).Tail(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	if !seen.Equal(asked) || !got.To.Equal(asked) {
		t.Errorf("the worker saw %v and answered %v, want %v", seen, got.To, asked)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	r := serve(t, workerFunc(func(cardlake.Positions) (*ingest.Tail, error) {
		t.Error("the worker was asked")
		return nil, errors.New("asked")
	}), tailserver.Config{MaxTicket: 200})
	for name, c := range map[string]struct {
		ticket string
		want   codes.Code
	}{
		"empty":         {"", codes.InvalidArgument},
		"no JSON":       {"cards.transactions", codes.InvalidArgument},
		"other version": {`{"v":2,"table":"cards.transactions","from":{}}`, codes.InvalidArgument},
		"other table":   {`{"v":1,"table":"cards.transactions_rejected","from":{}}`, codes.NotFound},
		"too long":      {`{"v":1,"table":"cards.transactions","from":{}}` + strings.Repeat(" ", 200), codes.InvalidArgument},
		"far too long":  {`{"v":1,"table":"cards.transactions","from":{}}` + strings.Repeat(" ", 2000), codes.ResourceExhausted},
	} {
		stream, err := r.raw().DoGet(t.Context(), &flight.Ticket{Ticket: []byte(c.ticket)})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// Only DoGet is there; above all no Handshake, which Arrow's own base server answers.
func TestOtherMethodsAreUnimplemented(t *testing.T) {
	c, ctx := serve(t, tailOf(nil), tailserver.Config{}).raw(), t.Context()
	for name, call := range map[string]func() error{
		"GetFlightInfo": func() error { _, err := c.GetFlightInfo(ctx, &flight.FlightDescriptor{}); return err },
		"GetSchema":     func() error { _, err := c.GetSchema(ctx, &flight.FlightDescriptor{}); return err },
		"ListFlights":   func() error { s, err := c.ListFlights(ctx, &flight.Criteria{}); return first(s, err) },
		"ListActions":   func() error { s, err := c.ListActions(ctx, &flight.Empty{}); return first(s, err) },
		"DoAction":      func() error { s, err := c.DoAction(ctx, &flight.Action{}); return first(s, err) },
		"DoPut":         func() error { s, err := c.DoPut(ctx); return first(s, err) },
		"DoExchange":    func() error { s, err := c.DoExchange(ctx); return first(s, err) },
		"Handshake":     func() error { s, err := c.Handshake(ctx); return first(s, err) },
	} {
		if err := call(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func first[T any](s interface{ Recv() (T, error) }, err error) error {
	if err == nil {
		_, err = s.Recv()
	}
	return err
}

// What a worker's error says stays with the worker.
func TestErrorsStayInside(t *testing.T) {
	var log strings.Builder
	r := serve(t, workerFunc(func(cardlake.Positions) (*ingest.Tail, error) { return nil, errors.New("tenant aurora-pay has no key") }),
		tailserver.Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	_, err := r.client(tail.Config{}).Tail(t.Context(), nil)
	if err == nil || strings.Contains(err.Error(), "aurora") || status.Code(err) != codes.Internal {
		t.Errorf("the client is told %v", err)
	}
	if err := r.stop(); err != nil || !strings.Contains(log.String(), "aurora-pay has no key") {
		t.Errorf("the log has %q, serve %v", log.String(), err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	rows := viewOf(t, "aurora-pay", 0, 20_000)
	small := serve(t, tailOf(at(20_000), rows), tailserver.Config{MaxBytes: 1 << 20})
	if _, err := small.client(tail.Config{}).Tail(t.Context(), nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over the server's bound: %v", err)
	}
	wide := serve(t, tailOf(at(20_000), rows), tailserver.Config{})
	for _, most := range []int64{1 << 10, 1 << 20, 6 << 20} { // of a message, of all messages
		if got, err := wide.client(tail.Config{MaxBytes: most}).Tail(t.Context(), nil); err == nil {
			t.Errorf("%d records over the client's bound of %d bytes", len(got.Records), most)
		}
	}
}

// A reader that does not read is ended after the timeout, and the rows are let go before
// anybody else is answered in its place.
func TestSlowReaderIsEnded(t *testing.T) {
	var tails []*ingest.Tail
	rows := viewOf(t, "aurora-pay", 0, 20_000)
	r := serve(t, workerFunc(func(cardlake.Positions) (*ingest.Tail, error) {
		for _, earlier := range tails {
			if earlier.Rows != nil {
				t.Error("the rows of an earlier answer are still held")
			}
		}
		tails = append(tails, &ingest.Tail{To: at(20_000), Rows: []arrow.RecordBatch{rows}})
		return tails[len(tails)-1], nil
	}), tailserver.Config{Requests: 1, Timeout: 300 * time.Millisecond})
	ticket, err := cardlake.TailTicket{Table: "cards.transactions"}.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := r.raw().DoGet(t.Context(), &flight.Ticket{Ticket: ticket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // the answer is under way
		t.Fatal(err)
	}
	for { // those that find the only slot taken are ended too
		got, err := r.client(tail.Config{}).Tail(t.Context(), nil)
		if err == nil {
			got.Release()
			break
		}
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatal(err)
		}
	}
	for err = nil; err == nil; {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the slow reader is told %v", err)
	}
}

// An answer under way when the server is told to end comes whole; the next request does not.
func TestServerEndsGracefully(t *testing.T) {
	asked, proceed := make(chan struct{}), make(chan struct{})
	rows := viewOf(t, "aurora-pay", 0, 10_000)
	r := serve(t, workerFunc(func(cardlake.Positions) (*ingest.Tail, error) {
		close(asked)
		<-proceed
		return &ingest.Tail{To: at(10_000), Rows: []arrow.RecordBatch{rows}}, nil
	}), tailserver.Config{})
	c := r.client(tail.Config{})
	var answered sync.WaitGroup
	answered.Go(func() {
		if _, err := c.Tail(context.Background(), nil); err != nil {
			t.Errorf("the answer under way: %v", err)
		}
	})
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	for { // until nobody listens any more
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(proceed)
	answered.Wait()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := c.Tail(t.Context(), nil); status.Code(err) != codes.Unavailable {
		t.Errorf("after the end: %v", err)
	}
}

// A reader that does not read does not keep the server from ending.
func TestServerEndsDespiteASlowReader(t *testing.T) {
	r := serve(t, tailOf(at(20_000), viewOf(t, "aurora-pay", 0, 20_000)), tailserver.Config{Timeout: 100 * time.Millisecond})
	ticket, err := cardlake.TailTicket{Table: "cards.transactions"}.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := r.raw().DoGet(context.Background(), &flight.Ticket{Ticket: ticket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // the answer is under way
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// A server whose listener fails says so.
func TestServeReportsItsListener(t *testing.T) {
	a := tailtest.NewAuthority(t)
	s, err := tailserver.New(tailOf(nil), tailserver.Config{Certificate: a.Server("w"), ClientCAs: a.Pool(), Clients: []string{"c"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := s.Serve(t.Context(), l); err == nil {
		t.Error("no error")
	}
}

// A connection that is cut after any number of bytes makes an error, never a shorter answer.
func TestCutConnection(t *testing.T) {
	a, b := viewOf(t, "aurora-pay", 0, 200), viewOf(t, "borealis", 200, 200)
	r := serve(t, tailOf(at(400), a, b), tailserver.Config{})
	whole, failed := 0, 0
	for n := int64(0); whole == 0; n += 9973 {
		c := r.client(tail.Config{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			return &cutConn{Conn: conn, left: n}, err
		}})
		got, err := c.Tail(t.Context(), nil)
		if err != nil {
			failed++
			continue
		}
		whole++
		checkOffsets(t, got, 0, 400)
		got.Release()
	}
	if failed < 10 {
		t.Errorf("%d answers were cut", failed)
	}
}

// cutConn ends in good order, as far as TCP knows, after so many bytes were read.
type cutConn struct {
	net.Conn
	left int64
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		_ = c.Conn.Close()
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// checkOffsets checks that the rows are those at from to to, each once.
func checkOffsets(t testing.TB, rows queries.TailRows, from, to int64) {
	t.Helper()
	seen := map[int64]int{}
	for _, record := range rows.Records {
		_, err := cardlake.SelectByPosition(record, func(p cardlake.Position) bool { seen[p.Offset]++; return true })
		if err != nil {
			t.Error(err)
		}
	}
	for o := from; o < to; o++ {
		if seen[o] != 1 {
			t.Errorf("offset %d is there %d times, the tail is %d to %d", o, seen[o], from, to)
			return
		}
	}
	if int64(len(seen)) != to-from {
		t.Errorf("%d rows, want %d", len(seen), to-from)
	}
}

func TestConfigIsValidated(t *testing.T) {
	a := tailtest.NewAuthority(t)
	good := tailserver.Config{Certificate: a.Server("w"), ClientCAs: a.Pool(), Clients: []string{"c"}}
	for want, spoil := range map[string]func(*tailserver.Config){
		"Certificate": func(c *tailserver.Config) { c.Certificate = nil },
		"ClientCAs":   func(c *tailserver.Config) { c.ClientCAs = nil },
		"nobody":      func(c *tailserver.Config) { c.Clients = nil },
		"empty name":  func(c *tailserver.Config) { c.Clients = []string{"a", ""} },
		"Requests":    func(c *tailserver.Config) { c.Requests = -1 },
		"MaxBytes":    func(c *tailserver.Config) { c.MaxBytes = -1 },
		"MaxTicket":   func(c *tailserver.Config) { c.MaxTicket = -1 },
		"Timeout":     func(c *tailserver.Config) { c.Timeout = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := tailserver.New(tailOf(nil), cfg); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := tailserver.New(tailOf(nil), good); err != nil {
		t.Error(err)
	}
}
