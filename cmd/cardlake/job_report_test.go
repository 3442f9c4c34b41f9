package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/queries/insights/report"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// reportOf runs "job report" and returns its exit code, as main has it.
func reportOf(t *testing.T, dir home.Dir, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	err := jobReport(t.Context(), append([]string{"-dir", string(dir)}, args...), &out, &errs)
	switch {
	case errors.Is(err, errUsage):
		code = 2
	case err != nil:
		code = 1
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), code
}

// cardOf is the model card of a run, as a job would make it.
func cardOf(tenant cardlake.Tenant, run, summary string) report.Card {
	from := queriestest.Epoch
	return report.Card{
		Job: "segment", Method: "k-means++", Version: "1", Summary: summary, Tenant: string(tenant), Run: run, Snapshot: 7,
		AsOf: from.AddDate(0, 0, 28), Window: report.Window{From: from, To: from.AddDate(0, 0, 28), Rows: 1234},
		Metrics: []report.Metric{{Name: "silhouette", Value: 0.41, Better: report.Higher, Baselines: []report.Baseline{{Name: "quintiles", Value: 0.2}}}},
		Figures: []report.Figure{
			{Name: "sizes", Kind: report.Bar, Title: "Customers", Caption: "By segment.", X: report.Axis{Categories: []string{"a", "<script>"}}, Series: []report.Series{{Name: "n", Y: []float64{3, 4}}}},
			{Name: "map", Kind: report.Scatter, Title: "Map", Caption: "Of the segments.", Series: []report.Series{report.Cloud("a", []float64{1, 2}, []float64{3, 4}, 0)}},
		},
	}
}

// publish appends runs to insights.runs, with the cards.
func publish(ctx context.Context, dir home.Dir, cards ...report.Card) error {
	l, err := openToWrite(ctx, []string{"-dir", string(dir)})
	if err != nil {
		return err
	}
	defer l.Close()
	table, err := l.Table(ctx, cardlake.Runs)
	if err != nil {
		return err
	}
	positions, err := table.Positions(ctx)
	if err != nil {
		return err
	}
	stream := cardlake.StreamPartition{Stream: "insights"}
	next := positions[stream].Next
	for i, card := range cards {
		sequence := next + int64(i) + 1
		stored, err := report.Encode(card)
		if err != nil {
			return err
		}
		at := card.AsOf.UnixMicro()
		body, err := queriestest.Parquet(cardlake.Runs, 1, func(c cardlake.Column, _ int) any {
			switch c.Name {
			case "run_id":
				return card.Run
			case "job":
				return card.Job
			case "tenant":
				return card.Tenant
			case "sequence":
				return sequence
			case "card":
				return string(stored)
			case "labels_snapshot":
				return nil
			}
			switch c.Type {
			case cardlake.Int64:
				return int64(5)
			case cardlake.TimestampTZ:
				return at
			}
			return "x"
		})
		if err != nil {
			return err
		}
		file := cardlake.DataFile{
			Name: fmt.Sprintf("data/runs/%s/%d.parquet", card.Tenant, sequence), Tenant: cardlake.Tenant(card.Tenant), Day: cardlake.DayOf(at),
			Rows: 1, Bytes: int64(len(body)), MinTime: at, MaxTime: at, SplitOffsets: []int64{4},
		}
		if err := l.Store.Put(ctx, file.Name, testOwner, body); err != nil {
			return err
		}
		offsets := func(n int64) cardlake.Positions { return cardlake.Positions{stream: {Next: n}} }
		if _, err := table.Append(ctx, catalog.Append{Files: []cardlake.DataFile{file}, From: offsets(sequence - 1), To: offsets(sequence)}); err != nil {
			return err
		}
	}
	return nil
}

func TestJobReport(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 1, 10); err != nil {
		t.Fatal(err)
	}
	const analyst = "tenant_analyst/analyst@aurora"
	if out, errs, code := reportOf(t, dir, "-as", analyst, "segment"); code != 1 || out != "" || !strings.Contains(errs, `make one with "cardlake job run segment"`) {
		t.Errorf("before there is a run: exit code %d, %q, %q", code, out, errs)
	}
	err := publish(t.Context(), dir,
		cardOf("aurora", "older", "The older run."), cardOf("aurora", "newer", "The newer run."), cardOf("bolivar", "theirs", "Another tenant's run."))
	if err != nil {
		t.Fatal(err)
	}

	for _, tc := range []struct {
		name        string
		args        []string
		code        int
		want, never []string
	}{
		{"newest", []string{"-as", analyst, "segment"}, 0, []string{"segment for aurora\n", "The newer run.", "silhouette  0.4100  better"}, []string{"older", "bolivar"}},
		{"named", []string{"-as", analyst, "-run", "older", "segment"}, 0, []string{"The older run."}, []string{"newer"}},
		{"JSON", []string{"-as", analyst, "-format", "json", "segment"}, 0, []string{"{\n  \"format\": 1,\n  \"job\": \"segment\","}, []string{"older"}},
		{"HTML", []string{"-as", analyst, "-format", "html", "segment"}, 0, []string{"<!DOCTYPE html>", "&lt;script&gt;"}, []string{"<script"}},
		{"Markdown", []string{"-as", analyst, "-format", "markdown", "segment"}, 0, []string{"# segment for aurora", "![Customers](sizes.svg)"}, nil},
		{"all tenants", []string{"segment"}, 0, []string{"aurora   newer", "bolivar  theirs", "for the report of one tenant's run add -tenant, such as -tenant aurora"}, []string{"The newer run."}},
		{"all tenants, in JSON", []string{"-format", "json", "segment"}, 1, []string{"there are runs of 2 tenants: name one with -tenant"}, []string{"The newer run."}},
		{"one of all", []string{"-tenant", "bolivar", "segment"}, 0, []string{"Another tenant's run."}, []string{"aurora"}},
		{"of another tenant", []string{"-as", analyst, "-tenant", "bolivar", "segment"}, 1, []string{`no run of job "segment" is published for tenant "bolivar" that ` + analyst + " may read"}, []string{"Another", "theirs"}},
		{"another tenant's by its id", []string{"-as", analyst, "-run", "theirs", "segment"}, 1, []string{`no run "theirs"`, "without -run the newest one is shown"}, []string{"Another"}},
		{"no such job", []string{"-as", analyst, "segments"}, 1, []string{"there are runs of segment;"}, nil},
		{"a statement for a name", []string{"-as", analyst, "' OR 1=1 --"}, 1, []string{"is published"}, []string{"Another", "The newer"}},
		{"a statement for a tenant", []string{"-as", analyst, "-tenant", "' OR 1=1 --", "segment"}, 1, []string{"is published"}, []string{"Another", "The newer"}},
		{"a statement for a run", []string{"-as", analyst, "-run", "' OR 1=1 --", "segment"}, 1, []string{"is published"}, []string{"Another", "The newer"}},
		{"no format", []string{"-format", "pdf", "segment"}, 2, []string{"want one of text, json, html, markdown"}, nil},
		{"no job", nil, 2, []string{"takes one job"}, nil},
		{"nobody", []string{"-as", "tenant_analyst/stranger@aurora", "segment"}, 1, []string{"not permitted"}, []string{"The newer"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, errs, code := reportOf(t, dir, tc.args...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d: %s", code, tc.code, errs)
			}
			for _, want := range tc.want {
				if !strings.Contains(out+errs, want) {
					t.Errorf("no %q in:\n%s%s", want, out, errs)
				}
			}
			for _, never := range tc.never {
				if strings.Contains(out+errs, never) {
					t.Errorf("%q is in:\n%s%s", never, out, errs)
				}
			}
		})
	}
}

func TestJobReportIsOnRecord(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), dir, cardOf("aurora", "r", "A run.")); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := reportOf(t, dir, "-as", "tenant_analyst/analyst@aurora", "-reason", "because", "segment"); code != 0 {
		t.Fatal(errs)
	}
	out, errs, code := command(t, "audit", "tail", "-dir", string(dir), "-format", "json")
	if code != 0 || !strings.Contains(out, `"actor":"tenant_analyst/analyst@aurora","action":"query","resource":"insights.runs"`) || !strings.Contains(out, `"because"`) {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
}

func TestJobReportWritesFiles(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), dir, cardOf("aurora", "r", "A run.")); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "new", "report")
	for range 2 { // the second time files are replaced
		if _, errs, code := reportOf(t, dir, "-out", folder, "segment"); code != 0 || !strings.Contains(errs, "2 figures") {
			t.Fatalf("exit code %d, %s", code, errs)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if want := []string{"card.json", "map.png", "map.svg", "report.html", "sizes.png", "sizes.svg"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	stored, err := os.ReadFile(filepath.Join(folder, "card.json"))
	if err != nil {
		t.Fatal(err)
	}
	if card, err := report.Decode(stored); err != nil || card.Run != "r" {
		t.Errorf("card.json: %v", err)
	}
	picture, err := os.Open(filepath.Join(folder, "map.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer picture.Close()
	if _, err := png.DecodeConfig(picture); err != nil {
		t.Error(err)
	}
}

// A card whose text moves the cursor of a terminal would show what is not there.
func TestJobReportIsCleanOnATerminal(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	card := cardOf("aurora", "r", "\x1b[2J\x1b[31mAll is well\u202e")
	if err := publish(t.Context(), dir, card); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "markdown", "html"} {
		out, errs, code := reportOf(t, dir, "-format", format, "segment")
		if code != 0 || !strings.Contains(out, "All is well") || strings.ContainsAny(out, "\x1b\u202e") {
			t.Errorf("%s: exit code %d, %q, %s", format, code, out[:min(len(out), 300)], errs)
		}
	}
}

// Model cards hold figures of money: who may not read money is told so, and sees none.
func TestJobReportNeedsMoney(t *testing.T) {
	dir := home.Dir(t.TempDir())
	if err := makeLake(t.Context(), dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := publish(t.Context(), dir, cardOf("aurora", "r", "A run.")); err != nil {
		t.Fatal(err)
	}
	policies := filepath.Join(dir.Grants(), "policies", "tenants.cedar")
	text, err := os.ReadFile(policies)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policies, bytes.ReplaceAll(text, []byte(`"money", `), nil), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := reportOf(t, dir, "-as", "tenant_analyst/analyst@aurora", "segment")
	if code != 1 || out != "" || !strings.Contains(errs, "it needs a grant of column card of insights.runs") || strings.Contains(errs, "A run.") {
		t.Errorf("exit code %d, %q, %s", code, out, errs)
	}
}
