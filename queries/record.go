package queries

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Recorder puts a record on disk. A log of catalog/audit is one.
type Recorder interface {
	Append(ctx context.Context, r audit.Record) error
}

// The action of a record is what is done, and of those that follow it that and one of these. All
// of one question have the same Request.
const (
	going = ".going" // rows are being delivered still
	done  = ".done"  // how it ended
)

// verb is what the record calls an action.
func verb(a grants.Action) string {
	if a == grants.ReadChanges {
		return "changes"
	}
	return string(a)
}

const (
	// maxText is the longest text that a record may have, in bytes: that of package audit.
	maxText = 1024
	// recordTimeout bounds how long rows wait for the record to go on.
	recordTimeout = 10 * time.Second
)

// record writes a record. Without it nothing may happen.
func (g *Gateway) record(ctx context.Context, r audit.Record) error {
	if err := g.recorder.Append(ctx, r); err != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}
	return nil
}

// recordLate writes a record of what has happened, which the end of ctx does not undo.
func (g *Gateway) recordLate(ctx context.Context, r audit.Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return g.record(ctx, r)
}

// line is what the records of one question have in common.
type line struct {
	action grants.Action
	base   audit.Record
	// end, if not nil, are details of how it ended.
	end map[string]string
}

// newLine begins the record of a statement. Its text is kept up to the bound of a record, with
// the SHA-256 of the whole in letters, which no mask of digits can damage; but not of a text
// that has a run of digits which the log masks, because whoever has the rest of it could find
// the digits by trying.
func newLine(c grants.Caller, a grants.Action, sql string) *line {
	l := &line{action: a, base: audit.Record{
		Action: verb(a),
		Actor:  c.Principal.String(), Origin: cut(c.Origin), Reason: cut(c.Reason), Request: cut(c.Request),
		Resource: "statement", Detail: map[string]string{"statement": cut(sql)}, Numbers: map[string]int64{"statement_bytes": int64(len(sql))},
	}}
	if c.Request == "" {
		var id [8]byte
		rand.Read(id[:])
		l.base.Request = letters(id[:])
	}
	if !audit.Masks(sql) {
		sum := sha256.Sum256([]byte(sql))
		l.base.Detail["statement_sha256"] = letters(sum[:])
	}
	if c.MFA {
		l.base.Detail["mfa"] = "true"
	}
	if c.Key != "" {
		l.base.Detail["api_key"] = c.Key
	}
	if c.BreakGlass {
		l.base.Detail["break_glass"] = "true"
	}
	return l
}

// about adds what the statement reads: tables, columns, and of what is permitted of them.
func (l *line) about(s Statement) {
	if len(s.Reads) == 0 {
		return
	}
	var tables, columns []string
	for _, r := range s.Reads {
		tables = append(tables, r.Table.FullName())
		if r.Decision == nil {
			continue
		}
		l.decided(r.Decision)
		for i, a := range r.Decision.Access() {
			name := r.Table.Columns[i].Name
			if a == grants.Dropped || r.Uses != nil && !r.Uses[i] {
				continue
			}
			if a == grants.Masked {
				name += " (masked)"
			}
			if !slices.Contains(columns, name) {
				columns = append(columns, name)
			}
		}
	}
	l.base.Resource = cut(strings.Join(tables, ","))
	l.detail("columns", strings.Join(columns, ","))
}

// decided adds what decided, and for whom.
func (l *line) decided(d *grants.Decision) {
	l.detail("policy_version", d.Version)
	l.detail("policies", union(l.base.Detail["policies"], d.Policies))
	var tenants []string
	for _, s := range d.Scopes {
		for _, t := range s.Tenants {
			tenants = append(tenants, string(t))
		}
		if s.Others {
			tenants = append(tenants, "*")
		}
	}
	l.detail("tenants", union(l.base.Detail["tenants"], tenants))
	if len(d.Except) > 0 {
		var except []string
		for _, t := range d.Except {
			except = append(except, string(t))
		}
		l.detail("except", union(l.base.Detail["except"], except))
	}
	if !d.Allowed() {
		l.detail("refused", d.Reason)
	}
}

// detail sets a detail that is not empty.
func (l *line) detail(name, value string) {
	if value != "" {
		l.base.Detail[name] = cut(value)
	}
}

// union adds words to a list of words.
func union(list string, words []string) string {
	var have []string
	if list != "" {
		have = strings.Split(list, ",")
	}
	for _, w := range words {
		if !slices.Contains(have, w) {
			have = append(have, w)
		}
	}
	return strings.Join(have, ",")
}

// asked is the record before the statement runs.
func (l *line) asked() audit.Record {
	r := l.base
	r.Outcome = audit.Allowed
	return r
}

// refused is the record of a statement that is not run because of err, which is a fault of the
// statement or of the grant, or of ours.
func (l *line) refused(err error) audit.Record {
	r := l.base
	r.Outcome = audit.Refused
	var fault *Error
	switch {
	case errors.As(err, &fault):
		l.detail("refused", fault.Message)
	case !errors.Is(err, ErrNotPermitted):
		r.Outcome = audit.Failed
		l.detail("failed", err.Error())
	}
	return r
}

// short is a record that continues another: only what joins them is in it.
func (l *line) short(suffix string, outcome audit.Outcome, rows int64) audit.Record {
	return audit.Record{
		Actor: l.base.Actor, Action: l.base.Action + suffix, Resource: l.base.Resource, Outcome: outcome, Origin: l.base.Origin,
		Request: l.base.Request, Numbers: map[string]int64{"rows": rows},
	}
}

// going is the record that rows are being delivered.
func (l *line) going(rows int64) audit.Record { return l.short(going, audit.Allowed, rows) }

// failed is the record of a statement that ended before its end.
func (l *line) failed(err error, rows int64) audit.Record {
	r := l.short(done, audit.Failed, rows)
	r.Reason, r.Detail = cut(err.Error()), l.end
	return r
}

// done is the record of an answer that was delivered, as far as it was wanted.
func (l *line) done(a *Result) audit.Record {
	r := l.short(done, audit.Allowed, a.n)
	var snapshots []string
	for _, s := range a.snapshots {
		r.Numbers["files"] += s.Files
		r.Numbers["bytes"] += s.Bytes
		r.Numbers["tail_rows"] += s.TailRows
		snapshots = append(snapshots, s.Table.FullName()+"@"+snapshotLetters(s.ID))
	}
	r.Detail = map[string]string{}
	if len(snapshots) > 0 {
		r.Detail["snapshot"] = cut(strings.Join(snapshots, ","))
	}
	if s, ok := a.Stats(); ok {
		r.Numbers["scanned_bytes"], r.Numbers["nano_usd"] = s.ScannedBytes, s.NanoUSD
		r.Detail["engine"], r.Detail["executions"] = s.Engine, cut(strings.Join(s.Executions, ","))
	}
	return r
}

// letters spells what is no text so that no mask of digits damages it.
func letters(b []byte) string { return string(cardlake.AppendLetters(nil, b)) }

// cut shortens a text to what a record may have, valid UTF-8.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxText {
		return s
	}
	end := maxText - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
