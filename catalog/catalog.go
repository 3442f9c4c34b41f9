// Package catalog defines the commit protocol of the lake's tables: files and stream
// positions become visible in one snapshot, exactly once, or not at all. catalog/iceberg
// implements it on Apache Iceberg.
//
// The positions in the newest snapshot that has them are the truth about what has been
// consumed; a source's own committed offsets are for lag monitors only.
package catalog

import (
	"errors"
	"time"

	"github.com/cardlake/cardlake"
)

var (
	// ErrConflict says that the table's positions are not those the append began from, or
	// that another commit won the race: nothing happened. Reload and decide.
	ErrConflict = errors.New("conflict: the table moved")
	// ErrUnknown says that the commit may or may not have happened. Reread the positions
	// first; delete nothing.
	ErrUnknown = errors.New("outcome unknown: the commit may have happened")
	// ErrGone says that a file to be replaced is not in the table any more: another Replace
	// removed it first. Nothing happened; plan anew from the table's files.
	ErrGone = errors.New("a file to be replaced is not in the table any more")
)

// Append is one commit. Files may be empty: positions that moved over records which left
// no row are committed too. An error other than ErrConflict and ErrUnknown says that nothing
// happened and the same append may be tried again.
type Append struct {
	Files []cardlake.DataFile
	// From are the positions the files begin at and To those they end at, for the
	// partitions that moved. The commit happens only if the table's positions still equal
	// From for all of them; a partition that From or the table does not know is at 0.
	From, To cardlake.Positions
}

// Operation says what a [Replace] does to the table's rows (Iceberg specification,
// "Snapshots", operation).
type Operation string

const (
	// OpReplace leaves the rows as they are, in other files: compaction. The rows removed and
	// added must be as many, in each tenant and day.
	OpReplace Operation = "replace"
	// OpOverwrite changes or takes rows.
	OpOverwrite Operation = "overwrite"
	// OpDelete takes whole files and adds none.
	OpDelete Operation = "delete"
)

// Replace is one commit that takes files out of the table and puts others in. It moves no
// stream position and does not conflict with an Append.
type Replace struct {
	// Remove names the files that go, which must be live: at least one, each once.
	Remove []string
	// Add are the files that come. An added file takes the greatest Sequence of the removed
	// files of its tenant and day, since its rows are no newer than theirs; if there are none,
	// that of the commit.
	Add       []cardlake.DataFile
	Operation Operation
}

// Snapshot is one committed state of a table.
type Snapshot struct {
	ID int64
	// Sequence counts the table's commits from 1, those whose snapshots are gone included.
	Sequence    int64
	CommittedAt time.Time
	// Positions are the stream positions as of the snapshot: its own, or its nearest
	// ancestor's if it was made by another engine's maintenance.
	Positions cardlake.Positions
	// Rows and Files are totals of the whole table.
	Rows, Files int64
}
