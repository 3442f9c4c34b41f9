package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/cardlake/cardlake/queries"
)

// prepareError marks an error from before any row was read.
type prepareError struct{ error }

func (e prepareError) Unwrap() error { return e.error }

// fault is DuckDB's error as errors_as_json has it.
type fault struct {
	Type     string `json:"exception_type"`
	Message  string `json:"exception_message"`
	Subtype  string `json:"error_subtype"`
	Position string `json:"position"`
	Name     string `json:"name"`
}

// explain turns DuckDB's error into one for the statement's author. What comes up while rows
// are read may quote a row: its text is replaced.
func explain(ctx context.Context, err error, cfg Config, s queries.Statement) error {
	var driverErr *duckdb.Error
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !errors.As(err, &driverErr) {
		return err
	}
	var f fault
	if json.Unmarshal([]byte(driverErr.Msg), &f) != nil {
		f.Type = "Internal"
	}
	out := &queries.Error{Offset: -1}
	if n, err := strconv.Atoi(f.Position); err == nil {
		out.Offset = n
	}
	var beforeRows prepareError
	switch {
	case f.Type == "Out of Memory":
		return tooMuchMemory(cfg)
	case f.Type == "IO", f.Type == "Internal", f.Type == "FATAL":
		return fmt.Errorf("DuckDB: %s error while reading the tables", f.Type)
	case errors.As(err, &beforeRows) && aboutText[f.Type]:
		out.Message, _, _ = strings.Cut(f.Message, "\nCandidate bindings")
		out.Message, _, _ = strings.Cut(out.Message, "\nDid you mean")
		out.Message = strings.TrimSpace(out.Message)
		name := f.Name
		if m := noColumnOf.FindStringSubmatch(out.Message); m != nil {
			name = m[1]
		} else if f.Subtype != "COLUMN_NOT_FOUND" {
			break
		}
		out.Message = fmt.Sprintf("there is no column %q", name)
		if near := queries.NearestColumn(name, s); near != "" {
			out.Hint = "did you mean " + near + "?"
		}
	default:
		out.Message = fmt.Sprintf("a value does not suit the statement (%s error)", strings.ToLower(f.Type))
		out.Hint = "TRY_CAST and TRY give NULL instead of an error"
	}
	return out
}

// noColumnOf is how DuckDB says that a qualified column is not there.
var noColumnOf = regexp.MustCompile(`does not have a column named "([^"]+)"$`)

// aboutText are DuckDB's errors that are about the statement's text alone. Others may come of
// values, also before any row was read: constants are computed then.
var aboutText = map[string]bool{"Parser": true, "Syntax": true, "Binder": true, "Catalog": true, "Not implemented": true, "Expression Depth": true}

func tooMuchMemory(cfg Config) error {
	return &queries.Error{
		Message: fmt.Sprintf("the statement needs more than the %d MiB of memory it may use", cfg.Memory>>20),
		Hint:    "select fewer columns or rows, or aggregate", Offset: -1,
	}
}
