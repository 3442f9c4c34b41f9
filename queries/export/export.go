// Package export takes rows of one tenant away as files. An export is a job: it is asked for,
// runs on its own, survives a restart, and ends in files with a manifest that say of themselves
// what they are. The jobs are in an SQLite file, which several processes of a machine may use.
//
// # One tenant an export
//
// An export is of one tenant: its rows, under its keys, on its quotas. Whoever may read several
// tenants makes several. A job's decisions are narrowed to the tenant ([Narrow]) before the
// gateway sees them, so that a statement or a table cannot give rows of another.
//
// # What is permitted
//
// The action is grants.Export. It is decided when the job is asked for, when it runs, every half
// second while rows are read (queries.Result), and again at each download: files that hold more
// than the caller may have now are not given any more. Who asked for an export is the only one
// who has it.
//
// # Where rows are
//
// Files lie in an object store, sealed under the tenant's key, until somebody downloads them;
// nothing of them is ever written to a disk in clear. That is why spreadsheets are written here
// and not by a library that keeps parts in temporary files. Besides, a file may be encrypted for
// the tenant: to its public keys (age), or so that its own key opens it (kms). Public keys are
// registered for the tenant by who may change its grants, not named by who exports: else a stolen
// sign-in could have the rows under a key of the thief's, and a tenant that wants its files
// readable by its key holders only could not have it so.
//
// # What is whole
//
// A job that was cut begins anew, under a new attempt; what the attempt before left is removed
// first, and only files of the attempt that ended well are in the manifest.
package export

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
)

// Format is how rows are written.
type Format string

// The formats.
const (
	Parquet Format = "parquet" // zstd inside
	CSV     Format = "csv"     // RFC 4180, with a header line
	JSONL   Format = "jsonl"   // one object a line
	XLSX    Format = "xlsx"    // Office Open XML, ECMA-376
)

// Formats lists every format.
var Formats = []Format{Parquet, CSV, JSONL, XLSX}

// Encryptions of a file as it is downloaded, besides TLS.
const (
	EncryptAge = "age" // to the tenant's registered public keys, age-encryption.org/v1
	EncryptKMS = "kms" // an age file whose key the tenant's key-encryption key opens
)

// Request is what is asked for: a table, or part of it by its time, or the answer to a statement.
type Request struct {
	// Tenant whose rows they are; empty if the caller may read one tenant only.
	Tenant cardlake.Tenant `json:"tenant,omitempty"`
	// Table is a table's full name, and SQL a statement; one of the two.
	Table string `json:"table,omitempty"`
	SQL   string `json:"sql,omitempty"`
	// From and To bound the table's time, From included and To not; zero is no bound.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Columns of the table, in this order; none means all that the caller may have.
	Columns []string `json:"columns,omitempty"`

	Format Format `json:"format"`
	// Compression of CSV and JSONL: zstd, gzip or none (default).
	Compression string `json:"compression,omitempty"`
	// Encryption is age, kms or none (default).
	Encryption string `json:"encryption,omitempty"`
	// MaxFileBytes is about how large a file becomes before the next begins; default 64 MiB,
	// from 1 MiB to 512 MiB.
	MaxFileBytes int64 `json:"max_file_bytes,omitempty"`
	// RawText leaves texts in CSV as they are. Else a text that a spreadsheet would take for a
	// formula gets an apostrophe before it (OWASP, "CSV Injection"); numbers never do.
	RawText bool `json:"raw_text,omitempty"`
	// Key makes a repeat of the request the same export: 1 to 64 printable ASCII characters.
	Key string `json:"idempotency_key,omitempty"`
}

const (
	defaultFileBytes = 64 << 20
	minFileBytes     = 1 << 20
	maxFileBytes     = 512 << 20
)

// Validate reports every fault of the request, without asking what is permitted.
func (r *Request) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault((r.Table == "") == (r.SQL == ""), "give either table or sql")
	fault(r.SQL != "" && (!r.From.IsZero() || !r.To.IsZero() || len(r.Columns) > 0), "from, to and columns are of a table: a statement has its own")
	fault(!r.From.IsZero() && !r.To.IsZero() && !r.From.Before(r.To), "from is not before to")
	fault(r.Tenant != "" && r.Tenant.Validate() != nil, "tenant is not a tenant's name")
	fault(!slices.Contains(Formats, r.Format), "format is one of parquet, csv, jsonl and xlsx")
	fault(!slices.Contains([]string{"", "none", "zstd", "gzip"}, r.Compression), "compression is zstd, gzip or none")
	fault((r.Format == Parquet || r.Format == XLSX) && r.compression() != "", "compression is of csv and jsonl: %s is compressed inside", r.Format)
	fault(!slices.Contains([]string{"", "none", EncryptAge, EncryptKMS}, r.Encryption), "encryption is age, kms or none")
	fault(r.MaxFileBytes != 0 && (r.MaxFileBytes < minFileBytes || r.MaxFileBytes > maxFileBytes), "max_file_bytes is from %d to %d", minFileBytes, maxFileBytes)
	fault(r.RawText && r.Format != CSV, "raw_text is of csv")
	fault(len(r.Key) > 64 || strings.ContainsFunc(r.Key, func(c rune) bool { return c <= ' ' || c > '~' }), "idempotency_key is 1 to 64 printable ASCII characters without spaces")
	// The job is kept, and the manifest has the statement: no card number gets there.
	fault(audit.Masks(r.SQL) || audit.Masks(r.Key), "the statement or the idempotency key holds a number of 12 digits or more, which could be a card's: cards are found by their tokens")
	fault(!utf8.ValidString(r.Table) || len(r.Table) > 200 || len(r.Columns) > 1000, "table or columns are too long")
	seen := map[string]bool{}
	for _, c := range r.Columns {
		fault(seen[c], "a column is named twice")
		seen[c] = true
	}
	if len(errs) == 0 {
		return nil
	}
	return &Fault{Code: Invalid, Message: errors.Join(errs...).Error()}
}

// equal reports whether the requests are spelled alike.
func (r *Request) equal(other *Request) bool {
	a, err := json.Marshal(r)
	b, err2 := json.Marshal(other)
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

func (r *Request) compression() string {
	if r.Compression == "none" {
		return ""
	}
	return r.Compression
}

func (r *Request) encryption() string {
	if r.Encryption == "none" {
		return ""
	}
	return r.Encryption
}

func (r *Request) fileBytes() int64 { return cmp.Or(r.MaxFileBytes, defaultFileBytes) }

// name is how the files' names begin: it has no character of the caller's.
func (r *Request) name() string {
	if t := cardlake.TableNamed(r.Table); t != nil {
		return t.Name
	}
	return "query"
}

// extension is the end of the files' names.
func (r *Request) extension() string {
	ext := "." + string(r.Format)
	switch r.compression() {
	case "zstd":
		ext += ".zst"
	case "gzip":
		ext += ".gz"
	}
	if r.encryption() != "" {
		ext += ".age"
	}
	return ext
}

// what says of the request, for the record, what is read.
func (r *Request) what() string {
	if r.SQL != "" {
		return r.SQL
	}
	text := "export of " + r.Table + " of " + string(r.Tenant)
	if !r.From.IsZero() {
		text += " from " + r.From.UTC().Format(time.RFC3339)
	}
	if !r.To.IsZero() {
		text += " until " + r.To.UTC().Format(time.RFC3339)
	}
	return text
}

// Code says what kind of fault it is, for doors.
type Code string

// The codes.
const (
	Invalid  Code = "invalid"   // the request is wrong
	NotFound Code = "not-found" // there is no such export, schedule or file for the caller
	NotReady Code = "not-ready" // the export has no files yet, or never will
	Gone     Code = "gone"      // it, or the link, has expired
	Refused  Code = "refused"   // not permitted, or not any more
	OverUsed Code = "quota"     // the tenant's quota of the day, or a bound, is reached
	Conflict Code = "conflict"  // the key was used for another request
)

// Fault is an error that is told to whoever asks: it says what is wrong and what to do, and
// holds no value of the data.
type Fault struct {
	Code    Code
	Message string
}

func (f *Fault) Error() string { return f.Message }

func faultf(code Code, format string, args ...any) *Fault {
	return &Fault{code, fmt.Sprintf(format, args...)}
}
