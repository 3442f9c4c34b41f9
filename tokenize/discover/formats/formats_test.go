package formats

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/tokenize/discover/corpus"
)

const visaNumber = "4111111111111111" // a published test number

type result struct {
	found []discover.Detection
	stats Stats
}

func scan(t testing.TB, cfg Config, name string, data []byte) result {
	t.Helper()
	var r result
	s := New(discover.NewDetector(discover.DetectorConfig{}), cfg, func(d discover.Detection) bool {
		r.found = append(r.found, d)
		return true
	})
	if err := s.File(context.Background(), name, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	r.stats = s.Stats()
	return r
}

// want checks how many detections there are, and the fault: nil for none.
func (r result) want(t *testing.T, found int, fault error) {
	t.Helper()
	if len(r.found) != found {
		t.Errorf("%d found, want %d: %v", len(r.found), found, r.found)
	}
	switch {
	case fault == nil && len(r.stats.Faults) > 0:
		t.Errorf("faults: %v", r.stats.Faults)
	case fault != nil && !slices.ContainsFunc(r.stats.Faults, func(f Fault) bool { return errors.Is(f, fault) && f.Path != "" }):
		t.Errorf("faults %v, want %v", r.stats.Faults, fault)
	}
	for _, f := range r.stats.Faults {
		if strings.Contains(f.Error(), visaNumber) {
			t.Error("a fault shows the number")
		}
	}
}

func gzipped(t testing.TB, plain []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// members finds the samples of the corpus that are containers.
func containers(t testing.TB) map[string]corpus.Sample {
	samples, err := corpus.New(3).Planted(40)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]corpus.Sample{}
	for _, s := range samples {
		switch s.Category {
		case "gzip", "zstd", "zip of gzip", "tar of zip of zstd", "Parquet", "Avro", "SQLite":
			out[s.Category] = s
		}
	}
	return out
}

// Whatever is cut off a container, it is said, and what is before the cut has been searched.
func TestCutContainersAreFaults(t *testing.T) {
	for name, sample := range containers(t) {
		for _, keep := range []int{len(sample.Data) / 2, len(sample.Data) - 3} {
			r := scan(t, Config{}, "f", sample.Data[:keep])
			if len(r.stats.Faults) == 0 {
				t.Errorf("%s cut to %d of %d bytes: no fault, %d found", name, keep, len(sample.Data), len(r.found))
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	samples := containers(t)
	r := scan(t, Config{}, "x.parquet", samples["Parquet"].Data)
	parts := map[string]bool{}
	for _, d := range r.found {
		parts[d.Part+" "+d.Field] = true
		if d.Part == "" && (d.RowGroup != 1 || d.Row < 1) {
			t.Errorf("a value without its row: %+v", d.Place)
		}
	}
	for _, want := range []string{" card_number", " other", " note", "dictionary card_number", "statistics card_number", "statistics other"} {
		if !parts[want] {
			t.Errorf("nothing found in %q; found in %v", want, parts)
		}
	}
	r = scan(t, Config{}, "b.tar.gz", samples["tar of zip of zstd"].Data)
	if len(r.found) == 0 || r.found[0].Path != "b.tar.gz!logs/inner.zip!app.log.zst" || r.found[0].Line != 1 {
		t.Errorf("got %+v", r.found[0].Place)
	}
	r = scan(t, Config{}, "x.db", samples["SQLite"].Data)
	if len(r.found) == 0 || r.found[0].Field != "payments.card_number" || r.found[0].Row != 1 {
		t.Errorf("got %+v", r.found[0].Place)
	}
}

func TestLimits(t *testing.T) {
	deep := []byte("card " + visaNumber)
	for range 10 {
		deep = gzipped(t, deep)
	}
	scan(t, Config{}, "deep.gz", deep).want(t, 0, ErrLimit)
	scan(t, Config{MaxDepth: 12}, "deep.gz", deep).want(t, 1, nil)

	bomb := gzipped(t, append(make([]byte, 70<<20), visaNumber...))
	scan(t, Config{MaxRatio: 100}, "bomb.gz", bomb).want(t, 0, ErrLimit)
	scan(t, Config{MaxExpanded: 1 << 20}, "bomb.gz", bomb).want(t, 0, ErrLimit)
	scan(t, Config{}, "bomb.gz", bomb).want(t, 1, nil)

	inner := containers(t)["zip of gzip"]
	scan(t, Config{MaxMemory: 1 << 10}, "x.gz", gzipped(t, inner.Data)).want(t, 0, ErrLimit)
}

func TestWhatCannotBeOpenedIsAFault(t *testing.T) {
	for _, magic := range []string{"7z\xbc\xaf\x27\x1c", "Rar!\x1a\x07", "\xfd7zXZ\x00", "\x04\x22\x4d\x18", "Salted__", "age-encryption.org/v1\n"} {
		scan(t, Config{}, "f", []byte(magic+" "+visaNumber)).want(t, 1, ErrClosed)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "secret.txt", Flags: 1, CompressedSize64: 3, UncompressedSize64: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("abc"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	scan(t, Config{}, "x.zip", b.Bytes()).want(t, 0, ErrClosed)
}

func TestNamesAreSearchedAndNotShown(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "card "+visaNumber+".txt"), []byte("x "+visaNumber), 0o600); err != nil {
		t.Fatal(err)
	}
	var found []discover.Detection
	s := New(discover.NewDetector(discover.DetectorConfig{}), Config{}, func(d discover.Detection) bool {
		found = append(found, d)
		return true
	})
	if err := s.Tree(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[0].Part != "name" || strings.Contains(fmt.Sprintf("%+v", found), visaNumber) {
		t.Errorf("got %+v", found)
	}
}

func TestTreeNamesWhatItCannotRead(t *testing.T) {
	s := New(discover.NewDetector(discover.DetectorConfig{}), Config{}, func(discover.Detection) bool { return true })
	if err := s.Tree(t.Context(), filepath.Join(t.TempDir(), "none")); err != nil || len(s.Stats().Faults) != 1 {
		t.Errorf("got %v, %v", s.Stats().Faults, err)
	}
}

func TestStopsWhenTold(t *testing.T) {
	n := 0
	s := New(discover.NewDetector(discover.DetectorConfig{}), Config{}, func(discover.Detection) bool { n++; return false })
	for range 2 {
		if err := s.File(t.Context(), "f", strings.NewReader(visaNumber+"\n"+visaNumber+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	if n != 1 || len(s.Stats().Faults) != 0 {
		t.Errorf("%d told, faults %v", n, s.Stats().Faults)
	}
}

// oneKey is the key of every file.
type oneKey string

func (k oneKey) Key([]byte) ([]byte, error) { return []byte(k), nil }

// encrypted makes a Parquet file with Modular Encryption.
func encrypted(t testing.TB, key string) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "pan", Type: arrow.BinaryTypes.String}}, nil)
	b := array.NewStringBuilder(memory.DefaultAllocator)
	for range 3 {
		b.Append(visaNumber)
	}
	rec := array.NewRecordBatch(schema, []arrow.Array{b.NewStringArray()}, 3)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithEncryptionProperties(parquet.NewFileEncryptionProperties(key, parquet.WithFooterKeyMetadata("k")))), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestEncryptedParquet(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	data := encrypted(t, key)
	r := scan(t, Config{}, "f", data)
	r.want(t, 0, nil)
	if len(r.stats.Encrypted) != 1 {
		t.Errorf("encrypted: %v", r.stats.Encrypted)
	}
	if r := scan(t, Config{Parquet: oneKey(key)}, "f", data); len(r.found) < 3 || len(r.stats.Faults) > 0 {
		t.Errorf("with the key: %v, %v", r.found, r.stats.Faults)
	}
	scan(t, Config{Parquet: oneKey(strings.ToUpper(key))}, "f", data).want(t, 0, ErrForm)
}

// fuzz searches whatever is given after the beginning of a format: nothing may panic, and
// every fault has a place.
func fuzz(f *testing.F, seeds ...[]byte) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := scan(t, Config{MaxExpanded: 8 << 20, MaxMemory: 1 << 20, MaxDepth: 4, Parquet: oneKey("0123456789abcdef0123456789abcdef")}, "f", data)
		for _, fault := range r.stats.Faults {
			if fault.Path == "" || fault.Err == nil {
				t.Errorf("a fault says nothing: %+v", fault)
			}
		}
		for _, d := range r.found {
			if d.Path == "" || d.Confidence == 0 || d.Kind == "" || len(d.Masked) > 10 && strings.Count(d.Masked, "*") < len(d.Masked)-10 {
				t.Errorf("a finding shows too little or too much: %+v", d)
			}
		}
	})
}

func FuzzGzip(f *testing.F) {
	c := containers(f)
	fuzz(f, c["gzip"].Data, gzipped(f, []byte(visaNumber)), []byte("\x1f\x8b\x08"))
}

func FuzzZstd(f *testing.F) { fuzz(f, containers(f)["zstd"].Data, []byte("\x28\xb5\x2f\xfd")) }

func FuzzZip(f *testing.F) { fuzz(f, containers(f)["zip of gzip"].Data, []byte("PK\x05\x06")) }

func FuzzTar(f *testing.F) {
	fuzz(f, containers(f)["tar of zip of zstd"].Data, append(make([]byte, 257), "ustar"...))
}

func FuzzParquet(f *testing.F) {
	fuzz(f, containers(f)["Parquet"].Data, encrypted(f, "0123456789abcdef0123456789abcdef"), []byte("PAR1PAR1"))
}

func FuzzAvro(f *testing.F) { fuzz(f, containers(f)["Avro"].Data, []byte("Obj\x01")) }

func FuzzSQLite(f *testing.F) {
	fuzz(f, containers(f)["SQLite"].Data, []byte("SQLite format 3\x00"))
}

func FuzzText(f *testing.F) {
	fuzz(f, []byte("pan,cvv\n"+visaNumber+",123\n"), []byte("\xff\xfe4\x001\x00"), []byte("\x5a\x08\x41\x11\x11\x11\x11\x11\x11\x11"), []byte("NDExMTExMTExMTExMTExMQ==\n"))
}
