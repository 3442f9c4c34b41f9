package athena_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/athena"
	"github.com/cardlake/cardlake/queries/athena/athenatest"
	"github.com/cardlake/cardlake/queries/queriestest"
)

func TestRequestsAreRepeated(t *testing.T) {
	for _, f := range []athenatest.Fault{
		{Code: "ThrottlingException"}, {Code: "InternalServerException", Status: 500}, {}, {Done: true},
	} {
		for _, operation := range []string{athenatest.Start, athenatest.Look, athenatest.Results, athenatest.Group, athenatest.Assume} {
			t.Run(fmt.Sprintf("%s %+v", operation, f), func(t *testing.T) {
				p := newPlace(t, one, nil)
				p.athena.Inject(operation, 1, f)
				p.athena.Inject(operation, 2, f)
				if rows, _, err := p.ask(t.Context(), count); err != nil || rows[0][0] != int64(5) {
					t.Errorf("%v, %v", rows, err)
				}
				if got := p.states(); !slices.Equal(got, []string{"SUCCEEDED"}) {
					t.Errorf("executions %v", got)
				}
			})
		}
	}
	t.Run("bounded", func(t *testing.T) {
		p := newPlace(t, one, func(c *athena.Config) { c.Attempts = 3 })
		for n := range 10 {
			p.athena.Inject(athenatest.Start, n+1, athenatest.Fault{Code: "TooManyRequestsException"})
		}
		_, _, err := p.ask(t.Context(), count)
		if err == nil || !strings.Contains(err.Error(), "asked too much at once") || p.athena.Calls(athenatest.Start) != 3 {
			t.Errorf("%d calls, %v", p.athena.Calls(athenatest.Start), err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		p := newPlace(t, one, nil)
		p.athena.Inject(athenatest.Start, 1, athenatest.Fault{Code: "InvalidRequestException"})
		_, _, err := p.ask(t.Context(), count)
		if err == nil || p.athena.Calls(athenatest.Start) != 1 || strings.Contains(err.Error(), "4111") {
			t.Errorf("%d calls, %v", p.athena.Calls(athenatest.Start), err)
		}
	})
}

func TestCredentialsAreRenewed(t *testing.T) {
	for _, operation := range []string{athenatest.Start, athenatest.Look, athenatest.Results} {
		t.Run(operation, func(t *testing.T) {
			p := newPlace(t, one, nil)
			p.athena.Inject(operation, 1, athenatest.Fault{Code: "ThrottlingException", Meanwhile: p.athena.ExpireRoles})
			if _, _, err := p.ask(t.Context(), count); err != nil {
				t.Error(err)
			}
			if n := p.athena.Calls(athenatest.Assume); n != 2 {
				t.Errorf("the role was assumed %d times", n)
			}
		})
	}
}

// TestNothingRunsOnUnasked: whatever the moment at which the caller goes, what was started is
// stopped.
func TestNothingRunsOnUnasked(t *testing.T) {
	stuck := func(athenatest.Query) athenatest.Answer { return athenatest.Answer{Looks: -1} }
	for name, inject := range map[string]func(*place, func()){
		"while it runs": func(p *place, go_ func()) {
			p.athena.Inject(athenatest.Look, 4, athenatest.Fault{Code: "ThrottlingException", Meanwhile: go_})
		},
		"while it starts": func(p *place, go_ func()) {
			p.athena.Inject(athenatest.Start, 1, athenatest.Fault{Done: true, Meanwhile: go_})
		},
		"before it starts, as it turns out": func(p *place, go_ func()) { p.athena.Inject(athenatest.Start, 1, athenatest.Fault{Meanwhile: go_}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, stuck, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			inject(p, cancel)
			if _, _, err := p.ask(ctx, count); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if got := p.states(); !slices.Equal(got, []string{"CANCELLED"}) {
				t.Errorf("executions %v", got)
			}
		})
	}
	t.Run("when it cannot be looked at", func(t *testing.T) {
		p := newPlace(t, stuck, func(c *athena.Config) { c.Attempts = 1 })
		p.athena.Inject(athenatest.Look, 1, athenatest.Fault{Code: "InternalServerException", Status: 500})
		if _, _, err := p.ask(t.Context(), count); err == nil {
			t.Error("no error")
		}
		if got := p.states(); !slices.Equal(got, []string{"CANCELLED"}) {
			t.Errorf("executions %v", got)
		}
	})
	t.Run("when it scans too much", func(t *testing.T) {
		p := newPlace(t, func(athenatest.Query) athenatest.Answer { return athenatest.Answer{Looks: -1, Scanned: 1001} }, nil)
		p.permits = func(c grants.Caller, a grants.Action, t *cardlake.Table) *grants.Decision {
			d := queriestest.Everything(c, a, t)
			d.Limits.MaxBytes = 1000
			return d
		}
		var fault *queries.Error
		if _, _, err := p.ask(t.Context(), count); !errors.As(err, &fault) {
			t.Errorf("error %v", err)
		}
		if got := p.states(); !slices.Equal(got, []string{"CANCELLED"}) {
			t.Errorf("executions %v", got)
		}
	})
}

func TestFailures(t *testing.T) {
	const value = "4532015112830366"
	for reason, tc := range map[string]struct {
		want    string
		isFault bool // of the statement
		offset  int
	}{
		"INVALID_CAST_ARGUMENT: Cannot cast '" + value + "' to INT":                                               {"a value does not suit the statement (INVALID_CAST_ARGUMENT); TRY_CAST and TRY give NULL instead of an error", true, -1},
		"DIVISION_BY_ZERO: / by zero " + value:                                                                    {"a value does not suit the statement (DIVISION_BY_ZERO); TRY_CAST and TRY give NULL instead of an error", true, -1},
		"COLUMN_NOT_FOUND: line 3:8: Column 'coun' cannot be resolved or requester is not authorized":             {`there is no column "coun"`, true, -1},
		"SYNTAX_ERROR: line 3:8: Column 't.count' cannot be resolved":                                             {`there is no column "count"`, true, 7},
		"COLUMN_NOT_FOUND: line 1:8: Column 'amount' cannot be resolved or requester is not authorized to access": {"Athena may not read what the decision gives", false, 0},
		"TYPE_MISMATCH: line 1:8: Cannot apply operator: varchar < bigint. Value " + value:                        {"Cannot apply operator: varchar < bigint (TYPE_MISMATCH)", true, -1},
		"TYPE_MISMATCH: value " + value:                                                                           {"the statement is not one of Athena's (TYPE_MISMATCH)", true, -1},
		"Query exhausted resources at this scale factor":                                                          {"the statement needs more than Athena gives one; select fewer columns or rows, or aggregate", true, -1},
		"PERMISSION_DENIED: Access Denied " + value:                                                               {"see \"cardlake grants plan\"", false, 0},
		"ICEBERG_INVALID_METADATA: Iceberg snapshot ID does not exist: 4":                                         {"the snapshot was expired before Athena read it", false, 0},
		"HIVE_BAD_DATA: Malformed file, value " + value:                                                           {"Athena failed: HIVE_BAD_DATA (category 2, type 1)", false, 0},
		value: {"Athena failed: an error without a name (category 2, type 1)", false, 0},
	} {
		t.Run(reason, func(t *testing.T) {
			p := newPlace(t, func(athenatest.Query) athenatest.Answer {
				return athenatest.Answer{Failure: &athenatest.Failure{Reason: reason, Category: 2, Type: 1, IsRetryable: true}}
			}, nil)
			_, _, err := p.ask(t.Context(), count)
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), value) {
				t.Errorf("error %v", err)
			}
			var fault *queries.Error
			if errors.As(err, &fault) != tc.isFault || tc.isFault && fault.Offset != tc.offset {
				t.Errorf("error %#v", err)
			}
			if n := len(p.athena.Executions()); n != 1 {
				t.Errorf("%d executions of what is the statement's fault", n)
			}
		})
	}
	for reason, want := range map[string]string{
		"Query cancelled! : Bytes scanned limit was exceeded": "the statement scans more than its workgroup in Athena allows",
		"Query cancelled by user " + value:                    "stopped in Athena by somebody else",
	} {
		t.Run(reason, func(t *testing.T) {
			p := newPlace(t, func(athenatest.Query) athenatest.Answer {
				return athenatest.Answer{Failure: &athenatest.Failure{State: "CANCELLED", Reason: reason}}
			}, nil)
			if _, _, err := p.ask(t.Context(), count); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), value) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTemporaryFailuresAreTriedAgain(t *testing.T) {
	n := 0
	p := newPlace(t, func(q athenatest.Query) athenatest.Answer {
		if n++; n == 1 {
			return athenatest.Answer{Failure: &athenatest.Failure{Reason: "capacity", Category: 1, IsRetryable: true}}
		}
		return one(q)
	}, nil)
	if _, _, err := p.ask(t.Context(), count); err != nil {
		t.Error(err)
	}
	x := p.athena.Executions()
	if len(x) != 2 || x[0].Token == x[1].Token {
		t.Errorf("executions %+v", x)
	}
}
