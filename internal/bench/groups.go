package main

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// group is benchmarks that are shown together.
type group struct {
	title, note string
	sources     []source
	benchtime   string   // 1s if empty
	columns     []string // units to show; all if empty
	trim        string   // cut off the names
	pairs       []pair
	bento       bool // wants a Bento
	python      bool // wants a Python, without which there is nothing to compare with
}

// source is the benchmarks of a package that a pattern of go test's -bench matches.
type source struct{ pkg, pattern string }

// pair compares a benchmark with its reference.
type pair struct{ bench, reference string }

var perRow = []string{"rows/cpu-s", "rows/s", "allocs/row", "bytes/row", "peak-MiB"}

var groups = []group{
	{
		title: "END TO END: Kafka → committed",
		note: "500,000 events of 12 tenants, a row each; window 1 s; 47 columns and bloom filters, sealed and synced, catalog on SQLite.\n" +
			"The broker is another process and in no figure, but for \"broker inside\". The references write the 40 clear fields of the same events.\n" +
			"loop: franz-go, hamba/avro, parquet-go with zstd, plain files: nothing opened, tokenised, encrypted, synced or committed.\n" +
			"Bento: kafka_franz, parquet_encode with zstd, plain files; Avro: the same bytes; JSON: the events written as JSON.",
		sources: []source{{"./ingest/kafka", "."}}, columns: perRow, trim: "Kafka/", benchtime: "5s", bento: true,
		pairs: []pair{{"worker", "reference loop"}, {"worker", "reference Bento Avro"}, {"worker", "reference Bento JSON"}, {"source alone", "reference client"}},
	},
	{
		title: "WRITER: rows → one sealed, synced object",
		note: "47 columns, zstd-1, 50,000 rows of one tenant and day unless the name says otherwise; ours with bloom filters and statistics.\n" +
			"The references put their bytes into the same sealed store. DuckDB: appender, then COPY.",
		sources: []source{{"./writers", "^Benchmark(Writer|ReferencePqarrow|ReferenceParquetGo|ReferenceDuckDB)$"}}, columns: perRow,
		pairs: []pair{{"Writer/50000", "ReferencePqarrow"}, {"Writer/50000", "ReferenceParquetGo"}, {"Writer/50000", "ReferenceDuckDB"}},
	},
	{
		title:   "ENCODER: columns → Parquet bytes",
		note:    "The same rows, in columns already. DuckDBCopy: COPY of a table in memory to a file, one thread, zstd-1.",
		sources: []source{{"./writers/parquet", "."}, {"./writers", "^BenchmarkReferenceDuckDBCopy$"}}, columns: perRow,
		pairs: []pair{{"Encode/50000", "ReferencePqarrow/50000"}, {"Encode/50000", "ReferenceParquetGo/50000"}, {"Encode/50000", "ReferenceDuckDBCopy"}},
	},
	{
		title:   "SCANNER: bytes searched for anybody's card numbers",
		note:    "One core, 32 MB a pass. lines: count lines as grep -c does; regexp: Go's, over the same bytes.",
		sources: []source{{"./tokenize/discover", "Detector|Scan"}}, columns: []string{"MB/cpu-s", "MB/s", "allocs/op"}, trim: "Detector/",
		pairs: []pair{{"detector/log", "reference=regexp/log"}, {"detector/numbers", "reference=regexp/numbers"}},
	},
	{
		title:   "STAGES: stream bytes → columns",
		note:    "HotPath: decoded, opened, tokenised, sorted into columns. HotPathStages: each alone, one tenant.",
		sources: []source{{"./card/wire", "."}}, columns: []string{"cpu-ns/row", "ns/op", "B/op", "allocs/op"},
		pairs: []pair{{"DecodeOpen", "DecodeReference"}},
	},
	{title: "STAGES: token of a card number", sources: []source{{"./tokenize", "."}}, pairs: []pair{{"Token", "TokenReference"}}},
	{
		title:   "STAGES: format-preserving encryption of a card number",
		note:    "FF1 of NIST SP 800-38G. PANReference: ten AES blocks that depend on each other, its floor; batch: four card numbers at a time.",
		sources: []source{{"./tokenize/ff1", "."}},
		pairs:   []pair{{"PAN/aes=128/digits=16", "PANReference/aes=128"}, {"PAN/aes=256/digits=16", "PANReference/aes=256"}},
	},
	{title: "VAULT: pins on Pebble", sources: []source{{"./tokenize/vault/pebblestore", "."}}},
	{title: "STAGES: data keys", sources: []source{{"./keys", "."}}},
	{title: "STAGES: batches", sources: []source{{".", "."}}},
	{title: "STAGES: objects", sources: []source{{"./writers/objects", "."}, {"./writers/objects/s3", "."}}},
	{title: "STAGES: commit", note: "Append: 12 files a commit; first and last: 512 commits each.", sources: []source{{"./catalog/iceberg", "."}}},
	{title: "STAGES: Kinesis source", sources: []source{{"./ingest/kinesis", "."}}},
	{
		title:   "TAIL: what is not committed, over Arrow Flight",
		sources: []source{{"./ingest/tailserver", "."}}, columns: []string{"rows/cpu-s", "rows/s", "allocs/row", "bytes/row"},
		pairs: []pair{{"Flight/tenants=100", "ReferenceInProcess/tenants=100"}},
	},
	{
		title: "QUERIES", sources: []source{{"./queries/embedded", "."}},
		pairs: []pair{
			{"Query/gateway", "Query/reference=duckdb-new"},
			{"Gateway/count/everything", "Gateway/count/raw"}, {"Gateway/sums/everything", "Gateway/sums/raw"}, {"Gateway/sums/tenants", "Gateway/sums/raw"},
		},
	},
	{
		title:   "DASHBOARD: 20 tenants look at once, open loop",
		note:    "Milliseconds of a figure since it was wanted; each tenant opens a page every 10 s, 6 figures at a time. With commits, a file of every tenant every 10 s. CARDLAKE_BENCH_DIR: the whole day.",
		sources: []source{{"./internal/daybench", "^BenchmarkDashboard$"}}, columns: []string{"p50-ms", "p95-ms", "p99-ms", "worst-page-p95-ms", "view-p95-ms", "cpu-ms/view", "cpu-%"}, trim: "Dashboard/", benchtime: "1x",
	},
	{
		title: "DAY: a dashboard's questions over a day of sealed files",
		note: "Milliseconds of one question. cold: nothing decrypted, no DuckDB started; references: DuckDB alone over the same files in clear, new for each question or staying.\n" +
			"A tenth of the record day, 1.35 million rows of 10 tenants; CARDLAKE_BENCH_DIR names a folder for all of it, 13.5 million of 100 (2 GB, made once).",
		sources: []source{{"./internal/daybench", "^BenchmarkDay$"}}, columns: []string{"p50-ms", "p95-ms", "cpu-ms/op", "read-MiB", "files"}, trim: "Day/", benchtime: "10x",
		pairs: []pair{
			{"approvals-by-hour/one/cold", "approvals-by-hour/one/reference=duckdb-new"}, {"approvals-by-hour/one/warm", "approvals-by-hour/one/reference=duckdb-warm"},
			{"all-tenants/all/cold", "all-tenants/all/reference=duckdb-new"}, {"all-tenants/all/warm", "all-tenants/all/reference=duckdb-warm"},
			{"all-card/all/cold", "all-card/all/reference=duckdb-new"}, {"all-card/all/warm", "all-card/all/reference=duckdb-warm"},
		},
	},
	{
		title: "EXPORTS: a tenant's day as files", note: "Sealed files in, sealed files out; the reference is DuckDB's COPY from and to files in clear, one thread.",
		sources: []source{{"./queries/export", "."}}, columns: []string{"rows/s", "MB/s", "allocs/op"},
		pairs: []pair{{"Export/parquet", "ReferenceDuckDB/parquet"}, {"Export/csv", "ReferenceDuckDB/csv"}, {"Export/jsonl", "ReferenceDuckDB/jsonl"}},
	},
	{
		title: "COMPACTION: small files → one sorted file", note: "Merge checks what it wrote, row by row; ReferenceDuckDB is COPY of the same files, ordered.",
		sources: []source{{"./catalog/maintenance", "."}}, columns: []string{"rows/cpu-s", "MB/s", "bytes/row", "peak-MiB"},
		pairs: []pair{{"Merge/16x12800/workers=1", "ReferenceDuckDB/16x12800/workers=1"}},
	},
	{
		title: "AUDIT: a record in a log that processes share", sources: []source{{"./catalog/audit", "^BenchmarkShared$"}},
		pairs: []pair{{"Shared/callers=256", "Shared/reference=fsync-per-record"}},
	},
	{
		title:   "INSIGHTS: features of a card event",
		note:    "98 features of card, merchant, terminal and BIN over an hour to 30 days. MiB: what is remembered of so many cards and their merchants and terminals.",
		sources: []source{{"./queries/anomaly/features", "."}}, columns: []string{"cpu-ns/op", "ns/op", "allocs/op", "MiB", "MB/s"},
	},
	{
		title: "INSIGHTS: detectors",
		note: "65,536 rows of 30 columns, 1 % anomalies, one thread. forest: 100 trees of 256 rows, forest-4096 of 4,096; model: forest, tails and robust z, calibrated.\n" +
			"References: scikit-learn's IsolationForest, PyOD's ECOD and COPOD. ecod and copod score what they are fitted to.",
		sources: []source{{"./queries/anomaly", "."}}, columns: []string{"rows/cpu-s", "cpu-ns/row", "allocs/row", "auc", "precision"}, python: true,
		pairs: []pair{
			{"Score/forest", "Score/reference=forest"}, {"Score/forest-4096", "Score/reference=forest-4096"},
			{"Score/ecod", "Score/reference=ecod"}, {"Score/copod", "Score/reference=copod"},
		},
	},
	{
		title: "INSIGHTS: boosted trees",
		note: "100,000 rows of 30 columns, one thread. boosting: 100 trees of 31 leaves, as the references have. whole: two boostings, two forests, choice and calibration.\n" +
			"References: scikit-learn's HistGradientBoosting and LightGBM.",
		sources: []source{{"./queries/anomaly/boost", "Train|Predict|Reference"}}, columns: []string{"cpu-ns/row", "predict-cpu-ns/row"}, python: true,
		pairs: []pair{
			{"Train/boosting", "Reference/histgb"}, {"Train/boosting", "Reference/lightgbm"}, {"Predict", "Reference/histgb"}, {"Predict", "Reference/lightgbm"},
		},
	},
	{
		title:   "INSIGHTS: segments",
		note:    "A million customers of 12 features; Choose tries 2 to 10 segments, KMeans makes 8. The reference is scikit-learn's KMeans, two starts as ours.",
		sources: []source{{"./queries/segment", "."}}, columns: []string{"rows/cpu-s", "rows/s", "peak-MiB", "segments", "SSE/row"}, python: true, benchtime: "1x",
		pairs: []pair{{"KMeans", "ReferenceKMeans"}},
	},
	{
		title:   "INSIGHTS: purchases to come",
		note:    "BG/NBD fitted to a million customers, who are scored for 30, 60 and 90 days; lifetimes does so with 100,000 of them. Pareto/NBD: 100,000.",
		sources: []source{{"./queries/predict", "."}}, columns: []string{"rows/cpu-s", "rows/s", "allocs/row", "peak-MiB", "groups", "LL/row"}, python: true, benchtime: "1x",
		pairs: []pair{{"BGNBD", "ReferenceLifetimes"}},
	},
	{
		title:   "INSIGHTS: recommendations",
		note:    "A million customers, 2,000 merchants, 20 million entries: fit, then 10 new merchants with reasons for each customer. References: EASE in numpy, item-kNN of implicit; no reasons.",
		sources: []source{{"./queries/recommend", "."}}, columns: []string{"rows/cpu-s", "rows/s", "ns/op", "allocs/row", "peak-MiB"}, trim: "Recommend/", python: true, benchtime: "1x",
		pairs: []pair{{"ease", "Reference/numpy"}, {"knn", "Reference/implicit"}},
	},
	{
		title: "INSIGHTS: whole jobs, from the sealed lake through the gateway to published rows",
		note: "A row is a transaction. 1.35 million of 100,000 cards or customers of one tenant over 60 days; CARDLAKE_BENCH_ROWS says another number, with a card or customer for each 13.5:\n" +
			"13500000 is the record day's (1.5 GB in TMPDIR). Peak memory is of the whole process, which has made the rows, too.",
		sources: []source{
			{"./queries/insights/anomalies", "."}, {"./queries/insights/segments", "."}, {"./queries/insights/predictions", "."}, {"./queries/insights/recommendations", "."},
		},
		columns: []string{"rows/cpu-s", "rows/s", "allocs/row", "peak-MiB", "customers", "rows-out"}, benchtime: "1x",
	},
	{title: "INSIGHTS: reports", sources: []source{{"./queries/insights/report", "."}}},
	{title: "ISO 8583", sources: []source{{"./processor/iso8583", "."}}, pairs: []pair{{"Parse", "ParseMoovReference"}}},
}

// ungrouped returns a group for each package below root that has benchmarks and is in no
// group. Nested modules are not part of the module.
func ungrouped(root string, groups []group) ([]group, error) {
	var found []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if name != root && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("\nfunc Benchmark")) {
			pkg, err := filepath.Rel(root, filepath.Dir(name))
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(pkg))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		for _, s := range g.sources {
			found = slices.DeleteFunc(found, func(pkg string) bool { return pkg == path.Clean(s.pkg) })
		}
	}
	var rest []group
	slices.Sort(found)
	for _, pkg := range slices.Compact(found) {
		rest = append(rest, group{title: pkg, sources: []source{{"./" + pkg, "."}}})
	}
	return rest, nil
}
