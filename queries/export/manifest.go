package export

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// Manifest says what an export is. It is a file of the export itself; its digest is on the audit
// record.
type Manifest struct {
	Version    int             `json:"version"` // 1
	Export     string          `json:"export"`
	Tenant     cardlake.Tenant `json:"tenant"`
	Principal  string          `json:"principal"`
	Schedule   string          `json:"schedule,omitempty"`
	AskedAt    time.Time       `json:"asked_at"`
	FinishedAt time.Time       `json:"finished_at"`
	AsOf       time.Time       `json:"as_of,omitzero"`

	Table string    `json:"table,omitempty"`
	SQL   string    `json:"sql,omitempty"`
	From  time.Time `json:"from,omitzero"` // included
	To    time.Time `json:"to,omitzero"`   // not included

	Tables []state `json:"tables"`
	Format Format  `json:"format"`
	// Compression and Encryption are as in the Request, empty for none.
	Compression string `json:"compression,omitempty"`
	Encryption  string `json:"encryption,omitempty"`
	// GuardedTexts counts the texts that got an apostrophe before them.
	GuardedTexts *int64           `json:"guarded_texts,omitempty"`
	Columns      []ManifestColumn `json:"columns"`
	Rows         int64            `json:"rows"`
	Bytes        int64            `json:"bytes"`
	Files        []File           `json:"files"`
}

// ManifestColumn is a column of the files.
type ManifestColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Access is clear or masked, of a column of a table.
	Access string `json:"access,omitempty"`
}

// manifest describes what the attempt wrote.
func (a *attempt) manifest(now time.Time) ([]byte, error) {
	j, r := a.job, &a.job.Request
	m := Manifest{
		Version: 1, Export: j.ID, Tenant: j.Tenant, Principal: j.Principal.String(), Schedule: j.Schedule,
		AskedAt: j.CreatedAt, FinishedAt: now, Table: r.Table, SQL: r.SQL, From: r.From, To: r.To,
		Format: r.Format, Compression: r.compression(), Encryption: r.encryption(), Rows: a.rows, Files: slices.Clone(a.files),
	}
	if at, ok := a.source.AsOf(); ok {
		m.AsOf = at.UTC()
	}
	for _, s := range a.source.Snapshots() {
		m.Tables = append(m.Tables, state{Table: s.Table.FullName(), Snapshot: s.ID, CommittedAt: s.CommittedAt.UTC(), Positions: s.Positions})
	}
	if r.Format == CSV && !r.RawText {
		m.GuardedTexts = &a.guarded
	}
	for _, c := range a.source.Columns() {
		col := ManifestColumn{Name: c.Name, Type: c.Type.String()}
		if r.SQL == "" {
			col.Access = a.source.given[0].Columns[c.Name].String()
		}
		m.Columns = append(m.Columns, col)
	}
	for i := range m.Files {
		m.Bytes += m.Files[i].Bytes
		m.Files[i].Object = ""
	}
	return json.MarshalIndent(m, "", "  ")
}

// finish puts the manifest first among the files.
func (a *attempt) finish(ctx context.Context, now time.Time) error {
	text, err := a.manifest(now)
	if err != nil {
		return err
	}
	if err := a.put(ctx, File{Number: 0, Name: "manifest.json"}, append(text, '\n')); err != nil {
		return err
	}
	last := len(a.files) - 1
	a.files = append(a.files[last:], a.files[:last]...)
	return nil
}

// textColumns are the columns that hold texts.
func textColumns(columns []queries.Column) (out []int) {
	for i, c := range columns {
		if c.Type.ID() == arrow.STRING {
			out = append(out, i)
		}
	}
	return out
}

// guardedNames guards the header: a statement names its columns as it likes.
func guardedNames(columns []queries.Column) []queries.Column {
	out := slices.Clone(columns)
	for i := range out {
		out[i].Name = guarded(out[i].Name)
	}
	return out
}
