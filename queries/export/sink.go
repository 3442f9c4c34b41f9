package export

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries/render"
)

// body is one file in memory, as it is downloaded: compressed and encrypted. Its memory is used
// again for the next.
type body struct {
	bytes []byte
	most  int // about how many there will be
}

// Write implements io.Writer.
func (b *body) Write(p []byte) (int, error) {
	if n := len(b.bytes) + len(p); n > cap(b.bytes) {
		// Twofold up to what a file has, and little more: it is the largest piece of memory.
		room := max(2*cap(b.bytes), 1<<20)
		if most := b.most + b.most/8 + 1<<20; room > most {
			room = max(most, cap(b.bytes)+cap(b.bytes)/8)
		}
		grown := make([]byte, len(b.bytes), max(n, room))
		copy(grown, b.bytes)
		b.bytes = grown
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// wrap returns a writer into the body that compresses and encrypts, and what finishes both.
func (b *body) wrap(r *Request, recipients []age.Recipient) (w io.Writer, finish func() error, err error) {
	w = b
	var closers []io.Closer // the outer first
	if r.encryption() != "" {
		sealed, err := age.Encrypt(w, recipients...)
		if err != nil {
			return nil, nil, fmt.Errorf("encrypt: %w", err)
		}
		w, closers = sealed, append(closers, sealed)
	}
	switch r.compression() {
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, nil, err
		}
		w, closers = z, append([]io.Closer{z}, closers...)
	case "gzip":
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return nil, nil, err
		}
		w, closers = z, append([]io.Closer{z}, closers...)
	}
	return w, func() error {
		for _, c := range closers {
			if err := c.Close(); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// attempt writes the files of one attempt of a job.
type attempt struct {
	service    *Service
	job        *Job
	owner      keys.Owner
	recipients []age.Recipient
	source     *source
	body       body
	files      []File
	rows       int64 // of finished files and of the open one
	guarded    int64
	report     func(ctx context.Context, rows int64, files []File) error
}

// write writes all rows of the source as files. An answer without rows has one file, with a
// header.
func (a *attempt) write(ctx context.Context) error {
	columns := a.source.Columns()
	r := &a.job.Request
	var kept int64
	format := formatOf(r.Format, &kept)
	most := r.fileBytes()
	a.body.most = int(most)
	var guard []int
	if r.Format == CSV && !r.RawText {
		columns = guardedNames(columns)
		guard = textColumns(columns)
	}
	ahead := make([]any, len(columns))
	for number := 1; ; number++ {
		p := &part{columns: columns, from: a.source, guard: guard}
		if number > 1 {
			// Whether there is another file is known when its first row is there.
			switch err := a.source.Next(ahead); {
			case errors.Is(err, io.EOF):
				return a.source.destroyed()
			case err != nil:
				return err
			}
			p.ahead = ahead
		}
		p.isFull = func(rows int64) bool {
			return int64(len(a.body.bytes))+kept >= most || r.Format == XLSX && rows >= sheetRows-1
		}
		p.tick = func() error {
			if p.rows%1024 != 0 {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			return a.report(ctx, a.rows+p.rows, a.files)
		}
		kept = 0
		if err := a.file(ctx, number, p, format); err != nil {
			return err
		}
		if p.isLast {
			return a.source.destroyed()
		}
	}
}

// file writes one file.
func (a *attempt) file(ctx context.Context, number int, p *part, format render.Format) error {
	r := &a.job.Request
	a.body.bytes = a.body.bytes[:0]
	w, finish, err := a.body.wrap(r, a.recipients)
	if err != nil {
		return err
	}
	if err := format(ctx, w, p); err != nil {
		return err
	}
	if err := finish(); err != nil {
		return fmt.Errorf("finish file: %w", err)
	}
	a.rows += p.rows
	a.guarded += p.guarded
	f := File{Number: number, Name: fmt.Sprintf("%s-%05d%s", r.name(), number, r.extension()), Rows: p.rows}
	return a.put(ctx, f, a.body.bytes)
}

// put stores a file.
func (a *attempt) put(ctx context.Context, f File, content []byte) error {
	sum := sha256.Sum256(content)
	f.Bytes, f.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	f.Object = fmt.Sprintf("%sattempt-%d/%05d", a.job.prefix(), a.job.Attempt, f.Number)
	if err := a.service.deps.Files.Put(ctx, f.Object, a.owner, content); err != nil {
		return fmt.Errorf("store file %d: %w", f.Number, err)
	}
	a.files = append(a.files, f)
	return a.report(ctx, a.rows, a.files)
}
