package iceberg

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	iceberg "github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cardlake/cardlake"
)

// entryView is what another reader sees of an entry.
type entryView struct {
	Path                             string
	Snapshot, Sequence, FileSequence int64
	Rows, Bytes                      int64
	Partition                        string
	Sizes                            map[int]int64
	Lower, Upper                     map[int][]byte
	Splits                           []int64
	SortOrder                        int
}

// readEntries reads all live entries of the table with iceberg-go, by path.
func readEntries(t *testing.T, tbl *Table) map[string]entryView {
	t.Helper()
	fs := foreign{t.Context(), tbl}
	manifests, err := loadForeign(t, tbl).CurrentSnapshot().Manifests(fs)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]entryView{}
	for _, m := range manifests {
		var added, existing int32
		var rows int64
		for e, err := range m.Entries(fs, true) {
			if err != nil {
				t.Fatal(err)
			}
			d := e.DataFile()
			v := entryView{
				Path: d.FilePath(), Snapshot: e.SnapshotID(), Sequence: e.SequenceNum(), FileSequence: *e.FileSequenceNum(),
				Rows: d.Count(), Bytes: d.FileSizeBytes(), Partition: fmt.Sprint(d.Partition()), Sizes: d.ColumnSizes(),
				Lower: d.LowerBoundValues(), Upper: d.UpperBoundValues(), Splits: d.SplitOffsets(), SortOrder: *d.SortOrderID(),
			}
			if len(v.Sizes) == 0 {
				v.Sizes = nil
			}
			if _, ok := out[v.Path]; ok {
				t.Errorf("%s is there twice", v.Path)
			}
			out[v.Path] = v
			rows += v.Rows
			if e.Status() == iceberg.EntryStatusADDED {
				added++
			} else {
				existing++
			}
			if v.Sequence < m.MinSequenceNum() {
				t.Errorf("%s has sequence %d, its manifest's least is %d", v.Path, v.Sequence, m.MinSequenceNum())
			}
		}
		if added != m.AddedDataFiles() || existing != m.ExistingDataFiles() || rows != m.AddedRows()+m.ExistingRows() {
			t.Errorf("a manifest has %d added and %d existing entries of %d rows, the list says %d, %d and %d",
				added, existing, rows, m.AddedDataFiles(), m.ExistingDataFiles(), m.AddedRows()+m.ExistingRows())
		}
		if body, err := tbl.cat.read(t.Context(), m.FilePath()); err != nil || int64(len(body)) != m.Length() {
			t.Errorf("a manifest has %d bytes, the list says %d", len(body), m.Length())
		}
	}
	return out
}

// foreignFiles stages files through iceberg-go, with more statistics than this package
// writes.
func foreignFiles(t *testing.T, tbl *Table, files []cardlake.DataFile) func(*table.Transaction) error {
	return func(tx *table.Transaction) error {
		spec := loadForeign(t, tbl).Spec()
		var out []iceberg.DataFile
		for _, f := range files {
			b, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentData, tbl.cat.locations.uri(f.Name), iceberg.ParquetFile,
				map[int]any{1000: string(f.Tenant), 1001: iceberg.Date(f.Day)}, nil, nil, f.Rows, f.Bytes)
			if err != nil {
				return err
			}
			bound := func(micros int64) map[int][]byte {
				data, _ := iceberg.TimestampLiteral(micros).MarshalBinary()
				return map[int][]byte{7: data, 33: []byte("00")}
			}
			b.LowerBoundValues(bound(f.MinTime)).UpperBoundValues(bound(f.MaxTime))
			b.ColumnSizes(map[int]int64{1: 100, 7: 80}).SplitOffsets(f.SplitOffsets).SortOrderID(1)
			out = append(out, b.Build())
		}
		return tx.AddDataFiles(context.Background(), out, nil, table.WithoutDuplicateCheck(), table.WithoutAutoNameMapping())
	}
}

// TestMergeKeepsEntries mixes appends of this package and of iceberg-go: every entry
// stays what it was through all merges, as iceberg-go reads it.
func TestMergeKeepsEntries(t *testing.T) {
	t.Parallel()
	tbl, _, _ := newTable(t, cardlake.Transactions)
	random := rand.New(rand.NewPCG(1, 2))
	seen := map[string]entryView{}
	merges := 0
	var want []cardlake.DataFile
	position := 0
	for round := range 80 {
		a := window(position, 1+random.IntN(9))
		if random.IntN(3) == 0 {
			a.Files[0].Day, a.Files[0].MinTime, a.Files[0].MaxTime = -5, -5*86_400_000_000, -5*86_400_000_000
			change(t, tbl, foreignFiles(t, tbl, a.Files))
		} else {
			mustAppend(t, tbl, a)
			position++
		}
		want = append(want, a.Files...)
		v, err := tbl.load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		list, err := v.doc.current.list(t.Context(), tbl.cat)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if m.existing > 0 && m.snapshot == v.doc.current.ID {
				merges++
			}
		}
		if round%4 != 3 {
			continue
		}
		got := readEntries(t, tbl)
		if len(got) != len(want) {
			t.Fatalf("the table has %d files, want %d", len(got), len(want))
		}
		for path, v := range seen {
			if diff := gocmp.Diff(v, got[path]); diff != "" {
				t.Fatalf("an entry changed: %s", diff)
			}
		}
		seen = got
	}
	if merges < 8 {
		t.Errorf("there were %d merges: the test proves little", merges)
	}
	files := mustFiles(t, tbl, 0)
	slices.SortFunc(want, func(a, b cardlake.DataFile) int { return strings.Compare(a.Name, b.Name) })
	if diff := gocmp.Diff(want, files, cmpopts.IgnoreFields(cardlake.DataFile{}, "Sequence")); diff != "" {
		t.Error(diff)
	}
	// Bounds of partitions in the list still let a reader find every file.
	theirs := loadForeign(t, tbl)
	for _, tenant := range []string{"tenant-0", "tenant-5"} {
		tasks, err := theirs.Scan(table.WithRowFilter(iceberg.EqualTo(iceberg.Reference("tenant"), tenant))).PlanFiles(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range want {
			if string(f.Tenant) == tenant {
				n++
			}
		}
		if len(tasks) != n {
			t.Errorf("a scan of %s finds %d files, want %d", tenant, len(tasks), n)
		}
	}
}

func TestMergeable(t *testing.T) {
	l := &fileLayout{specID: 3}
	of := func(counts ...int64) (list []*manifest) {
		for i, n := range counts {
			list = append(list, &manifest{specID: 3, added: n, path: fmt.Sprint(i)})
		}
		return list
	}
	repeat := func(n int64, times int) []int64 { return slices.Repeat([]int64{n}, times) }
	other := of(repeat(12, 8)...)
	other[2].specID = 1
	deletes := of(repeat(12, 8)...)
	deletes[0].content = 1
	sealed := of(repeat(12, 8)...)
	sealed[0].keyMetadata = []byte{1}
	for name, c := range map[string]struct {
		list []*manifest
		want int
	}{
		"none":                {nil, 0},
		"seven":               {of(repeat(12, 7)...), 0},
		"eight":               {of(repeat(12, 8)...), 8},
		"eight of two levels": {of(append(repeat(12, 7), 3)...), 0},
		"lowest first":        {of(append(repeat(100, 9), repeat(1, 8)...)...), 8},
		"too large":           {of(repeat(mergeBelow, 20)...), 0},
		"bounded":             {of(repeat(mergeBelow-1, 20)...), 8},
		"other spec":          {other, 0},
		"row-level deletes":   {deletes, 0},
		"encrypted":           {sealed, 0},
		"empty ones":          {of(repeat(0, 8)...), 8},
	} {
		if got := mergeable(c.list, l); len(got) != c.want {
			t.Errorf("%s: %d are merged, want %d", name, len(got), c.want)
		}
	}
}

// TestLevelsStayFew plays the commits of a table's long life through the levels.
func TestLevelsStayFew(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	l := &fileLayout{}
	var list []*manifest
	var written, files int64
	for n := range 200_000 {
		inputs := mergeable(list, l)
		if len(inputs) > 0 {
			merged := &manifest{}
			list = slices.DeleteFunc(list, func(m *manifest) bool { return slices.Contains(inputs, m) })
			for _, m := range inputs {
				merged.existing += m.files()
			}
			list = append(list, merged)
			written += merged.existing
		}
		added := 1 + random.Int64N(24)
		if n%1000 == 0 {
			added = 5000
		}
		list = append(list, &manifest{added: added})
		files += added
		written += added
		large := int(files / mergeBelow)
		if most := 7*5 + 1 + 2*large; len(list) > most {
			t.Fatalf("after %d commits there are %d manifests, want at most %d", n+1, len(list), most)
		}
	}
	if perFile := float64(written) / float64(files); perFile > 5 {
		t.Errorf("an entry is written %.1f times", perFile)
	}
}

func TestManifestListForeign(t *testing.T) {
	yes, lower, upper := true, []byte("a"), []byte("b")
	theirs := []iceberg.ManifestFile{
		iceberg.NewManifestFile(2, "cardlake://lake/m", 10, 0, 7).SequenceNum(5, 3).AddedFiles(1).ExistingFiles(2).DeletedFiles(3).
			AddedRows(4).ExistingRows(5).DeletedRows(6).
			Partitions([]iceberg.FieldSummary{{ContainsNull: true, ContainsNaN: &yes, LowerBound: &lower, UpperBound: &upper}, {}}).Build(),
		iceberg.NewManifestFile(2, "cardlake://lake/n", 11, 0, 7).SequenceNum(5, 5).Content(iceberg.ManifestContentDeletes).Build(),
	}
	var buf bytes.Buffer
	sequence := int64(5)
	if err := iceberg.WriteManifestList(2, &buf, 7, nil, &sequence, 0, theirs); err != nil {
		t.Fatal(err)
	}
	list, err := decodeList(buf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeList(encodeList(list, 7, 0, 5))
	if err != nil {
		t.Fatal(err)
	}
	options := gocmp.AllowUnexported(manifest{}, fieldSummary{})
	if diff := gocmp.Diff(list, again, options); diff != "" {
		t.Error(diff)
	}
	back, err := iceberg.ReadManifestList(bytes.NewReader(encodeList(list, 7, 6, 5)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range back {
		if diff := gocmp.Diff(manifestOf(theirs[i]), manifestOf(back[i]), options); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSummaryBounds(t *testing.T) {
	day := func(d int32) []byte { return []byte{byte(d), byte(d >> 8), byte(d >> 16), byte(d >> 24)} }
	s := fieldSummary{lower: day(3), upper: day(3)}
	s.widen(fieldSummary{lower: day(-2), upper: day(-2)}, true)
	s.widen(fieldSummary{lower: day(300), upper: day(300)}, true)
	s.widen(fieldSummary{hasNull: true}, true)
	if !bytes.Equal(s.lower, day(-2)) || !bytes.Equal(s.upper, day(300)) || !s.hasNull {
		t.Errorf("the days are bounded by %v", s)
	}
	s = fieldSummary{}
	s.widen(fieldSummary{lower: []byte("b"), upper: []byte("b")}, false)
	s.widen(fieldSummary{lower: []byte("a"), upper: []byte("a")}, false)
	if string(s.lower) != "a" || string(s.upper) != "b" {
		t.Errorf("the tenants are bounded by %v", s)
	}
}

// fuzzLayout is the layout of a table, and a manifest and a list of it.
func fuzzLayout(f *testing.F) (l *fileLayout, body []byte, list []byte) {
	f.Helper()
	meta, err := newMetadata(cardlake.Transactions, "cardlake://lake/")
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(meta)
	if err != nil {
		f.Fatal(err)
	}
	doc, err := parseDocument(text, cardlake.Transactions, nil)
	if err != nil {
		f.Fatal(err)
	}
	l = doc.layout.current()
	m, body, err := l.encodeAdded(window(0, 3).Files, nil, 5, "cardlake://lake/")
	if err != nil {
		f.Fatal(err)
	}
	m.path = "cardlake://lake/m"
	return l, body, encodeList([]*manifest{m}, 5, 0, 1)
}

// FuzzManifest decodes anything, also as one of another writer: no panic, and what is
// decoded encodes to the same.
func FuzzManifest(f *testing.F) {
	l, body, _ := fuzzLayout(f)
	f.Add(body)
	f.Add(body[:len(body)-20])
	f.Add(bytes.Replace(body, []byte(`"name":"r2"`), []byte(`"name":"r3"`), 1))
	f.Add(bytes.Replace(body, []byte("null"), []byte("nope"), 1))
	f.Add([]byte(avroMagic))
	f.Fuzz(func(t *testing.T, body []byte) {
		w := newContainer(l.headers[1], true)
		var entries []entry
		m := &manifest{sequence: 4, snapshot: 6}
		err := l.decode(m, body, func(e entry, v *fileView) error {
			if e.status == statusDeleted {
				return nil
			}
			e.file = bytes.Clone(e.file)
			entries = append(entries, e)
			w.block = e.appendTo(w.block)
			w.end()
			_, _ = l.dataFile(v, "cardlake://lake/")
			return nil
		})
		if err != nil {
			return
		}
		n := 0
		err = l.decode(m, w.close(), func(e entry, _ *fileView) error {
			want := entries[n]
			want.status = statusExisting
			if e.snapshot != want.snapshot || e.sequence != want.sequence || e.fileSequence != want.fileSequence || !bytes.Equal(e.file, want.file) {
				t.Errorf("entry %d changed", n)
			}
			n++
			return nil
		})
		if err != nil || n != len(entries) {
			t.Errorf("of %d entries %d come back: %v", len(entries), n, err)
		}
	})
}

func FuzzManifestList(f *testing.F) {
	_, _, list := fuzzLayout(f)
	f.Add(list)
	f.Add(list[:len(list)-3])
	f.Add(bytes.Replace(list, []byte(`"name":"r508"`), []byte(`"name":"r509"`), 1))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := decodeList(body)
		if err != nil {
			return
		}
		again, err := decodeList(encodeList(list, 1, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(list, again, gocmp.AllowUnexported(manifest{}, fieldSummary{})); diff != "" {
			t.Error(diff)
		}
	})
}
