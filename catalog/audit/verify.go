package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/cardlake/cardlake/keys"
)

// Unwrapper opens the keys of segments. A keys.Provider is one.
type Unwrapper interface {
	// UnwrapDataKey opens what was wrapped under the scope.
	UnwrapDataKey(ctx context.Context, scope keys.Scope, wrapped []byte) (keys.Key, error)
}

// VerifyConfig says against what a log is held.
type VerifyConfig struct {
	// Keys opens the segments' keys. Without it the seals are not checked, and whoever can
	// write the files could have written what no checkpoint covers.
	Keys Unwrapper
	// Public are the keys whose checkpoints are trusted; none means that checkpoints are not
	// looked at. With them a log that has lines without a checkpoint over more than
	// MaxUnsigned is broken.
	Public []ed25519.PublicKey
	// MaxUnsigned is for how long a log may have been written without a checkpoint; what passed
	// between two segments does not count, and of a pause two minutes. Default 5 minutes; it must
	// be more than the writers' CheckpointAfter.
	MaxUnsigned time.Duration
	// Anchor is what the log's anchor keeps. Without it an end that is missing is not found.
	Anchor Head
	// Known are older heads that somebody kept, such as those of checkpoints: the log must have
	// each of them that it has not pruned.
	Known []Head
	// First is the number of the oldest segment that must be there, when older ones were taken
	// away without a record of it. Default: the log says itself what was pruned.
	First int
}

// Report is what Verify found.
type Report struct {
	Log      string    `json:"log"`
	Segments int       `json:"segments"`
	Pruned   int       `json:"pruned,omitempty"` // segments that the log says lie elsewhere
	Lines    uint64    `json:"lines"`            // that hold together, up to the break if there is one
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Head     Head      `json:"head"`
	IsSealed bool      `json:"is_sealed"` // every seal was checked
	// Checkpoints were genuine; Unsigned lines follow the last one. Zero without public keys.
	Checkpoints int    `json:"checkpoints,omitempty"`
	Unsigned    uint64 `json:"unsigned,omitempty"`
	Torn        int64  `json:"torn"` // bytes of an unfinished line at the end: being written, or its writer died
	Break       *Break `json:"break,omitempty"`
}

// Break is the first place at which a log does not hold together.
type Break struct {
	Segment string `json:"segment"` // file
	Line    int    `json:"line"`    // in the file, counted from 1; 0 for the file as a whole
	Seq     uint64 `json:"seq"`     // number of the line that was due
	What    string `json:"what"`
}

func (b Break) String() string {
	return fmt.Sprintf("%s, line %d (number %d): %s", b.Segment, b.Line, b.Seq, b.What)
}

// ErrBreak is the error of a log that does not hold together.
var ErrBreak = errors.New("the audit log does not hold together")

// Verify reads the whole log and reports whether it holds together, and if not, where it
// first does not. The error says that it could not be read, or that a key could not be asked
// for. It may run beside the log's writers: load the anchor before.
func Verify(ctx context.Context, dir string, cfg VerifyConfig) (Report, error) {
	return VerifySegments(ctx, Dir(dir), cfg)
}

// VerifySegments is Verify of a log whose segments lie elsewhere.
func VerifySegments(ctx context.Context, from Segments, cfg VerifyConfig) (Report, error) {
	t := TailOf(from, cfg)
	defer t.Close()
	if err := t.Each(ctx, func(Line) bool { return true }); err != nil && !errors.Is(err, ErrBreak) {
		return t.Report(), err
	}
	return t.End(), nil
}
