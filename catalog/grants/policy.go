package grants

import (
	"regexp"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Policy is one policy of a set, as it lies in its file.
type Policy struct {
	ID          string // of @id, or FILE:LINE, with :COLUMN if it is not the first there
	File        string
	Line        int
	IsPermit    bool
	Description string            // of @description
	Annotations map[string]string // all of them
	// IsBreakGlass says that it permits in emergencies only.
	IsBreakGlass bool
	// Text is the policy as it is written.
	Text string

	compiled *cedar.Policy
	bounds   []timeBound
	tenants  []types.EntityUID // that it names
}

// Place is FILE:LINE.
func (p *Policy) Place() string { return p.File + ":" + strconv.Itoa(p.Line) }

func (p *Policy) ast() *ast.Policy { return (*ast.Policy)(p.compiled.AST()) }

// maxNesting bounds how deep brackets are nested, for the parser recurses.
const maxNesting = 50

var (
	policyID   = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]{0,63}$`)
	parsePlace = regexp.MustCompile(`^parser error: parse error at [^"]*?:?(\d+):(\d+) `)
)

// readPolicies parses one file and adds its faults.
func readPolicies(f file, faults *Faults) []*Policy {
	if line := nested(f.text); line > 0 {
		faults.add(f.name, line, "brackets are nested more than %d deep", maxNesting)
		return nil
	}
	list, err := cedar.NewPolicyListFromBytes(f.name, f.text)
	if err != nil {
		text, line := err.Error(), 0
		if at := parsePlace.FindStringSubmatch(text); at != nil {
			line, _ = strconv.Atoi(at[1])
			text = "column " + at[2] + ": " + text[len(at[0]):]
		}
		faults.add(f.name, line, "is not Cedar: %s", text)
		return nil
	}
	out := make([]*Policy, len(list))
	for i, c := range list {
		end := len(f.text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		p := &Policy{File: f.name, Line: c.Position().Line, IsPermit: c.Effect() == cedar.Permit, compiled: c,
			Annotations: map[string]string{}, Text: statement(string(f.text[c.Position().Offset:end]))}
		for k, v := range c.Annotations() {
			p.Annotations[string(k)] = string(v)
		}
		p.Description = p.Annotations["description"]
		if p.ID = p.Place(); i > 0 && list[i-1].Position().Line == p.Line {
			p.ID += ":" + strconv.Itoa(c.Position().Column)
		}
		if id, ok := p.Annotations["id"]; ok {
			if p.ID = id; !policyID.MatchString(id) || manyDigits.MatchString(id) {
				faults.add(f.name, p.Line, "@id is 1 to 64 of letters, digits, _, . and -, begins with a letter and has at most 6 digits in a row")
			}
		}
		out[i] = p
	}
	return out
}

// statement cuts what follows the statement's last semicolon: comments of the next one.
func statement(text string) string {
	if end := strings.LastIndexByte(text, ';'); end >= 0 {
		for {
			// A semicolon in a trailing comment is not the statement's.
			line := strings.LastIndexByte(text[:end], '\n') + 1
			comment := strings.Index(text[line:end], "//")
			before := strings.LastIndexByte(text[:end], ';')
			if comment < 0 || before < 0 {
				break
			}
			end = before
		}
		text = text[:end+1]
	}
	return strings.TrimSpace(text)
}

// nested returns the line in which brackets outside of strings and comments are nested too
// deeply, 0 if none is.
func nested(text []byte) int {
	depth, line := 0, 1
	inString, inComment := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			line++
			inComment = false
		case inComment:
		case inString:
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
			}
		case c == '"':
			inString = true
		case c == '/' && i+1 < len(text) && text[i+1] == '/':
			inComment = true
		case strings.IndexByte("([{", c) >= 0:
			if depth++; depth > maxNesting {
				return line
			}
		case strings.IndexByte(")]}", c) >= 0:
			depth = max(depth-1, 0)
		}
	}
	return 0
}

// appliesTo reports whether the policy's scope holds for the principal, whose parents are
// given, and the action. It is coarser than Cedar, never finer: what it leaves out, Cedar
// would not apply.
func (p *Policy) appliesTo(principal cedar.Entity, action cedar.Entity) bool {
	in := func(e cedar.Entity, of types.EntityUID) bool { return e.UID == of || e.Parents.Contains(of) }
	switch s := p.ast().Principal.(type) {
	case ast.ScopeTypeEq:
		if s.Entity != principal.UID {
			return false
		}
	case ast.ScopeTypeIn:
		if !in(principal, s.Entity) {
			return false
		}
	case ast.ScopeTypeIsIn:
		if !in(principal, s.Entity) {
			return false
		}
	}
	switch s := p.ast().Action.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == action.UID
	case ast.ScopeTypeIn:
		return in(action, s.Entity)
	case ast.ScopeTypeInSet:
		for _, of := range s.Entities {
			if in(action, of) {
				return true
			}
		}
		return false
	}
	return true
}
