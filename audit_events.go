package cardlake

import "cmp"

// AuditEvent is one line of the audit log as a row of audit.events. Time is microseconds
// since the epoch. Empty texts are NULL where the column may be, and so is Rows below 0.
type AuditEvent struct {
	Log     string // id of the log: 16 letters a to p
	Seq     int64  // number of the line, from 1; with Log it identifies the row
	Time    int64
	Actor   string
	Action  string
	Outcome string // allowed, refused, failed

	Resource string
	Origin   string
	Reason   string
	Request  string

	PolicyVersion string
	Policies      string // those that decided, joined by commas
	Snapshot      string
	Rows          int64
	Columns       string // joined by commas
	Tenants       string // joined by commas
	Details       string // JSON object of all details and numbers

	Segment    int64
	Hash, Prev string // 64 letters a to p; Prev is empty in the first line
}

// AuditEvents is audit.events: the audit log where auditors query it. Every row was a line of
// a log that held together when it was copied; Hash and Prev let whoever has all rows follow
// the chain.
var AuditEvents = &Table{
	Namespace: "audit", Name: "events",
	Doc:  "Who did what, when, from where, to what, under which policy and with what outcome: the lines of the audit log, each exactly once.",
	Time: "time",
	Columns: []Column{
		{1, "log", String, false, Public, "id of the log that the line is of"},
		{2, "seq", Int64, false, Public, "number of the line in its log, from 1 without a gap"},
		{3, "time", TimestampTZ, false, Public, "instant of the line"},
		{4, "actor", String, false, Public, "principal that acted"},
		{5, "action", String, false, Public, "what was done, such as query, detokenise.collect or audit.open"},
		{6, "outcome", String, false, Public, "allowed, refused or failed"},
		{7, "resource", String, false, Public, "what it was done to, by name"},
		{8, "origin", String, true, Public, "address or host that it came from"},
		{9, "reason", String, true, Identifier, "purpose that the actor gave, or the rule that refused"},
		{10, "request", String, true, Public, "id that joins the lines of one request"},
		{11, "policy_version", String, true, Public, "version of the policies that decided"},
		{12, "policies", String, true, Public, "ids of the policies that decided"},
		{13, "snapshot", String, true, Public, "snapshots that were read"},
		{14, "rows", Int64, true, Public, "rows that were given"},
		{15, "columns", String, true, Public, "columns that were read"},
		{16, "tenants", String, true, Public, "tenants in the scope of the decision"},
		{17, "details", String, true, Identifier, "all details and numbers of the line, a JSON object"},
		{18, "segment", Int64, false, Public, "number of the log's segment"},
		{19, "hash", String, false, Public, "hash of the line"},
		{20, "prev", String, true, Public, "hash of the line before"},
	},
}

// AuditBatch collects rows of audit.events as [Batch] does those of cards.transactions.
// NewAuditBatch makes one.
type AuditBatch struct {
	rows

	log, actor, action, outcome, resource, origin, version, policies, named, tenants *words
	reason, request, snapshot, details, hash, prev                                   *texts
	seq, time, count, segment                                                        *fixed[int64]
}

// NewAuditBatch returns an empty batch.
func NewAuditBatch() *AuditBatch {
	seed := newSeed()
	b := &AuditBatch{
		log: newWords(seed), actor: newWords(seed), action: newWords(seed), outcome: newWords(seed), resource: newWords(seed),
		origin: newWords(seed), version: newWords(seed), policies: newWords(seed), named: newWords(seed), tenants: newWords(seed),
		reason: &texts{}, request: &texts{}, snapshot: &texts{}, details: &texts{}, hash: &texts{}, prev: &texts{},
		seq: &fixed[int64]{}, time: &fixed[int64]{}, count: &fixed[int64]{}, segment: &fixed[int64]{},
	}
	b.rows = newRows(AuditEvents, b.time, []column{
		b.log, b.seq, b.time, b.actor, b.action, b.outcome, b.resource, b.origin, b.reason, b.request,
		b.version, b.policies, b.snapshot, b.count, b.named, b.tenants, b.details, b.segment, b.hash, b.prev,
	})
	return b
}

// maxDetails bounds details: 32 texts and 32 numbers of a line, each byte of which JSON may
// spell with six.
const maxDetails = 512 << 10

// Append adds a row, copying what it keeps of e. Its errors are those of [Batch.Append].
func (b *AuditBatch) Append(e *AuditEvent) error {
	if b.text > maxText-maxDetails {
		return ErrFull
	}
	switch {
	case e.Seq <= 0:
		return fieldError("seq", isMissing)
	case e.Time <= 0:
		return fieldError("time", isMissing)
	case e.Segment <= 0:
		return fieldError("segment", isMissing)
	}
	fields := [...]struct {
		textColumn
		value string
		words *words
		texts *texts
	}{
		{textColumn{"log", 64, true}, e.Log, b.log, nil},
		{textColumn{"actor", 1024, true}, e.Actor, b.actor, nil},
		{textColumn{"action", 1024, true}, e.Action, b.action, nil},
		{textColumn{"outcome", 16, true}, e.Outcome, b.outcome, nil},
		{textColumn{"resource", 1024, true}, e.Resource, b.resource, nil},
		{textColumn{"origin", 1024, false}, e.Origin, b.origin, nil},
		{textColumn{"reason", 1024, false}, e.Reason, nil, b.reason},
		{textColumn{"request", 1024, false}, e.Request, nil, b.request},
		{textColumn{"policy_version", 1024, false}, e.PolicyVersion, b.version, nil},
		{textColumn{"policies", 1024, false}, e.Policies, b.policies, nil},
		{textColumn{"snapshot", 1024, false}, e.Snapshot, nil, b.snapshot},
		{textColumn{"columns", 1024, false}, e.Columns, b.named, nil},
		{textColumn{"tenants", 1024, false}, e.Tenants, b.tenants, nil},
		{textColumn{"details", maxDetails, false}, e.Details, nil, b.details},
		{textColumn{"hash", 64, true}, e.Hash, nil, b.hash},
		{textColumn{"prev", 64, false}, e.Prev, nil, b.prev},
	}
	var err error
	for i := range fields {
		err = cmp.Or(err, fields[i].check(fields[i].value))
	}
	if err != nil {
		return err
	}
	n := b.next(e.Time)
	text, flags := 0, uint64(0)
	for i := range fields {
		f := &fields[i]
		var valid flag
		if f.words != nil {
			text, valid = text+f.words.set(n, f.value), f.words.valid
		} else {
			f.texts.set(n, f.value)
			text, valid = text+len(f.value), f.texts.valid
		}
		if f.value != "" {
			flags |= valid.mask()
		}
	}
	b.seq.live[n], b.count.live[n], b.segment.live[n] = e.Seq, max(e.Rows, 0), e.Segment
	if e.Rows >= 0 {
		flags |= b.count.valid.mask()
	}
	b.end(n, flags, text)
	return nil
}
