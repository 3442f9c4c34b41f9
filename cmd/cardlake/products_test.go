package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/internal/home"
)

// productsRun runs "cardlake products COMMAND -dir DIR -as WHO …".
func productsRun(t *testing.T, dir home.Dir, as, command string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = productsCommand(t.Context(), append([]string{command, "-dir", string(dir), "-as", as}, args...), &out, &errs)
	return out.String(), errs.String(), err
}

const (
	ana    = "data_scientist/ana"
	keeper = "operator/local"
)

// makeProductsLake is a lake with products in which data scientists read nothing that they did not
// subscribe to.
func makeProductsLake(t *testing.T) home.Dir {
	t.Helper()
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 3, 10); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := productsCommand(t.Context(), []string{"init", "-dir", string(dir)}, &out, &out); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir.Grants(), "principals.json")
	text, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"principals": [`, `"principals": [{"principal": "data_scientist/ana", "owner": "ana@example.com"},`, 1)
	for name, content := range map[string]string{
		at: changed,
		filepath.Join(dir.Grants(), "policies", "people.cedar"): `@id("ds.subscribe") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"subscribe", resource);`,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var subscriptionID = regexp.MustCompile(`subscription ([a-p]{20})`)

// TestProducts goes from looking to asking, approving, reading and the end.
func TestProducts(t *testing.T) {
	dir := makeProductsLake(t)
	must := func(as, command string, args ...string) string {
		t.Helper()
		out, errs, err := productsRun(t, dir, as, command, args...)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", as, command, err, errs)
		}
		return out
	}
	query := func(sql string) (string, int) {
		out, _, code := command(t, "query", "-dir", string(dir), "-as", ana, "-format", "csv", sql)
		return out, code
	}
	if out := must(ana, "list", "-format", "csv"); strings.Count(out, "\n") != 5 || !strings.Contains(out, "transactions,1.0.0,published,operator/local") {
		t.Errorf("list:\n%s", out)
	}
	const count = "SELECT count(*) AS n FROM cards.transactions"
	if _, code := query(count); code != 2 {
		t.Errorf("without a subscription: exit code %d", code)
	}
	show := must(ana, "show", "-sample", "2", "transactions")
	for _, want := range []string{"Card transactions", "card token: A name that stands", "at most 5m old: kept, as of", "views.transactions", "Made-up rows, for data_scientist/ana may read none", "card_token-a"} {
		if !strings.Contains(show, want) {
			t.Errorf("show has no %q:\n%.3000s", want, show)
		}
	}
	if _, _, err := productsRun(t, dir, ana, "subscribe", "transactions"); err == nil || !strings.Contains(err.Error(), "say why") {
		t.Errorf("without a reason: %v", err)
	}
	out := must(ana, "subscribe", "-reason", "the quarterly study of refunds", "-days", "7", "-of", "aurora,bolivar,cobre", "transactions")
	id := subscriptionID.FindStringSubmatch(out)[1]
	if out := must(keeper, "requests", "-format", "csv"); !strings.Contains(out, id) || !strings.Contains(out, "the quarterly study of refunds") {
		t.Errorf("requests:\n%s", out)
	}
	if _, _, err := productsRun(t, dir, ana, "approve", id); err == nil {
		t.Error("who asked approves")
	}
	if _, code := query(count); code != 2 {
		t.Errorf("before the approval: exit code %d", code)
	}
	if out := must(keeper, "approve", id); !strings.Contains(out, "is approved until") {
		t.Error(out)
	}
	if out, code := query("SELECT count(*) AS n, count(card_token) AS tokens, max(bin) AS bin FROM cards.transactions"); code != 0 || out != "n,tokens,bin\r\n30,30,\r\n" {
		t.Errorf("with the subscription: exit code %d, %q", code, out)
	}
	if out := must(ana, "show", "-sample", "2", "chargebacks"); !strings.Contains(out, "A sample, as it is given:") {
		t.Errorf("show:\n%.2000s", out)
	}
	if out := must(keeper, "sync"); !strings.Contains(out, "1 subscriptions are in force, as before.") {
		t.Error(out)
	}
	must(ana, "revoke", id)
	if _, code := query(count); code != 2 {
		t.Errorf("after its end: exit code %d", code)
	}
	if out := must(ana, "subscriptions", "-format", "csv"); !strings.Contains(out, id+",transactions,data_scientist/ana,revoked") {
		t.Errorf("subscriptions:\n%s", out)
	}
	log := recorded(t, dir)
	for _, want := range []string{
		`"actor":"data_scientist/ana","action":"products.show","resource":"transactions","outcome":"allowed"`,
		`"actor":"data_scientist/ana","action":"subscription.request","resource":"transactions","outcome":"refused"`,
		`"actor":"data_scientist/ana","action":"subscription.request","resource":"transactions","outcome":"allowed"`,
		`"actor":"data_scientist/ana","action":"subscription.approve","resource":"transactions","outcome":"refused"`,
		`"actor":"operator/local","action":"subscription.approve","resource":"transactions","outcome":"allowed"`,
		`"actor":"data_scientist/ana","action":"subscription.revoke","resource":"transactions","outcome":"allowed"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not on record", want)
		}
	}
	must(keeper, "deprecate", "transactions")
	if _, _, err := productsRun(t, dir, ana, "subscribe", "-reason", "the quarterly study of refunds", "transactions"); err == nil || !strings.Contains(err.Error(), "deprecated") {
		t.Errorf("a deprecated product: %v", err)
	}
}

// TestProductsAreMisused: what is wrong, and nothing is done.
func TestProductsAreMisused(t *testing.T) {
	dir := makeProductsLake(t)
	t.Setenv("AWS_REGION", "us-east-1")
	for _, c := range []struct {
		as, command string
		args        []string
		want        string
	}{
		{ana, "buy", nil, `there is no command "buy"`},
		{ana, "show", nil, "takes 1 arguments"},
		{ana, "show", []string{"nothing"}, "no such product"},
		{ana, "show", []string{"-sample", "21", "transactions"}, "up to 20 rows"},
		{ana, "list", []string{"-format", "pdf"}, "pdf"},
		{"data_scientist/nobody", "list", nil, "not permitted"},
		{ana, "withdraw", []string{"transactions"}, "not permitted"},
		{ana, "approve", []string{"aaaaaaaaaaaaaaaaaaaa"}, "no such product or subscription"},
		{keeper, "export", nil, "not the id of a domain"},
		{ana, "export", []string{"-apply", "-datazone-domain", "dzd_x"}, "may not maintain the lake"},
		{keeper, "export", []string{"-datazone-domain", "dzd_x", "-consumers", "nowhere.json"}, "-consumers"},
		{keeper, "list", []string{"-products", "nowhere"}, `"cardlake products init"`},
	} {
		_, errs, err := productsRun(t, dir, c.as, c.command, c.args...)
		if err == nil || !strings.Contains(errs+err.Error(), c.want) {
			t.Errorf("%s %s: %v %s", c.command, c.args, err, errs)
		}
	}
}
