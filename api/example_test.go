package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/queriestest"
)

// one signs everybody in as one.
type one struct{ grants.Caller }

func (o one) FromRequest(*http.Request) (grants.Caller, error) { return o.Caller, nil }
func (o one) Origin(r *http.Request) string                    { return signin.Origin(r, nil) }

func Example() {
	var log queriestest.Log
	server, err := api.New(api.Deps{
		Gateway: queries.New(parser{}, &engine{rows: 2}, queriestest.Everything, &log, queries.Config{}),
		SignIn:  one{queriestest.Caller}, Permits: queriestest.Everything, Recorder: &log,
	}, api.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodPost, "/v1/query", strings.NewReader(`{"sql": "SELECT n, text FROM cards.transactions", "format": "csv"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	server.Handler().ServeHTTP(w, r)
	fmt.Printf("%d %s %s rows\n%s", w.Code, w.Header().Get("Content-Type"), w.Header().Get("Cardlake-Rows"), strings.ReplaceAll(w.Body.String(), "\r\n", "\n"))
	for _, r := range log.Records() {
		fmt.Println(r.Actor, r.Action, r.Outcome)
	}
	// Output:
	// 200 text/csv 2 rows
	// n,text
	// 1,value
	// 2,value
	// data_scientist/ana query allowed
	// data_scientist/ana query.done allowed
}
