// Package dashboard is what people see of the lake: a web application of plain files that the
// binary carries, in front of the API and of the session of who is signed in.
//
//	/v1/…, /healthz, /readyz   the API
//	/auth/…                    signing in and out
//	/assets/HASH/…             scripts, styles, words and fonts
//	any other path             the page, which shows what its address names
//
// The page has no build step: what is in the folder web is what is served. A browser keeps an
// asset for ever, because its path has the hash of all of them: relative imports then need no
// rewriting, and a new binary is a new set. Nothing else may be kept.
//
// The page's policy (Content Security Policy Level 3) lets it run its own files only, and no
// text become script or markup: Trusted Types are required and none is made.
package dashboard

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed web/index.html web/icon.svg web/css web/fonts/inter.woff2 web/fonts/OFL.txt web/i18n web/js web/vendor/echarts
var files embed.FS

// Sessions answers below /auth/; *session.Manager is one.
type Sessions interface {
	Handler() http.Handler
}

// Config is what the page is in front of. API and Session must be set.
type Config struct {
	// API answers below /v1/, and the probes.
	API http.Handler
	// Session answers below /auth/.
	Session Sessions
	// Version is shown at the foot of the sidebar; empty for none.
	Version string
	// Secure says that the page is served over TLS only, which browsers are then told to
	// insist on (RFC 6797).
	Secure bool
	// Notice is shown above every page, such as that people sign in for development; empty
	// for none.
	Notice string
}

// New returns the handler of the whole site. It starts nothing; it compresses the assets.
func New(cfg Config) (http.Handler, error) {
	if cfg.API == nil || cfg.Session == nil {
		return nil, errors.New("dashboard: API and Session must be set")
	}
	web, err := fs.Sub(files, "web")
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	a, err := newAssets(web)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	p, err := newPages(web, a, cfg)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	auth := cfg.Session.Handler()
	mux := http.NewServeMux()
	mux.Handle("/v1/", compressed(cfg.API))
	mux.Handle("/healthz", cfg.API)
	mux.Handle("/readyz", cfg.API)
	mux.Handle("/auth/", auth)
	mux.Handle("/assets/", headers(cfg.Secure, false, a))
	mux.Handle("/", headers(cfg.Secure, true, p))
	return mux, nil
}

// policy is the page's. Images may be blobs because charts are saved as pictures.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
	"font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// headers puts on every answer what OWASP's Secure Headers Project asks of a site that nobody
// frames, embeds or refers from. Those that only a document heeds are on documents only: there
// are few of these, and many assets.
func headers(secure, document bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		if document {
			h.Set("Content-Security-Policy", policy)
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cross-Origin-Embedder-Policy", "require-corp")
			h.Set("Origin-Agent-Cluster", "?1")
			h.Set("Permissions-Policy", "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Frame-Options", "DENY")
		}
		if secure {
			h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this path is only read", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// acceptsGzip reports whether the client takes gzip (RFC 9110, section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if coding = strings.TrimSpace(coding); !strings.EqualFold(coding, "gzip") && coding != "*" {
			continue
		}
		q := strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(weight), " ", ""), "q=")
		return strings.Trim(q, "0.") != "" || q == ""
	}
	return false
}
