package doors_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	client "github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/api/flightsql"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// recordText writes record batches as text: the names of the columns, and each value.
func recordText(_ context.Context, w io.Writer, rows queries.Rows) error {
	schema := render.Schema(rows.Columns())
	head(w, schema)
	return render.Records(context.Background(), schema, rows, render.Bound{Rows: 1000}, func(b arrow.RecordBatch) error {
		body(w, b)
		return nil
	})
}

func head(w io.Writer, schema *arrow.Schema) {
	for _, f := range schema.Fields() {
		fmt.Fprintf(w, "%s %s|", f.Name, f.Type)
	}
	fmt.Fprintln(w)
}

func body(w io.Writer, b arrow.RecordBatch) {
	for row := range int(b.NumRows()) {
		for _, column := range b.Columns() {
			if binary, ok := column.(*array.Binary); ok && !binary.IsNull(row) {
				fmt.Fprintf(w, "%s|", binary.Value(row)) // in clear, for who looks for values in it
				continue
			}
			fmt.Fprintf(w, "%s|", column.ValueStr(row))
		}
		fmt.Fprintln(w)
	}
}

var requestID = regexp.MustCompile(`request [a-p]{32}`)

// flight is the door of drivers.
func (w *world) flight(tb testing.TB) door {
	tb.Helper()
	entrance, err := api.New(api.Deps{Gateway: w.gateway, SignIn: byHeader{}, Permits: w.grants, Recorder: w.log},
		api.Config{PerMinute: 1_000_000, Burst: 1_000_000, PerPrincipal: 100, Queries: 100, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	server, err := flightsql.New(w.gateway, entrance, flightsql.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l, nil) }()
	c, err := client.NewClient(l.Addr().String(), nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		entrance.Close()
	})
	as := func(p grants.Principal) context.Context {
		return metadata.AppendToOutgoingContext(context.Background(), "test-principal", p.String())
	}
	refusal := func(err error) answer {
		return answer{refusal: requestID.ReplaceAllString(status.Code(err).String()+": "+status.Convert(err).Message(), "request")}
	}
	fetch := func(p grants.Principal, info *flight.FlightInfo, err error, row func(arrow.RecordBatch)) (a answer) {
		if err != nil {
			return refusal(err)
		}
		r, err := c.DoGet(as(p), info.Endpoint[0].Ticket)
		if err != nil {
			return refusal(err)
		}
		defer r.Release()
		a.aside = r.Schema().String()
		for r.Next() {
			row(r.RecordBatch())
		}
		if r.Err() != nil {
			a = refusal(r.Err())
		}
		return a
	}
	return door{
		name: "Flight SQL", format: recordText, hasTail: true,
		ask: func(p grants.Principal, sql string) answer {
			var out strings.Builder
			info, err := c.Execute(as(p), sql)
			if err == nil {
				schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
				if err != nil {
					return refusal(err)
				}
				head(&out, schema) // told before anything runs, and what comes has to suit
			}
			a := fetch(p, info, err, func(b arrow.RecordBatch) { body(&out, b) })
			if a.refusal == "" {
				a.rows = out.String()
			}
			return a
		},
		list: func(p grants.Principal) answer {
			var out strings.Builder
			info, err := c.GetTables(as(p), &client.GetTablesOpts{})
			a := fetch(p, info, err, func(b arrow.RecordBatch) {
				for row := range int(b.NumRows()) {
					fmt.Fprintf(&out, "%s.%s\n", b.Column(1).ValueStr(row), b.Column(2).ValueStr(row))
				}
			})
			a.rows = out.String()
			return a
		},
		describe: func(p grants.Principal, table string) answer {
			var out strings.Builder
			schema, name, _ := strings.Cut(table, ".")
			info, err := c.GetTables(as(p), &client.GetTablesOpts{DbSchemaFilterPattern: &schema, TableNameFilterPattern: &name, IncludeSchema: true})
			a := fetch(p, info, err, func(b arrow.RecordBatch) {
				for row := range int(b.NumRows()) {
					if b.Column(2).ValueStr(row) != name { // _ stands for any character
						continue
					}
					columns, err := flight.DeserializeSchema(b.Column(4).(*array.Binary).Value(row), memory.DefaultAllocator)
					if err != nil {
						tb.Error(err)
						return
					}
					for _, f := range columns.Fields() {
						fmt.Fprintln(&out, f.Name)
					}
				}
			})
			if a.rows = out.String(); a.rows == "" && a.refusal == "" {
				a.refusal = "there is no such table"
			}
			return a
		},
	}
}
