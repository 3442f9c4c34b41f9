package s3_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/cardlake/cardlake/writers/objects/objectstest"
	"github.com/cardlake/cardlake/writers/objects/s3"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

const benchSize = 8 << 20 // about one tenant's day

// The service and its encryption run in this process and take most of the time: compare with
// BenchmarkPlainHTTP and with BenchmarkPut/Discarding, whose service reads and forgets.
func BenchmarkPut(b *testing.B) {
	body := objectstest.Bytes(benchSize)
	b.Run("Embedded", func(b *testing.B) {
		l := newLake(b, s3test.Start(b, s3test.Config{}))
		s := l.store(b, nil)
		b.SetBytes(benchSize)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			mustPut(b, s, fmt.Sprintf("x/%d", i), body)
		}
	})
	b.Run("EmbeddedInParts", func(b *testing.B) {
		l := newLake(b, s3test.Start(b, s3test.Config{}))
		s := l.store(b, inParts)
		b.SetBytes(benchSize)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			mustPut(b, s, fmt.Sprintf("x/%d", i), body)
		}
	})
	b.Run("Discarding", func(b *testing.B) {
		const key = "arn:aws:kms:us-east-1:111122223333:key/synthetic"
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Amz-Server-Side-Encryption", "aws:kms")
			w.Header().Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", key)
		}))
		defer server.Close()
		l := lake{Server: &s3test.Server{Endpoint: server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "synthetic-secret", "")}, bucket: "lake", keys: keyARNs{owner: key}}
		s := l.store(b, nil)
		b.SetBytes(benchSize)
		b.ReportAllocs()
		for b.Loop() {
			mustPut(b, s, "x", body)
		}
	})
}

func BenchmarkReadAt(b *testing.B) {
	l := newLake(b, s3test.Start(b, s3test.Config{}))
	mustPut(b, l.store(b, nil), "x", objectstest.Bytes(benchSize))
	for name, window := range map[string]int64{"Whole": benchSize, "Windows": 2 << 20} {
		b.Run(name, func(b *testing.B) {
			s := l.store(b, func(c *s3.Config) { c.Window = window })
			buf := make([]byte, benchSize)
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				o := mustOpen(b, s, "x")
				if _, err := o.ReadAt(buf, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPlainHTTP is the reference: the same bytes to and from a server that keeps them
// in memory, without signature, checksum or encryption.
func BenchmarkPlainHTTP(b *testing.B) {
	body, kept := objectstest.Bytes(benchSize), make([]byte, benchSize)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			_, _ = io.ReadFull(r.Body, kept)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(kept)))
		_, _ = w.Write(kept)
	}))
	defer server.Close()
	do := func(b *testing.B, method string, body io.Reader, into io.Writer) {
		r, err := http.NewRequestWithContext(b.Context(), method, server.URL, body)
		if err != nil {
			b.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(into, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
	b.Run("Put", func(b *testing.B) {
		b.SetBytes(benchSize)
		b.ReportAllocs()
		for b.Loop() {
			do(b, http.MethodPut, bytes.NewReader(body), io.Discard)
		}
	})
	b.Run("Get", func(b *testing.B) {
		b.SetBytes(benchSize)
		b.ReportAllocs()
		for b.Loop() {
			do(b, http.MethodGet, nil, io.Discard)
		}
	})
}
