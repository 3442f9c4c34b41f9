package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

func auditTail(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	fs := flagSet("audit tail", "", "Shows the newest lines of the audit log that the flags select, and with -f those that are added, until it\nis interrupted. It does not verify them: see \"cardlake audit verify\". That the log is read is a line of it.", stderr)
	var a auditPlace
	a.define(fs, lakeflags.Read)
	var f audit.Filter
	fs.StringVar(&f.Actor, "actor", "", "only lines of this `principal`")
	fs.StringVar(&f.Action, "action", "", "only this `action`, or with a dot at its end all that begin with it")
	fs.StringVar(&f.Resource, "resource", "", "only lines about this `resource`")
	fs.StringVar(&f.Request, "request", "", "only the lines of one `request`")
	outcome := fs.String("outcome", "", "only lines that ended so: allowed, refused, failed")
	since := fs.String("since", "", "only lines since this `time`, RFC 3339, or as long ago as this duration, such as 24h")
	last := fs.Int("n", 20, "show so many `lines` that are there already")
	follow := fs.Bool("f", false, "follow the log")
	format := fs.String("format", "text", "how lines are written: text, json")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch f.Outcome = audit.Outcome(*outcome); f.Outcome {
	case "", audit.Allowed, audit.Refused, audit.Failed:
	default:
		return misused(fs, "-outcome is one of allowed, refused, failed")
	}
	switch {
	case *last < 0 || *last > 100_000:
		return misused(fs, "-n is from 0 to 100000")
	case *format != "text" && *format != "json":
		return misused(fs, "unknown format: want one of text, json")
	}
	if *since != "" {
		if ago, err := time.ParseDuration(*since); err == nil && ago > 0 {
			f.Since = time.Now().Add(-ago)
		} else if f.Since, err = time.Parse(time.RFC3339, *since); err != nil {
			return misused(fs, "-since is neither a time of RFC 3339 nor a duration")
		}
	}
	if err := a.complete(fs, localAuditor); err != nil {
		return err
	}
	err = a.open(ctx, grants.ReadAudit, "tail", nil)
	// Closed before it reads: whoever follows for hours must not hold a segment open.
	if err = errors.Join(err, a.close()); err != nil {
		return err
	}
	show := textLine
	if *format == "json" {
		show = jsonLine
	}
	lines := audit.Newest(ctx, a.door.audit, f, *last)
	if *follow {
		lines = audit.Follow(ctx, a.door.audit, f, *last)
	}
	for e, err := range lines {
		if err != nil {
			return err
		}
		if err := show(stdout, &e); err != nil {
			return err
		}
	}
	return nil
}

func jsonLine(w io.Writer, e *audit.Entry) error {
	return json.NewEncoder(w).Encode(masked(e))
}

// masked leaves out what is no reader's: wrapped keys and signatures. Runs of digits were
// masked when the line was written.
func masked(e *audit.Entry) *audit.Entry {
	out := *e
	if e.Segment != nil {
		s := *e.Segment
		s.Key = ""
		out.Segment = &s
	}
	return &out
}

// textLine writes one line for people. What an actor wrote can't move the cursor or forge a
// line: control characters are spelled.
func textLine(w io.Writer, e *audit.Entry) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s %s %s %s %s", e.Seq, e.Time.Format("2006-01-02T15:04:05.000Z"), e.Outcome, plain(e.Actor), plain(e.Action), plain(e.Resource))
	for _, f := range []struct{ name, value string }{{"from", e.Origin}, {"request", e.Request}, {"reason", e.Reason}} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, plain(f.value))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(e.Detail)) {
		fmt.Fprintf(&b, " %s=%s", plain(k), plain(e.Detail[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(e.Numbers)) {
		fmt.Fprintf(&b, " %s=%d", plain(k), e.Numbers[k])
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}

func plain(s string) string {
	isPlain := s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) || c == ' ' || c == '"' })
	if isPlain {
		return s
	}
	return fmt.Sprintf("%q", s)
}
