package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/telemetry"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// standing is a worker that stands still.
type standing struct{ ready error }

func (s standing) Stats() ingest.Stats   { return ingest.Stats{} }
func (s standing) Status() ingest.Status { return ingest.Status{} }
func (s standing) Ready() error          { return s.ready }

type mute struct{}

func (mute) Run(context.Context, ingest.Assignee) error       { return nil }
func (mute) Poll(context.Context) ([]ingest.Record, error)    { return nil, nil }
func (mute) Seek(cardlake.Positions)                          {}
func (mute) Commit(context.Context, cardlake.Positions) error { return nil }

func handlerOf(t *testing.T, ctx context.Context, ready error, withProfiles bool) http.Handler {
	t.Helper()
	registry := prometheus.NewRegistry()
	view, err := telemetry.New(telemetry.Config{}).Watch(registry, standing{ready}, mute{})
	if err != nil {
		t.Fatal(err)
	}
	return handler(ctx, view, registry, withProfiles)
}

func ask(h http.Handler, path string) (int, string) {
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
	return answer.Code, answer.Body.String()
}

func TestReadinessTellsTheTruth(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		ready error
		code  int
		body  string
	}{
		{"ready", context.Background(), nil, 200, "ready"},
		{"not ready", context.Background(), errors.Join(errors.New("no poll since noon"), errors.New("no commit since noon")), 503, "no poll since noon\nno commit since noon"},
		{"ending", ended, nil, 503, errEnding.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := handlerOf(t, c.ctx, c.ready, false)
			if code, body := ask(h, "/readyz"); code != c.code || strings.TrimSpace(body) != c.body {
				t.Errorf("%d %q, want %d %q", code, body, c.code, c.body)
			}
			if _, body := ask(h, "/status"); strings.Contains(body, `"ready": true`) != (c.code == 200) {
				t.Errorf("status:\n%s", body)
			}
			if code, _ := ask(h, "/livez"); code != 200 {
				t.Errorf("livez: %d; a restart would mend nothing", code)
			}
		})
	}
}

func TestProfilesOnlyWhenAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		h := handlerOf(t, context.Background(), nil, asked)
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/symbol"} {
			if code, _ := ask(h, path); (code == 200) != asked {
				t.Errorf("asked for: %v, %s: %d", asked, path, code)
			}
		}
		if code, _ := ask(h, "/debug/pprof/cmdline"); code == 200 {
			t.Error("the command line is told")
		}
	}
}

// certificate writes a certificate that signs itself, for 127.0.0.1, and its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestAdminTLS(t *testing.T) {
	serverCert, serverKey := certificate(t, "worker")
	clientCert, clientKey := certificate(t, "prometheus")
	otherCert, otherKey := certificate(t, "stranger")
	listener, err := listen(t.Context(), &options{admin: "127.0.0.1:0", adminCert: serverCert, adminKey: serverKey, adminClientCA: clientCert})
	if err != nil {
		t.Fatal(err)
	}
	a := serve(listener, handlerOf(t, t.Context(), nil, false), slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer a.close()
	roots, err := lakeflags.Certificates(serverCert)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, cert, key string
		most            uint16
		ok              bool
	}{
		{"known client", clientCert, clientKey, 0, true},
		{"stranger", otherCert, otherKey, 0, false},
		{"no certificate", "", "", 0, false},
		{"TLS 1.1", clientCert, clientKey, tls.VersionTLS11, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: roots, MaxVersion: c.most, MinVersion: tls.VersionTLS10}
			if c.cert != "" {
				pair, err := tls.LoadX509KeyPair(c.cert, c.key)
				if err != nil {
					t.Fatal(err)
				}
				config.Certificates = []tls.Certificate{pair}
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			resp, err := client.Get("https://" + listener.Addr().String() + "/readyz")
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != c.ok {
				t.Errorf("error %v, want success: %v", err, c.ok)
			}
		})
	}
	resp, err := http.Get("http://" + listener.Addr().String() + "/readyz")
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("in clear: %s", resp.Status)
		}
	}
}

func TestNoAdminAddress(t *testing.T) {
	l, err := listen(t.Context(), &options{})
	if l != nil || err != nil {
		t.Fatalf("listener %v, error %v", l, err)
	}
	serve(nil, nil, slog.New(slog.DiscardHandler)).close()
}
