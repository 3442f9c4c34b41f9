package trino

import (
	"context"
	"errors"
	"fmt"
	"strings"

	client "github.com/trinodb/trino-go-client/trino"

	"github.com/cardlake/cardlake/queries"
)

// aboutText are Trino's errors that are about the statement's text alone: their messages quote no
// row. (io.trino.spi.StandardErrorCode.)
var aboutText = map[string]bool{
	"NOT_SUPPORTED": true, "EXPRESSION_NOT_AGGREGATE": true, "EXPRESSION_NOT_SCALAR": true, "NESTED_AGGREGATION": true,
	"NESTED_WINDOW": true, "TYPE_MISMATCH": true, "AMBIGUOUS_NAME": true, "EXPRESSION_NOT_IN_DISTINCT": true,
}

// values are its errors that come of values of rows, and what is told of them.
var values = map[string]string{
	"INVALID_CAST_ARGUMENT": "a value cannot be cast", "NUMERIC_VALUE_OUT_OF_RANGE": "a number is too large for its type",
	"DIVISION_BY_ZERO": "a division by zero", "INVALID_FUNCTION_ARGUMENT": "a value does not suit a function",
	"SUBQUERY_MULTIPLE_ROWS": "a subquery that stands for one value has several rows",
}

// explain turns an error of the client into one for the statement's author, or for the operator.
// The positions that Trino tells are of what was printed, and so are left out.
func explain(err error) error {
	var fault *queries.Error
	var failed *client.ErrTrino
	switch {
	case errors.As(err, &fault), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, client.ErrQueryCancelled):
		return errors.New("the statement was ended in Trino")
	case !errors.As(err, &failed):
		return withoutReason(err)
	}
	name := failed.ErrorName
	out := &queries.Error{Offset: -1}
	switch {
	case aboutText[name]:
		out.Message = "Trino does not take the statement as it was printed for it: " + strings.TrimSpace(failed.Message)
	case values[name] != "":
		out.Message, out.Hint = values[name], "guard it with CASE or a condition"
	case name == "EXCEEDED_TIME_LIMIT":
		return fmt.Errorf("%w in Trino", queries.ErrTimeout)
	case name == "EXCEEDED_SCAN_LIMIT":
		out.Message, out.Hint = "the statement reads more bytes than it may", "ask for fewer days, tenants or columns"
	case strings.HasPrefix(name, "EXCEEDED_"):
		out.Message, out.Hint = "the statement needs more than Trino gives it ("+name+")", "select fewer columns or rows, or aggregate"
	case failed.ErrorType == "INSUFFICIENT_RESOURCES":
		return fmt.Errorf("Trino is out of resources (%s); try again later", name)
	default:
		return fmt.Errorf("Trino failed: %s %s", failed.ErrorType, name)
	}
	return out
}

// withoutReason leaves out what the server answered beside its own errors: a proxy's page may
// hold anything.
func withoutReason(err error) error {
	var failed *client.ErrQueryFailed
	if errors.As(err, &failed) {
		return fmt.Errorf("Trino answered with status %d", failed.StatusCode)
	}
	return fmt.Errorf("ask Trino: %w", err)
}
