package ingest

import (
	"time"

	"github.com/cardlake/cardlake"
)

// StageName is a part of the worker's way from stream to table.
type StageName string

const (
	StagePoll   StageName = "poll"   // waiting for records and receiving them
	StageTake   StageName = "take"   // decode, open, tokenise, add to columns
	StageWrite  StageName = "write"  // encode, encrypt and put a window's files
	StageAppend StageName = "append" // commit files and positions to one table
	StageCommit StageName = "commit" // a whole window: its writes and appends
)

// Stage is one stage that ended.
type Stage struct {
	Name  StageName
	Began time.Time
	Took  time.Duration
	// Records are those polled or taken, or a committed window's rows.
	Records int
	Files   []cardlake.DataFile // of StageWrite
	Opened  time.Time           // of StageCommit: when the window took its first record
	Err     error               // why a window was not committed
}

func (w *Worker) observe(s Stage) {
	if w.Observe != nil {
		s.Took = time.Since(s.Began)
		w.Observe(s)
	}
}
