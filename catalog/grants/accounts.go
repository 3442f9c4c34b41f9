package grants

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	cedar "github.com/cedar-policy/cedar-go"
)

// Account is what a set knows of a principal.
type Account struct {
	Principal Principal
	// Owner is the e-mail address of who answers for it: of the person itself, or of whoever
	// runs the service.
	Owner string
	// IsService says that it is a program, not a person.
	IsService bool
	// Subjects are the sign-in subjects that are this principal: "oidc:ISSUER#SUB",
	// "spiffe://…" or "x509:…".
	Subjects []string
	Teams    []string
	// Tenant is whose it is, for kinds that are of a tenant.
	Tenant cardlake.Tenant
	// ValidFrom is the first instant, ValidUntil the first no more, at which it may do
	// anything; zero for no such bound.
	ValidFrom, ValidUntil time.Time
	// Reviewed is the day on which its access was last looked at; zero if never.
	Reviewed time.Time
	Limits   Limits

	attributes cedar.RecordMap // of its own schema
	line       int             // in principals.json
}

// principalRecord is an account as principals.json has it.
type principalRecord struct {
	Principal  string       `json:"principal"`
	Owner      string       `json:"owner"`
	Service    bool         `json:"service"`
	Subjects   []string     `json:"subjects"`
	Teams      []string     `json:"teams"`
	Tenant     string       `json:"tenant"`
	ValidFrom  *time.Time   `json:"valid_from"`
	ValidUntil *time.Time   `json:"valid_until"`
	Reviewed   string       `json:"reviewed"`
	Limits     *limits      `json:"limits"`
	Attributes cedar.Record `json:"attributes"`
}

// limits is Limits in principals.json.
type limits struct {
	MaxRows  int64  `json:"max_rows,omitempty"`
	MaxBytes int64  `json:"max_bytes,omitempty"`
	Timeout  string `json:"timeout,omitempty"` // time.ParseDuration's form
	Memory   int64  `json:"memory,omitempty"`  // bytes
}

// accounts is principals.json.
type accounts struct {
	development bool
	teams       []string
	personas    map[Kind]Limits
	list        []*Account
}

// ownAttributes are those of Lake::Principal that the program sets.
var ownAttributes = []cedar.String{"persona", "service", "tenant", "valid_from", "valid_until", "limits"}

var (
	teamName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	jsonName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// manyDigits finds what could be taken for a card number.
var manyDigits = regexp.MustCompile(`[0-9]{7}`)

// readAccounts reads principals.json and adds its faults.
func readAccounts(text []byte, tenants map[cardlake.Tenant]bool, faults *Faults) *accounts {
	a := &accounts{personas: map[Kind]Limits{}}
	fault := func(offset int64, err error) {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			offset = syntax.Offset
		}
		faults.add(principalsFile, lineAt(text, offset), "%v", err)
	}
	if offset, err := checkNames(text); err != nil {
		fault(offset, err)
		return a
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := expect(dec, '{'); err != nil {
		fault(dec.InputOffset(), err)
		return a
	}
	for dec.More() {
		key, err := dec.Token()
		at := dec.InputOffset()
		switch {
		case err != nil:
		case key == "development":
			err = dec.Decode(&a.development)
		case key == "teams":
			if err = dec.Decode(&a.teams); err == nil {
				err = checkTeams(a.teams)
			}
		case key == "personas":
			err = a.readPersonas(dec)
		case key == "principals":
			if err = expect(dec, '['); err == nil {
				for dec.More() && err == nil {
					at = nextValue(text, dec.InputOffset())
					var raw json.RawMessage
					if err = dec.Decode(&raw); err == nil {
						a.read(raw, lineAt(text, at), tenants, faults)
					}
				}
				if err == nil {
					err = expect(dec, ']')
				}
			}
		default:
			err = fmt.Errorf("there is no %q in %s", key, principalsFile)
		}
		if err != nil {
			fault(at, err)
			return a
		}
	}
	a.check(faults)
	return a
}

func checkTeams(teams []string) error {
	for i, name := range teams {
		if !teamName.MatchString(name) {
			return errors.New("a team's name is 1 to 40 of a-z, 0-9, _ and -, and begins with a letter")
		}
		if slices.Contains(teams[:i], name) {
			return fmt.Errorf("team %s is declared twice", name)
		}
	}
	return nil
}

func (a *accounts) readPersonas(dec *json.Decoder) error {
	var personas map[Kind]json.RawMessage
	if err := dec.Decode(&personas); err != nil {
		return err
	}
	for kind, raw := range personas {
		if !slices.Contains(Kinds, kind) {
			return fmt.Errorf("there is no persona %q: there are %s", kind, join(Kinds))
		}
		var record struct {
			Limits limits `json:"limits"`
		}
		if err := strictly(raw, &record); err != nil {
			return fmt.Errorf("persona %s: %w", kind, err)
		}
		l, err := record.Limits.parse()
		if err != nil {
			return fmt.Errorf("persona %s: %w", kind, err)
		}
		a.personas[kind] = l
	}
	return nil
}

// read reads one principal and adds its faults.
func (a *accounts) read(raw []byte, line int, tenants map[cardlake.Tenant]bool, faults *Faults) {
	fault := func(format string, args ...any) { faults.add(principalsFile, line, format, args...) }
	var r principalRecord
	if err := strictly(raw, &r); err != nil {
		fault("%v", err)
		return
	}
	p, err := ParsePrincipal(r.Principal)
	if err != nil {
		fault("principal: %v", err)
		return
	}
	account := &Account{Principal: p, Owner: r.Owner, IsService: r.Service, Subjects: r.Subjects, Teams: r.Teams,
		Tenant: cardlake.Tenant(r.Tenant), line: line}
	if r.ValidFrom != nil {
		account.ValidFrom = r.ValidFrom.UTC()
	}
	if r.ValidUntil != nil {
		account.ValidUntil = r.ValidUntil.UTC()
	}
	for _, bound := range []time.Time{account.ValidFrom, account.ValidUntil} {
		if bound.Nanosecond()%int(time.Millisecond) != 0 {
			fault("%s: valid_from and valid_until are in whole milliseconds", p)
		}
	}
	if !account.ValidFrom.IsZero() && !account.ValidUntil.IsZero() && !account.ValidFrom.Before(account.ValidUntil) {
		fault("%s: valid_until is not after valid_from, so it would never be valid", p)
	}
	if r.Reviewed != "" {
		if account.Reviewed, err = time.Parse(time.DateOnly, r.Reviewed); err != nil {
			fault("%s: reviewed is a day, YYYY-MM-DD", p)
		}
	}
	if name, host, _ := strings.Cut(r.Owner, "@"); name == "" || host == "" || len(r.Owner) > 254 || strings.ContainsAny(r.Owner, " \t\n<>,") || manyDigits.MatchString(r.Owner) {
		fault("%s: owner is the e-mail address of who answers for it", p)
	}
	for _, s := range r.Subjects {
		if !isSubject(s) {
			fault("%s: a subject is oidc:ISSUER#SUB, spiffe://… or x509:…, of at most 512 characters", p)
		}
	}
	switch ofTenant := p.Kind == TenantAnalyst || p.Kind == TenantService; {
	case ofTenant && r.Tenant == "":
		fault("%s: needs a tenant: say whose it is", p)
	case !ofTenant && r.Tenant != "":
		fault("%s: is not of a tenant: limit its rows by a policy", p)
	case ofTenant && !tenants[account.Tenant]:
		fault("%s: there is no tenant %q in the register", p, r.Tenant)
	}
	switch isProgram := p.Kind == ETLJob || p.Kind == TenantService; {
	case isProgram && !r.Service:
		fault("%s: is a program: say \"service\": true", p)
	case r.Service && !isProgram && p.Kind != Operator:
		fault("%s: is a person, never a service", p)
	}
	if r.Limits != nil {
		if account.Limits, err = r.Limits.parse(); err != nil {
			fault("%s: %v", p, err)
		}
	}
	account.attributes = r.Attributes.Map()
	for _, name := range ownAttributes {
		if _, ok := account.attributes[name]; ok {
			fault("%s: attribute %s is not set by \"attributes\"", p, name)
		}
	}
	a.list = append(a.list, account)
}

// check adds the faults of the accounts together: one name, one principal; one subject, one
// principal; teams that are declared.
func (a *accounts) check(faults *Faults) {
	names, subjects := map[Principal]int{}, map[string]int{}
	for _, x := range a.list {
		if line, ok := names[x.Principal]; ok {
			faults.add(principalsFile, x.line, "%s: is in line %d already", x.Principal, line)
		}
		names[x.Principal] = x.line
		for i, team := range x.Teams {
			if !slices.Contains(a.teams, team) || slices.Contains(x.Teams[:i], team) {
				faults.add(principalsFile, x.line, "%s: team %q is given twice, or is not declared in \"teams\"", x.Principal, team)
			}
		}
		for _, s := range x.Subjects {
			if line, ok := subjects[s]; ok {
				faults.add(principalsFile, x.line, "%s: has a subject of line %d: nobody shares one", x.Principal, line)
			}
			subjects[s] = x.line
		}
	}
}

func isSubject(s string) bool {
	isName := strings.HasPrefix(s, "x509:") // a certificate's subject may hold spaces
	if len(s) > 512 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ' ' && !isName }) {
		return false
	}
	if issuer, ok := strings.CutPrefix(s, "oidc:"); ok {
		at := strings.LastIndexByte(issuer, '#')
		return at > 0 && at < len(issuer)-1
	}
	for _, prefix := range []string{"spiffe://", "x509:"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			return rest != ""
		}
	}
	return false
}

func (l limits) parse() (Limits, error) {
	out := Limits{MaxRows: l.MaxRows, MaxBytes: l.MaxBytes, Memory: l.Memory}
	if l.Timeout != "" {
		var err error
		if out.Timeout, err = time.ParseDuration(l.Timeout); err != nil || out.Timeout < time.Millisecond {
			return out, errors.New(`limits: timeout is a positive duration such as "5m"`)
		}
	}
	if l.MaxRows < 0 || l.MaxBytes < 0 || l.Memory < 0 {
		return out, errors.New("limits: are not negative; leave out what is not limited")
	}
	return out, nil
}

// or returns l, with what it does not limit as in other.
func (l Limits) or(other Limits) Limits {
	if l.MaxRows == 0 {
		l.MaxRows = other.MaxRows
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = other.MaxBytes
	}
	if l.Timeout == 0 {
		l.Timeout = other.Timeout
	}
	if l.Memory == 0 {
		l.Memory = other.Memory
	}
	return l
}

// strictly decodes one JSON value and refuses fields that are not known.
func strictly(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func expect(dec *json.Decoder, want json.Delim) error {
	token, err := dec.Token()
	if err == nil && token != want {
		err = fmt.Errorf("want %q here", want.String())
	}
	return err
}

// checkNames refuses, with its offset, a name that an object has twice, whatever its case,
// of which encoding/json would take one in silence; and text after the value.
func checkNames(text []byte) (int64, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var open []map[string]bool // of each object that is open, nil for an array
	isName, complete := false, false
	for {
		token, err := dec.Token()
		if err == io.EOF && complete {
			return 0, nil
		}
		if err == nil && complete {
			err = errors.New("there is more behind the end")
		}
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return dec.InputOffset(), err
		}
		top := len(open) - 1
		if name, ok := token.(string); ok && isName {
			folded := strings.ToLower(name)
			if !jsonName.MatchString(name) || open[top][folded] {
				return dec.InputOffset(), fmt.Errorf("name %q is given twice, or is not of letters, digits and _", name)
			}
			open[top][folded] = true
			isName = false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
		}
		if len(open) > 20 {
			return dec.InputOffset(), errors.New("is nested too deeply")
		}
		complete = len(open) == 0
		isName = !complete && open[len(open)-1] != nil
	}
}

// nextValue is the offset of the first character from offset on that is neither space nor a
// separator.
func nextValue(text []byte, offset int64) int64 {
	for int(offset) < len(text) && strings.IndexByte(" \t\r\n,:", text[offset]) >= 0 {
		offset++
	}
	return offset
}

// lineAt is the line, from 1, that the offset is in.
func lineAt(text []byte, offset int64) int {
	return 1 + bytes.Count(text[:min(max(offset, 0), int64(len(text)))], []byte("\n"))
}

func join[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, x := range list {
		texts[i] = string(x)
	}
	return strings.Join(texts, ", ")
}
