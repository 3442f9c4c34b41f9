package flightsql

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/queries"
)

// What this door refuses by itself. The texts are for the caller.
var (
	errSlow         = status.Error(codes.DeadlineExceeded, "the client did not accept the answer in time: read it faster, or ask for less")
	errTicket       = status.Error(codes.NotFound, "the ticket is not one of yours, or of this server since it started: ask again")
	errTicketUsed   = status.Error(codes.FailedPrecondition, "the ticket was used or cancelled: ask again")
	errTicketOld    = status.Error(codes.FailedPrecondition, "the ticket or the prepared statement is too old: ask again")
	errParameters   = status.Error(codes.InvalidArgument, "statements have no parameters: write the values into the statement")
	errTransactions = status.Error(codes.Unimplemented, "there are no transactions: each statement reads one state of the tables; set autocommit")
	errReadOnly     = status.Error(codes.Unimplemented, "the lake is read-only: only SELECT is answered")
	errCancelled    = status.Error(codes.Canceled, "the statement was cancelled")
)

// codeOf is gRPC's for a problem of HTTP's status.
func codeOf(t api.Told) codes.Code {
	switch t.Kind {
	case "too-many-rows":
		return codes.ResourceExhausted
	case "cancelled":
		return codes.Canceled
	}
	switch t.Status {
	case 400, 415, 406, 422:
		return codes.InvalidArgument
	case 401:
		return codes.Unauthenticated
	case 403:
		return codes.PermissionDenied
	case 404:
		return codes.NotFound
	case 405:
		return codes.Unimplemented
	case 409, 410, 421:
		return codes.FailedPrecondition
	case 413, 429:
		return codes.ResourceExhausted
	case 503:
		return codes.Unavailable
	case 504:
		return codes.DeadlineExceeded
	}
	return codes.Internal
}

// statementError is an error of a statement, with its text for the place of the fault.
type statementError struct {
	err error
	sql string
}

// Error implements error.
func (e *statementError) Error() string { return e.err.Error() }

// Unwrap returns the error.
func (e *statementError) Unwrap() error { return e.err }

// explain says of an error what HTTP's problem says of it, in gRPC's form.
func (s *Server) explain(request string, err error) error {
	if err == nil {
		return nil
	}
	// What has a status is of this door, of package flightsql or of gRPC, and tells no value.
	if own, ok := status.FromError(err); ok {
		return status.Error(own.Code(), own.Message())
	}
	if errors.Is(err, context.Canceled) {
		return errCancelled
	}
	told := api.Tell(err)
	code, text := codeOf(told), told.Detail
	if told.Hint != "" {
		text += "; " + told.Hint
	}
	text += " (request " + request + ")"
	var in *statementError
	var fault *queries.Error
	if errors.As(err, &in) && errors.As(err, &fault) {
		if excerpt := fault.Excerpt(in.sql); excerpt != "" {
			text += "\n" + excerpt
		}
	}
	if code == codes.Internal {
		s.cfg.Failed(request, err)
	}
	return status.Error(code, text)
}
