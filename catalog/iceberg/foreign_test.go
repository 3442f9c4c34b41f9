package iceberg

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"testing"
	"time"

	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

// foreign lets iceberg-go work on the tables of a catalog, as another engine would: it is
// the file system and the catalog that iceberg-go asks for.
type foreign struct {
	ctx context.Context
	t   *Table
}

var (
	_ icebergio.ReadFileIO  = foreign{}
	_ icebergio.WriteFileIO = foreign{}
	_ table.CatalogIO       = foreign{}
)

func (f foreign) Open(uri string) (icebergio.File, error) {
	body, err := f.ReadFile(uri)
	if err != nil {
		return nil, err
	}
	return foreignFile{bytes.NewReader(body), path.Base(uri)}, nil
}

func (f foreign) ReadFile(uri string) ([]byte, error) { return f.t.cat.read(f.ctx, uri) }

func (f foreign) WriteFile(uri string, body []byte) error {
	name, err := f.t.cat.locations.object(uri)
	if err != nil {
		return err
	}
	return f.t.cat.put(f.ctx, blob{name, body})
}

func (f foreign) Create(uri string) (icebergio.FileWriter, error) {
	return &foreignWriter{foreign: f, uri: uri}, nil
}

func (f foreign) Remove(string) error { return nil }

// LoadTable returns the table as iceberg-go reads it.
func (f foreign) LoadTable(ctx context.Context, ident table.Identifier) (*table.Table, error) {
	location, err := f.t.cat.pointers.load(ctx, f.t.def)
	if err != nil {
		return nil, err
	}
	return table.NewFromLocation(ctx, ident, location, func(context.Context) (icebergio.IO, error) { return f, nil }, f)
}

func (f foreign) CommitTable(ctx context.Context, ident table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	base, err := f.LoadTable(ctx, ident)
	if err != nil {
		return nil, "", err
	}
	for _, r := range reqs {
		if err := r.Validate(base.Metadata()); err != nil {
			return nil, "", err
		}
	}
	meta, err := table.UpdateTableMetadata(base.Metadata(), updates, base.MetadataLocation())
	if err != nil {
		return nil, "", err
	}
	body, err := meta.(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
	if err != nil {
		return nil, "", err
	}
	number, err := metadataNumber(base.MetadataLocation())
	if err != nil {
		return nil, "", err
	}
	location := f.t.cat.locations.uri(f.t.metadataName(number + 1))
	if err := f.WriteFile(location, body); err != nil {
		return nil, "", err
	}
	if o, err := f.t.cat.pointers.swap(ctx, f.t.def, base.MetadataLocation(), location); o != swapped {
		return nil, "", errors.Join(table.ErrCommitFailed, err)
	}
	return meta, location, nil
}

type foreignFile struct {
	*bytes.Reader
	name string
}

func (f foreignFile) Close() error               { return nil }
func (f foreignFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f foreignFile) Name() string               { return f.name }
func (f foreignFile) Mode() fs.FileMode          { return 0o400 }
func (f foreignFile) ModTime() time.Time         { return time.Time{} }
func (f foreignFile) IsDir() bool                { return false }
func (f foreignFile) Sys() any                   { return nil }

type foreignWriter struct {
	bytes.Buffer
	foreign
	uri string
}

func (w *foreignWriter) ReadFrom(r io.Reader) (int64, error) { return w.Buffer.ReadFrom(r) }
func (w *foreignWriter) Close() error                        { return w.WriteFile(w.uri, w.Bytes()) }

// loadForeign returns the table as iceberg-go reads it.
func loadForeign(t testing.TB, tbl *Table) *table.Table {
	t.Helper()
	theirs, err := foreign{t.Context(), tbl}.LoadTable(t.Context(), table.Identifier{tbl.def.Namespace, tbl.def.Name})
	if err != nil {
		t.Fatal(err)
	}
	return theirs
}

// change commits what stage puts into a transaction, as maintenance would: without positions.
func change(t *testing.T, tbl *Table, stage func(*table.Transaction) error) {
	t.Helper()
	tx := loadForeign(t, tbl).NewTransaction()
	if err := stage(tx); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// addNothing stages a snapshot without files and positions.
func addNothing(tx *table.Transaction) error {
	return tx.AddFiles(context.Background(), nil, nil, true)
}
