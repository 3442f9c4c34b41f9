package deploy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/queries/quality/deploy"
	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

func parsed(t *testing.T, text string) *dqdl.Ruleset {
	t.Helper()
	set, err := dqdl.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestDeploy looks at the requests that the SDK's client sends: a create, and an update when
// the name is taken.
func TestDeploy(t *testing.T) {
	var got []map[string]any
	taken := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		request := map[string]any{}
		if err := json.Unmarshal(body, &request); err != nil {
			t.Error(err)
		}
		request["target"] = r.Header.Get("X-Amz-Target")
		got = append(got, request)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if taken && strings.HasSuffix(r.Header.Get("X-Amz-Target"), "CreateDataQualityRuleset") {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"__type": "AlreadyExistsException", "Message": "taken"}`)
			return
		}
		io.WriteString(w, `{"Name": "orders"}`)
	}))
	defer server.Close()
	client := glue.New(glue.Options{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.URL), Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	const text = "Rules = [\n    RowCount > (1 + 2) * 3\n]\n"
	r := deploy.Ruleset{Name: "orders", Description: "of the day", Database: "sales", Table: "orders", Rules: parsed(t, "# a comment\nRules=[RowCount>(1+2)*3]")}
	if isNew, err := deploy.Deploy(t.Context(), client, r); err != nil || !isNew {
		t.Fatal(isNew, err)
	}
	taken = true
	if isNew, err := deploy.Deploy(t.Context(), client, r); err != nil || isNew {
		t.Fatal(isNew, err)
	}
	if got[0]["ClientToken"] != got[1]["ClientToken"] || got[0]["ClientToken"] == "" {
		t.Error("the same rule set has another token")
	}
	for _, request := range got {
		delete(request, "ClientToken")
	}
	create := map[string]any{
		"target": "AWSGlue.CreateDataQualityRuleset", "Name": "orders", "Description": "of the day", "Ruleset": text,
		"TargetTable": map[string]any{"DatabaseName": "sales", "TableName": "orders"},
	}
	update := map[string]any{"target": "AWSGlue.UpdateDataQualityRuleset", "Name": "orders", "Description": "of the day", "Ruleset": text}
	if diff := cmp.Diff([]map[string]any{create, create, update}, got); diff != "" {
		t.Error(diff)
	}
}

// TestWhatGlueRefuses is refused before it is sent.
func TestWhatGlueRefuses(t *testing.T) {
	for want, r := range map[string]deploy.Ruleset{
		"name has 0":       {Rules: parsed(t, `Rules = [ RowCount > 0 ]`)},
		"needs database":   {Name: "n", Table: "t", Rules: parsed(t, `Rules = [ RowCount > 0 ]`)},
		"no analyzers":     {Name: "n", Table: "t", Database: "d", Rules: parsed(t, `Analyzers = [ RowCount ]`)},
		"no labels":        {Name: "n", Table: "t", Database: "d", Rules: parsed(t, `Rules = [ RowCount > 0 labels=["a"="b"] ]`)},
		"no dynamic rules": {Name: "n", Table: "t", Database: "d", Rules: parsed(t, `Rules = [ RowCount > avg(last(3)) ]`)},
		"line 1: Glue takes no where after ColumnNamesMatchPattern": {Name: "n", Rules: parsed(t, `Rules = [ (RowCount > 0) and (ColumnNamesMatchPattern "a.*" where "b > 1") ]`)},
		"line 1: Glue takes no threshold after RowCount":            {Name: "n", Rules: parsed(t, `Rules = [ RowCount > 0 with threshold > 0.8 ]`)},
		"at most 65536": {Name: "n", Rules: parsed(t, `Rules = [ IsComplete "`+strings.Repeat("c", 70_000)+`" ]`)},
	} {
		if in, err := deploy.CreateInput(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v, %v", want, in, err)
		}
	}
}
