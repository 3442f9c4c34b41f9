package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

const visaNumber = "4111111111111111" // a published test number

// scanned runs the command and checks that nothing it says shows the number.
func scanned(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	if strings.Contains(out.String()+errs.String(), visaNumber) {
		t.Error("the output shows the number")
	}
	return code, out.String(), errs.String()
}

func file(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	clean, dirty := file(t, dir, "clean.txt", "nothing"), file(t, dir, "dirty.txt", "card "+visaNumber)
	cut := file(t, dir, "cut.gz", "\x1f\x8b\x08 no more")
	low := file(t, dir, "order.json", `{"order_id":"`+visaNumber+`"}`)
	for name, tc := range map[string]struct {
		args []string
		want int
	}{
		"clean":            {[]string{clean}, 0},
		"found":            {[]string{dirty}, 1},
		"several":          {[]string{clean, dirty}, 1},
		"low":              {[]string{low}, 0},
		"low wanted":       {[]string{"-confidence", "low", low}, 1},
		"could not read":   {[]string{cut}, 2},
		"found and cut":    {[]string{dir}, 2},
		"no such file":     {[]string{filepath.Join(dir, "none")}, 2},
		"no target":        {nil, 2},
		"unknown flag":     {[]string{"-x", clean}, 2},
		"unknown format":   {[]string{"-format", "xml", clean}, 2},
		"unknown scheme":   {[]string{"ftp://host/x"}, 2},
		"half a keyring":   {[]string{"-keyring", clean, clean}, 2},
		"version":          {[]string{"-version"}, 0},
		"help":             {[]string{"-h"}, 0},
		"bad IIN table":    {[]string{"-iins", clean, clean}, 2},
		"short secret":     {[]string{"-fingerprint-key", clean, clean}, 2},
		"not a key":        {[]string{"-parquet-key", clean, clean}, 2},
		"incident nowhere": {[]string{"-incident", filepath.Join(dir, "none", "x"), dirty}, 2},
	} {
		if code, _, stderr := scanned(t, "", tc.args...); code != tc.want {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, tc.want, stderr)
		}
	}
	if code, out, _ := scanned(t, "x "+visaNumber, "-"); code != 1 || !strings.Contains(out, "(standard input):1:3") {
		t.Errorf("standard input: %d, %s", code, out)
	}
	if _, _, stderr := scanned(t, "", cut); !strings.Contains(stderr, cut) {
		t.Errorf("what could not be read is not named: %s", stderr)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{file(t, t.TempDir(), "x", "x")}, strings.NewReader(""), &out, &errs); code != notAll || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestJSON(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "a.csv", "pan,cvv\n"+visaNumber+",123\n")
	file(t, dir, "cut.gz", "\x1f\x8b\x08 no more")
	for _, clean := range []bool{false, true} {
		target := dir
		if clean {
			target = file(t, t.TempDir(), "clean", "x")
		}
		_, out, _ := scanned(t, "", "-format", "json", target)
		var got struct {
			Findings []struct {
				Path, Kind, Masked, Fingerprint, Confidence string
				Line                                        int
			}
			Summary summary
			Faults  []fault
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if clean && (len(got.Findings) != 0 || len(got.Faults) != 0) {
			t.Errorf("got %s", out)
		}
		if !clean && (len(got.Findings) != 2 || len(got.Faults) != 1 || got.Findings[0].Masked != "411111******1111" || got.Findings[0].Confidence != "high" || got.Findings[1].Kind != "cvv" || got.Summary.High != 2) {
			t.Errorf("got %s", out)
		}
	}
}

// need walks a JSON document and fails where a required property is missing.
func need(t *testing.T, v any, path ...string) any {
	t.Helper()
	for _, p := range path {
		switch c := v.(type) {
		case map[string]any:
			if v = c[p]; v == nil {
				t.Fatalf("no %s of %v", p, path)
			}
		case []any:
			if len(c) == 0 {
				t.Fatalf("nothing in %s of %v", p, path)
			}
			v = c[0]
		default:
			t.Fatalf("no %s of %v", p, path)
		}
	}
	return v
}

// The properties that SARIF 2.1.0 requires of each object that is used (sections 3.13 to 3.58).
func TestSARIF(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "a b.txt", "x\ny "+visaNumber)
	file(t, dir, "cut.gz", "\x1f\x8b\x08 no more")
	_, out, _ := scanned(t, "", "-format", "sarif", dir)
	var got any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if need(t, got, "version") != "2.1.0" || need(t, got, "$schema") == "" {
		t.Error("version or schema")
	}
	if need(t, got, "runs", "0", "tool", "driver", "name") != "cardlake-scan" {
		t.Error("driver")
	}
	result := need(t, got, "runs", "0", "results", "0")
	rules := need(t, got, "runs", "0", "tool", "driver", "rules").([]any)
	known := false
	for _, r := range rules {
		known = known || need(t, r, "id") == need(t, result, "ruleId")
		need(t, r, "shortDescription", "text")
	}
	if !known || need(t, result, "message", "text") == "" {
		t.Error("the rule of the result is not among the rules")
	}
	if need(t, result, "level") != "warning" {
		t.Errorf("level %v", need(t, result, "level"))
	}
	at := need(t, result, "locations", "0", "physicalLocation")
	if uri := need(t, at, "artifactLocation", "uri").(string); !strings.HasSuffix(uri, "/a%20b.txt") {
		t.Errorf("uri %s", uri)
	}
	if need(t, at, "region", "startLine") != 2.0 || need(t, at, "region", "startColumn") != 3.0 {
		t.Errorf("region %v", need(t, at, "region"))
	}
	if need(t, got, "runs", "0", "invocations", "0").(map[string]any)["executionSuccessful"] != false {
		t.Error("executionSuccessful with a fault")
	}
	need(t, got, "runs", "0", "invocations", "0", "toolExecutionNotifications", "0", "message", "text")
}

func TestIncidents(t *testing.T) {
	dir := t.TempDir()
	file(t, dir, "in/a.log", ";"+visaNumber+"=30121010000012345?\n"+visaNumber+"\n")
	file(t, dir, "in/b.csv", "id,pan\n1,"+visaNumber+"\n2,5555555555554444\n")
	path := filepath.Join(dir, "incidents")
	if code, _, stderr := scanned(t, "", "-incident", path, filepath.Join(dir, "in")); code != found {
		t.Fatalf("%d: %s", code, stderr)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []discover.Incident
	for dec := json.NewDecoder(bytes.NewReader(b)); dec.More(); {
		var raw map[string]any
		if err := dec.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"found", "by", "where", "what", "count", "sad", "since", "since_basis", "contained", "next_steps"} {
			if _, ok := raw[field]; !ok {
				t.Errorf("no %s in an incident", field)
			}
		}
		all = append(all, discover.Incident{SAD: raw["sad"].(bool), Count: int64(raw["count"].(float64)), Distinct: int(raw["distinct"].(float64))})
	}
	if len(all) != 2 || !all[0].SAD || all[0].Count != 2 || all[0].Distinct != 1 || all[1].SAD || all[1].Distinct != 2 {
		t.Errorf("got %+v", all)
	}
}

func TestOwnRangesAndFingerprints(t *testing.T) {
	dir := t.TempDir()
	iins := file(t, dir, "iins.csv", "brand,lo,hi,lengths,luhn,source\nours,990000,990000,16,no,us\n")
	key := file(t, dir, "key", strings.Repeat("k", 40))
	in := file(t, dir, "in", "9900001234567890")
	if code, _, _ := scanned(t, "", in); code != clean {
		t.Error("found without the range")
	}
	_, a, _ := scanned(t, "", "-iins", iins, "-fingerprint-key", key, in)
	_, b, _ := scanned(t, "", "-iins", iins, "-fingerprint-key", key, in)
	if a != b || !strings.Contains(a, "ours") {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestFindingsAreLimitedAndCounted(t *testing.T) {
	in := file(t, t.TempDir(), "in", strings.Repeat("pan "+visaNumber+"\n", 50))
	code, out, stderr := scanned(t, "", "-findings", "10", in)
	if code != found || strings.Count(out, "\n") != 10 || !strings.Contains(stderr, "50 findings") || !strings.Contains(stderr, "40 not printed") {
		t.Errorf("%d: %d lines, %s", code, strings.Count(out, "\n"), stderr)
	}
}

func TestSealedObjects(t *testing.T) {
	dir := t.TempDir()
	ring, secret := filepath.Join(dir, "ring"), filepath.Join(dir, "secret")
	k, err := local.CreateFile(ring, secret, []keys.Purpose{keys.Object})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.EnsureOwners(t.Context(), "tenant"); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "objects")
	if err := objects.NewSealed(root, k, objects.SealedConfig{}).Put(t.Context(), "a/b/c.txt", "tenant", []byte("card "+visaNumber)); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := scanned(t, "", root); code != clean || !strings.Contains(stderr, "1 encrypted") {
		t.Errorf("without the key: %d, %s", code, stderr)
	}
	if code, _, _ := scanned(t, "", "-strict", root); code != notAll {
		t.Errorf("strict, without the key: %d", code)
	}
	for _, target := range []string{root, filepath.Join(root, "a", "b", "c.txt")} {
		if code, out, stderr := scanned(t, "", "-keyring", ring, "-keyring-secret", secret, target); code != found || !strings.Contains(out, "c.txt:1:6") {
			t.Errorf("with the key: %d, %s %s", code, out, stderr)
		}
	}
	if err := os.Rename(filepath.Join(root, "a", "b", "c.txt"), filepath.Join(root, "a", "b", "d.txt")); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := scanned(t, "", "-keyring", ring, "-keyring-secret", secret, root); code != notAll {
		t.Errorf("an object in another's place: %d", code)
	}
}

func TestBucket(t *testing.T) {
	server := s3test.Start(t, s3test.Config{PageSize: 2})
	creds, err := server.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", creds.AccessKeyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", creds.SecretAccessKey)
	t.Setenv("AWS_REGION", s3test.Region)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	api := s3.New(s3.Options{BaseEndpoint: &server.Endpoint, UsePathStyle: true, Region: s3test.Region,
		Credentials: credentials.NewStaticCredentialsProvider(creds.AccessKeyID, creds.SecretAccessKey, "")})
	if _, err := api.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Fatal(err)
	}
	kmsKey := server.KMS.Create()
	for key, body := range map[string]string{"in/a.txt": "card " + visaNumber, "in/b c.csv": "nothing", "in/empty": "", "out/x": visaNumber, "in/long": strings.Repeat("0123456 ", 2<<20) + "pan " + visaNumber} {
		if _, err := api.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader(body),
			ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &kmsKey}); err != nil {
			t.Fatal(err)
		}
	}
	code, out, stderr := scanned(t, "", "-s3-endpoint", server.Endpoint, "-s3-path-style", "s3://bucket/in/")
	if code != found || strings.Count(out, "\n") != 2 || !strings.Contains(out, "s3://bucket/in/a.txt:1:6") || !strings.Contains(stderr, "in 4 files") {
		t.Errorf("%d: %s%s", code, out, stderr)
	}
	if code, _, _ := scanned(t, "", "-s3-endpoint", server.Endpoint, "-s3-path-style", "s3://none/"); code != notAll {
		t.Errorf("no such bucket: %d", code)
	}
	if code, _, _ := scanned(t, "", "-s3-endpoint", "http://192.0.2.1", "s3://bucket/"); code != notAll {
		t.Errorf("a service in clear: %d", code)
	}
}

func TestTopic(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events", "empty"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	broker := cluster.ListenAddrs()[0]
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 30 {
		r := &kgo.Record{Key: []byte{byte(i)}, Value: []byte("nothing")}
		if i == 7 {
			r.Value = []byte(`{"pan":"` + visaNumber + `"}`)
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, stderr := scanned(t, "", "kafka://"+broker+"/events"); code != found || strings.Count(out, "\n") != 1 || !strings.Contains(out, "/events/") || !strings.Contains(out, "@") {
		t.Errorf("%d: %s%s", code, out, stderr)
	}
	if code, _, stderr := scanned(t, "", "kafka://"+broker+"/empty"); code != clean {
		t.Errorf("an empty topic: %d: %s", code, stderr)
	}
	if code, _, _ := scanned(t, "", "kafka://"+broker+"/none"); code != notAll {
		t.Errorf("no such topic: %d", code)
	}
}
