package formats

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver
	"modernc.org/sqlite/vfs"

	"github.com/cardlake/cardlake/tokenize/discover"
)

// sqlite searches every table of a SQLite database, and then its pages as bytes: rows that were
// deleted stay in them until they are written again. A write-ahead log beside it is a file of
// its own.
func (s *Scanner) sqlite(ctx context.Context, path string, src Source, _ int) {
	seen := map[string]bool{}
	tell := s.yield
	s.yield = func(d discover.Detection) bool {
		if len(seen) < 1<<20 {
			seen[d.Fingerprint] = true
		}
		return tell(d)
	}
	err := s.sqliteTables(ctx, path, src)
	s.yield = func(d discover.Detection) bool {
		d.Part = "pages"
		return d.Fingerprint != "" && seen[d.Fingerprint] || tell(d)
	}
	defer func() { s.yield = tell }()
	if err != nil && ctx.Err() == nil {
		s.fault(path, fmt.Errorf("%w: %w", ErrForm, err))
	}
	s.bytes(path, s.count(ctx, io.NewSectionReader(src, 0, src.Size())))
}

func (s *Scanner) sqliteTables(ctx context.Context, path string, src Source) (err error) {
	if err := sqliteSize(src); err != nil {
		return err
	}
	name, files, err := vfs.New(sourceFS{src})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	db, err := sql.Open("sqlite", "file:database?vfs="+name+"&mode=ro&immutable=1&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	tables, err := sqliteNames(ctx, db)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if tableErr := s.sqliteTable(ctx, path, db, table); tableErr != nil {
			err = errors.Join(err, fmt.Errorf("table %s: %w", s.shown(table), tableErr))
		}
	}
	return err
}

// sqliteSize compares the size with the header's (SQLite file format, section 1.3), which
// SQLite itself does not complain about.
func sqliteSize(src Source) error {
	var header [100]byte
	if n, _ := src.ReadAt(header[:], 0); n < len(header) {
		return io.ErrUnexpectedEOF
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 64 << 10
	}
	pages := int64(binary.BigEndian.Uint32(header[28:]))
	isCounted := string(header[24:28]) == string(header[92:96]) // the count is of the last change
	if page < 512 || src.Size()%page != 0 || isCounted && pages*page > src.Size() {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func sqliteNames(ctx context.Context, db *sql.DB) (names []string, err error) {
	// Virtual tables run code; what they keep is in tables of its own.
	rows, err := db.QueryContext(ctx, `SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

func (s *Scanner) sqliteTable(ctx context.Context, path string, db *sql.DB, table string) error {
	rows, err := db.QueryContext(ctx, `SELECT * FROM "`+strings.ReplaceAll(table, `"`, `""`)+`"`)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	c := s.columns(path)
	defer c.flush()
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range into {
		into[i] = &values[i]
	}
	for row := int64(1); rows.Next() && !s.stopped; row++ {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			c.walk(table+"."+names[i], 0, row, v)
		}
	}
	return rows.Err()
}

// sourceFS is a file system with one file.
type sourceFS struct{ src Source }

func (f sourceFS) Open(string) (fs.File, error) {
	return sourceFile{io.NewSectionReader(f.src, 0, f.src.Size())}, nil
}

type sourceFile struct{ *io.SectionReader }

func (f sourceFile) Stat() (fs.FileInfo, error) { return sourceInfo(f.Size()), nil }
func (sourceFile) Close() error                 { return nil }

type sourceInfo int64

func (i sourceInfo) Name() string     { return "database" }
func (i sourceInfo) Size() int64      { return int64(i) }
func (sourceInfo) Mode() fs.FileMode  { return 0o400 }
func (sourceInfo) ModTime() time.Time { return time.Time{} }
func (sourceInfo) IsDir() bool        { return false }
func (sourceInfo) Sys() any           { return nil }
