package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
)

const analyst = "tenant_analyst/analyst@aurora"

// makeExportLake makes a lake whose tenants have keys, and their files so many rows.
func makeExportLake(t *testing.T, files []int, rows int) home.Dir {
	t.Helper()
	dir := home.Dir(t.TempDir())
	if err := makeKeyring(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	l, err := openToWrite(t.Context(), []string{"-dir", string(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	table, err := l.Table(t.Context(), cardlake.Transactions)
	if err != nil {
		t.Fatal(err)
	}
	var all []cardlake.DataFile
	for _, i := range files {
		file, body, err := queriestest.File(i, rows)
		if err == nil {
			err = l.Store.Put(t.Context(), file.Name, testOwner, body)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, file)
	}
	to := cardlake.Positions{{Stream: "transactions"}: {Next: int64(len(files) * rows)}}
	if _, err := table.Append(t.Context(), catalog.Append{Files: all, To: to}); err != nil {
		t.Fatal(err)
	}
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := local.OpenFile(dir.LakeKeyring(), dir.LakeSecret())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range tenants.All() {
		if err := ring.EnsureOwners(t.Context(), keys.OwnerOf(r.StorageID)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// exported runs a command of exports.
func exported(t *testing.T, dir home.Dir, as string, command []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append(append(command, "-dir", string(dir), "-as", as), args...)
	err = exportCommand(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), err
}

func exportedJob(t *testing.T, out string) (j export.Job) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return j
}

func digestOf(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// TestExport goes from the command to the files and back, without a server.
func TestExport(t *testing.T) {
	dir := makeExportLake(t, []int{0, 1, 2, 3}, 3000)
	out := t.TempDir()

	// A statement, in this process, and downloaded.
	text, errs, err := exported(t, dir, analyst, []string{"start"}, "-format", "csv", "-out", out,
		"SELECT mcc, count(*) AS n, sum(amount) AS total FROM cards.transactions GROUP BY mcc ORDER BY mcc")
	if err != nil || !strings.Contains(errs, "done: 4 rows, 1 file,") {
		t.Fatalf("%v: %s%s", err, text, errs)
	}
	body, err := os.ReadFile(filepath.Join(out, "query-00001.csv"))
	if err != nil {
		t.Fatal(err)
	}
	if lines, err := csv.NewReader(bytes.NewReader(body)).ReadAll(); err != nil || len(lines) != 5 || lines[1][0] != "4111" || lines[1][1] != "1500" {
		t.Errorf("%v, %v", lines, err)
	}

	// A table, in files of one MiB; the download is cut, and goes on.
	text, errs, err = exported(t, dir, analyst, []string{"start"}, "-format", "jsonl", "-max-file-bytes", "1048576", "cards.transactions")
	if err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	j := exportedJob(t, text)
	if j.State != export.Done || j.Progress.Rows != 6000 || len(j.Files) < 4 || strings.Contains(text, "attempt-") {
		t.Fatal(text)
	}
	out = t.TempDir()
	if _, _, err := exported(t, dir, analyst, []string{"download"}, "-out", out, j.ID); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(out, j.Files[2].Name)
	whole, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(beginning []byte) {
		t.Helper()
		if err := errors.Join(os.Remove(second), os.WriteFile(second+".part", beginning, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cut(whole[:500_000])
	if _, errs, err = exported(t, dir, analyst, []string{"download"}, "-out", out, j.ID); err != nil || !strings.Contains(errs, "goes on at byte 500000") {
		t.Errorf("%v: %s", err, errs)
	}
	if digestOf(t, second) != j.Files[2].SHA256 {
		t.Error("the file that was cut is not whole")
	}
	cut(bytes.Repeat([]byte("x"), 500_000)) // of something else
	if _, errs, err = exported(t, dir, analyst, []string{"download"}, "-out", out, j.ID); err != nil || !strings.Contains(errs, "from the start") {
		t.Errorf("%v: %s", err, errs)
	}
	if digestOf(t, second) != j.Files[2].SHA256 {
		t.Error("the file that was damaged is not whole")
	}
	if err := os.WriteFile(second, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = exported(t, dir, analyst, []string{"download"}, "-out", out, j.ID); err == nil || digestOf(t, second) == j.Files[2].SHA256 {
		t.Errorf("another file was written over: %v", err)
	}

	// Nobody else has it, whoever may not export asks in vain, and it can be listed and told.
	for command, other := range map[string]string{"download": "tenant_analyst/analyst@bolivar", "cancel": "operator/local"} {
		if _, _, err := exported(t, dir, other, []string{command}, j.ID); err == nil || !strings.Contains(err.Error(), "no such export") {
			t.Errorf("%s %s: %v", other, command, err)
		}
	}
	if _, _, err := exported(t, dir, "data_scientist/local", []string{"start"}, "-tenant", "aurora", "cards.transactions"); err == nil || !strings.Contains(err.Error(), "may not export") {
		t.Error(err)
	}
	if _, _, err := exported(t, dir, analyst, []string{"start"}, "-tenant", "bolivar", "SELECT * FROM cards.transactions"); err == nil || !strings.Contains(err.Error(), "may not export") {
		t.Error(err)
	}
	if text, _, err := exported(t, dir, analyst, []string{"list"}); err != nil || strings.Count(text, " done ") != 2 {
		t.Errorf("%v: %s", err, text)
	}
	if text, _, err := exported(t, dir, analyst, []string{"status"}, j.ID); err != nil || exportedJob(t, text).ID != j.ID {
		t.Errorf("%v: %s", err, text)
	}
	for _, wrong := range []string{"SELECT * FROM read_csv('/etc/passwd')", "cards.nothing"} {
		if _, _, err := exported(t, dir, analyst, []string{"start"}, wrong); err == nil {
			t.Errorf("%s was exported", wrong)
		}
	}

	// Under the tenant's key, and with a schedule.
	out = t.TempDir()
	if _, errs, err := exported(t, dir, analyst, []string{"start"}, "-format", "csv", "-encrypt", "kms", "-columns", "amount,event_time", "-out", out, "cards.transactions"); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	sealed := filepath.Join(out, "transactions-00001.csv.age")
	if err := exportCommand(t.Context(), []string{"decrypt", "-dir", string(dir), sealed}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if body, err := os.ReadFile(strings.TrimSuffix(sealed, ".age")); err != nil || !bytes.HasPrefix(body, []byte("amount,event_time\r\n")) {
		t.Errorf("%.40q, %v", body, err)
	}
	text, _, err = exported(t, dir, analyst, []string{"schedule", "add"}, "-since", "2026-03-01", "-format", "parquet", "cards.transactions")
	id, _, _ := strings.Cut(text, ":")
	if err != nil || !strings.Contains(text, "until 2026-03-02T00:00:00Z") {
		t.Fatalf("%v: %s", err, text)
	}
	if _, _, err := exported(t, dir, analyst, []string{"schedule", "pause"}, id); err != nil {
		t.Error(err)
	}
	if text, _, err := exported(t, dir, analyst, []string{"schedule", "list"}); err != nil || !strings.Contains(text, "paused by "+analyst) {
		t.Errorf("%v: %s", err, text)
	}
	if _, _, err := exported(t, dir, analyst, []string{"schedule", "remove"}, id); err != nil {
		t.Error(err)
	}

	// Nothing of the rows lies in clear in the lake's folder.
	err = filepath.Walk(serving.ExportsFolder(string(dir)), func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("SHOP ")) || bytes.Contains(text, []byte("tk1_")) || bytes.Contains(text, []byte("insufficient_funds")) {
			t.Errorf("%s holds rows in clear", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestExportSettings: the keys are the tenant's, changed by who may change its grants.
func TestExportSettings(t *testing.T) {
	dir := makeExportLake(t, []int{0}, 100)
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	add := "treasury=" + identity.Recipient().String()
	for _, as := range [][]string{{analyst, "-mfa"}, {"operator/local"}} {
		if _, _, err := exported(t, dir, as[0], []string{"settings"}, append(as[1:], "-add-recipient", add, "aurora")...); err == nil || !strings.Contains(err.Error(), "only who may change") {
			t.Errorf("%v: %v", as, err)
		}
	}
	text, _, err := exported(t, dir, "operator/local", []string{"settings"}, "-mfa", "-add-recipient", add, "-must-encrypt", "yes", "aurora")
	if err != nil || !strings.Contains(text, identity.Recipient().String()) {
		t.Fatalf("%v: %s", err, text)
	}
	if _, _, err := exported(t, dir, analyst, []string{"start"}, "cards.transactions"); err == nil || !strings.Contains(err.Error(), "encrypted") {
		t.Error(err)
	}
	out := t.TempDir()
	if _, errs, err := exported(t, dir, analyst, []string{"start"}, "-format", "csv", "-compress", "gzip", "-encrypt", "age", "-out", out, "cards.transactions"); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	f, err := os.Open(filepath.Join(out, "transactions-00001.csv.gz.age"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if plain, err := age.Decrypt(f, identity); err != nil {
		t.Error(err)
	} else if head := make([]byte, 2); true {
		if _, err := io.ReadFull(plain, head); err != nil || string(head) != "\x1f\x8b" {
			t.Errorf("%x, %v", head, err)
		}
	}
}

// TestExportReal exports a tenant of many rows and has it read by pandas, openpyxl, excelize and
// parquet-go. CARDLAKE_PYTHON is a Python with pandas, pyarrow and openpyxl, CARDLAKE_ROWS how
// many rows the tenant has.
func TestExportReal(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if os.Getenv("CARDLAKE_REAL") == "" || python == "" {
		t.Skip("needs CARDLAKE_REAL=1 and CARDLAKE_PYTHON")
	}
	rows := 60_000
	if text := os.Getenv("CARDLAKE_ROWS"); text != "" {
		var err error
		if rows, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const perFile = 100_000
	var files []int
	for i := range max((rows+perFile-1)/perFile, 1) {
		files = append(files, 3*i) // of aurora
	}
	dir := makeExportLake(t, files, rows/len(files))
	grow(t, dir)
	total := len(files) * (rows / len(files))
	out := t.TempDir()
	for _, format := range []string{"parquet", "csv", "jsonl", "xlsx"} {
		args := []string{"-format", format, "-out", filepath.Join(out, format)}
		if format == "jsonl" || format == "xlsx" {
			args = append(args, "-until", "2026-03-02") // its readers take minutes for more
		}
		if format == "xlsx" {
			args = append(args, "-columns", "event_id,event_time,amount,approved,merchant_city")
		}
		_, errs, err := exported(t, dir, analyst, []string{"start"}, append(args, "cards.transactions")...)
		if err != nil {
			t.Fatalf("%s: %v: %s", format, err, errs)
		}
		t.Logf("%s: %s", format, errs)
	}
	script := `
import sys, glob, json, hashlib, os
import pandas as pd
out, total = sys.argv[1], int(sys.argv[2])
sums = {}
for format in ("parquet", "csv", "jsonl", "xlsx"):
    m = json.load(open(f"{out}/{format}/manifest.json"))
    rows, amount, first = 0, 0, None
    for f in m["files"]:
        path = f"{out}/{format}/{f['name']}"
        assert hashlib.sha256(open(path, "rb").read()).hexdigest() == f["sha256"], path
        if format == "parquet":
            d = pd.read_parquet(path, columns=["event_time", "amount"])
        elif format == "csv":
            d = pd.read_csv(path, usecols=["event_time", "amount"], parse_dates=["event_time"], date_format="ISO8601")
        elif format == "jsonl":
            d = pd.concat(c[["event_time", "amount"]] for c in pd.read_json(path, lines=True, convert_dates=["event_time"], chunksize=100000))
        else:
            d = pd.read_excel(path, engine="openpyxl", usecols=["event_time", "amount"])
        assert "datetime64" in str(d["event_time"].dtype), (format, d["event_time"].dtype)
        rows += len(d)
        amount += int(sum(d["amount"].astype(float)))
        if first is None:
            first = str(d["event_time"].min())[:19]
    assert rows == m["rows"] and (rows == total or format in ("jsonl", "xlsx")), (format, rows, m["rows"], total)
    sums[format] = (rows, amount, first)
assert sums["parquet"] == sums["csv"] and sums["jsonl"] == sums["xlsx"], sums
print(sums)
`
	said, err := exec.CommandContext(t.Context(), python, "-c", script, out, strconv.Itoa(total)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	t.Logf("%s", said)
	var n int64
	names, _ := filepath.Glob(filepath.Join(out, "parquet", "*.parquet"))
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		p, err := parquet.OpenFile(f, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		n += p.NumRows()
		f.Close()
	}
	if n != int64(total) {
		t.Errorf("parquet-go finds %d rows", n)
	}
	names, _ = filepath.Glob(filepath.Join(out, "xlsx", "*.xlsx"))
	if f, err := excelize.OpenFile(names[0]); err != nil {
		t.Error(err)
	} else {
		sheet, err := f.Rows("rows")
		if err != nil || !sheet.Next() {
			t.Errorf("excelize finds no rows, %v", err)
		}
		f.Close()
	}
}

// grow lifts the bounds of rows: those of the analysts' grants, and the tenant's quotas.
func grow(t *testing.T, dir home.Dir) {
	t.Helper()
	name := filepath.Join(dir.Grants(), "principals.json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"max_rows": 1000000`), []byte(`"max_rows": 100000000`), 1)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tenants.SetQuotas(queriestest.Tenants[0].Name, catalog.Quotas{Rows: 1e9, Bytes: 1e12}); err != nil {
		t.Fatal(err)
	}
}
