package tailserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/tailserver"
	"github.com/cardlake/cardlake/queries/tail"
	"github.com/cardlake/cardlake/queries/tail/tailtest"
)

// Whoever lacks the right certificate and name does not reach the worker, whatever client it
// uses: these connections are made beside ours, which refuses some by itself.
func TestOnlyNamedClientsOfTheAuthorityGetIn(t *testing.T) {
	const workload = "spiffe://lake.example/gateway"
	var mu sync.Mutex
	reached := 0
	var log strings.Builder
	r := serve(t, workerFunc(func(cardlake.Positions) (*ingest.Tail, error) {
		mu.Lock()
		defer mu.Unlock()
		reached++
		return &ingest.Tail{}, nil
	}), tailserver.Config{
		Clients: []string{reader, workload, "*.wild.example"},
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
	})
	other, client := tailtest.NewAuthority(t), x509.ExtKeyUsageClientAuth
	of := func(cs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: r.authority.Pool(), ServerName: "worker.example", Certificates: cs})
	}
	old := &tls.Config{
		RootCAs: r.authority.Pool(), ServerName: "worker.example", MaxVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{r.authority.Issue(reader, client, false)},
	}
	for _, c := range []struct {
		name  string
		creds credentials.TransportCredentials
		isIn  bool
	}{
		{"DNS name", of(r.authority.Issue(reader, client, false)), true},
		{"URI", of(r.authority.Issue(workload, client, false)), true},
		{"plain text", insecure.NewCredentials(), false},
		{"no certificate", of(), false},
		{"another authority's", of(other.Issue(reader, client, false)), false},
		{"expired", of(r.authority.Issue(reader, client, true)), false},
		{"a server's", of(r.authority.Issue(reader, x509.ExtKeyUsageServerAuth, false)), false},
		{"no name", of(r.authority.Issue("", client, false)), false},
		{"other name", of(r.authority.Issue("other.lake.example", client, false)), false},
		{"name below", of(r.authority.Issue("a."+reader, client, false)), false},
		{"name above", of(r.authority.Issue("lake.example", client, false)), false},
		{"other case", of(r.authority.Issue("Gateway.lake.example", client, false)), false},
		{"name of a pattern", of(r.authority.Issue("a.wild.example", client, false)), false},
		{"longer URI", of(r.authority.Issue(workload+"/x", client, false)), false},
		{"TLS 1.2", credentials.NewTLS(old), false},
	} {
		mu.Lock()
		before := reached
		mu.Unlock()
		conn, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(c.creds), grpc.WithNoProxy())
		if err != nil {
			t.Fatal(err)
		}
		ticket, err := cardlake.TailTicket{Table: "cards.transactions"}.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		stream, err := flight.NewClientFromConn(conn, nil).DoGet(t.Context(), &flight.Ticket{Ticket: ticket})
		if err == nil {
			_, err = stream.Recv()
		}
		mu.Lock()
		if isIn := err == nil; isIn != c.isIn || (reached > before) != c.isIn {
			t.Errorf("%s: error %v, the worker was asked %d times", c.name, err, reached-before)
		}
		mu.Unlock()
		_ = conn.Close()
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "connection refused"); n < 12 {
		t.Errorf("%d refused connections are in the log:\n%s", n, log.String())
	}
}

// A client speaks to the worker that it means and to no other.
func TestClientKnowsItsWorker(t *testing.T) {
	r := serve(t, tailOf(at(1)), tailserver.Config{})
	other := tailtest.NewAuthority(t)
	for name, spoil := range map[string]func(*tls.Config){
		"other authority": func(c *tls.Config) { c.RootCAs = other.Pool() },
		"other name":      func(c *tls.Config) { c.ServerName = "other.example" },
		"address as name": func(c *tls.Config) { c.ServerName = "" },
	} {
		config := r.authority.Client(reader)
		config.ServerName = "worker.example"
		spoil(config)
		c, err := tail.New(r.addr, config, tail.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Tail(t.Context(), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A certificate that is renewed is used for the next connection, and one that cannot be read
// refuses it.
func TestCertificateIsReadForEachConnection(t *testing.T) {
	a := tailtest.NewAuthority(t)
	var current func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	r := serveWith(t, a, func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return current(h) }, tailOf(at(1)), tailserver.Config{})
	for _, c := range []struct {
		cert func(*tls.ClientHelloInfo) (*tls.Certificate, error)
		isIn bool
	}{
		{a.Server("worker.example"), true},
		{a.Server("other.example"), false},
		{func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no file") }, false},
		{a.Server("worker.example"), true},
	} {
		current = c.cert
		client := r.client(tail.Config{})
		if _, err := client.Tail(t.Context(), nil); (err == nil) != c.isIn {
			t.Errorf("error %v, want none: %t", err, c.isIn)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A client leaves a server that knows no better than TLS 1.2, whatever it was configured with.
func TestClientInsistsOnItsVersion(t *testing.T) {
	for version, want := range map[uint16]codes.Code{tls.VersionTLS13: codes.Unimplemented, tls.VersionTLS12: codes.Unavailable} {
		a := tailtest.NewAuthority(t)
		g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{GetCertificate: a.Server("worker.example"), MaxVersion: version})))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- g.Serve(l) }()
		config := a.Client(reader)
		config.ServerName, config.MinVersion = "worker.example", tls.VersionTLS12
		c, err := tail.New(l.Addr().String(), config, tail.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Tail(t.Context(), nil); status.Code(err) != want {
			t.Errorf("%s: %v, want %s", tls.VersionName(version), err, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
