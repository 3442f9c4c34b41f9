package detokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize/vault"
)

// Rule names why the service refused.
type Rule string

// The rules, and the status that an answer has.
const (
	RulePrincipal    Rule = "unknown-principal"   // 403: the policy does not list the name
	RuleSignIn       Rule = "sign-in"             // 401: a person's token is missing, or not good
	RuleMFA          Rule = "second-factor"       // 403: the token does not say that there was one
	RuleNoSignIn     Rule = "sign-in-unavailable" // 503: the issuer's keys can't be had
	RuleCertificate  Rule = "certificate"         // 403: it has run out since the connection began, or names nobody
	RuleNotPermitted Rule = "not-permitted"       // 403: the policy does not permit it for the tenant
	RuleTenant       Rule = "unknown-tenant"      // 404
	RuleToken        Rule = "unknown-token"       // 404: the tenant has no such token
	RuleRetired      Rule = "retired-token"       // 409: a compromise has given the card another
	RuleRequest      Rule = "unknown-request"     // 404: there is none of this id, or no longer
	RuleBody         Rule = "invalid-body"        // 400
	RuleTooLarge     Rule = "too-large"           // 413
	RulePurpose      Rule = "purpose"             // 422: it is empty, too long, or holds a number like a card's
	RuleTokens       Rule = "tokens"              // 422: none, or too many
	RuleBudget       Rule = "over-budget"         // 429
	RulePending      Rule = "too-many-requests"   // 429
	RuleSamePerson   Rule = "same-person"         // 403: the approver asked for it
	RuleNotRequester Rule = "not-the-requester"   // 403
	RuleNotApproved  Rule = "not-approved"        // 409: no second person has approved it
	RuleApproved     Rule = "already-approved"    // 409
	RuleCollected    Rule = "already-collected"   // 410
	RuleExpired      Rule = "expired"             // 410: it was not approved or collected in time
	RuleBusy         Rule = "busy"                // 409: another call for the same request is under way
	RuleCard         Rule = "invalid-card"        // 422: of pins
	RuleConflict     Rule = "card-conflict"       // 409: of pins, vault.ErrConflict
	RuleDamaged      Rule = "damaged"             // 500: vault.ErrDamaged
	RuleKeyGone      Rule = "key-destroyed"       // 410: the tenant's key is no more
	RuleAudit        Rule = "audit-unavailable"   // 503: nothing happens that is not recorded
	RuleUnavailable  Rule = "vault-unavailable"   // 503: the store or the key service does not answer
	RuleOther        Rule = "other"               // a client's: the answer was not the service's
)

var statusOf = map[Rule]int{
	RulePrincipal: 403, RuleSignIn: 401, RuleMFA: 403, RuleNoSignIn: 503, RuleCertificate: 403, RuleNotPermitted: 403, RuleTenant: 404, RuleToken: 404, RuleRetired: 409,
	RuleRequest: 404, RuleBody: 400, RuleTooLarge: 413, RulePurpose: 422, RuleTokens: 422, RuleBudget: 429, RulePending: 429,
	RuleSamePerson: 403, RuleNotRequester: 403, RuleNotApproved: 409, RuleApproved: 409, RuleCollected: 410, RuleExpired: 410,
	RuleBusy: 409, RuleCard: 422, RuleConflict: 409, RuleDamaged: 500, RuleKeyGone: 410, RuleAudit: 503, RuleUnavailable: 503,
}

// Refusal is an error of the service: the rule that was broken and what to do, never what
// was sent.
type Refusal struct {
	Rule   Rule
	Status int
	Detail string
}

func (e *Refusal) Error() string { return fmt.Sprintf("the vault refuses (%s): %s", e.Rule, e.Detail) }

// Is makes a refusal the error of the vault or the keyring that caused it, so that a caller
// of tokenize.Pins decides the same, whether the vault is in its process or not.
func (e *Refusal) Is(target error) bool {
	switch target {
	case vault.ErrUnknownToken:
		return e.Rule == RuleToken
	case vault.ErrRetired:
		return e.Rule == RuleRetired
	case vault.ErrCard:
		return e.Rule == RuleCard
	case vault.ErrConflict:
		return e.Rule == RuleConflict
	case vault.ErrDamaged:
		return e.Rule == RuleDamaged
	case keys.ErrNoKey:
		return e.Rule == RuleKeyGone
	case ErrNoTenant:
		return e.Rule == RuleTenant
	}
	return false
}

func refuse(rule Rule, format string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Status: statusOf[rule], Detail: fmt.Sprintf(format, args...)}
}

// refusalOf says which rule an error of the vault breaks. place tells which token of the
// request it was, counted from 1, or is 0.
func refusalOf(err error, place int) *Refusal {
	which := "a token"
	if place > 0 {
		which = fmt.Sprintf("token %d of the request", place)
	}
	switch {
	case errors.Is(err, vault.ErrRetired):
		// The successor is of the crosswalk, which one person alone does not get.
		return refuse(RuleRetired, "%s was retired after a compromise; the crosswalk has its successor", which)
	case isUnknown(err):
		return refuse(RuleToken, "the tenant has no card with %s", which)
	case errors.Is(err, vault.ErrDamaged):
		return refuse(RuleDamaged, "what the vault keeps for %s is damaged: restore it", which)
	case errors.Is(err, keys.ErrNoKey):
		return refuse(RuleKeyGone, "the tenant's key was destroyed, or was never made")
	case errors.Is(err, vault.ErrCard), errors.Is(err, vault.ErrOwner):
		return refuse(RuleCard, "a card needs at least one candidate and a sealed number of at most %d bytes", vault.MaxSealed)
	case errors.Is(err, vault.ErrConflict):
		return refuse(RuleConflict, "a card of the batch has two tokens: run cardlake-vault rotate -compromised")
	default:
		return refuse(RuleUnavailable, "the store or the key service does not answer: try again")
	}
}

func isUnknown(err error) bool { return errors.Is(err, vault.ErrUnknownToken) }

// problem is RFC 9457's "application/problem+json".
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

const problemType = "urn:cardlake:vault:"

func writeProblem(w http.ResponseWriter, e *Refusal) {
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="vault"`) // RFC 9110 section 15.5.2
	}
	text, err := json.Marshal(problem{problemType + string(e.Rule), "The vault refuses: " + string(e.Rule), e.Status, e.Detail})
	if err != nil {
		panic(err) // strings and a number
	}
	send(w, e.Status, "application/problem+json", text)
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // of our own types
	}
	send(w, status, "application/json", text)
}

// send answers. A client that has gone needs no answer.
func send(w http.ResponseWriter, status int, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
