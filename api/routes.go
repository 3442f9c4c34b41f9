package api

import "net/http"

// route is one method of one resource. The mux and the OpenAPI document are both made of the
// table of routes, so that neither can have one that the other lacks.
type route struct {
	method, path string // as http.ServeMux has them: "GET", "/v1/exports/{id}"
	// name is the operationId and the metrics' label, tag the group, doc one sentence, and more,
	// if there is more to say, what follows it in CommonMark.
	name, tag, doc, more string
	open                 bool // answered without sign-in, by serve
	isFigure             bool // counted among figures, not among calls
	params               []param
	// body is a zero value of the type of the JSON body; nil for none.
	body any
	// example is a JSON body that makes sense, if there is one.
	example string
	// answers are all that are not a problem; the first is the usual one.
	answers []answer
	// problems are kinds beside those that every call can have.
	problems []kind
	// do answers a caller who is signed in; nil if the route is open.
	do func(*call) error
	// serve answers anybody.
	serve http.HandlerFunc
}

// param is a parameter of a route. Make it with inPath, inQuery and inHeader.
type param struct {
	name, in, doc string
	schema        schema
	required      bool
}

// answer is what a route answers with when there is no problem.
type answer struct {
	status int
	// contentType is "application/json" if it is empty and there is a body.
	contentType string
	doc         string
	// body is a zero value of the type of a JSON body; of others it is nil: a string of bytes.
	body any
	// example is a JSON body, if there is one.
	example string
	// headers are beside those that every answer has.
	headers []header
}

// header is one that an answer may have.
type header struct{ name, doc string }

// schema is a JSON Schema, draft 2020-12.
type schema map[string]any

func inPath(name, doc string) param {
	return param{name: name, in: "path", doc: doc, schema: textOf(256), required: true}
}
func inQuery(name, doc string, s schema) param {
	return param{name: name, in: "query", doc: doc, schema: s}
}
func inHeader(name, doc string, s schema) param {
	return param{name: name, in: "header", doc: doc, schema: s}
}

// needed makes a parameter one that must be there.
func needed(p param) param {
	p.required = true
	return p
}

// anyText is a string.
func anyText() schema { return schema{"type": "string"} }

// textOf is a string of at most so many characters.
func textOf(most int) schema { return schema{"type": "string", "maxLength": most} }

// intOf is a whole number in a range.
func intOf(least, most int64) schema {
	return schema{"type": "integer", "minimum": least, "maximum": most}
}

// choiceOf is one of the values.
func choiceOf(values ...string) schema { return schema{"type": "string", "enum": values} }

// dayOf is a day (RFC 3339 full-date).
func dayOf() schema { return schema{"type": "string", "format": "date"} }

// routes are all that the server has.
func (s *Server) routes() []route {
	var all []route
	for _, some := range [][]route{
		s.probeRoutes(), s.openAPIRoutes(), s.queryRoutes(), s.tableRoutes(), s.meRoutes(), s.stateRoutes(), s.figureRoutes(), s.savedRoutes(),
		s.changesRoutes(), s.exportRoutes(), s.productRoutes(),
		s.liveRoutes(), s.reviewRoutes(), s.operationRoutes(), s.accessRoutes(), s.keyRoutes(),
	} {
		all = append(all, some...)
	}
	return all
}

// group are routes of one tag. If what they need is not there, they answer that it is not
// offered; toProblem, which may be nil, is the problem of what their part of the lake returns.
func (s *Server) group(tag string, has bool, toProblem func(error) error, routes ...route) []route {
	for i := range routes {
		r := &routes[i]
		r.tag = tag
		switch do := r.do; {
		case do == nil && !has:
			r.serve = func(w http.ResponseWriter, _ *http.Request) { s.fail(w, "other", notOffered()) }
		case do == nil:
		case !has:
			r.do = func(*call) error { return notOffered() }
		case toProblem != nil:
			r.do = func(c *call) error { return toProblem(do(c)) }
		}
	}
	return routes
}

func notOffered() *problem { return problemOf(kindRoute, "this server does not offer it") }

// muxOf answers by the routes.
func (s *Server) muxOf(routes []route) *http.ServeMux {
	mux := http.NewServeMux()
	for _, r := range routes {
		var h http.Handler = r.serve
		if r.do != nil {
			h = s.call(r)
		}
		mux.Handle(r.method+" "+r.path, h)
	}
	return mux
}
