package detokenize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
)

// Policy says who may do what. Whoever is not listed may do nothing.
type Policy struct {
	// Principals are named as their certificates name them: by the one URI among the subject
	// alternative names, else by the subject's common name. People who sign in with a token are
	// named by its issuer and subject: oidc:ISSUER#SUB.
	Principals map[string]Rights `json:"principals"`
}

// Rights are what one principal may do. Tenants are listed by name; "*" is all of them.
type Rights struct {
	// Person is whose principal it is; default the principal's own name. Two principals of
	// one person can't approve each other's requests.
	Person  string   `json:"person,omitempty"`
	Pin     []string `json:"pin,omitempty"`
	Request []string `json:"request,omitempty"`
	Approve []string `json:"approve,omitempty"`
	// TokensPerHour is how many tokens the principal's person may turn back in any hour, with
	// whichever principal; required with Request.
	TokensPerHour int `json:"tokens_per_hour,omitempty"`
}

// maxName is how many bytes a principal's or person's name may have.
const maxName = 256

// every is the tenant name that stands for all.
const every = "*"

func permits(list []string, tenant cardlake.Tenant) bool {
	return slices.Contains(list, every) || slices.Contains(list, string(tenant))
}

// ParsePolicy reads a policy and reports every fault of it.
func ParsePolicy(text []byte) (*Policy, error) {
	var p Policy
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy: there is text behind its end")
	}
	var errs []error
	if len(p.Principals) == 0 {
		errs = append(errs, errors.New("policy: it has no principals, so nobody could do anything"))
	}
	for name, r := range p.Principals {
		fault := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("policy: principal %q: %s", name, fmt.Sprintf(format, args...)))
		}
		if name == "" || len(name) > maxName || len(r.Person) > maxName {
			fault("a name has 1 to %d bytes", maxName)
		}
		if audit.Masks(name) {
			fault("its 12 or more digits in a row would not be in the audit log, which then does not say who it was")
		}
		for _, list := range [][]string{r.Pin, r.Request, r.Approve} {
			for _, tenant := range list {
				if tenant != every && cardlake.Tenant(tenant).Validate() != nil {
					fault("%q is no tenant's name", tenant)
				}
			}
		}
		if len(r.Request) > 0 && r.TokensPerHour < 1 || r.TokensPerHour < 0 {
			fault("tokens_per_hour must be at least 1 for who may request")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &p, nil
}

// PolicyFile is a policy in a file, which is read again when it has changed. A file that is
// faulty or gone changes nothing: the last good policy stays, and the log says why.
type PolicyFile struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	changed time.Time
	size    int64
	policy  *Policy
}

// ErrPolicyMode says that others than its owner may write the policy.
var ErrPolicyMode = errors.New("others than its owner may write it: chmod 644 or 600 it")

// OpenPolicy reads the policy at path.
func OpenPolicy(path string, log *slog.Logger) (*PolicyFile, error) {
	f := &PolicyFile{path: path, log: log}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	return f, nil
}

func (f *PolicyFile) read() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(f.changed) && info.Size() == f.size {
		return nil
	}
	// What is repaired without a change of the file's time or size is looked at again each time.
	if info.Mode().Perm()&0o022 != 0 {
		return ErrPolicyMode
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	f.changed, f.size = info.ModTime(), info.Size() // a faulty text is complained about once
	p, err := ParsePolicy(text)
	if err != nil {
		return err
	}
	f.policy = p
	return nil
}

// Policy implements Policies.
func (f *PolicyFile) Policy() *Policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.read(); err != nil {
		f.log.Error("the last good policy stays", "policy", f.path, "error", err)
	}
	return f.policy
}
