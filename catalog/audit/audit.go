// Package audit is the record of who did what: an append-only log of JSON lines in which
// every line names the hash of the one before it, so that a line that is changed, taken
// out, put in or moved breaks the chain (PCI DSS 4.0.1 requirements 10.2.1, 10.2.2 and
// 10.3). It holds names, counts and reasons, never the content of a field.
//
// # Chain and seal
//
// A hash alone stops nobody who can rewrite the whole file. So each segment of the log has
// a key of its own, a data key of the owner [keys.Lake] and the purpose [keys.Audit]: every
// line ends in its SHA-256, and in an HMAC of that under the segment's key. The first line
// of a segment carries the key wrapped. A writer needs [keys.Provider.NewDataKey] only: it
// begins a new segment each time it opens the log and forgets the key when it closes it, so
// that a writer that may not unwrap can't forge what is closed, and whoever has the files
// without the key service can't forge anything.
//
// What neither finds is an end cut off at a line. An [Anchor] finds it: the newest line's
// number and hash, kept where whoever can cut the log can't reach. [Open] refuses a log that
// is shorter than its anchor, and [Verify] reports it.
//
// # Promise
//
// [Log.Append] returns nil after the line is on disk (fsync), and an error when the line is
// not there: then the caller refuses what it was about to do. Lines of concurrent callers
// share an fsync. A log of [Open] is one process's; one of [OpenShared] is appended to by
// several of the machine, in turn. Any number read it.
//
// # Checkpoints
//
// Who verifies seals could make them. So a log with a [Signer] signs its head from time to
// time and at the end of each segment, in lines of their own ([ActionCheckpoint]): whoever has
// the public key verifies all that is before them, and can make nothing.
//
// # What the holder of the lake's keys can do
//
// A process that writes the log holds what seals and signs it. An insider who has that and
// the files can write all of it anew, from the first line on, so that it verifies: no
// signature made on the machine helps against its owner. What such a log does not match is
// what had left the machine before: an anchor or a checkpoint kept elsewhere
// ([VerifyConfig].Anchor and Known), the segments in a bucket whose objects nobody can replace
// (package ship), and the rows of audit.events. That is why they leave it within seconds.
package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Outcome says how an action ended.
type Outcome string

const (
	Allowed Outcome = "allowed" // it was permitted, and happens after the record is there
	Refused Outcome = "refused" // it was not permitted, and did not happen
	Failed  Outcome = "failed"  // it was permitted, and could not be done
)

// Record is what a caller says of one event: PCI DSS 4.0.1 requirement 10.2.2. The log adds
// the time and the number. Runs of 12 or more digits in text are replaced by x: a reason is
// free text, and no line of the log may hold a card number.
type Record struct {
	Actor    string            `json:"actor"`             // the named principal; required
	Action   string            `json:"action"`            // such as "detokenise.collect"; required
	Resource string            `json:"resource"`          // what it was done to, by name; required
	Outcome  Outcome           `json:"outcome"`           // required
	Origin   string            `json:"origin,omitempty"`  // address or host it came from
	Reason   string            `json:"reason,omitempty"`  // the actor's purpose, or the rule that refused
	Request  string            `json:"request,omitempty"` // joins the lines of one request
	Detail   map[string]string `json:"detail,omitempty"`
	Numbers  map[string]int64  `json:"numbers,omitempty"` // counts, versions
}

// Entry is a Record as it stands in the log.
type Entry struct {
	Seq  uint64    `json:"seq"`  // counted from 1 over all segments
	Time time.Time `json:"time"` // UTC, to the microsecond
	Record
	// Segment is set in the first line of a segment, whose action is ActionOpen,
	// ActionRotate or ActionResume.
	Segment *Segment `json:"segment,omitempty"`
	// Checkpoint is set in a line of ActionCheckpoint.
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
	Prev       string      `json:"prev"` // hash of the line before, empty in the first of all
}

// Segment is what the first line of a segment tells of it.
type Segment struct {
	Number int    `json:"number"` // counted from 1
	Log    string `json:"log"`    // drawn at random for the log's first segment
	Key    string `json:"key"`    // the segment's key, wrapped, in letters a to p
	// Torn is how many bytes of an unfinished, never acknowledged line were cut from the end
	// of the segment before, after its writer died.
	Torn int64 `json:"torn,omitempty"`
}

// Actions of the log itself: PCI DSS 4.0.1 requirement 10.2.1.6.
const (
	ActionOpen       = "audit.open"
	ActionRotate     = "audit.rotate"
	ActionResume     = "audit.resume" // after another process wrote
	ActionClose      = "audit.close"
	ActionCheckpoint = "audit.checkpoint"
	ActionPrune      = "audit.prune" // segments that lie elsewhere are removed here: see Prune
)

// Head is the newest line of a log: what an Anchor keeps.
type Head struct {
	Log  string `json:"log"`
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

var (
	// ErrLocked says that another process writes the log.
	ErrLocked = errors.New("another process writes this audit log")
	// ErrTruncated says that the log ends before a line that its anchor knows of.
	ErrTruncated = errors.New("the audit log is shorter than its anchor: lines at its end are missing")
	// ErrBroken says that the log's end can't be continued: its last line does not have the
	// hash it states.
	ErrBroken = errors.New("the audit log's last line is damaged: verify the log and begin a new one beside it")
	// ErrChanged says that a segment is not as this process left it.
	ErrChanged = errors.New("the audit log was changed beside its writers: verify the log and begin a new one beside it")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("the audit log is closed")
	// ErrRecord marks a record that breaks a rule.
	ErrRecord = errors.New("invalid audit record")
)

// Bounds of a record.
const (
	maxText   = 1024
	maxDetail = 32
	maxName   = 64 // of a detail or number
)

// check returns the record as it may be written, or ErrRecord.
func (r Record) check() (Record, error) {
	for _, f := range []struct {
		name     string
		value    *string
		required bool
	}{
		{"actor", &r.Actor, true}, {"action", &r.Action, true}, {"resource", &r.Resource, true},
		{"origin", &r.Origin, false}, {"reason", &r.Reason, false}, {"request", &r.Request, false},
	} {
		if f.required && *f.value == "" {
			return r, fmt.Errorf("%w: %s is empty", ErrRecord, f.name)
		}
		if err := checkText(f.name, *f.value); err != nil {
			return r, err
		}
		*f.value = maskDigits(*f.value)
	}
	switch r.Outcome {
	case Allowed, Refused, Failed:
	default:
		return r, fmt.Errorf("%w: outcome is none of allowed, refused, failed", ErrRecord)
	}
	if len(r.Detail) > maxDetail || len(r.Numbers) > maxDetail {
		return r, fmt.Errorf("%w: more than %d details", ErrRecord, maxDetail)
	}
	for k := range r.Numbers {
		if err := checkName(k); err != nil {
			return r, err
		}
	}
	if len(r.Detail) > 0 {
		masked := make(map[string]string, len(r.Detail))
		for k, v := range r.Detail {
			if err := errors.Join(checkName(k), checkText("a detail", v)); err != nil {
				return r, err
			}
			masked[k] = maskDigits(v)
		}
		r.Detail = masked
	}
	return r, nil
}

func checkName(s string) error {
	if s == "" || len(s) > maxName || maskDigits(s) != s || !utf8.ValidString(s) {
		return fmt.Errorf("%w: a detail's name is empty, longer than %d bytes or a long number", ErrRecord, maxName)
	}
	return nil
}

func checkText(name, s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are kept", ErrRecord, name, len(s), maxText)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: %s is not UTF-8", ErrRecord, name)
	}
	return nil
}

// Masks reports whether the log would not keep the text as it is, because it has a run of 12 or
// more digits.
func Masks(s string) bool { return maskDigits(s) != s }

// minMasked is the length of the shortest card number (ISO/IEC 7812-1).
const minMasked = 12

// maskDigits replaces the digits of every run of 12 or more by x. Single spaces, dots and
// hyphens inside a run do not end it, since that is how people write card numbers.
func maskDigits(s string) string {
	var out []byte
	for i := 0; i < len(s); {
		if !isDigit(s[i]) {
			i++
			continue
		}
		end, digits := i, 0
		for j := i; j < len(s); j++ {
			if isDigit(s[j]) {
				digits++
				end = j + 1
			} else if !strings.ContainsRune(" .-", rune(s[j])) || !isDigit(s[j-1]) {
				break
			}
		}
		if digits >= minMasked {
			if out == nil {
				out = []byte(s)
			}
			for j := i; j < end; j++ {
				if isDigit(s[j]) {
					out[j] = 'x'
				}
			}
		}
		i = end
	}
	if out == nil {
		return s
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
