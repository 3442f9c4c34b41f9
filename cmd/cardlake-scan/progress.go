package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// uri is a path as a URI reference (RFC 3986).
func uri(path string) string {
	if scheme, _, ok := strings.Cut(path, "://"); ok && !strings.Contains(scheme, "/") {
		return path
	}
	return (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
}

// progress prints how far a long search is, at most once a second.
type progress struct {
	w       io.Writer
	start   time.Time
	last    time.Time
	printed bool
}

func newProgress(mode string, w io.Writer) *progress {
	p := &progress{start: time.Now(), last: time.Now()}
	f, isFile := w.(*os.File)
	if mode == "auto" && isFile {
		info, err := f.Stat()
		if err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.w = w
		}
	}
	if mode == "yes" {
		p.w = w
	}
	return p
}

func (p *progress) tell(bytes int64) {
	if p.w == nil {
		return
	}
	now := time.Now()
	if now.Sub(p.last) < time.Second {
		return
	}
	p.last, p.printed = now, true
	fmt.Fprintf(p.w, "\r%s: %d MB, %.0f MB/s ", program, bytes>>20, float64(bytes)/1e6/now.Sub(p.start).Seconds())
}

func (p *progress) end() {
	if p.printed {
		fmt.Fprintln(p.w)
	}
}
