package dashboard

import (
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// packers are gzip writers for answers, which are made while somebody waits: fast ones.
var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one of the package's own
	return z
}}

// compressed packs answers in JSON to GET. None of them repeats a secret beside what a stranger
// could make a browser ask (BREACH): sessions and their tokens are answered elsewhere, and a
// stranger's request has no cookie of the session.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !acceptsGzip(r) {
			next.ServeHTTP(w, r)
			return
		}
		p := &packing{ResponseWriter: w}
		next.ServeHTTP(p, r)
		p.end() // and not if it panics: what broke off must not look whole
	})
}

// packing is an answer that is packed if its header, once it is written, says JSON.
type packing struct {
	http.ResponseWriter
	z       *gzip.Writer
	started bool
}

func (p *packing) WriteHeader(status int) {
	if !p.started && status >= 200 {
		p.started = true
		h := p.Header()
		kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
		if status == http.StatusOK && (kind == "application/json" || strings.HasSuffix(kind, "+json")) && h.Get("Content-Encoding") == "" {
			h.Del("Content-Length")
			h.Set("Content-Encoding", "gzip")
			p.z = packers.Get().(*gzip.Writer)
			p.z.Reset(p.ResponseWriter)
		}
		h.Add("Vary", "Accept-Encoding")
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *packing) Write(b []byte) (int, error) {
	if !p.started {
		p.WriteHeader(http.StatusOK)
	}
	if p.z != nil {
		return p.z.Write(b)
	}
	return p.ResponseWriter.Write(b)
}

// FlushError sends what was written so far, as http.ResponseController asks it to.
func (p *packing) FlushError() error {
	if !p.started {
		p.WriteHeader(http.StatusOK)
	}
	if p.z != nil {
		if err := p.z.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// Flush is FlushError for who asks the older way.
func (p *packing) Flush() { _ = p.FlushError() }

// Unwrap lets http.ResponseController reach the connection, for deadlines.
func (p *packing) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *packing) end() {
	if p.z == nil {
		return
	}
	_ = p.z.Close() // the client is gone: there is nobody to tell
	p.z.Reset(nil)
	packers.Put(p.z)
	p.z = nil
}
