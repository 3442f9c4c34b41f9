package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/render"
)

const reportAbout = `Lists every principal with its access, the policies that give it, its last review and its end:
the evidence for a review of access (PCI DSS 4.0.1 requirements 7.2.4 and 7.2.5.1). Keep the
json of a review; -since compares with it next time.`

func grantsReport(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("grants report", "", reportAbout, stderr)
	var place grantsPlace
	place.define(fs)
	place.defineTime(fs)
	since := fs.String("since", "", "`file` of an earlier report, json: tell what differs")
	formatName := fs.String("format", "table", "table, csv: a row for each access; json: all; markdown: to be read and signed")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{"table", "csv", "json", "markdown"}, *formatName):
		return misused(fs, "unknown format %q: want one of table, csv, json, markdown", *formatName)
	case fs.NArg() != 0:
		return misused(fs, "takes no arguments, got %q", fs.Arg(0))
	}
	if err := place.complete(); err != nil {
		return misused(fs, "%v", err)
	}
	var earlier *grants.Report
	if *since != "" {
		text, err := os.ReadFile(*since)
		if err == nil {
			err = json.Unmarshal(text, &earlier)
		}
		if err == nil && (earlier == nil || earlier.Version == "") {
			err = errors.New("is no report")
		}
		if err != nil {
			return fmt.Errorf("-since %s: %w: give the output of \"cardlake grants report -format json\"", *since, err)
		}
	}
	set, err := place.load()
	if err != nil {
		return err
	}
	r := set.Report(cardlake.Tables, place.now)
	if earlier != nil {
		r.Compare(earlier)
	}
	switch *formatName {
	case "json":
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	case "markdown":
		return r.Markdown(stdout)
	}
	format, err := render.ByName(*formatName)
	if err != nil {
		return err
	}
	if err := format(ctx, stdout, accessRows(r)); err != nil {
		return err
	}
	if d := r.Since; d != nil {
		for _, part := range []struct {
			name  string
			lines []string
		}{{"added", d.Added}, {"removed", d.Removed}, {"changed", d.Changed}} {
			for _, line := range part.lines {
				fmt.Fprintf(stderr, "since %s %s: %s\n", d.At.Format(time.DateOnly), part.name, line)
			}
		}
	}
	return nil
}

// accessRows is a row for each access of each principal, and one for a principal with none.
func accessRows(r *grants.Report) *listing {
	var out listing
	out.strings("principal", "owner", "is", "tenant", "reviewed", "valid_until", "action", "table", "rows", "clear", "masked", "when", "policies")
	for _, p := range r.Principals {
		is, reviewed, until := "person", p.Reviewed, ""
		if p.Service {
			is = "service"
		}
		if p.ReviewDue {
			reviewed = strings.TrimSpace(reviewed + " (due)")
		}
		if p.ValidUntil != nil {
			until = instant(*p.ValidUntil, time.RFC3339)
		}
		head := []string{p.Principal, p.Owner, is, string(p.Tenant), reviewed, until}
		if len(p.Access) == 0 {
			out.row(append(head, "nothing", "", "", "", "", "", "")...)
		}
		for _, a := range p.Access {
			var when []string
			if a.MFA {
				when = append(when, "with more than one factor")
			}
			if a.BreakGlass {
				when = append(when, "in an emergency")
			}
			if a.Until != nil {
				when = append(when, "until "+instant(*a.Until, time.RFC3339)+" at least")
			}
			out.row(append(slices.Clip(head), string(a.Action), a.Table, a.Rows, tagList(a.Clear), tagList(a.Masked),
				strings.Join(when, ", "), strings.Join(a.Policies, ", "))...)
		}
	}
	return &out
}

func tagList(tags []cardlake.Tag) string {
	texts := make([]string, len(tags))
	for i, t := range tags {
		texts[i] = string(t)
	}
	return strings.Join(texts, ", ")
}
