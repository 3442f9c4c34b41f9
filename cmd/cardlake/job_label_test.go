package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries/insights"
)

// alarming is a job that raises an alert for each of the tenant's events, with a reason that would drive a terminal.
type alarming struct{}

func (alarming) Name() string                     { return "anomaly" }
func (alarming) Version() string                  { return "test" }
func (alarming) Tables() []*cardlake.Table        { return []*cardlake.Table{cardlake.Alerts} }
func (alarming) Parameters() []insights.Parameter { return nil }
func (alarming) ReadsLabels() bool                { return false }

func (alarming) Run(ctx context.Context, t *insights.Task) error {
	t.Card.Method = "all"
	t.Covers(t.First, t.AsOf)
	n := int32(0)
	return t.Each(ctx, `SELECT event_time, event_id FROM cards.transactions ORDER BY event_time, event_id`, func(row []any) error {
		n++
		severity := severities[n%4]
		return t.Append(ctx, cardlake.Alerts, insights.ID("alert", string(t.Tenant), row[1].(string)), row[0], row[1], "t", "tok_1", "c1", "m1", nil, "5411", "BR", "pos",
			n%2 == 0, 12.5, "BRL", 0.5, 0.25, severity, "card_testing", n, "Eight declines in a row.\nNew \x1b[31mcountry.", "[]")
	})
}

// jobCommandOf runs one of the job's commands over the lake and returns what it wrote, and its error.
func jobCommandOf(t *testing.T, do func(context.Context, []string, io.Writer, io.Writer) error, dir home.Dir, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = do(t.Context(), append([]string{"-dir", string(dir)}, args...), &out, &errs)
	return out.String(), errs.String(), err
}

func TestJobAlertsAndLabels(t *testing.T) {
	dir := jobHome(t, map[cardlake.Tenant]int{"acme": 8, "zeta": 8})
	if _, errs, code := runJob(t.Context(), dir, alarming{}, "anomaly"); code != 0 {
		t.Fatal(errs)
	}
	const acme, zeta = "tenant_analyst/analyst@acme", "tenant_analyst/analyst@zeta"
	alerts := func(args ...string) string {
		t.Helper()
		out, _, err := jobCommandOf(t, jobAlerts, dir, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	ids := func(text string) (out []string) {
		for _, m := range regexp.MustCompile(`(?m)^  alert ([a-p]{32})  event [0-9a-f-]{36}$`).FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
		return out
	}
	own := alerts("-as", acme)
	if n := len(ids(own)); n != 8 || strings.Contains(own, "zeta") || strings.Contains(own, "\x1b") {
		t.Errorf("acme has %d alerts:\n%q", n, own)
	}
	for _, want := range []string{
		"CRITICAL  card_testing  score 0.50  fraud with probability 0.25  open\n",
		"\n  12.50 BRL approved, by pos, at merchant m1, mcc 5411, in BR, card tok_1, customer c1\n",
		"\n  - Eight declines in a row.\n  - New \ufffd[31mcountry.\n",
	} {
		if !strings.Contains(own, want) {
			t.Errorf("%q is not in\n%s", want, own)
		}
	}
	if n := len(ids(alerts("-as", "data_scientist/local"))); n != 16 {
		t.Errorf("all tenants have %d alerts", n)
	}
	if n := len(ids(alerts("-tenant", "zeta", "-severity", "high", "-n", "3"))); n != 3 {
		t.Errorf("%d alerts of zeta", n)
	}
	if got := alerts("-as", acme, "-severity", "high"); len(ids(got)) != 4 || strings.Contains(got, "LOW") || strings.Contains(got, "MEDIUM") {
		t.Errorf("at least high:\n%s", got)
	}
	if got := alerts("-as", acme, "-format", "csv", "-n", "2"); strings.Count(got, "\nacme,") != 2 || !strings.HasPrefix(got, "tenant,alert_id,") {
		t.Errorf("csv:\n%s", got)
	}

	// Verdicts.
	mine, others := ids(own), ids(alerts("-as", zeta))
	if out, errs, err := jobCommandOf(t, jobConfirm, dir, "-tenant", "acme", mine[0], mine[1]); err != nil || out != "acme: 2 confirmed\n" {
		t.Errorf("confirm: %q %q %v", out, errs, err)
	}
	if out, _, err := jobCommandOf(t, jobConfirm, dir, "-as", acme, mine[0]); err != nil || out != "acme: 0 confirmed, 1 already so\n" {
		t.Errorf("confirm again: %q %v", out, err)
	}
	if out, _, err := jobCommandOf(t, jobDismiss, dir, "-as", acme, mine[2], "-reason", "own holiday"); err != nil || out != "acme: 1 dismissed\n" {
		t.Errorf("dismiss: %q %v", out, err)
	}
	if got := alerts("-as", acme, "-status", "dismissed"); len(ids(got)) != 1 || !strings.Contains(got, "\n  dismissed by "+acme+" at ") || !strings.Contains(got, ": own holiday\n") {
		t.Errorf("dismissed:\n%s", got)
	}
	if n := len(ids(alerts("-as", acme, "-status", "open"))); n != 5 {
		t.Errorf("%d open alerts", n)
	}
	for name, args := range map[string][]string{
		"another tenant's":               {"-as", acme, others[0]},
		"another tenant's, in its name":  {"-as", acme, "-tenant", "zeta", others[0]},
		"by somebody without the grant":  {"-as", "data_scientist/local", mine[3]},
		"by the job":                     {"-as", localJobs, "-tenant", "acme", mine[3]},
		"one of several is another's":    {"-as", acme, mine[3], others[0]},
		"an id that is none":             {"-as", acme, "x' OR 'a'='a"},
		"a card number as a reason":      {"-as", acme, "-reason", "5555555555554444", mine[3]},
		"nobody and no tenant are named": {mine[3]},
		"no alert":                       {"-as", acme},
	} {
		out, errs, err := jobCommandOf(t, jobConfirm, dir, args...)
		if err == nil || out != "" || strings.Contains(errs+err.Error(), "5555555555554444") {
			t.Errorf("%s: %q %q %v", name, out, errs, err)
		}
	}
	if _, _, err := jobCommandOf(t, jobDismiss, dir, "-as", acme, mine[3]); err == nil {
		t.Error("dismissed without a reason")
	}
	if got := asAnalyst(t, dir, "acme", "SELECT count(*) AS n FROM insights.labels"); got != "n\n3\n" {
		t.Errorf("labels: %q", got)
	}
	if got := asAnalyst(t, dir, "zeta", "SELECT count(*) AS n FROM insights.labels"); got != "n\n0\n" {
		t.Errorf("labels of zeta: %q", got)
	}

	// Files.
	event := strings.TrimSpace(strings.TrimPrefix(asAnalyst(t, dir, "acme", "SELECT min(event_id) AS e FROM cards.transactions"), "e\n"))
	path := filepath.Join(t.TempDir(), "labels.jsonl")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"event_id":"` + event + `","pattern":"stolen_card","episode":"7"}` + "\n" + `{"event_id":"00000000-0000-8000-8000-000000000000"}` + "\n")
	out, errs, err := jobCommandOf(t, jobLabel, dir, "-as", acme, "-source", "chargeback", path)
	if err != nil || out != "acme: 2 labels added, 0 known already\n" || !strings.Contains(errs, "1 of the events are not in the lake") {
		t.Errorf("label: %q %q %v", out, errs, err)
	}
	if out, errs, err := jobCommandOf(t, jobLabel, dir, path, "-tenant", "acme", "-source", "chargeback"); err != nil || out != "acme: 0 labels added, 2 known already\n" || errs != "" {
		t.Errorf("label again: %q %q %v", out, errs, err)
	}
	if out, _, err := jobCommandOf(t, jobLabel, dir, "-as", zeta, "-tenant", "acme", path); err == nil || out != "" {
		t.Errorf("zeta labelled acme's events: %q", out)
	}
	write("event_id\n" + event + "\ns3cret\n")
	if out, _, err := jobCommandOf(t, jobLabel, dir, "-as", acme, path); err == nil || out != "" || !strings.Contains(err.Error(), "line 3: event_id") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a file with a fault: %q %v", out, err)
	}
	if got := asAnalyst(t, dir, "acme", "SELECT source, count(*) AS n FROM insights.labels GROUP BY source ORDER BY source"); got != "source,n\nchargeback,2\nreview,3\n" {
		t.Errorf("labels: %q", got)
	}
	for name, do := range map[string]func(context.Context, []string, io.Writer, io.Writer) error{"label": jobLabel, "alerts": jobAlerts} {
		for _, args := range [][]string{{"-source", "rumour", path}, {"-severity", "huge"}, {"-tenant", "No Tenant!", path}, {"-n", "0"}, {"a", "b"}} {
			if _, _, err := jobCommandOf(t, do, dir, append([]string{"-as", acme}, args...)...); err == nil {
				t.Errorf("%s took %q", name, args)
			}
		}
	}
}
