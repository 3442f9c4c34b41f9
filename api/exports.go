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

// exportRoutes are those of exports, of links to their files and of schedules.
func (s *Server) exportRoutes() []route {
	id := inPath("id", "the export's id")
	plan := inPath("id", "the schedule's id")
	one := []answer{{status: 200, doc: "The export.", body: exportAnswer{}}}
	schedule := []answer{{status: 200, doc: "The schedule.", body: scheduleAnswer{}}}
	whole, part := fileAnswers(200, "The file, or the manifest."), fileAnswers(206, "The range of it that was asked for.")
	part = append(part, answer{status: 206, contentType: "multipart/byteranges", doc: part[0].doc, headers: fileHeaders})
	file := append(append(whole, part...), answer{status: 304, doc: "The client has it."})
	ranges := []param{
		inHeader("Range", "bytes to resume from (RFC 9110 section 14)", anyText()),
		inHeader("If-Range", "the entity tag of what the client has the beginning of", anyText()),
	}
	number := param{name: "n", in: "path", doc: "the file's number; 0 is the manifest", schema: intOf(0, 1<<31-1), required: true}
	return s.group("exports", s.deps.Exports != nil, exportError,
		route{method: "POST", path: "/v1/exports", name: "export_start", doc: "Asks for an export: a table, or a statement, as files.",
			params: []param{idempotent()}, body: export.Request{}, example: `{"table": "cards.transactions", "format": "csv"}`,
			answers: []answer{
				{status: 202, doc: "It is queued.", body: exportAnswer{}, headers: []header{{"Location", "where its state is"}}},
				{status: 200, doc: "The one that was asked for with the same key before.", body: exportAnswer{}, headers: []header{{"Location", "where its state is"}}},
			}, problems: []kind{kindNotPermitted, kindKeyReused, kindLimit, kindType, kindTooLarge}, do: s.startExport},
		route{method: "GET", path: "/v1/exports", name: "exports", doc: "Lists what the caller asked for.",
			answers: []answer{{status: 200, doc: "The caller's exports.", body: exportsAnswer{}}}, do: s.listExports},
		route{method: "GET", path: "/v1/exports/{id}", name: "export", doc: "Tells how far an export is.",
			params: []param{id}, answers: one, problems: []kind{kindRoute}, do: s.showExport},
		route{method: "DELETE", path: "/v1/exports/{id}", name: "export_cancel", doc: "Cancels an export.",
			params: []param{id}, answers: one, problems: []kind{kindRoute, kindNotReady}, do: s.cancelExport},
		route{method: "GET", path: "/v1/exports/{id}/files/{n}", name: "export_file", doc: "Gives a file of an export; Range and If-Range resume it.",
			params: append([]param{id, number}, ranges...), answers: file, problems: []kind{kindRoute, kindNotReady, kindExpired, kindNotPermitted, kindRange}, do: s.exportFile},
		route{method: "POST", path: "/v1/exports/{id}/links", name: "export_link", doc: "Makes a link to a file, which needs no sign-in.",
			params: []param{id}, body: linkBody{}, example: `{"file": 1, "valid_seconds": 600}`, answers: []answer{{status: 201, doc: "The link.", body: export.Link{}}},
			problems: []kind{kindRoute, kindNotReady, kindExpired, kindNotPermitted, kindType, kindTooLarge}, do: s.exportLink},
		route{method: "GET", path: downloadsPath + "/{id}/{n}", name: "download", doc: "Gives the file that a link leads to.", open: true,
			params: append([]param{id, number}, ranges...), answers: file, problems: []kind{kindRoute, kindNotReady, kindExpired, kindNotPermitted, kindRange}, serve: s.followLink},
		route{method: "POST", path: "/v1/schedules", name: "schedule_plan", doc: "Asks for an export of each window of time.",
			body: scheduleBody{}, example: `{"table": "cards.transactions", "format": "csv", "every": "daily", "time_zone": "America/Bogota"}`,
			answers: []answer{{status: 201, doc: "The schedule.", body: scheduleAnswer{}}}, problems: []kind{kindNotPermitted, kindType, kindTooLarge}, do: s.planSchedule},
		route{method: "GET", path: "/v1/schedules", name: "schedules", doc: "Lists the caller's schedules.",
			answers: []answer{{status: 200, doc: "The caller's schedules.", body: schedulesAnswer{}}}, do: s.listSchedules},
		route{method: "POST", path: "/v1/schedules/{id}/pause", name: "schedule_pause", doc: "Pauses a schedule.",
			params: []param{plan}, answers: schedule, problems: []kind{kindRoute}, do: s.pauseSchedule(true)},
		route{method: "POST", path: "/v1/schedules/{id}/resume", name: "schedule_resume", doc: "Lets a schedule go on.",
			params: []param{plan}, answers: schedule, problems: []kind{kindRoute, kindNotPermitted}, do: s.byPerson(s.pauseSchedule(false))},
		route{method: "DELETE", path: "/v1/schedules/{id}", name: "schedule_remove", doc: "Removes a schedule.",
			params: []param{plan}, answers: []answer{{status: 204, doc: "It is gone."}}, problems: []kind{kindRoute}, do: s.removeSchedule},
	)
}

// fileAnswers are a file in each form that one can have.
func fileAnswers(status int, doc string) []answer {
	out := []answer{{status: status, doc: doc, body: map[string]any{}, headers: fileHeaders}}
	for _, kind := range []string{"application/octet-stream", "application/zstd", "application/gzip", "application/vnd.apache.parquet", "text/csv", "application/jsonl",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"} {
		out = append(out, answer{status: status, contentType: kind, doc: doc, headers: fileHeaders})
	}
	return out
}

// fileHeaders are those of a file.
var fileHeaders = []header{{"ETag", "of the file's content"}, {"Cardlake-SHA256", "the SHA-256 of the whole file, in hexadecimal"}, {"Content-Disposition", "the file's name"}}

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
	ID        string          `json:"id" doc:"The export's id."`
	State     export.State    `json:"state" doc:"How it is."`
	Tenant    string          `json:"tenant" doc:"Whose rows they are."`
	Request   export.Request  `json:"request" doc:"What was asked for."`
	Schedule  string          `json:"schedule,omitempty" doc:"The id of the schedule whose run it is."`
	Progress  export.Progress `json:"progress" doc:"How far it is."`
	CreatedAt time.Time       `json:"created_at" doc:"When it was asked for."`
	StartedAt time.Time       `json:"started_at,omitzero" doc:"When it began."`
	EndedAt   time.Time       `json:"ended_at,omitzero" doc:"When it ended."`
	ExpiresAt time.Time       `json:"expires_at,omitzero" doc:"When its files are removed."`
	Error     string          `json:"error,omitempty" doc:"Why it failed, and what to do."`
	Files     []export.File   `json:"files,omitempty" doc:"Its files once it is done, the manifest first."`
}

// exportsAnswer are the caller's exports.
type exportsAnswer struct {
	Exports []exportAnswer `json:"exports" doc:"The caller's exports, the newest first."`
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
	if values := c.r.Header.Values(headerKey); len(values) > 0 {
		var err error
		if r.Key, err = keyOf(values); err != nil {
			return err
		}
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
	answer := exportsAnswer{[]exportAnswer{}}
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
	switch {
	case guarded.err != nil:
		panic(http.ErrAbortHandler) // what was sent must not pass for all of it
	case guarded.isBeyond:
		for _, one := range fileHeaders {
			h.Del(one.name)
		}
		return problemOf(kindRange, "the file has %d bytes, and the range asks for others", content.Size())
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
	// isBeyond says that the range that was asked for is not of the file: nothing is written.
	isBeyond bool
}

// WriteHeader implements http.ResponseWriter.
func (g *guarded) WriteHeader(status int) {
	if g.isBeyond = status == http.StatusRequestedRangeNotSatisfiable; !g.isBeyond {
		g.ResponseWriter.WriteHeader(status)
	}
}

// Write implements io.Writer.
func (g *guarded) Write(p []byte) (int, error) {
	if g.isBeyond {
		return len(p), nil
	}
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

// linkBody is what is asked of a link.
type linkBody struct {
	File    int `json:"file" min:"0" max:"2147483647" doc:"The file's number; 0 is the manifest."`
	Seconds int `json:"valid_seconds,omitempty" min:"0" max:"2147483647" doc:"How long the link is to work, within the server's bound; 0 for that."`
}

func (s *Server) exportLink(c *call) error {
	var asked linkBody
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
	ID        string         `json:"id" doc:"The schedule's id."`
	Request   export.Request `json:"request" doc:"What is asked for each time."`
	Every     string         `json:"every" doc:"How often."`
	TimeZone  string         `json:"time_zone" doc:"The zone that days begin in."`
	From      time.Time      `json:"from" doc:"The begin of the next window, or of the one whose export is under way."`
	To        time.Time      `json:"to" doc:"The first instant after it."`
	Paused    bool           `json:"paused" doc:"Whether it is paused."`
	Reason    string         `json:"reason,omitempty" doc:"Why it is paused, or waits."`
	Failures  int            `json:"failures" doc:"How often in a row it failed."`
	Last      string         `json:"last_export,omitempty" doc:"The id of its newest export."`
	CreatedAt time.Time      `json:"created_at" doc:"When it was planned."`
}

func scheduleOf(s *export.Schedule) scheduleAnswer {
	return scheduleAnswer{s.ID, s.Request, s.Every, s.TimeZone, s.From, s.To, s.Paused, s.Reason, s.Failures, s.Last, s.CreatedAt}
}

// schedulesAnswer are the caller's schedules.
type schedulesAnswer struct {
	Schedules []scheduleAnswer `json:"schedules" doc:"The caller's schedules."`
}

// scheduleBody is what is asked of a schedule.
type scheduleBody struct {
	export.Request
	Every    string `json:"every" doc:"hourly, daily, weekly, monthly, or five fields as in cron: minute hour day month weekday."`
	TimeZone string `json:"time_zone,omitempty" doc:"The IANA time zone, such as America/Bogota; UTC if it is not there."`
}

func (s *Server) planSchedule(c *call) error {
	var asked scheduleBody
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
	answer := schedulesAnswer{[]scheduleAnswer{}}
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
