package athena_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsathena "github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/athena"
	"github.com/cardlake/cardlake/queries/athena/athenatest"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

const (
	owner = "111122223333"
	role  = "arn:aws:iam::111122223333:role/cardlake-ana"
)

// place is an Athena with one workgroup, the bucket of its results, and an engine that asks it.
type place struct {
	athena  *athenatest.Server
	s3      *s3test.Server
	client  *s3.Client
	bucket  string
	key     string // under which put encrypts
	engine  *athena.Engine
	gateway *queries.Gateway
	permits queriestest.Permits
}

func newPlace(t *testing.T, answer func(athenatest.Query) athenatest.Answer, change func(*athena.Config)) *place {
	t.Helper()
	p := &place{s3: s3test.Start(t, s3test.Config{}), permits: queriestest.Only(nil, "aurora", "bolivar")}
	p.bucket, p.key = p.s3.Bucket(t), p.s3.KMS.Create()
	p.client = s3.New(s3.Options{Region: s3test.Region, Credentials: p.s3.Credentials, BaseEndpoint: &p.s3.Endpoint, UsePathStyle: true,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired})
	p.athena = athenatest.New(t, answer, func(bucket, key string, body []byte) error {
		_, err := p.client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body),
			ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &p.key})
		return err
	})
	p.athena.SetWorkgroup("science", athenatest.Fit("science", p.location(), p.key, owner, role))
	cfg := athena.Config{
		Workgroups: map[string]athena.Workgroup{"data_scientist": {Name: "science", Role: role}}, Storage: athena.SSEKMS, BucketOwner: owner,
		UnloadRows: -1, Backoff: time.Millisecond, PollMin: time.Millisecond, PollMax: 2 * time.Millisecond, Timeout: 5 * time.Second,
		Athena: func(o *awsathena.Options) { o.BaseEndpoint = aws.String(p.athena.URL()) },
		STS:    func(o *sts.Options) { o.BaseEndpoint = aws.String(p.athena.URL()) },
		S3: func(o *s3.Options) {
			o.BaseEndpoint, o.UsePathStyle, o.Credentials = &p.s3.Endpoint, true, p.s3.Credentials
		},
	}
	if change != nil {
		change(&cfg)
	}
	lake := queriestest.NewLake()
	if err := lake.Fill(4, 20); err != nil { // 40 rows of aurora, 20 each of two others
		t.Fatal(err)
	}
	var err error
	if p.engine, err = athena.New(p.athena.Account(), history{lake}, cfg); err != nil {
		t.Fatal(err)
	}
	parser := embedded.NewParser()
	t.Cleanup(func() { parser.Close() })
	p.gateway = queries.New(parser, p.engine, queriestest.Permits(func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
		return p.permits(c, a, t)
	}), &queriestest.Log{}, queries.Config{})
	return p
}

func (p *place) location() string { return "s3://" + p.bucket + "/data_scientist/ana/" }

// left are the objects in the bucket of results.
func (p *place) left(t *testing.T) []string {
	t.Helper()
	out, err := p.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &p.bucket})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range out.Contents {
		names = append(names, *o.Key)
	}
	return names
}

func (p *place) ask(ctx context.Context, sql string) ([][]any, *queries.Result, error) {
	r, err := p.gateway.Query(ctx, queriestest.Caller, sql)
	if err != nil {
		return nil, nil, err
	}
	rows, err := drain(r)
	return rows, r, errors.Join(err, r.Close())
}

func drain(r queries.Rows) ([][]any, error) {
	var rows [][]any
	for {
		row := make([]any, len(r.Columns()))
		if err := r.Next(row); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return rows, err
		}
		rows = append(rows, row)
	}
}

// decimals are compared by value.
var decimals = cmp.Comparer(func(a, b decimal128.Num) bool { return a == b })

// texts are values as Athena gives them; "NULL" is none.
func texts(values ...string) []*string {
	out := make([]*string, len(values))
	for i, v := range values {
		if v != "NULL" {
			out[i] = &v
		}
	}
	return out
}

// states are those of what was started.
func (p *place) states() []string {
	var out []string
	for _, x := range p.athena.Executions() {
		out = append(out, x.State)
	}
	return out
}

const few = "SELECT event_id, amount, event_time, local_time, approved, latency_us, stream_offset, bin FROM cards.transactions"

var fewNames = []string{"a", "b", "c", "d", "e", "f", "g", "h"}

func one(athenatest.Query) athenatest.Answer {
	return athenatest.Answer{Names: []string{"n"}, Rows: [][]*string{texts("5")}, Scanned: 3 << 20, Looks: 2}
}

const count = "SELECT count(*) FROM cards.transactions"

func TestPages(t *testing.T) {
	rows := [][]*string{
		texts("e1", "12.5000", "2026-03-01 10:00:00.000001 UTC", "2026-03-01 04:00:00.000", "true", "-7", "9007199254740993", "NULL"),
		texts("", "-0.0001", "2026-03-01 10:00:00 +02:30", "NULL", "false", "0", "0", "453201"),
	}
	for len(rows) < 2500 {
		rows = append(rows, rows[0])
	}
	p := newPlace(t, func(athenatest.Query) athenatest.Answer {
		return athenatest.Answer{Names: fewNames, Rows: rows, Scanned: 11<<20 + 1, Looks: 3}
	}, nil)
	got, r, err := p.ask(t.Context(), few)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]any{
		{"e1", decimal128.FromI64(125_000), time.Date(2026, 3, 1, 10, 0, 0, 1000, time.UTC), time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC), true, int32(-7), int64(9007199254740993), nil},
		{"", decimal128.FromI64(-1), time.Date(2026, 3, 1, 7, 30, 0, 0, time.UTC), nil, false, int32(0), int64(0), "453201"},
	}
	if diff := cmp.Diff(want, got[:2], decimals); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if len(got) != 2500 || p.athena.Calls(athenatest.Results) != 3 {
		t.Errorf("%d rows in %d pages", len(got), p.athena.Calls(athenatest.Results))
	}
	executions := p.athena.Executions()
	if len(executions) != 1 || executions[0].Workgroup != "science" || executions[0].Role != role || executions[0].ReuseMinutes != 0 {
		t.Fatalf("executions %+v", executions)
	}
	sql := executions[0].SQL
	for _, part := range []string{`"AwsDataCatalog"."cards"."transactions" FOR VERSION AS OF 4`, "'aurora'", "'bolivar'"} {
		if !strings.Contains(sql, part) {
			t.Errorf("%s is not in %s", part, sql)
		}
	}
	s := r.Snapshots()[0]
	if s.ID != 4 || s.Files != 3 || s.Rows != 60 || s.TailRows != 0 {
		t.Errorf("snapshot %+v", s)
	}
	if at, _ := r.AsOf(); !at.Equal(s.CommittedAt) {
		t.Errorf("as of %v, committed %v", at, s.CommittedAt)
	}
	if left := p.left(t); len(left) > 0 {
		t.Errorf("results are left: %v", left)
	}
}

// history has the lake as it was with its first files.
type history struct{ *queriestest.Lake }

func (h history) PlanAt(ctx context.Context, t *cardlake.Table, id int64) (catalog.Snapshot, []cardlake.DataFile, error) {
	s, files, err := h.Plan(ctx, t)
	if err != nil || id > s.ID {
		return s, nil, queries.ErrNoSnapshot
	}
	return catalog.Snapshot{ID: id}, files[:id], nil
}

// TestQueryAt: the statement names the snapshot and the one tenant.
func TestQueryAt(t *testing.T) {
	p := newPlace(t, func(athenatest.Query) athenatest.Answer {
		return athenatest.Answer{Names: []string{"n"}, Rows: [][]*string{texts("20")}}
	}, nil)
	at := queries.At{Snapshots: map[string]int64{"cards.transactions": 2}, Tenant: "bolivar"}
	r, err := p.gateway.QueryAt(t.Context(), queriestest.Caller, at, count)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := drain(r)
	if err := errors.Join(err, r.Close()); err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	sql := p.athena.Executions()[0].SQL
	if !strings.Contains(sql, `"transactions" FOR VERSION AS OF 2 WHERE "tenant" IN ('bolivar'))`) || strings.Contains(sql, "aurora") {
		t.Errorf("asked %s", sql)
	}
	if s := r.Snapshots()[0]; s.ID != 2 || s.Rows != 20 {
		t.Errorf("snapshot %+v", s)
	}
	for _, at := range []queries.At{{Tenant: "cobre"}, {Snapshots: map[string]int64{"cards.transactions": 5}}} {
		if _, err := p.gateway.QueryAt(t.Context(), queriestest.Caller, at, count); err == nil || len(p.athena.Executions()) > 1 {
			t.Errorf("%+v: %v, %d executions", at, err, len(p.athena.Executions()))
		}
	}
}

func TestStats(t *testing.T) {
	p := newPlace(t, func(athenatest.Query) athenatest.Answer {
		return athenatest.Answer{Names: []string{"n"}, Rows: [][]*string{texts("5")}, Scanned: 11<<20 + 1}
	}, nil)
	rows, err := p.engine.Query(t.Context(), p.statement(t, count))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := rows.(interface{ Stats() queries.Stats }).Stats()
	want := queries.Stats{
		Engine: "athena", Executions: []string{p.athena.Executions()[0].ID}, ScannedBytes: 11<<20 + 1, Queued: 30 * time.Millisecond, Ran: 1200 * time.Millisecond,
		NanoUSD: 12 * 5_000_000 * 1000 / (1 << 20),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// statement is the checked one with a decision.
func (p *place) statement(t *testing.T, sql string) queries.Statement {
	t.Helper()
	s, err := p.gateway.Check(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Reads {
		s.Reads[i].Decision = p.permits(queriestest.Caller, grants.Query, s.Reads[i].Table)
	}
	return s
}

func TestColumnsAskNothing(t *testing.T) {
	p := newPlace(t, one, nil)
	got, err := p.gateway.Columns(t.Context(), queriestest.Caller, few)
	if err != nil || len(got) != 8 || got[1].Name != "amount" || got[1].Type.String() != "decimal(18, 4)" {
		t.Errorf("%v, %v", got, err)
	}
	if n := len(p.athena.Executions()); n != 0 {
		t.Errorf("%d executions", n)
	}
}

// unloadedRow is a row of what UNLOAD writes for few: times as text, columns by number.
type unloadedRow struct {
	C0 string  `parquet:"c0"`
	C1 int64   `parquet:"c1,decimal(4:18)"`
	C2 string  `parquet:"c2"`
	C3 *string `parquet:"c3"`
	C4 bool    `parquet:"c4"`
	C5 int32   `parquet:"c5"`
	C6 int64   `parquet:"c6"`
	C7 *string `parquet:"c7"`
}

func parquetFile[T any](t *testing.T, rows []T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, parquet.MaxRowsPerRowGroup(300), parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unloadedRows(n int) []unloadedRow {
	out := make([]unloadedRow, n)
	for i := range out {
		out[i] = unloadedRow{fmt.Sprintf("e%d", i), int64(i) - 3, "2026-03-01 10:00:00.000001 UTC", nil, i%2 == 0, int32(i), int64(i), aws.String("453201")}
	}
	return out
}

func unloading(change func(*athena.Config)) func(*athena.Config) {
	return func(c *athena.Config) {
		c.UnloadRows = 10
		if change != nil {
			change(c)
		}
	}
}

func TestUnload(t *testing.T) {
	files := [][]byte{parquetFile(t, unloadedRows(700)), parquetFile(t, unloadedRows(0)), parquetFile(t, unloadedRows(5))}
	p := newPlace(t, func(athenatest.Query) athenatest.Answer { return athenatest.Answer{Files: files, Looks: 1} }, unloading(nil))
	got, _, err := p.ask(t.Context(), few)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 705 {
		t.Fatalf("%d rows", len(got))
	}
	want := []any{"e4", decimal128.FromI64(1), time.Date(2026, 3, 1, 10, 0, 0, 1000, time.UTC), nil, true, int32(4), int64(4), "453201"}
	if diff := cmp.Diff(want, got[704], decimals); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	x := p.athena.Executions()
	if len(x) != 1 || !strings.HasPrefix(x[0].SQL, "UNLOAD (SELECT c0, c1, CAST(c2 AS VARCHAR) AS c2, CAST(c3 AS VARCHAR) AS c3, c4, c5, c6, c7 FROM (") ||
		!strings.Contains(x[0].SQL, "TO '"+p.location()+"unload/"+x[0].Token+"/'") {
		t.Errorf("executions %+v", x)
	}
	if left := p.left(t); len(left) > 0 {
		t.Errorf("results are left: %v", left)
	}
	for _, r := range p.s3.Requests() {
		if strings.HasPrefix(r.Operation, "Get") || strings.HasPrefix(r.Operation, "Delete") {
			if r.Header.Get("X-Amz-Expected-Bucket-Owner") != owner {
				t.Errorf("%s without the bucket's owner", r.Operation)
			}
		}
	}
}

func TestUnloadIsForWhatIsLargeAndUnordered(t *testing.T) {
	for sql, want := range map[string]bool{
		few:                     true,
		few + " ORDER BY 1":     false,
		few + " LIMIT 5":        false,
		few + " WHERE approved": true,
		count:                   false,
		"SELECT channel, count(*) FROM cards.transactions GROUP BY channel":                                  false,
		"SELECT DISTINCT channel FROM cards.transactions":                                                    true,
		"SELECT channel FROM cards.transactions UNION ALL SELECT network FROM cards.transactions":            true,
		"WITH x AS (SELECT channel FROM cards.transactions ORDER BY amount LIMIT 5) SELECT channel FROM x":   true,
		"SELECT channel FROM cards.transactions UNION ALL SELECT network FROM cards.transactions ORDER BY 1": false,
	} {
		t.Run(sql, func(t *testing.T) {
			p := newPlace(t, func(athenatest.Query) athenatest.Answer {
				return athenatest.Answer{Failure: &athenatest.Failure{Reason: "no"}}
			}, unloading(nil))
			_, _, err := p.ask(t.Context(), sql)
			x := p.athena.Executions()
			if len(x) != 1 || strings.HasPrefix(x[0].SQL, "UNLOAD") != want {
				t.Errorf("executions %+v, %v", x, err)
			}
		})
	}
}

// TestUnloadIsNotTrusted: what is read must be what was unloaded, under the workgroup's key, and
// is deleted all the same.
func TestUnloadIsNotTrusted(t *testing.T) {
	type other struct {
		C0 string `parquet:"c0"`
	}
	for name, tc := range map[string]struct {
		file   []byte
		change func(*place)
		want   string
	}{
		"another key":     {parquetFile(t, unloadedRows(3)), func(p *place) { p.key = p.s3.KMS.Create() }, "KMS key"},
		"another schema":  {parquetFile(t, []other{{"x"}}), func(*place) {}, "number of columns"},
		"no Parquet":      {[]byte("rows in clear, 4111"), func(*place) {}, "read what Athena unloaded"},
		"a broken record": {parquetFile(t, []unloadedRow{{C2: "4111"}}), func(*place) {}, `column "event_time": a value is not of its type`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, func(athenatest.Query) athenatest.Answer { return athenatest.Answer{Files: [][]byte{tc.file}} }, unloading(nil))
			tc.change(p)
			rows, _, err := p.ask(t.Context(), few)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "4111") || len(rows) > 0 {
				t.Errorf("%d rows, %v", len(rows), err)
			}
			if left := p.left(t); len(left) > 0 {
				t.Errorf("results are left: %v", left)
			}
		})
	}
}

func TestUnloadThatFailsLeavesNothing(t *testing.T) {
	p := newPlace(t, func(athenatest.Query) athenatest.Answer {
		return athenatest.Answer{Files: [][]byte{parquetFile(t, unloadedRows(3))}, Failure: &athenatest.Failure{Reason: "internal", Category: 1, IsRetryable: true}}
	}, unloading(nil))
	if _, _, err := p.ask(t.Context(), few); err == nil {
		t.Error("no error")
	}
	if left := p.left(t); len(p.athena.Executions()) != 2 || len(left) > 0 {
		t.Errorf("%d executions left %v", len(p.athena.Executions()), left)
	}
}

func TestReuse(t *testing.T) {
	p := newPlace(t, one, func(c *athena.Config) { c.ReuseAge = 90 * time.Minute })
	if _, _, err := p.ask(t.Context(), count); err != nil {
		t.Fatal(err)
	}
	if x := p.athena.Executions(); x[0].ReuseMinutes != 90 {
		t.Errorf("execution %+v", x[0])
	}
	if left := p.left(t); len(left) != 2 {
		t.Errorf("what is to be used again is %v", left)
	}
}

func TestOthersGetNothing(t *testing.T) {
	p := newPlace(t, one, nil)
	c := queriestest.Caller
	c.Principal = grants.Principal{Kind: grants.ETLJob, Name: "nightly"}
	if _, err := p.gateway.Query(t.Context(), c, count); err == nil || !strings.Contains(err.Error(), "there is no workgroup of Athena for etl_job/nightly") {
		t.Errorf("error %v", err)
	}
	if _, _, err := p.ask(t.Context(), "SELECT 1"); err == nil || !strings.Contains(err.Error(), "reads no table") {
		t.Errorf("error %v", err)
	}
	if n := len(p.athena.Executions()); n != 0 {
		t.Errorf("%d executions", n)
	}
}

func TestCheck(t *testing.T) {
	config := func(change func(c, results map[string]any)) func(map[string]any) {
		return func(w map[string]any) {
			c := w["Configuration"].(map[string]any)
			change(c, c["ResultConfiguration"].(map[string]any))
		}
	}
	for want, change := range map[string]func(map[string]any){
		"":                          func(map[string]any) {},
		"it is not enabled":         func(w map[string]any) { w["State"] = "DISABLED" },
		"tells nothing":             func(w map[string]any) { delete(w, "Configuration") },
		"settings are not enforced": config(func(c, _ map[string]any) { c["EnforceWorkGroupConfiguration"] = false }),
		"bounds what a query scans": config(func(c, _ map[string]any) { delete(c, "BytesScannedCutoffPerQuery") }),
		"requester pays":            config(func(c, _ map[string]any) { c["RequesterPaysEnabled"] = true }),
		"Athena's own storage":      config(func(c, _ map[string]any) { c["ManagedQueryResultsConfiguration"] = map[string]any{"Enabled": true} }),
		"does not run Athena engine": config(func(c, _ map[string]any) {
			c["EngineVersion"] = map[string]any{"EffectiveEngineVersion": "Athena engine version 2"}
		}),
		"has no place for results":      config(func(c, _ map[string]any) { delete(c, "ResultConfiguration") }),
		"is not s3://BUCKET/PREFIX/":    config(func(_, r map[string]any) { r["OutputLocation"] = "" }),
		"no statement can name":         config(func(_, r map[string]any) { r["OutputLocation"] = "s3://b/x'y/" }),
		"not encrypted under a KMS key": config(func(_, r map[string]any) { r["EncryptionConfiguration"] = map[string]any{"EncryptionOption": "SSE_S3"} }),
		"not named by its ARN":          config(func(_, r map[string]any) { r["EncryptionConfiguration"].(map[string]any)["KmsKey"] = "alias/x" }),
		"ExpectedBucketOwner":           config(func(_, r map[string]any) { r["ExpectedBucketOwner"] = "999999999999" }),
	} {
		t.Run(want, func(t *testing.T) {
			p := newPlace(t, one, nil)
			w := athenatest.Fit("science", p.location(), p.key, owner, role)
			change(w.JSON)
			p.athena.SetWorkgroup("science", w)
			err := p.engine.Check(t.Context())
			if (err != nil) != (want != "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "workgroup science")) {
				t.Errorf("error %v", err)
			}
			if _, _, err := p.ask(t.Context(), count); (err != nil) != (want != "") {
				t.Errorf("a statement: %v", err)
			}
		})
	}
	t.Run("another's", func(t *testing.T) {
		p := newPlace(t, one, nil)
		p.athena.SetWorkgroup("science", athenatest.Fit("science", p.location(), p.key, owner, role+"-other"))
		if err := p.engine.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "grants plan") {
			t.Errorf("error %v", err)
		}
	})
}

func TestConfig(t *testing.T) {
	fit := athena.Config{Workgroups: map[string]athena.Workgroup{"data_scientist/ana": {Name: "ana"}}, Storage: athena.SSEKMS, BucketOwner: owner}
	for want, change := range map[string]func(*athena.Config){
		"":                                       func(*athena.Config) {},
		`(sse-kms) only, and these are "pme"`:    func(c *athena.Config) { c.Storage = athena.PME },
		`(sse-kms) only, and these are "sealed"`: func(c *athena.Config) { c.Storage = athena.Sealed },
		`(sse-kms) only, and these are ""`:       func(c *athena.Config) { c.Storage = "" },
		"Workgroups names no":                    func(c *athena.Config) { c.Workgroups = nil },
		"neither a principal":                    func(c *athena.Config) { c.Workgroups = map[string]athena.Workgroup{"ana": {Name: "x"}} },
		"not the name of a workgroup":            func(c *athena.Config) { c.Workgroups = map[string]athena.Workgroup{"auditor": {Name: "x y"}} },
		"not the ARN of a role": func(c *athena.Config) {
			c.Workgroups = map[string]athena.Workgroup{"auditor": {Name: "x", Role: "admin"}}
		},
		"BucketOwner":       func(c *athena.Config) { c.BucketOwner = "" },
		"ReuseAge":          func(c *athena.Config) { c.ReuseAge = time.Second },
		"out of its bounds": func(c *athena.Config) { c.Attempts = -1 },
	} {
		cfg := fit
		change(&cfg)
		_, err := athena.New(aws.Config{}, nil, cfg)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestEmptyTable: nothing is asked of a table that Glue may not have.
func TestEmptyTable(t *testing.T) {
	p := newPlace(t, one, nil)
	p.permits = queriestest.Everything
	_, r, err := p.ask(t.Context(), "SELECT count(*) FROM cards.control_totals")
	if err != nil {
		t.Fatal(err)
	}
	want := []queries.Snapshot{{Table: cardlake.ControlTotals}}
	if diff := cmp.Diff(want, r.Snapshots(), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b *cardlake.Table) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if sql := p.athena.Executions()[0].SQL; strings.Contains(sql, "control_totals\"") {
		t.Errorf("asked %s", sql)
	}
}
