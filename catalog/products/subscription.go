package products

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

// State is where a subscription is.
type State string

const (
	Requested State = "requested"
	Approved  State = "approved"
	Rejected  State = "rejected"
	Revoked   State = "revoked"
	Expired   State = "expired" // approved, and its time is over
)

// Subscription is one, from the request on.
type Subscription struct {
	ID         string            `json:"id"`
	Product    string            `json:"product"`
	Version    string            `json:"version"` // of the product, when it was asked for
	Subscriber grants.Principal  `json:"-"`
	Tenants    []cardlake.Tenant `json:"tenants,omitempty"` // asked for; none means all
	Reason     string            `json:"reason"`
	Days       int               `json:"days"`
	State      State             `json:"state"`

	RequestedAt time.Time `json:"requested_at"`
	// DecidedAt and DecidedBy are of the newest step after the request, and Note what was said.
	DecidedAt time.Time        `json:"decided_at,omitzero"`
	DecidedBy grants.Principal `json:"-"`
	Note      string           `json:"note,omitempty"`
	// Until is the first instant at which it gives nothing any more.
	Until time.Time `json:"until,omitzero"`
	// Given are the product's terms as they were approved.
	Given Terms `json:"given,omitzero"`
}

// at returns the subscription as it is at the time.
func (s Subscription) at(now time.Time) Subscription {
	if s.State == Approved && !now.Before(s.Until) {
		s.State = Expired
	}
	return s
}

// Actions of the store's log, which are those of the lake's audit log too.
const (
	ActionRequest = "subscription.request"
	ActionApprove = "subscription.approve"
	ActionReject  = "subscription.reject"
	ActionRevoke  = "subscription.revoke"
)

// Details of their records.
const (
	detailID      = "subscription"
	detailVersion = "product_version"
	detailTenants = "tenants"
	detailTables  = "tables"
	detailClear   = "clear"
	detailMasked  = "masked"
	detailActions = "actions"
	numberDays    = "days"
)

// idForm is that of newID.
var idForm = regexp.MustCompile(`^[a-p]{20}$`)

// fold takes what a line of the store says happened. It reports whether the rules allow it in
// the state that the lines before led to; otherwise nothing changes.
func fold(all map[string]*Subscription, e audit.Entry) bool {
	who, err := grants.ParsePrincipal(e.Actor)
	id := e.Detail[detailID]
	if err != nil || !idForm.MatchString(id) || !productName.MatchString(e.Resource) || e.Outcome != audit.Allowed {
		return false
	}
	s := all[id]
	if e.Action == ActionRequest {
		if s != nil || !versionForm.MatchString(e.Detail[detailVersion]) || e.Numbers[numberDays] < 1 || e.Numbers[numberDays] > maxDays {
			return false
		}
		all[id] = &Subscription{
			ID: id, Product: e.Resource, Version: e.Detail[detailVersion], Subscriber: who, Tenants: split[cardlake.Tenant](e.Detail[detailTenants]),
			Reason: e.Reason, Days: int(e.Numbers[numberDays]), State: Requested, RequestedAt: e.Time,
		}
		return true
	}
	if s == nil || s.Product != e.Resource {
		return false
	}
	switch s = clone(s); {
	case e.Action == ActionApprove && s.State == Requested && who != s.Subscriber:
		s.State = Approved
		s.Until = e.Time.Add(time.Duration(min(int(e.Numbers[numberDays]), s.Days)) * 24 * time.Hour)
		s.Given = Terms{
			Tables: split[string](e.Detail[detailTables]), Clear: split[cardlake.Tag](e.Detail[detailClear]), Masked: split[cardlake.Tag](e.Detail[detailMasked]),
			Actions: split[grants.Action](e.Detail[detailActions]), Tenants: split[cardlake.Tenant](e.Detail[detailTenants]),
		}
	case e.Action == ActionReject && s.State == Requested:
		s.State = Rejected
	case e.Action == ActionRevoke && (s.State == Approved || s.State == Requested):
		s.State = Revoked
	default:
		return false
	}
	s.DecidedAt, s.DecidedBy, s.Note = e.Time, who, e.Reason
	all[id] = s
	return true
}

func clone(s *Subscription) *Subscription {
	out := *s
	return &out
}

// separator is one that no name of the lists has.
const separator = ","

func split[T ~string](s string) []T {
	if s == "" {
		return nil
	}
	var out []T
	for part := range strings.SplitSeq(s, separator) {
		out = append(out, T(part))
	}
	return out
}

func joined[T ~string](list []T) string {
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = string(x)
	}
	return strings.Join(parts, separator)
}

// sorted lists subscriptions by the time of their request.
func sorted(all map[string]*Subscription, now time.Time) []Subscription {
	out := make([]Subscription, 0, len(all))
	for _, s := range all {
		out = append(out, s.at(now))
	}
	slices.SortFunc(out, func(a, b Subscription) int {
		return cmp.Or(a.RequestedAt.Compare(b.RequestedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}
