// Package spool keeps the rows of an answer until they are fetched page by page. They lie in a
// file without a name, sealed with AES-256-GCM under a key that exists in this process's memory
// only and is drawn for each answer: what is left of the file after a crash is noise.
package spool

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/render"
)

// Bounds of a chunk: what is sealed, and opened again, at once.
const (
	chunkRows  = 4096
	chunkBytes = 1 << 20
)

// ErrClosed says that the rows are not kept any more.
var ErrClosed = errors.New("the rows are not kept any more")

// chunk is where some rows lie.
type chunk struct {
	first, rows  int64
	offset, size int64
}

// Spool keeps the rows of one answer. One goroutine fills it while others read.
type Spool struct {
	columns []queries.Column
	schema  *arrow.Schema
	aead    cipher.AEAD

	mu     sync.RWMutex // also held while the file is used
	file   *os.File     // nil once closed
	chunks []chunk
	rows   int64
	bytes  int64
}

// New makes an empty spool in a folder, "" for the system's one for temporary files.
func New(dir string, columns []queries.Column) (*Spool, error) {
	file, err := os.CreateTemp(dir, "cardlake-*")
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil { // it is there as long as it is open
		return nil, errors.Join(fmt.Errorf("spool: %w", err), file.Close())
	}
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	clear(key)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Spool{columns: columns, schema: render.Schema(columns), aead: aead, file: file}, nil
}

// Fill reads the rows to their end. After each chunk it calls grew with how many bytes it has;
// an error of grew ends it.
func (s *Spool) Fill(ctx context.Context, rows queries.Rows, grew func(rows, bytes int64) error) error {
	return render.Records(ctx, s.schema, rows, render.Bound{Rows: chunkRows, Bytes: chunkBytes}, func(batch arrow.RecordBatch) error {
		var text bytes.Buffer
		w := ipc.NewWriter(&text, ipc.WithSchema(s.schema), ipc.WithZstd())
		if err := errors.Join(w.Write(batch), w.Close()); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		if err := s.add(text.Bytes(), batch.NumRows()); err != nil {
			return err
		}
		return grew(s.Rows(), s.Bytes())
	})
}

// add seals a chunk and writes it.
func (s *Spool) add(text []byte, rows int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return ErrClosed
	}
	sealed := s.aead.Seal(nil, nonce(len(s.chunks)), text, nil)
	if _, err := s.file.WriteAt(sealed, s.bytes); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.chunks = append(s.chunks, chunk{first: s.rows, rows: rows, offset: s.bytes, size: int64(len(sealed))})
	s.rows += rows
	s.bytes += int64(len(sealed))
	return nil
}

// nonce is that of the n-th chunk: the key is of this spool alone (NIST SP 800-38D section
// 8.2.1), and a chunk that was moved does not open.
func nonce(n int) []byte {
	var out [12]byte
	binary.BigEndian.PutUint64(out[4:], uint64(n))
	return out[:]
}

// Rows is how many rows are kept so far.
func (s *Spool) Rows() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.rows
}

// Bytes is how many bytes they take.
func (s *Spool) Bytes() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.bytes
}

// Columns describe the rows.
func (s *Spool) Columns() []queries.Column { return s.columns }

// Close lets the rows and their key go. Who reads them gets ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file, s.aead, s.chunks = nil, nil, nil
	return err
}

// Read returns the rows from the one to before the other, as far as they are kept, counted from 0.
func (s *Spool) Read(from, to int64) queries.Rows { return &reader{spool: s, next: from, end: to} }

// reader implements queries.Rows.
type reader struct {
	spool     *Spool
	next, end int64
	columns   []arrow.Array // of the chunk
	chunk     chunk
	release   func()
}

func (r *reader) Columns() []queries.Column     { return r.spool.columns }
func (r *reader) Snapshots() []queries.Snapshot { return nil }

// Next implements queries.Rows.
func (r *reader) Next(row []any) error {
	if r.next >= r.end {
		return io.EOF
	}
	if r.columns == nil || r.next >= r.chunk.first+r.chunk.rows {
		if err := r.open(); err != nil {
			return err
		}
	}
	at := int(r.next - r.chunk.first)
	for i, column := range r.columns {
		v, err := valueOf(column, at)
		if err != nil {
			return fmt.Errorf("spool: column %d: %w", i+1, err)
		}
		row[i] = v
	}
	r.next++
	return nil
}

// open opens the chunk that has the next row.
func (r *reader) open() error {
	s := r.spool
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.file == nil {
		return ErrClosed
	}
	if r.next >= s.rows {
		return io.EOF
	}
	i, _ := slices.BinarySearchFunc(s.chunks, r.next, func(c chunk, row int64) int {
		switch {
		case c.first > row:
			return 1
		case c.first+c.rows <= row:
			return -1
		}
		return 0
	})
	sealed := make([]byte, s.chunks[i].size)
	if _, err := s.file.ReadAt(sealed, s.chunks[i].offset); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	text, err := s.aead.Open(sealed[:0], nonce(i), sealed, nil)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	stream, err := ipc.NewReader(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	_ = r.Close() // of the chunk before
	if !stream.Next() {
		defer stream.Release()
		return fmt.Errorf("spool: a chunk without rows: %w", cmp.Or(stream.Err(), io.ErrUnexpectedEOF))
	}
	r.columns, r.chunk, r.release = stream.RecordBatch().Columns(), s.chunks[i], stream.Release
	return nil
}

// Close implements queries.Rows.
func (r *reader) Close() error {
	if r.release != nil {
		r.release()
		r.columns, r.release = nil, nil
	}
	return nil
}
