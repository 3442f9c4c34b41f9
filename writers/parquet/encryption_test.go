package parquet_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	pq "github.com/apache/arrow-go/v18/parquet"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/writers/parquet"
	"github.com/cardlake/cardlake/writers/writerstest"
)

var fileKey = bytes.Repeat([]byte{7, 1}, 16)

func withKey(key []byte) *pq.ReaderProperties {
	props := pq.NewReaderProperties(nil)
	props.FileDecryptProps = pq.NewFileDecryptionProperties(pq.WithFooterKey(string(key)))
	return props
}

func encrypted(t testing.TB, s shape, cfg parquet.Config) (body []byte, want [][]any) {
	t.Helper()
	rec, want := random(rand.New(rand.NewPCG(5, 6)), s)
	cfg.Encryption = &parquet.Encryption{Key: fileKey, KeyMetadata: []byte("key 17")}
	body, _, err := parquet.NewEncoder(everything, cfg).Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	return body, want
}

// decoded is readArrow of a file that may be broken, on which arrow-go panics.
func decoded(t testing.TB, body []byte, props *pq.ReaderProperties) (columns [][]any, isPanic bool, err error) {
	defer func() { isPanic = recover() != nil }()
	columns, err = readArrow(t, body, props)
	return columns, false, err
}

// An encrypted file is read with its key, and with nothing else.
func TestEncryption(t *testing.T) {
	some := shape{rows: 2000, nulls: 0.3, words: 30}
	for name, c := range map[string]struct {
		shape  shape
		config parquet.Config
	}{
		"no row":   {shape{}, parquet.Config{}},
		"one row":  {shape{rows: 1, text: 5}, parquet.Config{}},
		"one page": {some, parquet.Config{}},
		"groups and pages": {shape{rows: 2000, nulls: 0.3, words: 30, isCoded: true},
			parquet.Config{RowGroupRows: 600, PageRows: 100}},
	} {
		t.Run(name, func(t *testing.T) {
			body, want := encrypted(t, c.shape, c.config)
			got, err := readArrow(t, body, withKey(fileKey))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "arrow-go", want, got)
			if _, isPanic, err := decoded(t, body, nil); err == nil && !isPanic {
				t.Error("read without a key")
			}
			if _, isPanic, err := decoded(t, body, withKey(make([]byte, 32))); err == nil && !isPanic {
				t.Error("read with another key")
			}
			// Nothing but the key metadata is in clear: no column's name, no word of the schema.
			for _, text := range []string{"event_id", "schema", "cardlake", "wörd"} {
				if bytes.Contains(body, []byte(text)) {
					t.Errorf("%q is in clear", text)
				}
			}
			if !bytes.Contains(body, []byte("key 17")) {
				t.Error("the key metadata is missing")
			}
		})
	}
}

// An encrypted file is covered by its key: a byte that is changed is found when it is read.
func TestEncryptionFindsChanges(t *testing.T) {
	body, _ := encrypted(t, shape{rows: 60, nulls: 0.3, words: 3}, parquet.Config{PageRows: 30})
	metadata := bytes.Index(body, []byte("key 17"))
	for at := 4; at < len(body)-8; at++ {
		if at < metadata-40 && at%11 > 0 { // pages: some suffice
			continue
		}
		if at >= metadata && at < metadata+len("key 17") { // for the reader's key service, which checks it
			continue
		}
		broken := bytes.Clone(body)
		broken[at] ^= 1
		if _, isPanic, err := decoded(t, broken, withKey(fileKey)); err == nil && !isPanic {
			t.Errorf("a change of byte %d of %d was not found", at, len(body))
		}
	}
}

// Two files of the same rows and key share no module, and one encoder writes files of
// several keys and of none.
func TestEncodeSealed(t *testing.T) {
	rec, want := random(rand.New(rand.NewPCG(7, 8)), shape{rows: 500, words: 9})
	e := parquet.NewEncoder(everything, parquet.Config{})
	plain := func() []byte {
		body, _, err := e.Encode(rec)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(body)
	}
	before := plain()
	var sealed [2][]byte
	for i, key := range [][]byte{fileKey, bytes.Repeat([]byte{9}, 32)} {
		body, _, err := e.EncodeSealed(rec, &parquet.Encryption{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		sealed[i] = bytes.Clone(body)
		got, err := readArrow(t, body, withKey(key))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "arrow-go", want, got)
	}
	again, _, err := e.EncodeSealed(rec, &parquet.Encryption{Key: fileKey})
	if err != nil {
		t.Fatal(err)
	}
	for at := 4; at+16 < len(again)-8; at += 16 {
		if bytes.Contains(sealed[0], again[at:at+16]) {
			t.Fatal("two files of one key share bytes")
		}
	}
	if _, _, err := e.EncodeSealed(rec, &parquet.Encryption{Key: fileKey[:16]}); err == nil {
		t.Error("a key of 16 bytes was taken")
	}
	if !bytes.Equal(before, plain()) {
		t.Error("a file without encryption is another one after one with it")
	}
}

// DuckDB reads uniform encryption, when a column chunk has one page and filters stay out of
// the scan.
func TestEncryptionDuckDB(t *testing.T) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, sql := range []string{
		"PRAGMA add_parquet_key('k', '" + base64.StdEncoding.EncodeToString(fileKey) + "')",
		"SET disabled_optimizers='filter_pushdown'",
	} {
		if _, err := db.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	body, want := encrypted(t, shape{rows: 3000, nulls: 0.2, words: 50}, parquet.Config{RowGroupRows: 1500, BloomRows: 1})
	got, err := readDuckDB(db, write(t, body), ", encryption_config = {footer_key: 'k'}")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "DuckDB", want, got)
	if _, err := readDuckDB(db, write(t, body), ""); err == nil {
		t.Error("read without a key")
	}
}

// EventIDs and Positions give errors on files they have no key for.
func TestReadersRefuseEncrypted(t *testing.T) {
	body, _ := encrypted(t, shape{rows: 10, words: 3}, parquet.Config{})
	if err := parquet.EventIDs(body, 0, func(cardlake.EventID, int64) bool { return true }); err == nil {
		t.Error("EventIDs read an encrypted file")
	}
	if err := parquet.Positions(t.Context(), body, func(cardlake.Position) bool { return true }); err == nil {
		t.Error("Positions read an encrypted file")
	}
}

// PyArrow reads plain files, and encrypted ones through its key tools with the key and not
// without. CARDLAKE_PYTHON names an interpreter that has pyarrow.
func TestPyArrow(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if python == "" {
		t.Skip("CARDLAKE_PYTHON is not set")
	}
	txs := writerstest.New(9).Take(45_000)
	reference := filepath.Join(t.TempDir(), "reference.json")
	var wanted []map[string]any
	for _, tx := range txs[:1000] {
		wanted = append(wanted, want(tx))
	}
	text, err := json.Marshal(wanted)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(reference, text, 0o600); err != nil {
		t.Fatal(err)
	}
	// What PyArrow's key tools want to find; the test's key service wraps nothing.
	metadata, err := json.Marshal(map[string]any{
		"keyMaterialType": "PKMT1", "internalStorage": true, "isFooterKey": true, "kmsInstanceID": "DEFAULT", "kmsInstanceURL": "DEFAULT",
		"masterKeyID": "tenant", "wrappedDEK": base64.StdEncoding.EncodeToString(fileKey), "doubleWrapping": false,
	})
	if err != nil {
		t.Fatal(err)
	}
	files := []string{reference}
	for _, cfg := range []parquet.Config{
		{}, {RowGroupRows: 20_000, PageRows: 3000}, {PlainEncodings: true},
		{Encryption: &parquet.Encryption{Key: fileKey, KeyMetadata: metadata}},
		{Encryption: &parquet.Encryption{Key: fileKey, KeyMetadata: metadata}, RowGroupRows: 20_000, PageRows: 3000},
	} {
		body, _ := encode(t, cfg, txs...)
		files = append(files, write(t, body))
	}
	out, err := exec.Command(python, append([]string{"testdata/verify.py"}, files...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// BenchmarkEncryption shows what encryption adds to BenchmarkEncode.
func BenchmarkEncryption(b *testing.B) {
	benchmarkEncode(b, parquet.Config{Encryption: &parquet.Encryption{Key: fileKey}})
}
