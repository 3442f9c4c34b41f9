package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants/lakeformation"
	"github.com/cardlake/cardlake/catalog/grants/lakeformation/lftest"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
)

// awsLake is the starter set of a lake whose readers have roles in an account.
func awsLake(t *testing.T) (dir home.Dir, server *lftest.Server, args []string) {
	t.Helper()
	dir = home.Dir(t.TempDir())
	if err := makeKeyring(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	tenants, err := catalog.OpenTenants(dir.Tenants())
	if err != nil {
		t.Fatal(err)
	}
	const account, role = "111122223333", "arn:aws:iam::111122223333:role/"
	key := func(name string) string { return "arn:aws:kms:us-east-1:" + account + ":key/" + name }
	mapping := lakeformation.Mapping{
		Account: account, Region: "us-east-1", Bucket: "cards-lake", DataAccessRole: role + "lakeformation", RetiringPrincipal: role + "keeper",
		Results: lakeformation.Results{Bucket: "cards-answers", Key: key("answers")},
		Roles: map[string]lakeformation.Role{
			"data_scientist/local": {ARN: role + "scientist", Workgroup: "scientist"}, "auditor/local": {ARN: role + "auditor", Workgroup: "auditor"},
		},
		Tables: []string{"cards.transactions", "cards.control_totals"}, IgnoreLimits: true,
	}
	arns := map[keys.Owner]string{keys.Lake: key("lake")}
	for _, r := range tenants.All() {
		arns[keys.Owner(r.StorageID)] = key(string(r.StorageID))
		name := "analyst-" + string(r.Name)
		mapping.Roles["tenant_analyst/analyst@"+string(r.Name)] = lakeformation.Role{ARN: role + name, Workgroup: name}
	}
	config := lftest.Config{
		Account: account, Region: "us-east-1", Bucket: "cards-lake", Tables: cardlake.Tables, Roles: []string{mapping.DataAccessRole, mapping.RetiringPrincipal},
		KeyOf: func(cardlake.Tenant) string { return "" },
	}
	for _, r := range mapping.Roles {
		config.Roles = append(config.Roles, r.ARN)
	}
	for _, arn := range arns {
		config.Keys = append(config.Keys, arn)
	}
	server = lftest.Start(config)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": lftest.AccessKey, "AWS_SECRET_ACCESS_KEY": lftest.Secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": server.URL(),
	} {
		t.Setenv(name, value)
	}
	args = []string{"-dir", string(dir)}
	for name, v := range map[string]any{"mapping": mapping, "kms-keys": arns} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(string(dir), name+".json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-"+name, path)
	}
	return dir, server, args
}

var digestOfPlan = regexp.MustCompile(`plan ([a-p]{16})\n$`)

// TestGrantsInAWS plans, applies what was planned, on the record, and has nothing to do then.
func TestGrantsInAWS(t *testing.T) {
	dir, server, args := awsLake(t)
	plan := func(want error) string {
		t.Helper()
		var out, errs bytes.Buffer
		if err := grantsPlan(t.Context(), args, &out, &errs); !errors.Is(err, want) {
			t.Fatalf("plan: %v, want %v; %s", err, want, errs.String())
		}
		return out.String()
	}
	apply := func(more ...string) (string, error) {
		var out, errs bytes.Buffer
		err := grantsApply(t.Context(), slices.Concat(args, more), &out, &errs)
		return out.String() + errs.String(), err
	}
	first := plan(exitCode(1))
	digest := digestOfPlan.FindStringSubmatch(first)
	if digest == nil {
		t.Fatalf("the plan ends without its digest:\n%s", first)
	}
	t.Logf("the plan of the starter set:\n%s", first)
	for _, want := range []string{
		"+ filter cards.transactions/cardlake-data_scientist-local-", "by data-scientist.", "where tenant IN ('",
		"# data_scientist/local on cards.transactions: without what the gateway masks: bin, last4",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the plan has no %q", want)
		}
	}
	if _, err := apply("-mfa"); !errors.Is(err, errUsage) {
		t.Errorf("without -expect: %v", err)
	}
	if _, err := apply("-expect", digest[1]); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("with one factor: %v", err)
	}
	if _, err := apply("-expect", digest[1], "-mfa", "-as", "data_scientist/local"); !errors.Is(err, queries.ErrNotPermitted) {
		t.Errorf("as a reader: %v", err)
	}
	if _, err := apply("-expect", "ponmlkjihgfedcba", "-mfa"); !errors.Is(err, lakeformation.ErrMoved) {
		t.Errorf("another plan: %v", err)
	}
	if n := server.Writes(); n > 0 {
		t.Fatalf("%d changes before any was permitted", n)
	}
	if out, err := apply("-expect", digest[1], "-mfa", "-reason", "quarterly"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if again := plan(nil); !strings.HasPrefix(again, "#") || !strings.Contains(again, "0 to change, 0 of others") {
		t.Errorf("the second plan:\n%s", again)
	}
	lines := recorded(t, dir)
	for _, want := range []string{
		`"actor":"operator/local","action":"grants.apply","resource":"aws","outcome":"refused"`, `"actor":"data_scientist/local","action":"grants.apply"`,
		`"resource":"filter cards.transactions/cardlake-data_scientist-local-`, `"action":"grants.apply.done"`, `"reason":"quarterly"`, `"plan":"` + digest[1] + `"`,
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("the record has no %s", want)
		}
	}
	args = append(args, "-format", "json")
	var parsed lakeformation.Plan
	if err := json.Unmarshal([]byte(plan(nil)), &parsed); err != nil || len(parsed.Changes) != 0 || len(parsed.Notes) == 0 {
		t.Errorf("the plan in JSON: %+v, %v", parsed, err)
	}
}

// TestGrantsInAWSUnrecorded changes nothing that can't be put on record.
func TestGrantsInAWSUnrecorded(t *testing.T) {
	dir, server, args := awsLake(t)
	var out, errs bytes.Buffer
	if err := grantsPlan(t.Context(), args, &out, &errs); !errors.Is(err, exitCode(1)) {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(dir.Audit(serving.LakeLog)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.Audit(serving.LakeLog), nil, 0o600); err != nil { // no folder can be made
		t.Fatal(err)
	}
	digest := digestOfPlan.FindStringSubmatch(out.String())
	err := grantsApply(t.Context(), append(args, "-expect", digest[1], "-mfa"), &out, &errs)
	if !errors.Is(err, queries.ErrUnrecorded) || server.Writes() > 0 {
		t.Errorf("%d changes, %v", server.Writes(), err)
	}
}
