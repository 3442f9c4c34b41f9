package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake/queries/changes"
)

const (
	batchDigits  = 12          // of the name of a batch's folder
	unfinished   = ".writing-" // begins the name of a folder that is written
	markerFile   = "changes.json"
	folderAccess = 0o700
)

// batchFolder keeps each batch in a folder of its own, with its rows and its cursor. The folder is
// written aside and gets its name when all of it is on disk, so both are kept at once: there is
// no instant at which one is without the other. Of two processes that write the same batch, one
// gives it its name and the other fails.
type batchFolder struct {
	root, table, format string
	last                int64  // number of the newest batch
	at                  string // its cursor
}

func newBatchFolder(root, table, format string) (*batchFolder, error) {
	f := &batchFolder{root: root, table: table, format: format}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("-into: %w", err)
	}
	return f, nil
}

func (f *batchFolder) open() error {
	if err := os.MkdirAll(f.root, folderAccess); err != nil {
		return err
	}
	entries, err := os.ReadDir(f.root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) { // of a process that was killed
			if err := os.RemoveAll(filepath.Join(f.root, e.Name())); err != nil {
				return err
			}
			continue
		}
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && len(e.Name()) == batchDigits {
			f.last = max(f.last, n)
		}
	}
	if f.last == 0 {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(f.root, f.name(f.last), markerFile))
	if err != nil {
		return err
	}
	var m marker
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("%s: %w", markerFile, err)
	}
	if m.Table != f.table || m.Cursor == "" {
		return fmt.Errorf("the folder is not of table %s", f.table)
	}
	f.at = m.Cursor
	return nil
}

func (f *batchFolder) name(n int64) string { return fmt.Sprintf("%0*d", batchDigits, n) }

func (f *batchFolder) cursor() (string, error) { return f.at, nil }

func (f *batchFolder) write(ctx context.Context, b *changes.Batch) (err error) {
	aside, err := os.MkdirTemp(f.root, unfinished)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(aside))
		}
	}()
	err = durably(filepath.Join(aside, "rows."+f.format), func(w io.Writer) error {
		buffer := bufio.NewWriterSize(w, 1<<20)
		return errors.Join(writeBatch(ctx, buffer, f.format, b), buffer.Flush())
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(markerOf(b, f.table), "", "  ")
	if err != nil {
		return err
	}
	err = durably(filepath.Join(aside, markerFile), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err == nil {
		err = syncFolder(aside)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(aside, filepath.Join(f.root, f.name(f.last+1))); err != nil {
		return fmt.Errorf("another process writes to the same folder: %w", err)
	}
	f.last, f.at = f.last+1, b.Cursor
	return syncFolder(f.root)
}

// durably writes a file that is on disk when it returns.
func durably(path string, write func(io.Writer) error) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := write(file); err != nil {
		return err
	}
	return file.Sync()
}

func syncFolder(path string) (err error) {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	return folder.Sync()
}

// replaceFile puts a file in the place of another, which is there until the new one is on disk.
func replaceFile(path string, body []byte) (err error) {
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(body)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// jsonLines makes one line of each row out of the array that render.JSON writes, which has a
// row in each line between its brackets.
type jsonLines struct {
	w    io.Writer
	rest []byte // of a line that is not complete
	err  error
}

// Write implements io.Writer.
func (l *jsonLines) Write(p []byte) (int, error) {
	data := p
	if len(l.rest) > 0 {
		data = append(l.rest, p...)
	}
	var out []byte
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		line := data[:end]
		data = data[end+1:]
		if len(line) > 1 && line[0] == '{' {
			out = append(append(out, bytes.TrimSuffix(line, []byte(","))...), '\n')
		}
	}
	l.rest = append([]byte(nil), data...)
	if _, err := l.w.Write(out); err != nil {
		l.err = err
		return 0, err
	}
	return len(p), nil
}
