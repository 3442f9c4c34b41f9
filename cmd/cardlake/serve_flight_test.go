package main

import (
	"slices"
	"testing"

	client "github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/cardlake/cardlake/internal/home"
)

// TestServeDrivers: -flight opens the door of drivers beside the other, to the same callers, on
// the same record.
func TestServeDrivers(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 2, 10); err != nil {
		t.Fatal(err)
	}
	s := start(t, "http", "-dir", string(dir), "-dev-sign-in", "-flight", "127.0.0.1:0")
	c, err := client.NewClient(s.stderr.waitFor(t, `"msg":"serve starts".*"flight":"([^"]+)"`), nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+s.developmentToken("data_scientist/local"))
	info, err := c.Execute(ctx, "SELECT count(*) FROM cards.transactions")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.DoGet(ctx, info.Endpoint[0].Ticket)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	var got []string
	for r.Next() {
		got = append(got, r.RecordBatch().Column(0).ValueStr(0))
	}
	if !slices.Equal(got, []string{"20"}) || r.Err() != nil {
		t.Errorf("%v, %v", got, r.Err())
	}
	if _, err := c.Execute(t.Context(), "SELECT 1"); err == nil {
		t.Error("nobody is answered")
	}
}
