package lakeformation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/lakeformation/types"
)

// step is when a change is made. Those up to stepNarrow take something away from the readers or
// nothing at all; when they are done, nobody sees a cell that only the state before gave, but
// through what is replaced next; from stepWiden on nobody does.
type step int

const (
	stepClose         step = iota // Lake Formation begins to decide: defaults, IAMAllowedPrincipals
	stepForeign                   // what others granted ends
	stepBoundary                  // the permissions boundary is made
	stepBind                      // roles get it
	stepDetach                    // policies leave roles
	stepRevoke                    // grants of Lake Formation end
	stepNarrow                    // filters become narrower
	stepUngrantKey                // grants of KMS end
	stepDrop                      // filters end
	stepDropPolicy                // policies end
	stepReplace                   // filters become other ones
	stepReplacePolicy             // policies become other ones: what Lake Formation grants is new already
	stepRegister                  // Lake Formation learns where objects lie
	stepGrantKey                  // grants of KMS begin
	stepMake                      // filters begin
	stepWiden                     // filters become wider
	stepGrant                     // grants of Lake Formation begin
	stepMakePolicy                // policies begin
	stepAttach                    // policies come to roles
)

// item is one thing in AWS that somebody sees more or less by.
type item struct {
	id         string      // kind and name
	text       string      // everything that it gives: items of equal text are equal
	why        []string    // the policies that decided
	filter     *filter     // of a filter
	permission *permission // of a grant of Lake Formation

	make   func(context.Context) error
	change func(ctx context.Context, old *item) error // nil: it ends and is made again
	end    func(context.Context) error

	makeAt, endAt step
	// changeAt returns when it becomes another one.
	changeAt func(old *item) step

	version string // of a filter or policy that is there
}

// state is everything there is, or is to be.
type state struct {
	items   map[string]*item
	foreign []Foreign
}

func newState() *state { return &state{items: map[string]*item{}} }

// add adds an item. What is there twice, such as two KMS grants of one name, is two items.
func (s *state) add(i *item) {
	id := i.id
	for n := 2; s.items[i.id] != nil; n++ {
		i.id = fmt.Sprintf("%s #%d", id, n)
	}
	s.items[i.id] = i
}

// basis is a digest of the state.
func (s *state) basis() string {
	var texts []string
	for _, id := range slices.Sorted(maps.Keys(s.items)) {
		texts = append(texts, id, s.items[id].text)
	}
	for _, f := range s.foreign {
		texts = append(texts, f.ID, f.Text)
	}
	return digest(texts...)
}

// always is for items that change at a step of their own.
func always(s step) func(*item) step { return func(*item) step { return s } }

// filterText is everything that a filter gives.
func filterText(columns []string, r rows) string {
	text := "columns " + strings.Join(columns, ", ")
	if expression := r.expression(); expression != "" {
		return text + " where " + expression
	}
	return text + " of all rows"
}

// permission is a grant of Lake Formation.
type permission struct {
	principal string
	resource  *types.Resource
	name      string // of the resource
	allowed   []types.Permission
	grantable []types.Permission
	condition *types.Condition
}

func (p permission) id() string { return "grant " + p.principal + " on " + p.name }

func (p permission) text() string {
	text := strings.Join(permissions(p.allowed), ", ")
	if len(p.grantable) > 0 {
		text += " with grant option on " + strings.Join(permissions(p.grantable), ", ")
	}
	if p.condition != nil {
		text += " under a condition"
	}
	return text
}

func permissions(list []types.Permission) []string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = string(p)
	}
	return distinct(out)
}

// keyGrant is a grant of KMS.
type keyGrant struct {
	key, id, name, grantee, retiring string
	operations                       []string
	subset, equal                    map[string]string
}

func (g keyGrant) text() string {
	text := fmt.Sprintf("%s to %s, to be retired by %s", strings.Join(g.operations, ", "), g.grantee, g.retiring)
	if len(g.subset) > 0 {
		text += " with " + pairs(g.subset)
	}
	if len(g.equal) > 0 {
		text += " with exactly " + pairs(g.equal)
	}
	return text
}

func pairs(context map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(context)) {
		out = append(out, name+"="+context[name])
	}
	return strings.Join(out, " ")
}
