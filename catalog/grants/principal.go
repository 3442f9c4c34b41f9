package grants

import (
	"errors"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
)

// Kind is what a principal is: the persona that policies are written for.
type Kind string

const (
	DataScientist Kind = "data_scientist"
	ETLJob        Kind = "etl_job"
	TenantAnalyst Kind = "tenant_analyst"
	TenantService Kind = "tenant_service"
	Operator      Kind = "operator"
	Auditor       Kind = "auditor"
	Detokeniser   Kind = "detokeniser"
)

// Kinds lists every kind.
var Kinds = []Kind{DataScientist, ETLJob, TenantAnalyst, TenantService, Operator, Auditor, Detokeniser}

// Principal is a named person or service. Nobody shares one (PCI DSS 4.0.1 requirement 8.2).
type Principal struct {
	Kind Kind
	Name string
}

// ErrPrincipal marks a principal's name that does not follow the rule.
var ErrPrincipal = errors.New(`a principal is written KIND/NAME, with a name of 1 to 64 of a-z, 0-9, ".", "_", "@" and "-", and at most 6 digits in a row`)

// ParsePrincipal reads KIND/NAME, or returns ErrPrincipal.
func ParsePrincipal(s string) (Principal, error) {
	kind, name, _ := strings.Cut(s, "/")
	p := Principal{Kind(kind), name}
	return p, p.Validate()
}

// Validate returns ErrPrincipal if the kind is unknown or the name breaks the rule.
func (p Principal) Validate() error {
	if !slices.Contains(Kinds, p.Kind) || len(p.Name) == 0 || len(p.Name) > 64 {
		return ErrPrincipal
	}
	digits := 0
	for i := range len(p.Name) {
		switch c := p.Name[i]; {
		case c >= '0' && c <= '9':
			if digits++; digits > 6 {
				return ErrPrincipal
			}
		case c >= 'a' && c <= 'z', strings.IndexByte("._@-", c) >= 0:
			digits = 0
		default:
			return ErrPrincipal
		}
	}
	return nil
}

// String is KIND/NAME.
func (p Principal) String() string { return string(p.Kind) + "/" + p.Name }

// Caller is a principal as a door has it before it: who signed in, from where, and how.
type Caller struct {
	Principal Principal
	// Origin is the address or host that the request came from.
	Origin string
	// MFA says that more than one factor was shown when signing in.
	MFA bool
	// Reason is why the caller asks. Break-glass access requires one.
	Reason string
	// BreakGlass asks for what is permitted in an emergency only, and recorded as such.
	BreakGlass bool
	// Request joins the audit records of one request; empty lets the door draw one.
	Request string

	// Subject is what vouched for the caller when signing in, as package signin writes it; empty
	// where nobody signed in, as in a job.
	Subject string
	// Tenant narrows what is permitted to one tenant: rows of others, rows of no tenant and the
	// lake as a whole are not there. Empty narrows nothing. It never widens.
	Tenant cardlake.Tenant
	// Key is the id of the API key that was shown instead of signing in, else empty.
	Key string
}
