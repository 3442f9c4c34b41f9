package readers

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/internal/drivers"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

var update = flag.Bool("update", false, "write the output of its code into docs/python.md")

// direct are the folders of transactions that a job has which reads the files of one tenant.
func (s *site) direct(owner keys.Owner) []string {
	return []string{prefix + "/metadata/transactions/", prefix + "/data/transactions/" + string(owner) + "/"}
}

// as runs Python with the credentials of a reader of the bucket.
func (s *site) as(python, script string, r s3test.Reader) string {
	s.t.Helper()
	r.Bucket = s.bucket
	secret, err := s.service.Admit(r).Retrieve(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), python, "-c", script)
	cmd.Dir = s.t.TempDir()
	mine := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	cmd.Env = append(mine,
		"AWS_ACCESS_KEY_ID="+secret.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+secret.SecretAccessKey,
		"AWS_CONFIG_FILE=none", "AWS_SHARED_CREDENTIALS_FILE=none", "AWS_EC2_METADATA_DISABLED=true",
		"CARDLAKE_CATALOG=sqlite:///"+s.dir.Catalog(), "S3_ENDPOINT="+s.endpoint, "S3_REGION="+s3test.Region, "S3_CA="+s.ca,
		"S3_LAKE="+s.bucket+"/"+prefix,
	)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	return string(out)
}

// service makes PyArrow, and so PyIceberg, take the test's service, whose certificate no public
// authority has signed, for Amazon's.
const service = `
import os
import pyarrow.fs

amazons = pyarrow.fs.S3FileSystem
def here(**given):
    return amazons(**given | {"endpoint_override": os.environ["S3_ENDPOINT"], "region": os.environ["S3_REGION"], "tls_ca_file_path": os.environ["S3_CA"]})
pyarrow.fs.S3FileSystem = here
os.environ["AWS_REGION"] = os.environ["S3_REGION"]
`

// attempts prints what a reader gets in each way there is, as [what, result]: rows by tenant, or
// the refusal.
const attempts = `
import json
from pyarrow.fs import FileSelector
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue, EqualTo, NotEqualTo

lake = SqlCatalog("cardlake", uri=os.environ["CARDLAKE_CATALOG"], init_catalog_tables="false", **{"s3.region": os.environ["S3_REGION"]})
s3, root = here(), os.environ["S3_LAKE"]
table = lambda name="transactions": lake.load_table(("cards", name))

def rows(read):
    tenants = read.column("tenant").to_pylist()
    return {tenant: tenants.count(tenant) for tenant in sorted(set(tenants))}

def files():
    return [task.file.file_path.removeprefix("s3://") for task in table().scan(row_filter=NotEqualTo("tenant", "aurora-pay")).plan_files()]

def each(do):
    refused, names = 0, files()
    assert names
    for name in names:
        try:
            do(name)
        except OSError as e:
            assert "ACCESS_DENIED" in str(e), e
            refused += 1
    assert refused == len(names), f"{refused} of {len(names)} files are refused"
    raise OSError("ACCESS_DENIED")

out = {}
for what, f in {
    "aurora-pay": lambda: rows(table().scan(row_filter=EqualTo("tenant", "aurora-pay")).to_arrow()),
    "bolivar": lambda: rows(table().scan(row_filter=EqualTo("tenant", "bolivar")).to_arrow()),
    "all": lambda: rows(table().scan(row_filter=AlwaysTrue()).to_arrow()),
    "all but aurora-pay": lambda: rows(table().scan(row_filter=NotEqualTo("tenant", "aurora-pay")).to_arrow()),
    "one of all": lambda: rows(table().scan(limit=1, row_filter=EqualTo("tenant", "bolivar")).to_arrow()),
    "another table": lambda: rows(table("control_totals").scan().to_arrow()),
    "files of others": lambda: each(lambda name: s3.open_input_file(name).read()),
    "list": lambda: len(s3.get_file_info(FileSelector(root + "/data/transactions"))),
    "write": lambda: s3.open_output_stream(root + "/data/transactions/x").close(),
}.items():
    try:
        out[what] = f()
    except OSError as e:
        out[what] = "ACCESS_DENIED" if "ACCESS_DENIED" in str(e) else str(e)
print(json.dumps(out))
`

// TestPyIcebergReadsWhatIsPermitted runs the code of docs/python.md that reads the files in S3
// as the job of one tenant, and wants the output that the page shows: the rows and the sums that
// the gateway answers, and refusals. Then it attempts what the page does not show, as that job,
// as ones that lack a part of what that job has, and as a caller of the gateway.
func TestPyIcebergReadsWhatIsPermitted(t *testing.T) {
	python := os.Getenv("CARDLAKE_PYTHON")
	if os.Getenv("CARDLAKE_REAL") != "1" || python == "" {
		t.Skip("CARDLAKE_REAL is not 1, or CARDLAKE_PYTHON names no Python with pyarrow and pyiceberg")
	}
	page, err := drivers.ReadPage("../../docs/python.md", "\n## PyIceberg, on S3\n", "")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, binaries(t), "")
	s.permit()
	s.produce(1200)
	s.work()
	aurora, bolivar := s.owners[tenants[0].name], s.owners[tenants[1].name]
	arns := map[keys.Owner]string{}
	text, err := os.ReadFile(s.kms)
	if err == nil {
		err = json.Unmarshal(text, &arns)
	}
	if err != nil {
		t.Fatal(err)
	}
	job := s3test.Reader{Prefixes: s.direct(aurora), Keys: []string{arns[keys.Lake], arns[aurora]}}

	shown := s.as(python, service+page.Script(), job)
	written, err := page.With(shown)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := page.Update(written); err != nil {
			t.Fatal(err)
		}
	} else if d := cmp.Diff(page.Text(), written); d != "" {
		t.Errorf("the page does not show what its code prints; run with -update:\n%s", d)
	}
	// The gateway's own answer, in the page's words.
	answer := s.query(map[string]question{"": {
		Table: "transactions", Time: "event_time", Tenant: string(tenants[0].name), By: []string{"currency"}, Sum: []string{"amount"},
	}})[""]
	var ours strings.Builder
	for _, row := range answer {
		fmt.Fprintln(&ours, strings.Join(row, " "))
	}
	if got, _, _ := strings.Cut(shown, "====="); got != ours.String() || len(answer) < 2 {
		t.Errorf("PyIceberg reads\n%sand the gateway answers\n%s", got, ours.String())
	}

	const denied = "ACCESS_DENIED"
	attempt := func(r s3test.Reader) (got map[string]any) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.as(python, service+attempts, r)), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	all := attempt(s3test.Reader{}) // what is denied to a caller of the gateway: each thing
	for what, got := range all {
		if got != denied {
			t.Errorf("a caller of the gateway, %s: %v", what, got)
		}
	}
	hers := map[string]any{string(tenants[0].name): float64(s.events / len(tenants))}
	everywhere := append(s.direct(bolivar), job.Prefixes...)
	for who, tc := range map[string]struct {
		reader s3test.Reader
		reads  bool
	}{
		"the job":                             {job, true},
		"the job, with another's folder":      {s3test.Reader{Prefixes: everywhere, Keys: job.Keys}, true},
		"the job, with another's key":         {s3test.Reader{Prefixes: job.Prefixes, Keys: append([]string{arns[bolivar]}, job.Keys...)}, true},
		"the job, without its tenant's key":   {s3test.Reader{Prefixes: job.Prefixes, Keys: job.Keys[:1]}, false},
		"the job, without its own folder":     {s3test.Reader{Prefixes: job.Prefixes[:1], Keys: job.Keys}, false},
		"the job, without the metadata":       {s3test.Reader{Prefixes: job.Prefixes[1:], Keys: job.Keys}, false},
		"the job, without the lake's own key": {s3test.Reader{Prefixes: job.Prefixes, Keys: job.Keys[1:]}, false},
	} {
		want := map[string]any{}
		for what := range all {
			want[what] = denied
		}
		if tc.reads {
			want["aurora-pay"] = hers
		}
		if d := cmp.Diff(want, attempt(tc.reader)); d != "" {
			t.Errorf("%s (-want +got):\n%s", who, d)
		}
	}
}
