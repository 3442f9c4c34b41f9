package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/writers/objects"
)

// maxLakeFiles bounds the files of a table that rules about files look at.
const maxLakeFiles = 10_000

// files returns the data files of -table and its partition, for rules about files that name no
// path: those of tenants that the caller may read, on record.
func (j *qualityJob) files(l *serving.Lake, gateway *queries.Gateway) func(context.Context) ([]quality.File, error) {
	return func(ctx context.Context) ([]quality.File, error) {
		var files []quality.File
		scan := queries.Scan{Action: grants.Query, Table: j.table, What: "the files of " + j.table}
		r, err := gateway.Scan(ctx, j.door.caller, scan, func(ctx context.Context, read queries.Read) (queries.Rows, error) {
			_, all, err := l.Planner.Plan(ctx, read.Table)
			if err != nil {
				return nil, err
			}
			for _, f := range all {
				if read.Decision.Scope(f.Tenant) == nil || !j.has(f) {
					continue
				}
				if len(files) == maxLakeFiles {
					return nil, fmt.Errorf("%s has more than %d files: limit it with -tenant and -day", j.table, maxLakeFiles)
				}
				file, err := lakeFile(ctx, l.Store, f)
				if err != nil {
					return nil, err
				}
				files = append(files, file)
			}
			return &listing{}, nil
		})
		if err != nil {
			return nil, err
		}
		return files, r.Close()
	}
}

// has says whether the file is of the partition that is looked at.
func (j *qualityJob) has(f cardlake.DataFile) bool {
	return (j.tenant == "" || string(f.Tenant) == j.tenant) && (j.date.IsZero() || f.Day == cardlake.DayOf(j.date.UnixMicro()))
}

// lakeFile is a data file as rules look at it: its size is that of the Parquet in it.
func lakeFile(ctx context.Context, store objects.Store, f cardlake.DataFile) (quality.File, error) {
	file := quality.File{Path: f.Name, Bytes: f.Bytes, Open: func(ctx context.Context) (io.ReadCloser, error) {
		o, err := store.Open(ctx, f.Name)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(o, 0, o.Size()), o}, nil
	}}
	for info, err := range store.List(ctx, f.Name) {
		if err != nil {
			return file, err
		}
		if info.Name == f.Name {
			file.Modified = info.ModTime
			return file, nil
		}
	}
	return file, errors.New("a file of the table is not in the store")
}
