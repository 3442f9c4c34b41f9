package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/queries/export"
)

// Exports are files that callers take away; *export.Service is one.
type Exports interface {
	Start(ctx context.Context, c grants.Caller, r export.Request) (j *export.Job, isNew bool, err error)
	List(ctx context.Context, c grants.Caller) ([]*export.Job, error)
	Job(ctx context.Context, c grants.Caller, id string) (*export.Job, error)
	Cancel(ctx context.Context, c grants.Caller, id string) (*export.Job, error)
	Downloads
	Schedules
}

// Downloads give the files of exports.
type Downloads interface {
	Open(ctx context.Context, c grants.Caller, id string, number int, from int64) (*export.Content, error)
	// Recheck says whether a download may go on.
	Recheck(ctx context.Context, c grants.Caller, id string, number int) error
	Link(ctx context.Context, c grants.Caller, base, id string, number int, valid time.Duration) (export.Link, error)
	// Follow returns whom a link stands for.
	Follow(ctx context.Context, method, path, query string, by *grants.Caller) (grants.Caller, error)
}

// Schedules ask for exports of each day, or of other windows.
type Schedules interface {
	Plan(ctx context.Context, c grants.Caller, r export.Request, every, zone string) (*export.Schedule, error)
	Schedules(ctx context.Context, c grants.Caller) ([]*export.Schedule, error)
	SetPaused(ctx context.Context, c grants.Caller, id string, paused bool) (*export.Schedule, error)
	Remove(ctx context.Context, c grants.Caller, id string) error
}

// downloadsPath is where links lead.
const downloadsPath = "/v1/downloads"

// exportRoutes adds the routes of exports, if there are any:
//
//	POST   /v1/exports                   asks for one; Idempotency-Key makes a repeat the same
//	GET    /v1/exports, /v1/exports/{id} what the caller asked for, and how far it is
//	DELETE /v1/exports/{id}              cancels it
//	GET    /v1/exports/{id}/files/{n}    file n, or the manifest, 0; Range and If-Range resume it
//	POST   /v1/exports/{id}/links        makes a link to a file
//	GET    /v1/downloads/{id}/{n}?…      where a link leads, without signing in
//	POST   /v1/schedules                 asks for an export of each window of time
//	GET    /v1/schedules                 the caller's
//	POST   /v1/schedules/{id}/pause, …/resume
//	DELETE /v1/schedules/{id}
func (s *Server) exportRoutes(mux *http.ServeMux) {
	if s.deps.Exports == nil {
		return
	}
	route := func(pattern, name string, do func(*call) error) {
		mux.Handle(pattern, s.call(name, func(c *call) error { return exportError(do(c)) }))
	}
	route("POST /v1/exports", "export_start", s.startExport)
	route("GET /v1/exports", "exports", s.listExports)
	route("GET /v1/exports/{id}", "export", s.showExport)
	route("DELETE /v1/exports/{id}", "export_cancel", s.cancelExport)
	route("GET /v1/exports/{id}/files/{n}", "export_file", s.exportFile)
	route("POST /v1/exports/{id}/links", "export_link", s.exportLink)
	route("POST /v1/schedules", "schedule_plan", s.planSchedule)
	route("GET /v1/schedules", "schedules", s.listSchedules)
	route("POST /v1/schedules/{id}/pause", "schedule_pause", s.pauseSchedule(true))
	route("POST /v1/schedules/{id}/resume", "schedule_resume", s.pauseSchedule(false))
	route("DELETE /v1/schedules/{id}", "schedule_remove", s.removeSchedule)
	mux.HandleFunc("GET "+downloadsPath+"/{id}/{n}", s.followLink)
}

// exportError is the problem of an export's fault.
func exportError(err error) error {
	var f *export.Fault
	if !errors.As(err, &f) {
		return err
	}
	k := map[export.Code]kind{
		export.Invalid: kindRequest, export.NotFound: kindRoute, export.NotReady: kindNotReady, export.Gone: kindExpired,
		export.Refused: kindNotPermitted, export.OverUsed: kindLimit, export.Conflict: kindKeyReused,
	}[f.Code]
	return problemOf(k, "%s", f.Message)
}

// exportAnswer is an export as its owner sees it.
type exportAnswer struct {
	ID        string          `json:"id"`
	State     export.State    `json:"state"`
	Tenant    string          `json:"tenant"`
	Request   export.Request  `json:"request"`
	Schedule  string          `json:"schedule,omitempty"`
	Progress  export.Progress `json:"progress"`
	CreatedAt time.Time       `json:"created_at"`
	StartedAt time.Time       `json:"started_at,omitzero"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	ExpiresAt time.Time       `json:"expires_at,omitzero"`
	Error     string          `json:"error,omitempty"`
	Files     []export.File   `json:"files,omitempty"`
}

func answerOf(j *export.Job) exportAnswer {
	a := exportAnswer{
		ID: j.ID, State: j.State, Tenant: string(j.Tenant), Request: j.Request, Schedule: j.Schedule, Progress: j.Progress,
		CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, EndedAt: j.EndedAt, ExpiresAt: j.ExpiresAt, Error: j.Error,
	}
	for _, f := range j.Files {
		f.Object = "" // where it lies is ours to know
		a.Files = append(a.Files, f)
	}
	return a
}

func (s *Server) startExport(c *call) error {
	var r export.Request
	if err := c.readObject(&r, s.cfg.MaxBody); err != nil {
		return err
	}
	if key := c.r.Header.Get("Idempotency-Key"); key != "" {
		r.Key = key
	}
	j, isNew, err := s.deps.Exports.Start(c.r.Context(), c.caller, r)
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if !isNew {
		status = http.StatusOK
	}
	c.w.Header().Set("Location", "/v1/exports/"+j.ID)
	writeJSON(c.w, status, "application/json", answerOf(j))
	return nil
}

// readObject decodes a JSON body, and says of a fault no more than that there is one.
func (c *call) readObject(into any, most int64) error {
	err := c.read(into, most)
	if p := new(problem); errors.As(err, &p) && p.kind == kindRequest {
		return problemOf(kindRequest, "the body is not an object of the documented fields")
	}
	return err
}

func (s *Server) listExports(c *call) error {
	list, err := s.deps.Exports.List(c.r.Context(), c.caller)
	if err := s.record(c, "exports", "exports", err); err != nil {
		return err
	}
	answer := struct {
		Exports []exportAnswer `json:"exports"`
	}{[]exportAnswer{}}
	for _, j := range list {
		answer.Exports = append(answer.Exports, answerOf(j))
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

func (s *Server) showExport(c *call) error {
	j, err := s.deps.Exports.Job(c.r.Context(), c.caller, c.r.PathValue("id"))
	resource := "an export"
	if err == nil {
		resource = "export " + j.ID
	}
	if err := s.record(c, "export.state", resource, exportError(err)); err != nil {
		return err
	}
	if !j.State.IsFinal() {
		c.w.Header().Set("Retry-After", "2")
	}
	writeJSON(c.w, http.StatusOK, "application/json", answerOf(j))
	return nil
}

func (s *Server) cancelExport(c *call) error {
	j, err := s.deps.Exports.Cancel(c.r.Context(), c.caller, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, "application/json", answerOf(j))
	return nil
}

func (s *Server) exportFile(c *call) error {
	n, err := strconv.Atoi(c.r.PathValue("n"))
	if err != nil {
		return problemOf(kindRoute, "a file's number is 0, the manifest, or more")
	}
	return s.sendFile(c, n)
}

// sendFile answers with a file: whole, or the range that is asked for, if it is of the content
// that the client has the beginning of (RFC 9110 sections 13.1.5 and 14). While it is sent, the
// grants are asked again.
func (s *Server) sendFile(c *call, number int) error {
	id, ctx := c.r.PathValue("id"), c.r.Context()
	content, err := s.deps.Exports.Open(ctx, c.caller, id, number, firstByte(c.r.Header.Get("Range")))
	if err != nil {
		return err
	}
	defer content.Close()
	h := c.w.Header()
	h.Set("Content-Type", content.ContentType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": content.Name}))
	h.Set("ETag", content.ETag())
	h.Set("Cardlake-SHA256", content.SHA256)
	guarded := &guarded{ResponseWriter: c.w, control: http.NewResponseController(c.w), timeout: s.cfg.WriteTimeout, looked: time.Now(),
		look: func() error { return s.deps.Exports.Recheck(ctx, c.caller, id, number) }}
	http.ServeContent(guarded, c.r, "", time.Time{}, io.NewSectionReader(content, 0, content.Size()))
	if guarded.err != nil {
		panic(http.ErrAbortHandler) // what was sent must not pass for all of it
	}
	return nil
}

// firstByte is the first byte that a Range header asks for, for the record; 0 if it is not plain.
func firstByte(ranges string) int64 {
	text, _, _ := strings.Cut(strings.TrimPrefix(ranges, "bytes="), "-")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// lookEvery is how often a download asks the grants again.
const lookEvery = 500 * time.Millisecond

// guarded writes a file as long as it may be given, and gives the client so long for each write.
type guarded struct {
	http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
	look    func() error
	looked  time.Time
	err     error
}

// Write implements io.Writer.
func (g *guarded) Write(p []byte) (int, error) {
	if g.err == nil && time.Since(g.looked) >= lookEvery {
		g.err = g.look()
		g.looked = time.Now()
	}
	if g.err != nil {
		return 0, g.err
	}
	_ = g.control.SetWriteDeadline(time.Now().Add(g.timeout)) // a recorder has none
	n, err := g.ResponseWriter.Write(p)
	g.err = err
	return n, err
}

func (s *Server) exportLink(c *call) error {
	var asked struct {
		File    int `json:"file"`
		Seconds int `json:"valid_seconds"`
	}
	if err := c.readObject(&asked, s.cfg.MaxBody); err != nil {
		return err
	}
	link, err := s.deps.Exports.Link(c.r.Context(), c.caller, downloadsPath, c.r.PathValue("id"), asked.File, time.Duration(min(max(asked.Seconds, 0), 1<<30))*time.Second)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusCreated, "application/json", link)
	return nil
}

// followLink answers a link. Nobody needs to sign in, but whoever does must be whom the link is
// for; a link that is refused counts as an attempt to get in.
func (s *Server) followLink(w http.ResponseWriter, r *http.Request) {
	const route = "download"
	start := s.cfg.Now()
	watched := &watched{ResponseWriter: w}
	defer func() { s.metrics.done(route, watched.status, s.cfg.Now().Sub(start)) }()
	defer s.recovered(watched, route)
	c := &call{w: watched, r: r}
	by, err := s.signedIn(r)
	if err == nil {
		c.caller, err = s.deps.Exports.Follow(r.Context(), r.Method, r.URL.Path, r.URL.RawQuery, by)
	}
	if err != nil {
		k := knock{origin: s.deps.SignIn.Origin(r), request: w.Header().Get(headerRequest), reason: "link"}
		if by != nil {
			k.subject = by.Principal.String()
		}
		s.knocks.add(r.Context(), k)
		s.answerError(c, route, exportError(err))
		return
	}
	c.caller.Origin, c.caller.Request = s.deps.SignIn.Origin(r), w.Header().Get(headerRequest)
	if err := s.limits.call(c.caller.Principal, start); err != nil {
		s.answerError(c, route, err)
		return
	}
	number, err := strconv.Atoi(r.PathValue("n"))
	if err == nil {
		err = s.sendFile(c, number)
	}
	if err != nil {
		s.answerError(c, route, exportError(err))
	}
}

// signedIn is who is signed in, nil for nobody.
func (s *Server) signedIn(r *http.Request) (*grants.Caller, error) {
	c, err := s.deps.SignIn.FromRequest(r)
	var refused *signin.Error
	switch {
	case err == nil:
		return &c, nil
	case errors.As(err, &refused) && refused.Reason == signin.NoCredentials:
		return nil, nil
	}
	return nil, notSignedIn(err)
}

// scheduleAnswer is a schedule as its owner sees it.
type scheduleAnswer struct {
	ID       string         `json:"id"`
	Request  export.Request `json:"request"`
	Every    string         `json:"every"`
	TimeZone string         `json:"time_zone"`
	// From and To are the next window, or the one whose export is under way.
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Paused    bool      `json:"paused"`
	Reason    string    `json:"reason,omitempty"`
	Failures  int       `json:"failures"`
	Last      string    `json:"last_export,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

func scheduleOf(s *export.Schedule) scheduleAnswer {
	return scheduleAnswer{s.ID, s.Request, s.Every, s.TimeZone, s.From, s.To, s.Paused, s.Reason, s.Failures, s.Last, s.CreatedAt}
}

func (s *Server) planSchedule(c *call) error {
	var asked struct {
		export.Request
		Every    string `json:"every"`
		TimeZone string `json:"time_zone"`
	}
	if err := c.readObject(&asked, s.cfg.MaxBody); err != nil {
		return err
	}
	plan, err := s.deps.Exports.Plan(c.r.Context(), c.caller, asked.Request, asked.Every, asked.TimeZone)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusCreated, "application/json", scheduleOf(plan))
	return nil
}

func (s *Server) listSchedules(c *call) error {
	list, err := s.deps.Exports.Schedules(c.r.Context(), c.caller)
	if err := s.record(c, "export.schedules", "schedules", err); err != nil {
		return err
	}
	answer := struct {
		Schedules []scheduleAnswer `json:"schedules"`
	}{[]scheduleAnswer{}}
	for _, one := range list {
		answer.Schedules = append(answer.Schedules, scheduleOf(one))
	}
	writeJSON(c.w, http.StatusOK, "application/json", answer)
	return nil
}

func (s *Server) pauseSchedule(paused bool) func(*call) error {
	return func(c *call) error {
		one, err := s.deps.Exports.SetPaused(c.r.Context(), c.caller, c.r.PathValue("id"), paused)
		if err != nil {
			return err
		}
		writeJSON(c.w, http.StatusOK, "application/json", scheduleOf(one))
		return nil
	}
}

func (s *Server) removeSchedule(c *call) error {
	if err := s.deps.Exports.Remove(c.r.Context(), c.caller, c.r.PathValue("id")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
