package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Reviews take what tenants say of alerts. They decide, and record, by themselves.
type Reviews interface {
	// Review says of the tenant's alert that it is fraud, if confirm, or genuine, and reports
	// whether that is new. ErrNoAlert says that there is none such among those that the caller
	// may review, ErrReview that what is said can't be kept; queries.ErrNotPermitted and
	// queries.ErrUnrecorded are as elsewhere.
	Review(ctx context.Context, c grants.Caller, tenant cardlake.Tenant, alert string, confirm bool, note string) (isNew bool, err error)
}

var (
	// ErrNoAlert says that there is no such alert, or that it is not the caller's to see: the two
	// are told alike.
	ErrNoAlert = errors.New("there is no such alert among those that you may review")
	// ErrReview marks what can't be kept beside an alert. What wraps it says why, and nothing of
	// what it was.
	ErrReview = errors.New("the review can't be kept")
)

// maxNote bounds what is said beside a review, in bytes.
const maxNote = 1000

// reviewRoutes are those of alerts.
func (s *Server) reviewRoutes() []route {
	return s.group("alerts", s.deps.Reviews != nil, reviewError,
		route{method: "POST", path: "/v1/alerts/{id}/review", name: "alert_review", doc: "Says of an alert that it is fraud, or that it is not.",
			more:   "To say it again changes nothing; of a confirmation and a dismissal the newer counts.",
			params: []param{inPath("id", "the alert's id")}, body: reviewBody{}, example: `{"tenant": "acme", "decision": "dismiss", "note": "the cardholder was asked"}`,
			answers: []answer{{status: 200, doc: "It is kept.", body: reviewAnswer{}}}, problems: []kind{kindNotPermitted, kindRoute, kindType, kindTooLarge}, do: s.review})
}

func reviewError(err error) error {
	switch {
	case errors.Is(err, ErrNoAlert):
		return problemOf(kindRoute, "%s", ErrNoAlert.Error())
	case errors.Is(err, ErrReview):
		return problemOf(kindRequest, "%s", err)
	}
	return err
}

// reviewBody is what is said of an alert.
type reviewBody struct {
	Tenant   cardlake.Tenant `json:"tenant" doc:"whose alert it is"`
	Decision string          `json:"decision" doc:"confirm: it is fraud; dismiss: it is not"`
	Note     string          `json:"note,omitempty" doc:"why, in one line; a dismissal needs it"`
}

// reviewAnswer is what was kept.
type reviewAnswer struct {
	Alert    string          `json:"alert" doc:"the alert's id"`
	Tenant   cardlake.Tenant `json:"tenant" doc:"whose alert it is"`
	Decision string          `json:"decision" doc:"what was said"`
	IsNew    bool            `json:"new" doc:"false if it was known already"`
}

func (s *Server) review(c *call) error {
	var asked reviewBody
	if err := c.readObject(&asked, s.cfg.MaxBody); err != nil {
		return err
	}
	id := c.r.PathValue("id")
	switch {
	case !isLetters(id):
		return ErrNoAlert
	case asked.Tenant.Validate() != nil:
		return problemOf(kindRequest, "tenant is the name of the tenant whose alert it is")
	case asked.Decision != "confirm" && asked.Decision != "dismiss":
		return problemOf(kindRequest, "decision is confirm or dismiss")
	case asked.Decision == "dismiss" && asked.Note == "":
		return problemOf(kindRequest, "note says why it is dismissed: the next reviewer, and the next run, want to know")
	case len(asked.Note) > maxNote:
		return problemOf(kindRequest, "note is of at most %d bytes", maxNote)
	case audit.Masks(asked.Note):
		return problemOf(kindRequest, "note holds a number that could be a card's: name the case instead")
	}
	isNew, err := s.deps.Reviews.Review(c.r.Context(), c.caller, asked.Tenant, id, asked.Decision == "confirm", asked.Note)
	if err != nil {
		return gone(c.r.Context(), err)
	}
	writeJSON(c.w, http.StatusOK, "application/json", reviewAnswer{id, asked.Tenant, asked.Decision, isNew})
	return nil
}

// isLetters reports whether an id is 32 letters a to p, as all of the lake's are.
func isLetters(id string) bool {
	for i := range len(id) {
		if id[i] < 'a' || id[i] > 'p' {
			return false
		}
	}
	return len(id) == 32
}
