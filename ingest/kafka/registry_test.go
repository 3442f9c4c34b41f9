package kafka_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/ingest/kafka"
)

const subject = wire.Topic + "-value"

func registry(t *testing.T, fake *srfake.Registry) *kafka.Registry {
	t.Helper()
	t.Cleanup(fake.Close)
	r, err := kafka.NewRegistry(kafka.RegistryConfig{URLs: []string{fake.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// grown is the event's schema with one field more, which has a default or not.
func grown(field string) string {
	text := wire.Schema()
	i := strings.Index(text, `"fields"`)
	i += strings.Index(text[i:], "[") + 1
	return text[:i] + field + "," + text[i:]
}

const (
	withDefault    = `{"name":"loyalty","type":["null","string"],"default":null}`
	withoutDefault = `{"name":"loyalty","type":"string"}`
)

func TestIdsOfKnownSchemasAreResolved(t *testing.T) {
	fake := srfake.New()
	r := registry(t, fake)
	known := map[int]string{wire.SchemaVersion: wire.Schema()}
	if ids, err := r.Versions(t.Context(), subject, known); err == nil {
		t.Errorf("a subject that is not there has the ids %v", ids)
	}
	fake.SeedSchema(subject, 1, 40, sr.Schema{Schema: grown(withDefault), Type: sr.TypeAvro})
	if ids, err := r.Versions(t.Context(), subject, known); err == nil {
		t.Errorf("a subject with strange schemas only has the ids %v", ids)
	}
	fake.SeedSchema(subject, 2, 77, sr.Schema{Schema: wire.Schema(), Type: sr.TypeAvro})
	// The same schema with other documentation is another id.
	fake.SeedSchema(subject, 3, 78, sr.Schema{Schema: strings.Replace(wire.Schema(), `"fields"`, `"doc": "another text", "fields"`, 1), Type: sr.TypeAvro})
	ids, err := r.Versions(t.Context(), subject, map[int]string{wire.SchemaVersion: wire.Schema(), 2: grown(withDefault)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[uint32]int{40: 2, 77: wire.SchemaVersion, 78: wire.SchemaVersion}, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

func TestRegister(t *testing.T) {
	fake := srfake.New(srfake.WithGlobalCompat(sr.CompatNone))
	r := registry(t, fake)
	first, err := r.Register(t.Context(), subject, wire.Schema())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Register(t.Context(), subject, wire.Schema()); again != first || err != nil {
		t.Errorf("the same schema again got the id %d and the error %v, want %d", again, err, first)
	}
	if _, err := r.Register(t.Context(), subject, grown(withoutDefault)); !errors.Is(err, kafka.ErrIncompatible) {
		t.Errorf("a field without default: error %v, want ErrIncompatible", err)
	}
	second, err := r.Register(t.Context(), subject, grown(withDefault))
	if err != nil || second == first {
		t.Errorf("a field with a default: id %d, error %v", second, err)
	}
	client, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range client.Compatibility(t.Context(), subject) {
		if c.Err != nil || c.Level != sr.CompatBackward {
			t.Errorf("the subject is held to %s, error %v, want BACKWARD", c.Level, c.Err)
		}
	}
	if _, err := r.Register(t.Context(), subject, "no schema"); err == nil {
		t.Error("text that is no schema is registered")
	}
	// The registry has the last word: a schema of another producer came in between.
	fake.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/versions") {
			return false
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"error_code":409,"message":"incompatible"}`))
		return true
	})
	if _, err := r.Register(t.Context(), subject, grown(`{"name":"x","type":"int","default":1}`)); !errors.Is(err, kafka.ErrIncompatible) {
		t.Errorf("refused by the registry: error %v, want ErrIncompatible", err)
	}
}

func TestRegistryPasswordIsReadForEachRequest(t *testing.T) {
	fake := srfake.New(srfake.WithAuth("Basic " + base64.StdEncoding.EncodeToString([]byte("worker:second"))))
	defer fake.Close()
	fake.SeedSchema(subject, 1, 5, sr.Schema{Schema: wire.Schema(), Type: sr.TypeAvro})
	server := httptest.NewTLSServer(fake.Handler())
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	r, err := kafka.NewRegistry(kafka.RegistryConfig{
		URLs: []string{server.URL}, TLS: &tls.Config{RootCAs: roots}, User: "worker", Password: "env:CARDLAKE_TEST_PASSWORD",
	})
	if err != nil {
		t.Fatal(err)
	}
	known := map[int]string{wire.SchemaVersion: wire.Schema()}
	t.Setenv("CARDLAKE_TEST_PASSWORD", "first")
	if _, err := r.Versions(t.Context(), subject, known); err == nil {
		t.Error("a wrong password is taken")
	} else if strings.Contains(err.Error(), "first") {
		t.Error("the error shows the password")
	}
	t.Setenv("CARDLAKE_TEST_PASSWORD", "second")
	if _, err := r.Versions(t.Context(), subject, known); err != nil {
		t.Error(err)
	}
}

func TestRegistryConfigReportsEveryFault(t *testing.T) {
	_, err := kafka.NewRegistry(kafka.RegistryConfig{
		URLs: []string{"http://registry.example", "ftp://x", "https://u:hunter2@registry.example", "http://localhost:8081"}, User: "u", Password: "hunter2",
	})
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{"registry.example is not on this machine", "URL 2", "URL 3 holds credentials", "localhost:8081 needs https", "file:PATH"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault speaks of %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the error shows a password")
	}
	if _, err := kafka.NewRegistry(kafka.RegistryConfig{}); err == nil {
		t.Error("no URL is no fault")
	}
}
