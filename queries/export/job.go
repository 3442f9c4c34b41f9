package export

import (
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// State is where an export is.
type State string

// The states. Queued and Running are followed by one of the others; Expired follows Done.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	Expired   State = "expired"
)

// IsFinal reports whether nothing more is done for the export, but that its files expire.
func (s State) IsFinal() bool { return s != Queued && s != Running }

// Progress is how far a job is.
type Progress struct {
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"` // of finished files
	Files int   `json:"files"` // finished, without the manifest
	// PlannedRows are those of the files that are read, 0 if they are not known: of a
	// statement. With a range of times there may be fewer.
	PlannedRows int64 `json:"planned_rows,omitempty"`
	// Percent is of PlannedRows, 100 at the end.
	Percent int `json:"percent"`
}

// File is a file of an export.
type File struct {
	// Number counts from 1; 0 is the manifest.
	Number int    `json:"number"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	// Bytes and SHA256 (hexadecimal) are of what is downloaded.
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`

	// Object is its name in the store.
	Object string `json:"object,omitempty"`
}

// Given is what a job's rows were read with of one table: what whoever downloads must still be
// given.
type Given struct {
	Table   string                   `json:"table"`
	Columns map[string]grants.Access `json:"columns"`
}

// Job is an export.
type Job struct {
	ID        string           `json:"id"`
	State     State            `json:"state"`
	Tenant    cardlake.Tenant  `json:"tenant"`
	Principal grants.Principal `json:"principal"`
	Request   Request          `json:"request"`
	Schedule  string           `json:"schedule,omitempty"` // the schedule whose run it is

	Progress  Progress  `json:"progress"`
	CreatedAt time.Time `json:"created_at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// ExpiresAt is when the files are removed.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Error says why it failed, and what to do.
	Error string `json:"error,omitempty"`
	// Files are there once it is done, the manifest first.
	Files []File `json:"files,omitempty"`

	Attempt int `json:"attempt"`
	// NotBefore is when a job that failed in passing runs again.
	NotBefore time.Time `json:"not_before,omitzero"`
	// Caller is who asked, as they signed in.
	Caller grants.Caller `json:"caller"`
	Given  []Given       `json:"given,omitempty"`
	// Charged is what the day's usage was raised by; Day is 2006-01-02, UTC.
	Charged Usage  `json:"charged"`
	Day     string `json:"day"`
	// Stop asks the process that runs it to end.
	Stop bool `json:"stop,omitempty"`
	// Notified says that the tenant was told that it ended, or will not be; Notifies how often
	// that was tried, and NotifyNext when it is tried again.
	Notified   bool      `json:"notified,omitempty"`
	Notifies   int       `json:"notifies,omitempty"`
	NotifyNext time.Time `json:"notify_next,omitzero"`
	Storage    string    `json:"storage"` // the tenant's storage id
}

// Usage is what left the lake of a tenant in a day.
type Usage struct {
	Rows    int64 `json:"rows"`
	Bytes   int64 `json:"bytes"`
	Exports int64 `json:"exports"`
}

// prefix is where the job's objects are.
func (j *Job) prefix() string { return objectsPrefix + j.Storage + "/" + j.ID + "/" }

// objectsPrefix is where the objects of all exports are.
const objectsPrefix = "exports/"

func (j *Job) file(number int) *File {
	for i := range j.Files {
		if j.Files[i].Number == number {
			return &j.Files[i]
		}
	}
	return nil
}

func (p *Progress) percent() {
	switch {
	case p.PlannedRows <= 0:
		p.Percent = 0
	default:
		p.Percent = int(min(99, p.Rows*100/p.PlannedRows))
	}
}
