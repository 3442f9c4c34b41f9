package export_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/export"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/objectstest"
)

// register is a register of tenants that a test changes.
type register struct {
	mu      sync.Mutex
	records map[cardlake.Tenant]catalog.TenantRecord
}

func (r *register) Lookup(name cardlake.Tenant) (catalog.TenantRecord, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.records[name]
	if !ok {
		return one, catalog.ErrNoTenant
	}
	return one, nil
}

func (r *register) change(name cardlake.Tenant, do func(*catalog.TenantRecord)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.records[name]
	do(&one)
	r.records[name] = one
}

// rulings permit everything to whoever they name.
type rulings map[grants.Principal]bool

func (r rulings) Permitted(c grants.Caller, a grants.Action) *grants.Ruling {
	out := &grants.Ruling{Principal: c.Principal, Action: a}
	if a == grants.Grant && r[c.Principal] {
		out.Tenants = []cardlake.Tenant{"aurora", "bolivar", "cobre"}
	}
	return out
}

// clock is a clock that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a lake with exports.
type world struct {
	t       testing.TB
	dir     string
	lake    *queriestest.Lake
	keys    *objectstest.Keys
	files   objects.Store
	tenants *register
	log     *queriestest.Log
	clock   *clock
	deps    export.Deps
	cfg     export.Config
	permits struct {
		sync.Mutex
		queriestest.Permits
	}
	*export.Service
}

var (
	ana   = grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "ana"}, Origin: "test"}
	eve   = grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "eve"}, Origin: "test"}
	admin = grants.Caller{Principal: grants.Principal{Kind: grants.Operator, Name: "olga"}, Origin: "test"}
)

func storageID(name cardlake.Tenant) cardlake.StorageID {
	return cardlake.StorageID(cardlake.AppendLetters(nil, []byte((string(name) + "        ")[:8])))
}

func newWorld(t testing.TB, files, rows int, change func(*world)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), lake: queriestest.NewLake(), keys: objectstest.NewKeys(), log: &queriestest.Log{},
		clock: &clock{at: queriestest.Epoch.Add(40 * 24 * time.Hour)}, tenants: &register{records: map[cardlake.Tenant]catalog.TenantRecord{}}}
	if err := w.lake.Fill(files, rows); err != nil {
		t.Fatal(err)
	}
	for _, one := range queriestest.Tenants {
		w.tenants.records[one.Name] = catalog.TenantRecord{Name: one.Name, StorageID: storageID(one.Name), Status: catalog.TenantActive}
	}
	w.files = objects.NewSealed(t.TempDir(), w.keys, objects.SealedConfig{})
	w.permit(queriestest.Only(nil, "aurora"))
	permits := queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		w.permits.Lock()
		defer w.permits.Unlock()
		return w.permits.Permits(c, a, t)
	})
	w.deps = export.Deps{
		Gateway: func(p queries.Permits) *queries.Gateway { return queries.New(nil, nil, p, w.log, queries.Config{}) },
		Permits: permits, Rulings: rulings{admin.Principal: true}, Recorder: w.log, Planner: w.lake, Lake: w.lake, Files: w.files,
		Tenants: w.tenants, Keys: w.keys,
	}
	for name := range w.tenants.records {
		w.tenants.change(name, func(r *catalog.TenantRecord) { r.Quotas = catalog.Quotas{Rows: 1e12, Bytes: 1e15, Exports: 1e6} })
	}
	w.cfg = export.Config{Now: w.clock.now, Poll: 5 * time.Millisecond, Backoff: time.Minute}
	if change != nil {
		change(w)
	}
	w.Service = w.open()
	return w
}

func (w *world) permit(p queriestest.Permits) {
	w.permits.Lock()
	defer w.permits.Unlock()
	w.permits.Permits = p
}

func (w *world) open() *export.Service {
	w.t.Helper()
	s, err := export.Open(w.t.Context(), w.dir, w.deps, w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	return s
}

// run asks for an export and runs it to its end.
func (w *world) run(c grants.Caller, r export.Request) *export.Job {
	w.t.Helper()
	j, _, err := w.Start(w.t.Context(), c, r)
	if err != nil {
		w.t.Fatal(err)
	}
	if j, err = w.RunOne(w.t.Context(), j.ID, nil); err != nil {
		w.t.Fatal(err)
	}
	return j
}

// read downloads a file and checks its digest.
func (w *world) read(c grants.Caller, j *export.Job, number int) []byte {
	w.t.Helper()
	f, err := w.Open(w.t.Context(), c, j.ID, number, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		w.t.Fatal(err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != f.SHA256 || int64(len(content)) != f.Bytes {
		w.t.Fatalf("file %d is not what the job says", number)
	}
	return content
}

func (w *world) manifest(c grants.Caller, j *export.Job) (m export.Manifest) {
	w.t.Helper()
	if err := json.Unmarshal(w.read(c, j, 0), &m); err != nil {
		w.t.Fatal(err)
	}
	return m
}

// objects counts what is in the store.
func (w *world) objects() (n int) {
	w.t.Helper()
	for _, err := range w.files.List(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

func wantDone(t testing.TB, j *export.Job) {
	t.Helper()
	if j.State != export.Done {
		t.Fatalf("the export is %s: %s", j.State, j.Error)
	}
}

func wantFault(t *testing.T, err error, code export.Code, text string) {
	t.Helper()
	var f *export.Fault
	if !errors.As(err, &f) || f.Code != code || !strings.Contains(f.Message, text) {
		t.Errorf("got %v, want a fault %s with %q", err, code, text)
	}
}

const table = "cards.transactions"

// TestFormats reads each format back with a reader that is not ours, and finds the same amounts.
func TestFormats(t *testing.T) {
	w := newWorld(t, 7, 300, nil) // aurora has files 0, 3 and 6
	const wantRows = 900
	var wantSum int64
	for _, i := range []int64{0, 3, 6} {
		for r := range int64(300) {
			wantSum += ((i*300+r)%1000 + 1) * 10_000
		}
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	err = w.Change(t.Context(), admin, "aurora", func(s *export.Settings) error {
		s.Recipients = []export.Recipient{{Name: "treasury", Key: identity.Recipient().String()}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	decrypt := func(b []byte, i age.Identity) []byte {
		r, err := age.Decrypt(bytes.NewReader(b), i)
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	check := func(t *testing.T, j *export.Job, rows int, sum int64) {
		t.Helper()
		m := w.manifest(ana, j)
		if rows != wantRows || sum != wantSum || m.Rows != wantRows || j.Progress.Rows != wantRows || j.Progress.Percent != 100 {
			t.Errorf("%d rows, sum %d; the manifest says %d, the progress %+v; want %d and %d", rows, sum, m.Rows, j.Progress, wantRows, wantSum)
		}
		if m.Table != table || m.Tenant != "aurora" || len(m.Columns) != len(cardlake.Transactions.Columns) || m.Tables[0].Snapshot == 0 || m.Tables[0].Positions != nil || m.AsOf.IsZero() {
			t.Errorf("manifest %+v", m)
		}
	}
	t.Run("csv", func(t *testing.T) {
		j := w.run(ana, export.Request{Table: table, Format: export.CSV, Compression: "zstd", Encryption: "age"})
		wantDone(t, j)
		if name := j.Files[1].Name; name != "transactions-00001.csv.zst.age" {
			t.Errorf("file is named %q", name)
		}
		z, err := zstd.NewReader(bytes.NewReader(decrypt(w.read(ana, j, 1), identity)))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		lines, err := csv.NewReader(z).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		at := slices.Index(lines[0], "amount")
		var sum int64
		for _, line := range lines[1:] {
			d, err := decimal128.FromString(line[at], 18, 4)
			if err != nil {
				t.Fatal(err)
			}
			sum += int64(d.LowBits())
		}
		check(t, j, len(lines)-1, sum)
	})
	t.Run("jsonl", func(t *testing.T) {
		j := w.run(ana, export.Request{Table: table, Format: export.JSONL, Encryption: "kms"})
		wantDone(t, j)
		sealed := w.read(ana, j, 1)
		body := decrypt(sealed, export.NewKMSIdentity(t.Context(), w.keys))
		var sum int64
		lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
		for _, line := range lines {
			var row struct{ Amount json.Number }
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			d, err := decimal128.FromString(row.Amount.String(), 18, 4)
			if err != nil {
				t.Fatal(err)
			}
			sum += int64(d.LowBits())
		}
		check(t, j, len(lines), sum)
		w.keys.Destroy(keys.OwnerOf(storageID("aurora")))
		if _, err := age.Decrypt(bytes.NewReader(sealed), export.NewKMSIdentity(t.Context(), w.keys)); err == nil {
			t.Error("the downloaded file opens without the tenant's key")
		}
		if _, err := w.Open(t.Context(), ana, j.ID, 1, 0); err == nil {
			t.Error("the stored file opens without the tenant's key")
		}
	})
	w = newWorld(t, 7, 300, nil)
	t.Run("parquet", func(t *testing.T) {
		j := w.run(ana, export.Request{Table: table, Format: export.Parquet})
		wantDone(t, j)
		body := w.read(ana, j, 1)
		type row struct {
			Amount int64 `parquet:"amount"`
		}
		f, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		at, _ := f.Schema().Lookup("amount")
		var sum int64
		rows := 0
		for _, g := range f.RowGroups() {
			r := g.Rows()
			buf := make([]parquet.Row, 100)
			for {
				n, err := r.ReadRows(buf)
				for _, one := range buf[:n] {
					b := one[at.ColumnIndex]
					switch b.Kind() {
					case parquet.Int64:
						sum += b.Int64()
					default:
						var v int64
						for _, c := range b.ByteArray() {
							v = v<<8 | int64(c)
						}
						sum += v
					}
					rows++
				}
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			r.Close()
		}
		check(t, j, rows, sum)
	})
	t.Run("xlsx", func(t *testing.T) {
		j := w.run(ana, export.Request{Table: table, Format: export.XLSX})
		wantDone(t, j)
		f, err := excelize.OpenReader(bytes.NewReader(w.read(ana, j, 1)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rows, err := f.GetRows("rows", excelize.Options{RawCellValue: true})
		if err != nil {
			t.Fatal(err)
		}
		at := slices.Index(rows[0], "amount")
		var sum int64
		for _, row := range rows[1:] {
			d, err := decimal128.FromString(row[at], 18, 4)
			if err != nil {
				t.Fatal(err)
			}
			sum += int64(d.LowBits())
		}
		check(t, j, len(rows)-1, sum)
	})
}
