package formats

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/cardlake/cardlake/tokenize/discover"
)

// freeExpansion is how much may be decompressed before its ratio counts.
const freeExpansion = 64 << 20

// expanded reads decompressed bytes within the limits.
type expanded struct {
	s      *Scanner
	packed *counted // what they come of; nil if its size is known
	size   int64    // of that, if it is known
	r      io.Reader
	n      int64
}

func (e *expanded) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.n += int64(n)
	e.s.budget -= int64(n)
	size := e.size
	if e.packed != nil {
		size = e.packed.n
	}
	if e.s.budget < 0 {
		return n, fmt.Errorf("%w: more than %d bytes come of it", ErrLimit, e.s.cfg.MaxExpanded)
	}
	if e.n > freeExpansion && e.n/max(size, 1) > e.s.cfg.MaxRatio {
		return n, fmt.Errorf("%w: more than %d bytes come of each of its bytes", ErrLimit, e.s.cfg.MaxRatio)
	}
	e.s.progress(n)
	if err != nil && err != io.EOF && !errors.Is(err, ErrLimit) {
		err = formError(err)
	}
	return n, err
}

// formError is what a decompressor says of its input, unless the input could not be read.
func formError(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrForm, err)
}

// unpacked searches what a decompressor reads.
func (s *Scanner) unpacked(ctx context.Context, path string, r io.Reader, depth int, open func(io.Reader) (io.Reader, error)) {
	packed := s.count(ctx, r)
	unpacker, err := open(packed)
	if err != nil {
		s.fault(path, formError(err))
		return
	}
	s.stream(ctx, path, &expanded{s: s, packed: packed, r: unpacker}, depth+1)
}

func (s *Scanner) gzip(ctx context.Context, path string, r io.Reader, depth int) {
	s.unpacked(ctx, path, r, depth, func(r io.Reader) (io.Reader, error) {
		z, err := gzip.NewReader(r)
		if err == nil {
			s.text(path, "header", z.Name+"\n"+z.Comment+"\n"+string(z.Extra))
		}
		return z, err
	})
}

func (s *Scanner) zstd(ctx context.Context, path string, r io.Reader, depth int) {
	s.unpacked(ctx, path, r, depth, func(r io.Reader) (io.Reader, error) {
		z, err := newZstd(r)
		if err != nil {
			return nil, err
		}
		return z, nil
	})
}

// newZstd decompresses in the caller's goroutine, so there is nothing to wait for.
func newZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
}

func (s *Scanner) bzip2(ctx context.Context, path string, r io.Reader, depth int) {
	s.unpacked(ctx, path, r, depth, func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil })
}

func (s *Scanner) snappy(ctx context.Context, path string, r io.Reader, depth int) {
	s.unpacked(ctx, path, r, depth, func(r io.Reader) (io.Reader, error) { return s2.NewReader(r), nil })
}

// text searches a part of a file that is no content of it.
func (s *Scanner) text(path, part, text string) {
	_ = s.detector.Scan(bytes.NewReader([]byte(text)), discover.Place{Path: s.shown(path), Part: part}, s.tell)
}

func (s *Scanner) tar(ctx context.Context, path string, r io.Reader, depth int) {
	t := tar.NewReader(r)
	for !s.stopped {
		h, err := t.Next()
		if err != nil {
			if err != io.EOF {
				s.fault(path, formError(err))
			}
			s.bytes(path, r) // what is behind the end
			return
		}
		if h.Typeflag != tar.TypeReg {
			s.Name(h.Name + " " + h.Linkname)
			continue
		}
		s.member(ctx, path, h.Name, t, depth)
	}
}

func (s *Scanner) zip(ctx context.Context, path string, src Source, depth int) {
	z, err := zip.NewReader(src, src.Size())
	if err != nil {
		s.fault(path, formError(err))
		s.bytes(path, s.count(ctx, io.NewSectionReader(src, 0, src.Size())))
		return
	}
	z.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true)))
	s.text(path, "comment", z.Comment)
	for _, f := range z.File {
		if s.stopped || ctx.Err() != nil {
			return
		}
		s.zipMember(ctx, path, f, depth)
	}
}

func (s *Scanner) zipMember(ctx context.Context, path string, f *zip.File, depth int) {
	if f.Comment != "" {
		s.text(path+"!"+f.Name, "comment", f.Comment)
	}
	if f.FileInfo().IsDir() {
		s.Name(f.Name)
		return
	}
	const encrypted = 1
	if f.Flags&encrypted != 0 {
		s.fault(path+"!"+f.Name, fmt.Errorf("encrypted, %w: unpack it and search what is in it", ErrClosed))
		return
	}
	r, err := f.Open()
	if err != nil {
		s.fault(path+"!"+f.Name, formError(err))
		return
	}
	defer r.Close()
	s.member(ctx, path, f.Name, &expanded{s: s, size: int64(f.CompressedSize64), r: r}, depth)
}

// sealed searches an object of a sealed store: its content with the key, what is there
// without.
func (s *Scanner) sealed(ctx context.Context, path string, src Source, depth int) {
	if s.cfg.Sealed == nil {
		s.stats.Encrypted = append(s.stats.Encrypted, Fault{s.shown(path), errors.New("sealed object, no keyring given")})
		s.bytes(path, s.count(ctx, io.NewSectionReader(src, 0, src.Size())))
		return
	}
	plain, err := s.cfg.Sealed.Open(ctx, path)
	if err != nil {
		s.fault(path, fmt.Errorf("sealed object: %w: %w", ErrClosed, err))
		return
	}
	if c, ok := plain.(io.Closer); ok {
		defer c.Close()
	}
	s.file(ctx, path, plain, depth+1)
}
