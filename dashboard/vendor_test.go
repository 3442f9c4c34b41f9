package dashboard_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"testing"
)

// The library that draws charts is the one that vendor/README.md names: a change of it shows in
// a review of that file.
func TestVendoredLibraryIsTheRecordedOne(t *testing.T) {
	readme, err := os.ReadFile("web/vendor/README.md")
	if err != nil {
		t.Fatal(err)
	}
	recorded := regexp.MustCompile(`sha256 ([0-9a-f]{64})  (\S+)`).FindAllSubmatch(readme, -1)
	if len(recorded) != 1 {
		t.Fatalf("web/vendor/README.md records %d hashes, want 1", len(recorded))
	}
	file, err := os.ReadFile("web/vendor/" + string(recorded[0][2]))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	if got, want := hex.EncodeToString(sum[:]), string(recorded[0][1]); got != want {
		t.Errorf("%s has SHA-256 %s, and %s is recorded", recorded[0][2], got, want)
	}
	for _, name := range []string{"LICENSE", "NOTICE", "LICENSE-d3", "LICENSE-zrender"} {
		if text, err := os.ReadFile("web/vendor/echarts/" + name); err != nil || len(text) == 0 {
			t.Errorf("%s of the library is missing: %v", name, err)
		}
	}
}

// The policy of the page has neither 'unsafe-eval' nor a place for markup made of text; a library
// that tried either would fail in front of people only.
func TestVendoredLibraryMakesNoCodeOfText(t *testing.T) {
	file, err := os.ReadFile("web/vendor/echarts/echarts.js")
	if err != nil {
		t.Fatal(err)
	}
	sinks := regexp.MustCompile(`\beval\(|new Function\b|\bFunction\(|\.(inner|outer)HTML\s*=[^=]|insertAdjacentHTML|document\.write|setAttribute\("style"|\bimport\(|importScripts|\bfetch\(|XMLHttpRequest`)
	if found := sinks.FindAll(file, -1); len(found) > 0 {
		t.Errorf("echarts.js has %q", found)
	}
}

// It is the largest part of the first page by far.
func TestVendoredLibraryIsSmall(t *testing.T) {
	file, err := os.ReadFile("web/vendor/echarts/echarts.js")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if _, err := z.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if most := 172_000; packed.Len() > most {
		t.Errorf("echarts.js has %d bytes compressed, more than %d", packed.Len(), most)
	}
}
