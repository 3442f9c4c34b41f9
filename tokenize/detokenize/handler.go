package detokenize

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

const (
	// maxPins is how many cards a call may pin. A worker's chunk has 1,024 records.
	maxPins = 4096
	// maxPinsBody has room for them with a few candidates and what key services wrap.
	maxPinsBody = 8 << 20
	maxBody     = 256 << 10
	maxPurpose  = 500
)

// call is one request to the service, by a principal that the policy lists.
type call struct {
	w         http.ResponseWriter
	r         *http.Request
	now       time.Time
	principal string
	rights    Rights
	record    audit.Record
}

// step makes a handler of a step, which either answers, after it has recorded that it may,
// or returns why not and has done nothing.
func (s *Server) step(action string, do func(*call) *Refusal) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r, now: s.cfg.Now(), record: audit.Record{
			Actor: "unknown", Action: action, Resource: "vault", Origin: r.RemoteAddr, Request: r.PathValue("id"),
		}}
		if !isID(c.record.Request) {
			c.record.Request = newID()
		}
		refusal := s.identify(c)
		if refusal == nil {
			refusal = do(c)
		}
		if refusal == nil {
			return
		}
		if refusal.Rule != RuleAudit {
			if unrecorded := s.recordRefusal(c, refusal); unrecorded != nil {
				refusal = unrecorded
			}
		}
		writeProblem(w, refusal)
	}
}

func isID(s string) bool {
	return len(s) == 32 && strings.IndexFunc(s, func(c rune) bool { return c < 'a' || c > 'p' }) < 0
}

// allow records that the call's step happens, which it may do only if this returns nil.
func (s *Server) allow(c *call) *Refusal {
	c.record.Outcome = audit.Allowed
	return s.write(c.r.Context(), c.record)
}

func (s *Server) recordRefusal(c *call, why *Refusal) *Refusal {
	r := c.record
	r.Outcome = audit.Refused
	if why.Status >= 500 {
		r.Outcome = audit.Failed
	}
	r.Detail = map[string]string{"rule": string(why.Rule)}
	for _, name := range []string{"certificate", "sign_in"} {
		if v := c.record.Detail[name]; v != "" {
			r.Detail[name] = v
		}
	}
	// A caller that hangs up does not keep its refusal out of the log.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), 10*time.Second)
	defer cancel()
	return s.write(ctx, r)
}

func (s *Server) write(ctx context.Context, r audit.Record) *Refusal {
	if err := s.deps.Audit.Append(ctx, r); err != nil {
		s.cfg.Log.Error("refused, because the audit log can't be written", "action", r.Action, "error", err)
		return refuse(RuleAudit, "the audit log can't be written, and nothing happens that is not recorded: ask the vault's operator")
	}
	return nil
}

// identify finds who makes the call and its rights of now: the connection's certificate says it,
// or, for what people do, a token besides it.
func (s *Server) identify(c *call) *Refusal {
	if c.r.TLS == nil || len(c.r.TLS.VerifiedChains) == 0 {
		return refuse(RuleCertificate, "there is no verified certificate")
	}
	cert := c.r.TLS.PeerCertificates[0]
	name, ok := PrincipalOf(cert)
	if !ok || len(name) > maxName || !utf8.ValidString(name) { // what is longer can't be recorded
		return refuse(RuleCertificate, "the certificate names nobody: it needs one URI, or a common name, of at most %d bytes", maxName)
	}
	isPerson := s.deps.People != nil && c.record.Action != ActionPin
	if isPerson {
		c.detail("certificate", name)
	} else {
		c.principal, c.record.Actor = name, name
	}
	// Connections last; what was right when it began may have run out.
	if !c.now.Before(cert.NotAfter) {
		return refuse(RuleCertificate, "the certificate has run out")
	}
	if isPerson {
		if refusal := s.signIn(c); refusal != nil {
			return refusal
		}
	}
	if c.rights, ok = s.deps.Policy.Policy().Principals[c.principal]; !ok {
		return refuse(RulePrincipal, "the policy does not list your name")
	}
	return nil
}

// signIn finds the person of the call's token.
func (s *Server) signIn(c *call) *Refusal {
	token, err := signin.Bearer(c.r)
	if err == nil && token == "" {
		err = &signin.Error{Reason: signin.NoCredentials}
	}
	var id signin.Identity
	if err == nil {
		id, err = s.deps.People.Verify(c.r.Context(), token)
	}
	if err != nil {
		var why *signin.Error
		if errors.As(err, &why) {
			c.detail("sign_in", string(why.Reason))
			c.record.Actor = cmp.Or(why.Subject, c.record.Actor)
			if why.IsTemporary() {
				s.cfg.Log.Error("nobody can sign in", "reason", why.Reason, "error", errors.Unwrap(why))
				return refuse(RuleNoSignIn, "nobody can sign in at the moment: try again")
			}
		}
		return refuse(RuleSignIn, "besides the certificate a token is needed that says who you are: sign in again")
	}
	c.principal, c.record.Actor = id.Subject, id.Subject
	if !id.MFA {
		return refuse(RuleMFA, "the token does not say that more than one factor was shown: sign in again, with a second one")
	}
	return nil
}

// detail adds to the call's record.
func (c *call) detail(name, value string) {
	if c.record.Detail == nil {
		c.record.Detail = map[string]string{}
	}
	c.record.Detail[name] = value
}

// PrincipalOf returns the name of a certificate: its one URI, or if it has none, the common
// name of its subject. A certificate with several URIs names nobody.
func PrincipalOf(c *x509.Certificate) (string, bool) {
	switch len(c.URIs) {
	case 0:
		// A common name is not to pass for a URI, which authorities verify.
		return c.Subject.CommonName, c.Subject.CommonName != "" && !strings.Contains(c.Subject.CommonName, ":")
	case 1:
		return c.URIs[0].String(), true
	default:
		return "", false
	}
}

// person is whose principal it is.
func person(principal string, r Rights) string {
	if r.Person != "" {
		return r.Person
	}
	return principal
}

// read decodes a body of at most max bytes.
func (c *call) read(into any, max int64) *Refusal {
	d := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, max))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); errors.Is(end, io.EOF) {
			return nil
		}
	}
	if errors.As(err, new(*http.MaxBytesError)) {
		return refuse(RuleTooLarge, "the body has more than %d bytes", max)
	}
	// The decoder's error may quote the body.
	return refuse(RuleBody, "the body is not the JSON of this call, or a token in it is malformed")
}

// pinBody is what workers send, and pinAnswer what they get.
type pinBody struct {
	Owner keys.Owner `json:"owner"`
	Cards pinCards   `json:"cards"`
}

// pinCards are at most one more than a call may have: what is behind would take many times the
// memory of its text.
type pinCards []pinCard

// UnmarshalJSON implements json.Unmarshaler.
func (p *pinCards) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("cards are no list")
	}
	for d.More() && len(*p) <= maxPins {
		var c pinCard
		if err := d.Decode(&c); err != nil {
			return err
		}
		*p = append(*p, c)
	}
	return nil
}

type pinCard struct {
	Candidates []tokenize.Token `json:"c"`
	Sealed     []byte           `json:"s"`
}

type pinAnswer struct {
	Tokens []tokenize.Token `json:"tokens"`
}

func (s *Server) pin(c *call) *Refusal {
	if len(c.rights.Pin) == 0 {
		return refuse(RuleNotPermitted, "the policy does not permit this principal to pin")
	}
	var body pinBody
	if refusal := c.read(&body, maxPinsBody); refusal != nil {
		return refusal
	}
	tenant, err := s.deps.Tenants.Tenant(body.Owner)
	switch {
	case errors.Is(err, ErrNoTenant):
		return refuse(RuleTenant, "no tenant has the owner: is the register of tenants the worker's?")
	case err != nil:
		return refuse(RuleUnavailable, "the register of tenants can't be read")
	}
	c.record.Resource = "tenant " + string(tenant)
	c.record.Numbers = map[string]int64{"cards": int64(len(body.Cards))}
	switch {
	case !permits(c.rights.Pin, tenant):
		return refuse(RuleNotPermitted, "the policy does not permit this principal to pin for the tenant")
	case len(body.Cards) == 0 || len(body.Cards) > maxPins:
		return refuse(RuleCard, "a call pins 1 to %d cards", maxPins)
	}
	cards := make([]tokenize.Card, len(body.Cards))
	for i, p := range body.Cards {
		cards[i] = tokenize.Card{Candidates: p.Candidates, Sealed: p.Sealed}
	}
	if refusal := s.allow(c); refusal != nil {
		return refusal
	}
	tokens, err := s.deps.Vault.Pin(c.r.Context(), body.Owner, cards)
	if err != nil {
		return s.faultOf(err, 0)
	}
	answer(c.w, http.StatusOK, pinAnswer{tokens})
	return nil
}

// faultOf turns an error of the vault into a refusal; what passes by itself is logged.
func (s *Server) faultOf(err error, place int) *Refusal {
	refusal := refusalOf(err, place)
	if refusal.Status >= 500 {
		s.cfg.Log.Error("the vault does not answer", "error", err)
	}
	return refusal
}

// requestBody asks for card numbers.
type requestBody struct {
	Tenant  cardlake.Tenant  `json:"tenant"`
	Tokens  []tokenize.Token `json:"tokens"`
	Purpose string           `json:"purpose"`
}

// Request is what is known of a request: what its approver decides by.
type Request struct {
	ID        string          `json:"id"`
	State     State           `json:"state"`
	Tenant    cardlake.Tenant `json:"tenant"`
	Count     int             `json:"tokens"`
	Purpose   string          `json:"purpose"`
	Requester string          `json:"requester"`
	Approver  string          `json:"approver,omitempty"`
	Made      time.Time       `json:"made"`
	Until     time.Time       `json:"until"` // when it expires in this state
}

func (p *pending) public() Request {
	return Request{
		ID: p.id, State: p.state, Tenant: p.tenant, Count: p.count, Purpose: p.purpose, Requester: p.requester,
		Approver: p.approver, Made: p.made.UTC(), Until: p.until.UTC(),
	}
}

func (s *Server) request(c *call) *Refusal {
	var body requestBody
	if refusal := c.read(&body, maxBody); refusal != nil {
		return refusal
	}
	if body.Tenant.Validate() != nil {
		return refuse(RuleBody, "the tenant's name breaks the rule for tenants' names")
	}
	c.record.Resource = "tenant " + string(body.Tenant)
	c.record.Numbers = map[string]int64{numberTokens: int64(len(body.Tokens))}
	purpose := strings.TrimSpace(body.Purpose)
	switch {
	case !permits(c.rights.Request, body.Tenant):
		return refuse(RuleNotPermitted, "the policy does not permit this principal to ask for card numbers of the tenant")
	case purpose == "" || len(purpose) > maxPurpose || !utf8.ValidString(purpose):
		return refuse(RulePurpose, "a purpose of 1 to %d bytes is needed: say what the card numbers are for", maxPurpose)
	case strings.ContainsFunc(purpose, func(c rune) bool { return !unicode.IsPrint(c) }):
		// An approver's terminal shows what was written, and nothing hides between digits.
		return refuse(RulePurpose, "the purpose is one line of printable text")
	case card.MaskPANs(purpose) != purpose || digitsIn(purpose) >= minPAN:
		return refuse(RulePurpose, "the purpose holds a number like a card's: name the case instead")
	case len(body.Tokens) == 0 || len(body.Tokens) > s.cfg.MaxTokens:
		return refuse(RuleTokens, "a request is for 1 to %d tokens", s.cfg.MaxTokens)
	}
	c.record.Reason = purpose
	owner, err := s.deps.Tenants.Owner(body.Tenant)
	switch {
	case errors.Is(err, ErrNoTenant):
		return refuse(RuleTenant, "there is no tenant of this name")
	case err != nil:
		return refuse(RuleUnavailable, "the register of tenants can't be read")
	}
	for i, t := range body.Tokens {
		if _, err := s.deps.Vault.Sealed(c.r.Context(), owner, t); err != nil {
			return s.faultOf(err, i+1)
		}
	}
	p := &pending{
		id: newID(), tenant: body.Tenant, owner: owner, tokens: body.Tokens, count: len(body.Tokens), purpose: purpose,
		requester: c.principal, person: person(c.principal, c.rights), made: c.now,
		state: Waiting, until: c.now.Add(s.cfg.ApproveWithin),
	}
	c.record.Request = p.id
	room := c.rights.TokensPerHour - s.budget.spent(p.person, c.now)
	if refusal := s.requests.add(p, c.now, room, s.cfg.MaxPending); refusal != nil {
		return refusal
	}
	if refusal := s.allow(c); refusal != nil {
		s.requests.drop(p)
		return refusal
	}
	// Nobody else knows the id yet, so nothing of p can have changed.
	answer(c.w, http.StatusCreated, p.public())
	return nil
}

// minPAN is the length of the shortest card number (ISO/IEC 7812-1).
const minPAN = 12

// digitsIn counts the digits of any script, however they are set apart: who wants to write a
// card number into the log finds a way that people read and a mask does not.
func digitsIn(s string) (n int) {
	for _, c := range s {
		if unicode.IsDigit(c) {
			n++
		}
	}
	return n
}

// about puts what a request is for into the call's record.
func (c *call) about(p *pending) {
	c.record.Resource, c.record.Reason = "tenant "+string(p.tenant), p.purpose
	c.record.Numbers = map[string]int64{numberTokens: int64(p.count)}
}

func (s *Server) status(c *call) *Refusal {
	p, refusal := s.requests.peek(c.r.PathValue("id"), c.now)
	if refusal != nil {
		return refusal
	}
	c.about(&p)
	if c.principal != p.requester && !permits(c.rights.Approve, p.tenant) {
		return refuse(RuleNotPermitted, "only who asked and who may approve for the tenant may see the request")
	}
	if refusal := s.allow(c); refusal != nil {
		return refusal
	}
	answer(c.w, http.StatusOK, p.public())
	return nil
}

func (s *Server) approve(c *call) *Refusal {
	p, refusal := s.requests.take(c.r.PathValue("id"), Waiting, c.now)
	if p != nil {
		c.about(p)
	}
	if refusal != nil {
		return refusal
	}
	var change func()
	defer func() { s.requests.end(p, change) }()
	requester, listed := s.deps.Policy.Policy().Principals[p.requester]
	switch me := person(c.principal, c.rights); {
	case c.principal == p.requester, me == p.person, listed && me == person(p.requester, requester):
		return refuse(RuleSamePerson, "whoever asked can't approve: a second person must")
	case !permits(c.rights.Approve, p.tenant):
		return refuse(RuleNotPermitted, "the policy does not permit this principal to approve for the tenant")
	}
	c.detail("requester", p.requester)
	if refusal := s.allow(c); refusal != nil {
		return refusal
	}
	approved := *p
	approved.state, approved.approver, approved.until = Approved, c.principal, c.now.Add(s.cfg.CollectWithin)
	change = func() { p.state, p.approver, p.until = approved.state, approved.approver, approved.until }
	answer(c.w, http.StatusOK, approved.public())
	return nil
}

func (s *Server) collect(c *call) *Refusal {
	p, refusal := s.requests.take(c.r.PathValue("id"), Approved, c.now)
	if p != nil {
		c.about(p)
	}
	if refusal != nil {
		return refusal
	}
	var change func()
	defer func() { s.requests.end(p, change) }()
	// Rights that were taken away since then count.
	approver, listed := s.deps.Policy.Policy().Principals[p.approver]
	switch {
	case c.principal != p.requester:
		return refuse(RuleNotRequester, "only who asked may collect the answer")
	case !permits(c.rights.Request, p.tenant):
		return refuse(RuleNotPermitted, "the policy no longer permits this principal to ask for card numbers of the tenant")
	case !listed || !permits(approver.Approve, p.tenant) || person(p.approver, approver) == person(c.principal, c.rights):
		return refuse(RuleNotPermitted, "the policy no longer permits the approver to approve: ask another")
	}
	release, ok := s.budget.reserve(person(c.principal, c.rights), p.count, c.rights.TokensPerHour, c.now)
	if !ok {
		return refuse(RuleBudget, "the budget of tokens in an hour has no room for %d: wait", p.count)
	}
	text, refusal := s.reveal(c.r.Context(), p)
	defer clear(text[:cap(text)])
	if refusal == nil {
		c.detail("approver", p.approver)
		refusal = s.allow(c)
	}
	if refusal != nil {
		release()
		return refusal
	}
	change = func() { p.state, p.tokens = Collected, nil }
	send(c.w, http.StatusOK, "application/json", text) // handed out, whether or not it arrives
	return nil
}

// reveal writes the answer with every card number of the request, or nothing. The caller
// clears it, to its capacity.
func (s *Server) reveal(ctx context.Context, p *pending) (text []byte, _ *Refusal) {
	const perCard = 96 // a token of 45 characters, a number of 19, and what surrounds them
	text = make([]byte, 0, 32+perCard*len(p.tokens))
	text = append(text, `{"cards":[`...)
	for i, t := range p.tokens {
		pan, err := s.deps.Vault.Reveal(ctx, s.deps.Reverse, p.owner, t)
		if err != nil {
			return text, s.faultOf(err, i+1)
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, `{"token":"`...)
		text, _ = t.AppendText(text) // which does not fail
		text = append(text, `","pan":"`...)
		text = append(text, pan.Digits()...)
		text = append(text, `"}`...)
		pan.Clear()
	}
	return append(text, `]}`...), nil
}
