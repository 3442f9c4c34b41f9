// Package lakeformation gives what the lake's policies decide a form that AWS enforces, for
// those who ask Athena instead of the gateway: data cells filters and grants of Lake
// Formation, policies and a permissions boundary of IAM, grants of KMS.
//
// It compiles decisions, not policies: for each principal with a role of AWS and each table,
// the same [grants.Decision] for a query that the gateway would take. What Lake Formation
// can't express is left out, and the plan says so; nothing is ever widened:
//
//   - A masked column is left out.
//   - What depends on time, a second factor or an emergency is kept to the gateway: AWS gives
//     only what is permitted at every moment from now on, with and without a second factor.
//   - A decision with limits is kept to the gateway unless [Mapping.IgnoreLimits].
//   - Rows that no list of tenants within the service's limits describes are left out.
//
// [Account.Plan] reads what is there and compares; [Account.Apply] changes it in an order in
// which nobody sees, at any moment, a cell that neither the state before nor the decisions
// give: first all that narrows, then replacements, then all that widens. Objects that are not
// this package's own are never changed unless [Config.RemoveForeign], except that Lake
// Formation's IAMAllowedPrincipals, which switches its permissions off, is always revoked from
// the lake's tables.
//
// What AWS enforces is as old as the last apply: tenants suspended and policies changed since
// are not known there until the next. Keys destroyed are, at once.
//
// Sources are the AWS documents named with each rule, as of 2026. The package was proved
// against lftest, a strict server of the services' wire formats, and never run against Amazon
// itself.
package lakeformation

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Decider decides; *grants.Set is one.
type Decider interface {
	Decide(c grants.Caller, a grants.Action, t *cardlake.Table, now time.Time) *grants.Decision
	Version() string
}

// Config tunes an [Account].
type Config struct {
	// RemoveForeign also removes what others granted on the lake's tables, location, keys and
	// readers' roles.
	RemoveForeign bool
	// Record is called before each change, which is not made if it fails. Nil records nothing.
	Record func(context.Context, Change) error
}

// Account is a lake in an account of AWS. It is safe for concurrent use; two that are applied
// at once find out about each other by [ErrMoved].
type Account struct {
	lf      *lakeformation.Client
	iam     *iam.Client
	kms     *kms.Client
	mapping *Mapping
	keys    Keys
	cfg     Config
}

// New returns the account that the clients reach, whose retries are those of this package too:
// it has none of its own. The mapping must be valid. Nothing is called before [Account.Plan].
func New(lf *lakeformation.Client, identities *iam.Client, encryption *kms.Client, m *Mapping, k Keys, cfg Config) *Account {
	return &Account{lf: lf, iam: identities, kms: encryption, mapping: m, keys: k, cfg: cfg}
}

// Plan reads the state of the account and returns what must change so that it is what d
// decides now for the tenants of the register.
func (a *Account) Plan(ctx context.Context, d Decider, tenants []catalog.TenantRecord, now time.Time) (*Plan, error) {
	compiled, err := compile(d, a.mapping, a.keys, tenants, now)
	if err != nil {
		return nil, err
	}
	actual, err := a.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state of AWS: %w", err)
	}
	desired, err := a.desired(compiled)
	if err != nil {
		return nil, err
	}
	return a.compare(compiled, desired, actual), nil
}
