package detokenize

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cardlake/cardlake/catalog/audit"
)

// strict takes what an audit log takes.
type strict struct{ n int }

func (s *strict) Append(_ context.Context, r audit.Record) error {
	for _, text := range []string{r.Actor, r.Reason, r.Origin} {
		if len(text) > 1024 || !utf8.ValidString(text) {
			return errors.New("invalid record")
		}
	}
	s.n++
	return nil
}

type nobody struct{}

func (nobody) Policy() *Policy { return &Policy{} }

func TestRefusalsAreRecorded(t *testing.T) {
	a := &strict{}
	s := New(Deps{Audit: a, Policy: nobody{}}, Config{Log: slog.New(slog.DiscardHandler)})
	_, _ = refusedConnections{s, t.Context()}.Write([]byte(handshakeError + "192.0.2.1:1: " + strings.Repeat("x", maxPurpose-1) + "é"))
	if a.n != 1 {
		t.Error("a refused connection is not in the log")
	}
	cert := &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}
	cert.Subject.CommonName = strings.Repeat("x", 2000)
	r := httptest.NewRequest("POST", "/v1/pins", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if a.n != 2 || w.Code != 403 {
		t.Errorf("a call under a long name: status %d, %d records", w.Code, a.n)
	}
}
