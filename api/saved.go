package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/cardlake/cardlake/api/saved"
	"github.com/cardlake/cardlake/catalog/grants"
)

// SavedViews keeps views of pages for their owners; *saved.Store does.
type SavedViews interface {
	List(ctx context.Context, owner grants.Principal) ([]saved.View, error)
	Save(ctx context.Context, owner grants.Principal, v saved.View, record func(saved.View) error) (saved.View, error)
	Remove(ctx context.Context, owner grants.Principal, id string, record func() error) error
}

// Actions of saved views in the audit log.
const (
	actionViews      = "saved_views"
	actionViewSave   = "saved_view.save"
	actionViewRemove = "saved_view.remove"
)

// savedRoutes are those of the caller's saved views.
func (s *Server) savedRoutes() []route {
	id := inPath("id", "the view's id")
	one := []answer{{status: 200, doc: "The view.", body: viewSaved{},
		example: `{"id": "abcdefghijklmnopabcdefghijklmnop", "name": "Declines of the week", "page": "declines", "query": "range=7d&compare=1", "created_at": "2026-03-08T12:30:00Z"}`}}
	const example = `{"name": "Declines of the week", "page": "declines", "query": "range=7d&compare=1"}`
	return s.group("saved-views", s.deps.Saved != nil, savedError,
		route{method: "GET", path: "/v1/saved-views", name: "saved_views", doc: "Lists the caller's saved views, the oldest first.",
			answers: []answer{{status: 200, doc: "The views.", body: viewsSaved{}}}, problems: []kind{kindNotPermitted}, do: s.byPerson(s.listViews)},
		route{method: "POST", path: "/v1/saved-views", name: "saved_view_add", doc: "Saves a view.", more: "A caller has at most 100.",
			body: viewBody{}, example: example,
			answers:  []answer{{status: 201, doc: "The view.", body: viewSaved{}, headers: []header{{"Location", "where it is"}}}},
			problems: []kind{kindNotPermitted, kindFull}, do: s.byPerson(s.addView)},
		route{method: "GET", path: "/v1/saved-views/{id}", name: "saved_view", doc: "Gives a saved view.", params: []param{id}, answers: one, problems: []kind{kindNotPermitted}, do: s.byPerson(s.showView)},
		route{method: "PUT", path: "/v1/saved-views/{id}", name: "saved_view_replace", doc: "Replaces a saved view.",
			params: []param{id}, body: viewBody{}, example: example, answers: one, problems: []kind{kindNotPermitted}, do: s.byPerson(s.replaceView)},
		route{method: "DELETE", path: "/v1/saved-views/{id}", name: "saved_view_remove", doc: "Removes a saved view.",
			params: []param{id}, answers: []answer{{status: 204, doc: "It is gone."}}, problems: []kind{kindNotPermitted}, do: s.byPerson(s.removeView)},
	)
}

// savedError is the problem of what the store says.
func savedError(err error) error {
	switch {
	case errors.Is(err, saved.ErrNotFound):
		return problemOf(kindRoute, "%s", saved.ErrNotFound)
	case errors.Is(err, saved.ErrFull):
		return problemOf(kindFull, "%s", saved.ErrFull)
	case errors.Is(err, saved.ErrView):
		return problemOf(kindRequest, "%s", err)
	}
	return err
}

type (
	// viewBody is what is asked to be kept.
	viewBody struct {
		Name  string `json:"name" long:"80" doc:"What the owner calls it: one line."`
		Page  string `json:"page" long:"32" doc:"The page, such as overview."`
		Query string `json:"query,omitempty" long:"2000" doc:"What the page is asked with, as URLs have it, without the question mark and without digits of card numbers."`
	}
	viewSaved struct {
		ID        string    `json:"id" doc:"The view's id."`
		Name      string    `json:"name" doc:"What the owner calls it."`
		Page      string    `json:"page" doc:"The page."`
		Query     string    `json:"query" doc:"What the page is asked with, as URLs have it."`
		CreatedAt time.Time `json:"created_at" doc:"When it was saved first."`
	}
	viewsSaved struct {
		Views []viewSaved `json:"saved_views" doc:"The caller's views, the oldest first."`
	}
)

// ownViews are the caller's, on record as asked for.
func (s *Server) ownViews(c *call, resource string) ([]saved.View, error) {
	views, err := s.deps.Saved.List(c.r.Context(), c.caller.Principal)
	return views, s.record(c, actionViews, resource, err)
}

func (s *Server) listViews(c *call) error {
	views, err := s.ownViews(c, "own views")
	if err != nil {
		return err
	}
	answer := viewsSaved{[]viewSaved{}}
	for _, v := range views {
		answer.Views = append(answer.Views, viewSaved(v))
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

func (s *Server) showView(c *call) error {
	views, err := s.ownViews(c, "own view")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(views, func(v saved.View) bool { return v.ID == c.r.PathValue("id") })
	if i < 0 {
		return saved.ErrNotFound
	}
	writeJSON(c.w, http.StatusOK, "application/json", viewSaved(views[i]))
	return nil
}

func (s *Server) addView(c *call) error {
	v, err := s.saveView(c, "")
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/saved-views/"+v.ID)
	writeJSON(c.w, http.StatusCreated, "application/json", viewSaved(v))
	return nil
}

func (s *Server) replaceView(c *call) error {
	v, err := s.saveView(c, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, "application/json", viewSaved(v))
	return nil
}

// saveView keeps the body, as a new view if there is no id. What is refused is on record too.
func (s *Server) saveView(c *call, id string) (saved.View, error) {
	var asked viewBody
	if err := c.readObject(&asked, s.cfg.MaxBody); err != nil {
		return saved.View{}, err
	}
	v := saved.View{ID: id, Name: asked.Name, Page: asked.Page, Query: asked.Query}
	isRecorded := false
	v, err := s.deps.Saved.Save(c.r.Context(), c.caller.Principal, v, func(v saved.View) error {
		isRecorded = true
		return s.record(c, actionViewSave, "view "+v.ID, nil)
	})
	if err != nil && !isRecorded {
		err = s.record(c, actionViewSave, "a view", savedError(err))
	}
	return v, err
}

func (s *Server) removeView(c *call) error {
	isRecorded := false
	id := c.r.PathValue("id")
	err := s.deps.Saved.Remove(c.r.Context(), c.caller.Principal, id, func() error {
		isRecorded = true
		return s.record(c, actionViewRemove, "view "+id, nil)
	})
	if err != nil && !isRecorded {
		err = s.record(c, actionViewRemove, "a view", savedError(err))
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
