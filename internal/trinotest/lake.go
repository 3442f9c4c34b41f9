package trinotest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/postgrestest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers"
	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
	"github.com/cardlake/cardlake/writers/writerstest"
)

// Tenants are those of the lake.
var Tenants = register{"aurora": "aaaaaaaaaaaaaaaa", "bolivar": "bbbbbbbbbbbbbbbb", "cobre": "cccccccccccccccc"}

type register map[cardlake.Tenant]cardlake.StorageID

// Lookup implements writers.Tenants.
func (r register) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	id, ok := r[name]
	if !ok {
		return catalog.TenantRecord{}, catalog.ErrNoTenant
	}
	return catalog.TenantRecord{Name: name, StorageID: id}, nil
}

// Lake is a table cards.transactions that this module's writer and catalog made.
type Lake struct {
	Catalog *iceberg.Catalog
	Store   *s3.Store
	// Properties are those of Trino's catalog of it.
	Properties string

	table  *iceberg.Table
	writer *writers.Writer
	next   int64
	source *writerstest.Generator
}

// oneKey encrypts everything under one key of the test service.
type oneKey string

// KeyOf implements s3.Keys.
func (k oneKey) KeyOf(keys.Owner) (string, error) { return string(k), nil }

// NewLake makes the services and an empty table.
func NewLake(t testing.TB) *Lake {
	t.Helper()
	database := postgrestest.Start(t)
	service := s3test.Start(t, s3test.Config{})
	bucket := service.Bucket(t)
	store, err := s3.New(oneKey(service.KMS.Create()), s3.Config{
		Bucket: bucket, Region: s3test.Region, Endpoint: service.Endpoint, PathStyle: true, Credentials: service.Credentials,
	})
	if err != nil {
		t.Fatal(err)
	}
	schema := database.Schema(t)
	c, err := iceberg.Open(t.Context(), iceberg.Config{DB: database.URL(schema), Objects: store, Location: "s3://" + bucket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	l := &Lake{Catalog: c, Store: store, writer: writers.New(store, Tenants, writers.Config{}), source: writerstest.New(7)}
	if l.table, err = c.Table(t.Context(), cardlake.Transactions); err != nil {
		t.Fatal(err)
	}
	credentials, err := service.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Properties = fmt.Sprintf(`connector.name=iceberg
iceberg.catalog.type=jdbc
iceberg.security=READ_ONLY
iceberg.jdbc-catalog.catalog-name=cardlake
iceberg.jdbc-catalog.driver-class=org.postgresql.Driver
iceberg.jdbc-catalog.connection-url=jdbc:postgresql://%s/postgres?currentSchema=%s
iceberg.jdbc-catalog.connection-user=cardlake
iceberg.jdbc-catalog.default-warehouse-dir=s3://%s
fs.native-s3.enabled=true
s3.endpoint=%s
s3.region=%s
s3.path-style-access=true
s3.aws-access-key=%s
s3.aws-secret-key=%s
`, relay(t, database.Dir+"/.s.PGSQL.5432"), schema, bucket, service.Endpoint, s3test.Region, credentials.AccessKeyID, credentials.SecretAccessKey)
	return l
}

// Append commits so many more rows, of all tenants over three days.
func (l *Lake) Append(t testing.TB, rows int) {
	t.Helper()
	w := l.writer.Open()
	names := []cardlake.Tenant{"aurora", "bolivar", "cobre"}
	cities := []string{"Centro", "Norte", "São João", "santa fe"}
	for i, tx := range l.source.Take(rows) {
		tx.Tenant = names[i%5%3]
		tx.EventTime += int64(i%7-3) * 21_600_000_000
		tx.IngestedAt = tx.EventTime + 300_000
		tx.LocalTime = tx.EventTime - 6*3_600_000_000
		tx.MerchantName = fmt.Sprintf("SHOP %d", i%211)
		tx.MerchantCity = cities[i%len(cities)]
		if i%11 == 0 {
			tx.MerchantCity, tx.MCC = "", ""
		}
		if err := w.Add(tx); err != nil {
			t.Fatal(err)
		}
	}
	partition := cardlake.StreamPartition{Stream: "cards", Partition: 0}
	from := cardlake.Positions{partition: {Next: l.next}}
	l.next += int64(rows)
	to := cardlake.Positions{partition: {Next: l.next}}
	files, err := w.Flush(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.table.Append(t.Context(), catalog.Append{Files: files, From: from, To: to}); err != nil {
		t.Fatal(err)
	}
}

// Plan implements embedded.Planner and trino.Planner.
func (l *Lake) Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	if table != cardlake.Transactions {
		return catalog.Snapshot{}, nil, nil
	}
	s, err := l.table.Current(ctx)
	if err != nil || s.ID == 0 {
		return s, nil, err
	}
	files, err := l.table.Files(ctx, s.ID)
	return s, files, err
}

// relay listens on a port of this machine for what speaks to a unix socket: Java's driver of
// PostgreSQL knows no other way.
func relay(t testing.TB, socket string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, client, server)
			mu.Unlock()
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				open.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return listener.Addr().String()
}
