package flightsql_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	client "github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/flightsql"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// fetch reads all that a ticket stands for: how many rows, and how large the batches are.
func fetch(ctx context.Context, c *client.Client, info *flight.FlightInfo, options ...grpc.CallOption) (rows int64, batches []int64, err error) {
	r, err := c.DoGet(ctx, info.Endpoint[0].Ticket, options...)
	if err != nil {
		return 0, nil, err
	}
	defer r.Release()
	for r.Next() {
		rows += r.RecordBatch().NumRows()
		batches = append(batches, r.RecordBatch().NumRows())
	}
	return rows, batches, r.Err()
}

func wantCode(t *testing.T, what string, err error, code codes.Code, text string) {
	t.Helper()
	if status.Code(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("%s: %v, want %v: %s", what, err, code, text)
	}
}

// TestQuery: rows in batches of bounded size, what is told besides, and the record.
func TestQuery(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	c := s.client()
	s.engine.rows, s.engine.text = 30_000, strings.Repeat("x", 200)
	info, err := c.Execute(s.as("ana", "cardlake-reason", "a case"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	if err != nil || schema.String() != arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil).String() {
		t.Errorf("%v, %v", schema, err)
	}
	if n := len(s.engine.sql); n != 0 {
		t.Errorf("%d statements ran before anything was fetched", n)
	}
	var header, trailer metadata.MD
	n, batches, err := fetch(s.as("ana", "cardlake-reason", "a case"), c, info, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || n != 30_000 || slices.Max(batches) > 8192 || slices.Max(batches) > (1<<20)/200 {
		t.Errorf("%d rows in %v, %v", n, batches, err)
	}
	if got := fmt.Sprint(header.Get("cardlake-as-of"), trailer.Get("cardlake-rows")); got != "[2026-03-01T00:00:00Z] [30000]" {
		t.Error(got)
	}
	records := s.log.Records()
	asked := records[slices.IndexFunc(records, func(r audit.Record) bool { return r.Action == "query" })]
	last := records[len(records)-1]
	if asked.Actor != "data_scientist/ana" || asked.Reason != "a case" || asked.Origin != "127.0.0.1" || len(header.Get("x-request-id")) != 1 || asked.Request != header.Get("x-request-id")[0] {
		t.Errorf("%+v, %v", asked, header)
	}
	if last.Action != "query.done" || last.Request != asked.Request || last.Numbers["rows"] != 30_000 {
		t.Errorf("%+v", last)
	}
}

// TestTickets: for who asked, once, not for long, and for nothing else.
func TestTickets(t *testing.T) {
	now := time.Now()
	s := newSite(t, flightsql.Config{Now: func() time.Time { return now }}, generous)
	c := s.client()
	ask := func() *flight.FlightInfo {
		info, err := c.Execute(s.as("ana"), "SELECT 1")
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := ask()
	if strings.Contains(string(info.Endpoint[0].Ticket.Ticket), "SELECT") || strings.Contains(string(info.Endpoint[0].Ticket.Ticket), "ana") {
		t.Error("a ticket can be read")
	}
	_, _, err := fetch(s.as("bea"), c, info)
	wantCode(t, "another's", err, codes.NotFound, "is not one of yours")
	if n, _, err := fetch(s.as("ana"), c, info); err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
	_, _, err = fetch(s.as("ana"), c, info)
	wantCode(t, "used", err, codes.FailedPrecondition, "was used")
	info = ask()
	for i := range info.Endpoint[0].Ticket.Ticket {
		forged := slices.Clone(info.Endpoint[0].Ticket.Ticket)
		forged[i] ^= 1
		if _, _, err := fetch(s.as("ana"), c, &flight.FlightInfo{Endpoint: []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: forged}}}}); err == nil && i > 80 {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	prepared, err := c.Prepare(s.as("ana"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := client.CreateStatementQueryTicket(prepared.Handle())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = fetch(s.as("ana"), c, &flight.FlightInfo{Endpoint: []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: text}}}})
	wantCode(t, "a prepared statement as a ticket", err, codes.NotFound, "is not one of yours")
	now = now.Add(11 * time.Minute)
	_, _, err = fetch(s.as("ana"), c, ask())
	if err != nil {
		t.Error(err)
	}
	info = ask()
	now = now.Add(11 * time.Minute)
	_, _, err = fetch(s.as("ana"), c, info)
	wantCode(t, "old", err, codes.FailedPrecondition, "too old")
}

func TestPrepared(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	c := s.client()
	p, err := c.Prepare(s.as("ana"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if p.DatasetSchema().NumFields() != 2 || p.ParameterSchema().NumFields() != 0 {
		t.Errorf("%v", p.DatasetSchema())
	}
	for range 2 {
		info, err := p.Execute(s.as("ana"))
		if err != nil {
			t.Fatal(err)
		}
		if n, _, err := fetch(s.as("ana"), c, info); err != nil || n != 3 {
			t.Errorf("%d rows, %v", n, err)
		}
	}
	_, err = p.Execute(s.as("bea"))
	wantCode(t, "another's", err, codes.NotFound, "is not one of yours")
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "1", Type: arrow.PrimitiveTypes.Int64}}, nil))
	b.Field(0).(*array.Int64Builder).Append(1)
	p.SetParameters(b.NewRecordBatch())
	_, err = p.Execute(s.as("ana"))
	wantCode(t, "parameters", err, codes.InvalidArgument, "no parameters")
	_, err = p.ExecuteUpdate(s.as("ana"))
	wantCode(t, "an update", err, codes.Unimplemented, "read-only")
	if err := p.Close(s.as("ana")); err != nil {
		t.Error(err)
	}
	_, err = c.ExecuteUpdate(s.as("ana"), "DELETE FROM cards.transactions")
	wantCode(t, "an update", err, codes.Unimplemented, "read-only")
	_, err = c.BeginTransaction(s.as("ana"))
	wantCode(t, "a transaction", err, codes.Unimplemented, "transactions")
}

// TestErrors: the texts of HTTP's problems, in gRPC's codes.
func TestErrors(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	c := s.client()
	_, err := c.Execute(s.as("ana"), "SELECT bad")
	wantCode(t, "a fault", err, codes.InvalidArgument, "there is a fault near \"bad\"; mend it (request ")
	wantCode(t, "its place", err, codes.InvalidArgument, ")\nline 1: SELECT bad\n               ^")
	_, err = c.Prepare(s.as("ana"), "SELECT bad")
	wantCode(t, "a fault", err, codes.InvalidArgument, "mend it")
	secret := "a value: 4111111111111111"
	for _, tc := range []struct {
		err    error
		failAt int
		code   codes.Code
		text   string
	}{
		{queries.ErrTooManyRows, 3, codes.ResourceExhausted, "too many rows"},
		{queries.ErrTimeout, 1, codes.DeadlineExceeded, "too long"},
		{errors.New(secret), 2, codes.Internal, "could not answer"},
		{&queries.Error{Message: "a value does not suit", Offset: -1}, 1, codes.InvalidArgument, "does not suit"},
	} {
		s.engine.err, s.engine.failAt = tc.err, tc.failAt
		info, err := c.Execute(s.as("ana"), "SELECT 1")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = fetch(s.as("ana"), c, info)
		wantCode(t, fmt.Sprint(tc.err), err, tc.code, tc.text)
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Error("a value is told")
		}
	}
	if err := <-s.failed; !strings.Contains(err.Error(), secret) {
		t.Errorf("the operator is told %v", err)
	}
	s.engine.failAt, s.engine.panicAt = 0, 2
	info, err := c.Execute(s.as("ana"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = fetch(s.as("ana"), c, info)
	wantCode(t, "a panic", err, codes.Internal, "could not answer")
	if err := <-s.failed; strings.Contains(err.Error(), "4111111111111111") {
		t.Error("the value that it panicked with is told")
	}
	s.engine.panicAt = 0
	s.log.Fail(errors.New("the disk is full"))
	_, _, err = fetch(s.as("ana"), c, info)
	wantCode(t, "used", err, codes.FailedPrecondition, "used")
	info, err = c.Execute(s.as("ana"), "SELECT 1")
	if err == nil {
		_, _, err = fetch(s.as("ana"), c, info)
	}
	wantCode(t, "no record", err, codes.Unavailable, "audit log")
	info, err = c.GetTables(s.as("ana"), &client.GetTablesOpts{})
	if err == nil {
		_, _, err = fetch(s.as("ana"), c, info)
	}
	wantCode(t, "no record of tables", err, codes.Unavailable, "audit log")
	s.log.Fail(nil)
	s.permits.set(queriestest.Nothing)
	_, err = c.Execute(s.as("ana"), "SELECT 1")
	wantCode(t, "nothing", err, codes.PermissionDenied, "not permitted (request ")
}

// TestSignIn: as at the HTTP door, and on record.
func TestSignIn(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	c := s.client()
	for name, ctx := range map[string]context.Context{
		"nobody":     t.Context(),
		"a stranger": s.as("carla"),
		"no token":   metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x"),
		"a password": metadata.AppendToOutgoingContext(t.Context(), "authorization", "Basic YW5hOmFuYQ=="),
		"two tokens": metadata.AppendToOutgoingContext(s.as("ana"), "authorization", "Bearer x"),
		"long ago":   metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.issuer.Token("ana", time.Now().Add(-24*time.Hour), nil)),
	} {
		_, err := c.Execute(ctx, "SELECT 1")
		wantCode(t, name, err, codes.Unauthenticated, "not signed in")
		_, err = c.DoGet(ctx, &flight.Ticket{})
		wantCode(t, name, err, codes.Unauthenticated, "not signed in")
	}
	if r := s.log.Records(); len(r) == 0 || r[0].Action != "sign_in" || r[0].Outcome != audit.Refused {
		t.Errorf("%+v", r)
	}
	_, err := c.Execute(s.as("ana", "cardlake-break-glass", "yes"), "SELECT 1")
	wantCode(t, "break glass without reason", err, codes.InvalidArgument, "needs a Cardlake-Reason")
	// A service's certificate says who it is; two identities are none.
	cert := s.authority.Issue("etl", signintest.URIs(t, etlURI))
	service := s.client(cert)
	info, err := service.Execute(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := fetch(t.Context(), service, info); err != nil || n != 3 {
		t.Errorf("%d rows, %v", n, err)
	}
	_, err = service.Execute(s.as("ana"), "SELECT 1")
	wantCode(t, "two identities", err, codes.Unauthenticated, "not signed in")
	stranger := signintest.NewAuthority(t, "stranger").Issue("etl", signintest.URIs(t, etlURI))
	if _, err := s.client(stranger).Execute(t.Context(), "SELECT 1"); err == nil {
		t.Error("a certificate of another authority is taken")
	}
	// In clear it serves this machine only.
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	other, err := flightsql.New(nil, nil, flightsql.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Serve(t.Context(), l, nil); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Error(err)
	}
	plain, err := client.NewClient(s.addr, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ctx, cancel := context.WithTimeout(s.as("ana"), 2*time.Second)
	defer cancel()
	if _, err := plain.Execute(ctx, "SELECT 1"); err == nil {
		t.Error("it answers without TLS")
	}
}

// TestWithdrawnGrant ends the stream while rows flow.
func TestWithdrawnGrant(t *testing.T) {
	s := newSite(t, flightsql.Config{BatchBytes: 100}, generous)
	c := s.client()
	s.engine.rows, s.engine.pause = 100_000, time.Millisecond
	info, err := c.Execute(s.as("ana"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.DoGet(s.as("ana"), info.Endpoint[0].Ticket)
	if err != nil || !r.Next() {
		t.Fatal(err)
	}
	defer r.Release()
	s.permits.set(queriestest.Nothing)
	n := 0
	for r.Next() {
		n += int(r.RecordBatch().NumRows())
	}
	wantCode(t, "withdrawn", r.Err(), codes.PermissionDenied, "not permitted")
	if n > 5000 {
		t.Errorf("%d rows were still sent", n)
	}
	records := s.log.Records()
	if last := records[len(records)-1]; last.Action != "query.done" || last.Outcome != audit.Failed {
		t.Errorf("%+v", last)
	}
}

// TestCancel: before it begins, while it runs, by who asked only, and by going away.
func TestCancel(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	c := s.client()
	s.engine.wait = true
	ask := func() *flight.FlightInfo {
		info, err := c.Execute(s.as("ana"), "SELECT 1")
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	info := ask()
	done := make(chan error, 1)
	go func() { _, _, err := fetch(s.as("ana"), c, info); done <- err }()
	<-s.engine.asked
	_, err := c.CancelFlightInfo(s.as("bea"), &flight.CancelFlightInfoRequest{Info: info})
	wantCode(t, "another's", err, codes.NotFound, "is not one of yours")
	result, err := c.CancelFlightInfo(s.as("ana"), &flight.CancelFlightInfoRequest{Info: info})
	if err != nil || result.Status != flight.CancelStatusCancelled {
		t.Errorf("%v, %v", result, err)
	}
	wantCode(t, "cancelled", <-done, codes.Canceled, "cancelled")
	<-s.engine.ended
	if result, err = c.CancelFlightInfo(s.as("ana"), &flight.CancelFlightInfoRequest{Info: info}); err != nil || result.Status != flight.CancelStatusNotCancellable {
		t.Errorf("%v, %v", result, err)
	}
	info = ask()
	if result, err := c.CancelQuery(s.as("ana"), info); err != nil || result != client.CancelResultCancelled {
		t.Errorf("%v, %v", result, err)
	}
	_, _, err = fetch(s.as("ana"), c, info)
	wantCode(t, "cancelled before it began", err, codes.FailedPrecondition, "used or cancelled")
	ctx, cancel := context.WithCancel(s.as("ana"))
	info = ask()
	go func() { _, _, err := fetch(ctx, c, info); done <- err }()
	<-s.engine.asked
	cancel()
	<-s.engine.ended
	<-done
	if r := s.log.Records(); !slices.ContainsFunc(r, func(r audit.Record) bool { return r.Action == "query.cancel" && r.Outcome == audit.Allowed }) {
		t.Error("it is not on record")
	}
}

// TestSlowClient: who does not read has the statement ended.
func TestSlowClient(t *testing.T) {
	s := newSite(t, flightsql.Config{WriteTimeout: 100 * time.Millisecond}, generous)
	c := s.client()
	s.engine.rows, s.engine.text = 1_000_000, strings.Repeat("x", 1000)
	info, err := c.Execute(s.as("ana"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.DoGet(s.as("ana"), info.Endpoint[0].Ticket)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	<-s.engine.ended // although nothing is read
	for r.Next() {
	}
	wantCode(t, "slow", r.Err(), codes.DeadlineExceeded, "did not accept the answer in time")
}

// TestLimits are shared with the other doors.
func TestLimits(t *testing.T) {
	s := newSite(t, flightsql.Config{}, api.Config{PerMinute: 1, Burst: 3, PerPrincipal: 1})
	c := s.client()
	info, err := c.Execute(s.as("ana"), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	free, err := s.entrance.Begin(grants.Principal{Kind: grants.DataScientist, Name: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = fetch(s.as("ana"), c, info)
	wantCode(t, "another runs", err, codes.ResourceExhausted, "statements of yours are running")
	free()
	for range 2 {
		if info, err = c.Execute(s.as("ana"), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.Execute(s.as("ana"), "SELECT 1")
	wantCode(t, "calls", err, codes.ResourceExhausted, "calls a minute")
	if n, _, err := fetch(s.as("ana"), c, info); err != nil || n != 3 {
		t.Errorf("%d rows, %v: what was counted is fetched", n, err)
	}
	if _, err := c.Execute(s.as("bea"), "SELECT 1"); err != nil {
		t.Error(err)
	}
	if _, err := c.Execute(s.as("bea"), "SELECT '"+strings.Repeat("x", 2<<20)+"'"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 2 MiB: %v", err)
	}
}

// TestCatalog lists what the caller may read, and nothing else.
func TestCatalog(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	c := s.client()
	list := func(info *flight.FlightInfo, err error) (out []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.DoGet(s.as("ana"), info.Endpoint[0].Ticket)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		for r.Next() {
			for row := range int(r.RecordBatch().NumRows()) {
				var words []string
				for _, column := range r.RecordBatch().Columns() {
					if b, ok := column.(*array.Binary); ok {
						schema, err := flight.DeserializeSchema(b.Value(row), memory.DefaultAllocator)
						if err != nil {
							t.Fatal(err)
						}
						var fields []string
						for _, f := range schema.Fields() {
							fields = append(fields, f.Name)
						}
						words = append(words, strings.Join(fields, ","))
						continue
					}
					words = append(words, column.ValueStr(row))
				}
				out = append(out, strings.Join(words, " "))
			}
		}
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		return out
	}
	ctx := s.as("ana")
	if got := list(c.GetCatalogs(ctx)); !slices.Equal(got, []string{""}) {
		t.Error(got)
	}
	if got := list(c.GetTableTypes(ctx)); !slices.Equal(got, []string{"TABLE", "VIEW"}) {
		t.Error(got)
	}
	if got := list(c.GetDBSchemas(ctx, &client.GetDBSchemasOpts{})); !slices.Contains(got, " cards") || !slices.Contains(got, " views") {
		t.Error(got)
	}
	pattern, name := "c%s", "trans_ctions"
	if got := list(c.GetTables(ctx, &client.GetTablesOpts{DbSchemaFilterPattern: &pattern, TableNameFilterPattern: &name})); !slices.Equal(got, []string{" cards transactions TABLE"}) {
		t.Error(got)
	}
	if got := list(c.GetTables(ctx, &client.GetTablesOpts{TableTypes: []string{"VIEW"}, IncludeSchema: true})); !slices.Equal(got, []string{" views daily VIEW tenant"}) {
		t.Error(got)
	}
	other := "other"
	if got := list(c.GetTables(ctx, &client.GetTablesOpts{Catalog: &other})); len(got) != 0 {
		t.Error(got)
	}
	if got := list(c.GetSqlInfo(ctx, []client.SqlInfo{client.SqlInfoFlightSqlServerName})); len(got) != 1 || !strings.Contains(got[0], "cardlake") {
		t.Error(got)
	}
	if got := list(c.GetSqlInfo(ctx, nil)); len(got) < 70 {
		t.Errorf("%d facts", len(got))
	}
	for name, info := range map[string]func() (*flight.FlightInfo, error){
		"primary keys":  func() (*flight.FlightInfo, error) { return c.GetPrimaryKeys(ctx, client.TableRef{Table: "t"}) },
		"imported keys": func() (*flight.FlightInfo, error) { return c.GetImportedKeys(ctx, client.TableRef{Table: "t"}) },
		"exported keys": func() (*flight.FlightInfo, error) { return c.GetExportedKeys(ctx, client.TableRef{Table: "t"}) },
		"references": func() (*flight.FlightInfo, error) {
			return c.GetCrossReference(ctx, client.TableRef{}, client.TableRef{})
		},
		"types": func() (*flight.FlightInfo, error) { return c.GetXdbcTypeInfo(ctx, nil) },
	} {
		if got := list(info()); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	s.permits.set(queriestest.Nothing)
	for _, info := range []func() (*flight.FlightInfo, error){
		func() (*flight.FlightInfo, error) { return c.GetTables(ctx, &client.GetTablesOpts{}) },
		func() (*flight.FlightInfo, error) { return c.GetDBSchemas(ctx, &client.GetDBSchemasOpts{}) },
	} {
		i, err := info()
		if err == nil {
			_, _, err = fetch(ctx, c, i)
		}
		wantCode(t, "nothing", err, codes.PermissionDenied, "not permitted")
	}
	if closed, err := c.CloseSession(ctx, &flight.CloseSessionRequest{}); err != nil || closed.Status != flight.CloseSessionResultClosed {
		t.Errorf("%v, %v", closed, err)
	}
	options, err := flight.NewSessionOptionValues(map[string]any{"catalog": "", "other": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if set, err := c.SetSessionOptions(ctx, &flight.SetSessionOptionsRequest{SessionOptions: options}); err != nil || len(set.Errors) != 1 || set.Errors["other"] == nil {
		t.Errorf("%v, %v", set, err)
	}
}

// TestDatabaseSQL: the driver of package database/sql.
func TestDatabaseSQL(t *testing.T) {
	s := newSite(t, flightsql.Config{}, generous)
	config := &driver.DriverConfig{Address: s.addr, Token: s.issuer.Token("ana", time.Now(), nil), TLSEnabled: true,
		TLSConfig: &tls.Config{RootCAs: s.pool, ServerName: "127.0.0.1"}, Timeout: time.Minute}
	connector, err := (&driver.Driver{}).OpenConnector(config.DSN())
	if err != nil {
		t.Fatal(err)
	}
	if err := connector.(*driver.Connector).Configure(config); err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var n int64
		var text string
		if err := rows.Scan(&n, &text); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(n, text))
	}
	if rows.Err() != nil || fmt.Sprint(got) != "[1value 2value 3value]" {
		t.Errorf("%v, %v", got, rows.Err())
	}
}

// TestServeEndsBeforeItBegan: a server whose time is over at once ends like any other.
func TestServeEndsBeforeItBegan(t *testing.T) {
	server, err := flightsql.New(nil, nil, flightsql.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Serve(ctx, l, nil); err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
			conn.Close()
			t.Fatal("it is still listened")
		}
	}
}
