package athena

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/smithy-go"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// refusal keeps of a service's error what names no content: its code, and an end of the context.
// Messages quote parts of what was sent.
func refusal(err error) error {
	var api smithy.APIError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case !errors.As(err, &api):
		return err
	case api.ErrorCode() == "AccessDeniedException", api.ErrorCode() == "AccessDenied":
		return fmt.Errorf("%s: the role of the workgroup or this process may not do it; see \"cardlake grants plan\"", api.ErrorCode())
	case expired[api.ErrorCode()]:
		return fmt.Errorf("%s: the credentials are out of date and cannot be renewed", api.ErrorCode())
	case api.ErrorCode() == "TooManyRequestsException", api.ErrorCode() == "ThrottlingException":
		return fmt.Errorf("%s: Athena is asked too much at once; ask again later, or raise the quota of the account", api.ErrorCode())
	}
	return errors.New(api.ErrorCode())
}

// failure is an execution that did not succeed.
type failure struct{ *types.QueryExecution }

func (f *failure) Error() string { return "execution in Athena: " + string(f.Status.State) }

// Categories of an AthenaError ("Athena error reference").
const systemCategory = 1

// isTemporary reports whether Athena says that it might succeed when it is started again, and
// that it is not the statement's fault.
func (f *failure) isTemporary() bool {
	e := f.Status.AthenaError
	return f.Status.State == types.QueryExecutionStateFailed && e != nil && e.Retryable && aws.ToInt32(e.ErrorCategory) == systemCategory
}

var (
	// faultCode begins a message of Trino's, if the error has a name there (StandardErrorCode).
	faultCode = regexp.MustCompile(`^([A-Z][A-Z_]{2,60}): `)
	// faultPlace follows it if the error is about the text: the analyser's errors have a place,
	// those of execution have none.
	faultPlace   = regexp.MustCompile(`^line \d{1,6}:\d{1,6}: `)
	faultColumn  = regexp.MustCompile(`^Column '([^']{1,200})' cannot be resolved`)
	faultVersion = regexp.MustCompile(`(?i)snapshot id (does not exist|not found)|cannot find snapshot`)
)

// aboutText are the errors that Trino's parser and analyser give for the text of a statement
// before any row is read (io.trino.spi.StandardErrorCode).
var aboutText = map[string]bool{
	"SYNTAX_ERROR": true, "COLUMN_NOT_FOUND": true, "FUNCTION_NOT_FOUND": true, "TYPE_MISMATCH": true, "AMBIGUOUS_NAME": true,
	"EXPRESSION_NOT_AGGREGATE": true, "EXPRESSION_NOT_SCALAR": true, "EXPRESSION_NOT_IN_DISTINCT": true, "MISMATCHED_COLUMN_ALIASES": true,
	"NESTED_AGGREGATION": true, "NESTED_WINDOW": true, "MISSING_GROUP_BY": true, "MISSING_COLUMN_NAME": true, "MISSING_OVER": true,
	"DUPLICATE_COLUMN_NAME": true, "INVALID_COLUMN_REFERENCE": true, "TYPE_NOT_FOUND": true, "INVALID_ARGUMENTS": true, "FUNCTION_NOT_WINDOW": true,
}

// resources are the errors of a statement that needs more than it may have.
var resources = map[string]bool{
	"EXCEEDED_LOCAL_MEMORY_LIMIT": true, "EXCEEDED_GLOBAL_MEMORY_LIMIT": true, "EXCEEDED_TIME_LIMIT": true, "EXCEEDED_CPU_LIMIT": true,
	"EXCEEDED_SCAN_LIMIT": true, "GENERIC_INSUFFICIENT_RESOURCES": true, "EXCEEDED_FUNCTION_MEMORY_LIMIT": true,
}

// explain says what it was. A message of Athena's is passed on only if it is the analyser's, for
// all others may quote a row.
func (f *failure) explain(s queries.Statement) error {
	message := aws.ToString(f.Status.StateChangeReason)
	if e := f.Status.AthenaError; message == "" && e != nil {
		message = aws.ToString(e.ErrorMessage)
	}
	code := ""
	if m := faultCode.FindStringSubmatch(message); m != nil {
		code = m[1]
		message = message[len(m[0]):]
	}
	place := faultPlace.FindString(message)
	switch {
	case f.Status.State == types.QueryExecutionStateCancelled && strings.Contains(message, "Bytes scanned limit"):
		return &queries.Error{Message: "the statement scans more than its workgroup in Athena allows", Hint: "select fewer columns or days", Offset: -1}
	case f.Status.State == types.QueryExecutionStateCancelled:
		return errors.New("the statement was stopped in Athena by somebody else")
	case faultVersion.MatchString(message):
		return errors.New("the snapshot was expired before Athena read it: ask again, and keep snapshots for longer than statements wait")
	case strings.Contains(message, "Query exhausted resources"), resources[code]:
		return &queries.Error{Message: "the statement needs more than Athena gives one", Hint: "select fewer columns or rows, or aggregate", Offset: -1}
	case aboutText[code] && place != "":
		return textFault(code, message[len(place):], s)
	case aboutText[code]:
		return &queries.Error{Message: fmt.Sprintf("the statement is not one of Athena's (%s)", code), Offset: -1}
	case isDenied(code, message):
		return errDenied
	case isOfValues(code):
		return &queries.Error{Message: fmt.Sprintf("a value does not suit the statement (%s)", code), Hint: "TRY_CAST and TRY give NULL instead of an error", Offset: -1}
	}
	var category, kind int32
	if e := f.Status.AthenaError; e != nil {
		category, kind = aws.ToInt32(e.ErrorCategory), aws.ToInt32(e.ErrorType)
	}
	return fmt.Errorf("Athena failed: %s (category %d, type %d); execution %s has the reason", orUnnamed(code), category, kind, aws.ToString(f.QueryExecutionId))
}

// isOfValues reports whether the error is one of Trino's users' that a value of a row can cause.
func isOfValues(code string) bool {
	switch code {
	case "INVALID_CAST_ARGUMENT", "INVALID_FUNCTION_ARGUMENT", "DIVISION_BY_ZERO", "NUMERIC_VALUE_OUT_OF_RANGE",
		"SUBQUERY_MULTIPLE_ROWS", "INVALID_LITERAL", "GENERIC_USER_ERROR":
		return true
	}
	return false
}

func isDenied(code, message string) bool {
	for _, sign := range []string{"Insufficient permissions", "Insufficient Lake Formation permission", "Access Denied", "AccessDenied", "not authorized to perform", "KMS.DisabledException", "KMS.KMSInvalidStateException"} {
		if strings.Contains(message, sign) {
			return true
		}
	}
	return code == "PERMISSION_DENIED" || code == "TABLE_NOT_FOUND" || code == "SCHEMA_NOT_FOUND"
}

func orUnnamed(code string) string {
	if code == "" {
		return "an error without a name"
	}
	return code
}

// errDenied says that the second wall is the narrower one.
var errDenied = errors.New("Athena may not read what the decision gives: the grants in Lake Formation, IAM or KMS are narrower than the policies; see \"cardlake grants plan\"")

// isGiven reports whether a decision gives a column of the name: who asks for it is told by Athena
// that there is none if Lake Formation withholds it.
func isGiven(name string, s queries.Statement) bool {
	for _, r := range s.Reads {
		for i, a := range r.Decision.Access() {
			if a != grants.Dropped && strings.EqualFold(r.Table.Columns[i].Name, name) {
				return true
			}
		}
	}
	return false
}

// textFault is an error of the analyser's. Its place is in the printed SQL, so it is looked for in
// the author's: where the name that it is about is, if it is there once.
func textFault(code, message string, s queries.Statement) error {
	if m := faultColumn.FindStringSubmatch(message); m != nil {
		name := m[1][strings.LastIndexByte(m[1], '.')+1:]
		if isGiven(name, s) {
			return errDenied
		}
		out := &queries.Error{Message: fmt.Sprintf("there is no column %q", name), Offset: placeOf(s.SQL, name)}
		if near := queries.NearestColumn(name, s); near != "" {
			out.Hint = "did you mean " + near + "?"
		}
		return out
	}
	// One sentence: what follows it may list what else there is.
	message, _, _ = strings.Cut(message, ". ")
	return &queries.Error{Message: fmt.Sprintf("%s (%s)", strings.TrimSpace(message), code), Offset: -1}
}

// placeOf returns where the name is in the statement, -1 if it is not there exactly once.
func placeOf(sql, name string) int {
	found := -1
	lower, name := strings.ToLower(sql), strings.ToLower(name)
	if name == "" || len(lower) != len(sql) {
		return -1
	}
	for at := 0; ; {
		i := strings.Index(lower[at:], name)
		if i < 0 {
			return found
		}
		i += at
		at = i + len(name)
		before, _ := utf8.DecodeLastRuneInString(sql[:i])
		after, _ := utf8.DecodeRuneInString(sql[at:])
		if isNameRune(before) || isNameRune(after) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
}

func isNameRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
