package queries

import (
	"context"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
)

// page is the end of the action under which rows of an answer that was kept are delivered.
const page = ".page"

// Again returns rows of this answer that were kept since it was read, such as a page of it, as
// a Result of their own: for whoever asked, after the grants were asked again, and on record
// with what they are ("page 2") and the request that asked. The caller closes it. It works
// while this answer is read and after it was closed, from any goroutine.
//
// ErrNotPermitted says that somebody else asks, or that less is granted by now than when the
// rows were read, ErrUnrecorded that nothing can be put on record.
func (r *Result) Again(ctx context.Context, c grants.Caller, what string, rows Rows) (*Result, error) {
	g, was := r.gateway, r.line.base
	again := &line{action: r.line.action, base: was}
	again.base.Action = was.Action + page
	again.base.Request, again.base.Origin, again.base.Reason = cut(c.Request), cut(c.Origin), cut(c.Reason)
	again.base.Actor, again.base.Numbers = c.Principal.String(), nil
	again.base.Detail = map[string]string{"of": was.Request, "part": cut(what)}
	if c.BreakGlass {
		again.base.Detail["break_glass"] = "true"
	}
	isPermitted := c.Principal == r.caller.Principal && (len(r.reads) > 0 || len(g.permitted(c)) > 0)
	for _, read := range r.reads {
		if now := g.decide(c, r.line.action, read.Table); !covers(now, read.Decision) {
			again.detail("policy_version", now.Version)
			again.detail("refused", now.Reason)
			isPermitted = false
		}
	}
	if !isPermitted {
		return nil, g.refuse(ctx, again, ErrNotPermitted)
	}
	if err := g.record(ctx, again.asked()); err != nil {
		return nil, err
	}
	out := &Result{gateway: g, caller: c, reads: r.reads, line: again, rows: rows, looked: time.Now()}
	for _, s := range r.snapshots {
		s.Files, s.Bytes, s.TailRows = 0, 0, 0 // they were read once
		out.snapshots = append(out.snapshots, s)
	}
	return out, nil
}
