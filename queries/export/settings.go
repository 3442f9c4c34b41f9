package export

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Recipient is a public key to which a tenant's files may be encrypted.
type Recipient struct {
	Name string `json:"name"`
	// Key is an X25519 recipient of age: age1…
	Key     string    `json:"key"`
	AddedBy string    `json:"added_by"`
	AddedAt time.Time `json:"added_at"`
}

// Settings are what holds for all exports of a tenant. Who may change the tenant's grants
// changes them.
type Settings struct {
	Recipients []Recipient `json:"recipients,omitempty"`
	// MustEncrypt refuses exports without encryption: TLS alone is not enough for the tenant.
	MustEncrypt bool `json:"must_encrypt,omitempty"`
	// Webhook is told of exports that ended; Secret is its secret, sealed under the tenant's key.
	Webhook string `json:"webhook,omitempty"`
	Secret  string `json:"webhook_secret,omitempty"`
}

// maxRecipients bounds the recipients of a tenant.
const maxRecipients = 20

// Validate reports every fault.
func (s *Settings) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(len(s.Recipients) > maxRecipients, "a tenant has at most %d recipients", maxRecipients)
	names := map[string]bool{}
	for _, r := range s.Recipients {
		fault(r.Name == "" || len(r.Name) > 64 || strings.Trim(r.Name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "", "a recipient's name is 1 to 64 of a-z, 0-9, dot, hyphen and underscore")
		fault(names[r.Name], "recipient %q is there twice", r.Name)
		names[r.Name] = true
		_, err := age.ParseX25519Recipient(r.Key)
		fault(err != nil, "recipient %q: the key is no public key of age: it begins with age1, as age-keygen -y prints it", r.Name)
	}
	if len(errs) == 0 {
		return nil
	}
	return &Fault{Invalid, errors.Join(errs...).Error()}
}

// admits reports whether a request follows the settings.
func (s *Settings) admits(r *Request) error {
	switch {
	case s.MustEncrypt && r.encryption() == "":
		return faultf(Invalid, "exports of this tenant are encrypted: ask for encryption age or kms")
	case r.encryption() == EncryptAge && len(s.Recipients) == 0:
		return faultf(Invalid, "the tenant has no public key registered: who may change its grants adds one with \"cardlake export settings\"")
	}
	return nil
}

// Settings returns those of a tenant.
func (s *Service) Settings(ctx context.Context, tenant cardlake.Tenant) (Settings, error) {
	set, _, err := document[Settings](ctx, s.store.db, "SELECT doc FROM tenants WHERE tenant = ?", tenant)
	return set, err
}

// Change changes the settings of a tenant: for who may change its grants (grants.Grant), and on
// record.
func (s *Service) Change(ctx context.Context, c grants.Caller, tenant cardlake.Tenant, change func(*Settings) error) error {
	resource := "export settings of " + string(tenant)
	if s.deps.Rulings == nil || !s.deps.Rulings.Permitted(c, grants.Grant).For(tenant) {
		return s.refuse(ctx, c, actionSettings, resource, faultf(Refused, "only who may change the tenant's grants may change how its files are encrypted"))
	}
	if _, err := s.tenant(tenant); err != nil {
		return s.refuse(ctx, c, actionSettings, resource, err)
	}
	return s.store.change(ctx, func(tx *sql.Tx) error {
		set, _, err := document[Settings](ctx, tx, "SELECT doc FROM tenants WHERE tenant = ?", tenant)
		if err != nil {
			return err
		}
		before := slices.Clone(set.Recipients)
		if err := change(&set); err != nil {
			return err
		}
		for i := range set.Recipients {
			if r := &set.Recipients[i]; r.AddedBy == "" {
				r.AddedBy, r.AddedAt = c.Principal.String(), s.now()
			}
		}
		if err := set.Validate(); err != nil {
			return err
		}
		doc, err := json.Marshal(set)
		if err != nil {
			return err
		}
		detail := map[string]string{"recipients": names(set.Recipients), "before": names(before), "must_encrypt": fmt.Sprint(set.MustEncrypt), "webhook": hostOf(set.Webhook)}
		if err := s.record(ctx, c, audit.Record{Action: actionSettings, Resource: resource, Outcome: audit.Allowed, Detail: detail}); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO tenants VALUES (?1, ?2) ON CONFLICT (tenant) DO UPDATE SET doc = ?2", tenant, doc)
		return err
	})
}

// hostOf is what is recorded of a webhook's URL: its path may hold a token.
func hostOf(webhook string) string {
	u, err := url.Parse(webhook)
	if err != nil {
		return ""
	}
	return cut(u.Host)
}

func names(all []Recipient) string {
	var out []string
	for _, r := range all {
		out = append(out, r.Name)
	}
	return cut(strings.Join(out, ","))
}

// recipients are whom the job's files are encrypted for; the tenant's settings decide when it
// runs.
func (s *Service) recipients(ctx context.Context, j *Job) ([]age.Recipient, error) {
	set, err := s.Settings(ctx, j.Tenant)
	if err != nil {
		return nil, err
	}
	if err := set.admits(&j.Request); err != nil {
		return nil, err
	}
	switch j.Request.encryption() {
	case EncryptAge:
		var out []age.Recipient
		for _, r := range set.Recipients {
			one, err := age.ParseX25519Recipient(r.Key)
			if err != nil {
				return nil, fmt.Errorf("recipient %q is no public key", r.Name)
			}
			out = append(out, one)
		}
		return out, nil
	case EncryptKMS:
		return []age.Recipient{kmsRecipient{ctx, s.deps.Keys, ownerOf(j)}}, nil
	}
	return nil, nil
}
