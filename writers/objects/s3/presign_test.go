package s3_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// TestPresign: whoever has the URL reads the object, also in parts; one that was changed, or has
// ended, is refused by the service.
func TestPresign(t *testing.T) {
	server := s3test.Start(t, s3test.Config{TLS: true})
	l := newLake(t, server)
	store := l.store(t, func(c *s3.Config) { c.Prefix = "some/folder" })
	body := bytes.Repeat([]byte("content "), 1000)
	if err := store.Put(t.Context(), "exports/a", owner, body); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.RootCAs}}}
	defer client.CloseIdleConnections()
	get := func(to, ranges string) (int, []byte, http.Header) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		a, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, text, a.Header
	}
	to, err := store.Presign(t.Context(), "exports/a", "rows-00001.csv", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if status, got, h := get(to, ""); status != http.StatusOK || !bytes.Equal(got, body) || h.Get("Content-Disposition") != "attachment; filename=rows-00001.csv" {
		t.Errorf("status %d, %d bytes, %v", status, len(got), h)
	}
	if status, got, _ := get(to, "bytes=100-199"); status != http.StatusPartialContent || !bytes.Equal(got, body[100:200]) {
		t.Errorf("status %d, %d bytes", status, len(got))
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	for name, changed := range map[string]string{
		"another object": strings.Replace(to, "exports/a", "exports/b", 1),
		"a later end":    strings.Replace(to, "X-Amz-Expires=60", "X-Amz-Expires=600", 1),
		"another name":   strings.Replace(to, "rows-00001", "rows-00002", 1),
		"no signature":   "https://" + u.Host + u.Path,
	} {
		if changed == to {
			t.Fatal("nothing was changed: " + to)
		}
		if status, got, _ := get(changed, ""); status != http.StatusForbidden {
			t.Errorf("%s: status %d: %s", name, status, got)
		}
	}
	if to, err = store.Presign(t.Context(), "exports/a", "a.csv", time.Second); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if status, _, _ := get(to, ""); status == http.StatusForbidden {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a URL does not end")
		}
	}
	for _, valid := range []time.Duration{0, -time.Second, s3.MaxPresign + time.Second} {
		if _, err := store.Presign(t.Context(), "exports/a", "a.csv", valid); err == nil {
			t.Errorf("a URL is valid for %v", valid)
		}
	}
	if _, err := store.Presign(t.Context(), "../a", "a.csv", time.Minute); err == nil {
		t.Error("a URL leads out of the folder")
	}
}
