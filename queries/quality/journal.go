package quality

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// journal is a file of JSON lines to which lines are only ever appended, each whole or not at all,
// by any number of processes.
type journal struct{ path string }

// append adds a line, durably.
func (j journal) append(line any) (err error) {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(j.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // gives up the lock
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", filepath.Base(j.path), err)
	}
	// A line that a crash cut off is ended, so that it spoils none but itself.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if size := info.Size(); size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			text = append([]byte{'\n'}, text...)
		}
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// maxLine bounds a line, in bytes.
const maxLine = 16 << 20

// each calls f with every whole line, the oldest first. A line that was cut off by a crash is
// passed over; isDamaged says that there was one.
func (j journal) each(f func(line []byte) error) (isDamaged bool, err error) {
	file, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewReader(file)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > maxLine {
			return isDamaged, fmt.Errorf("%s has a line of more than %d bytes", filepath.Base(j.path), maxLine)
		}
		if whole := bytes.TrimSpace(line); len(whole) > 0 {
			if err == nil && json.Valid(whole) {
				if err := f(whole); err != nil {
					return isDamaged, err
				}
			} else {
				isDamaged = true
			}
		}
		if errors.Is(err, io.EOF) {
			return isDamaged, nil
		}
		if err != nil {
			return isDamaged, err
		}
	}
}
