package main

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEncryptedOnly refuses what would leave the machine in clear, whoever named the address.
func TestEncryptedOnly(t *testing.T) {
	sent := 0
	client := encryptedOnly{roundTrip(func(*http.Request) (*http.Response, error) { sent++; return nil, nil })}
	for url, ok := range map[string]bool{
		"https://kinesis.eu-west-1.amazonaws.com/": true, "http://127.0.0.1:4567/": true, "http://[::1]:4567/": true,
		"http://kinesis.eu-west-1.amazonaws.com/": false, "http://10.0.0.1/": false, "http://localhost.example/": false,
	} {
		before := sent
		r, err := http.NewRequest("POST", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Do(r); (err == nil) != ok || (sent > before) != ok {
			t.Errorf("%s: error %v, want success: %v", url, err, ok)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }

// TestLakeInABucket opens the catalog of a lake in S3, which reaches no network yet.
func TestLakeInABucket(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(keys, []byte(`{"lake": "`+lakeARN+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"", "prod/lake"} {
		o := &options{s3Bucket: "the-lake", s3Prefix: prefix, kmsKeys: keys, catalog: filepath.Join(dir, "catalog.db")}
		store, err := o.store()
		if err != nil {
			t.Fatal(err)
		}
		lake, err := o.openCatalog(t.Context(), store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := lake.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o := &options{s3Bucket: "the-lake", kmsKeys: filepath.Join(dir, "none.json")}
	if _, err := o.store(); err == nil || !strings.Contains(err.Error(), "-kms-keys") {
		t.Errorf("error %v, want one of -kms-keys", err)
	}
}
