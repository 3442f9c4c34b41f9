// Package formats finds what is inside files and hands it to a [discover.Detector]: text in
// any encoding; gzip, zstd, bzip2, Snappy, tar and zip, within each other; Parquet (values,
// dictionaries, statistics, footers), Avro object container files and SQLite databases.
//
// Nothing is hidden: what cannot be read to its end is a [Fault] that names it, and what could
// be read of it has been searched. Nothing is written to a disk. Memory is bounded by
// [Config.MaxMemory] and a Parquet page or an Avro block.
//
// What it does not look into: the compressed streams of PDF files, Apache ORC and Arrow IPC,
// compressed blocks of databases other than SQLite; they are searched as the bytes that they
// are. Formats that are compressed or encrypted as a whole and cannot be opened (7z, RAR, xz,
// LZ4, OpenPGP) are faults.
package formats

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/tokenize/discover"
)

// Source is a file of a known size, or an object. It is safe for concurrent ReadAt.
type Source interface {
	io.ReaderAt
	Size() int64
}

// ParquetKeys finds the keys of Parquet files with Modular Encryption.
type ParquetKeys interface {
	// Key returns the key that the file's or column's key metadata names, 16, 24 or 32 bytes.
	Key(metadata []byte) ([]byte, error)
}

// Opener opens objects of a store that are encrypted as a whole.
type Opener interface {
	// Open returns the content of the object at the path, which begins with the sealed
	// store's magic. The caller closes it if it is an [io.Closer].
	Open(ctx context.Context, path string) (Source, error)
}

// Config tunes a [Scanner]. The zero value is right for most uses.
type Config struct {
	// MaxDepth is how many containers may be within each other. Default 8.
	MaxDepth int
	// MaxExpanded is how many bytes may be decompressed from one source. Default 1 TiB.
	MaxExpanded int64
	// MaxRatio is how many bytes may come of one compressed byte, once there are 64 MiB of
	// them. Default 2,000, which zstd and deflate do not reach on logs.
	MaxRatio int64
	// MaxMemory is the size of a file within a container that has to be in memory as a whole:
	// zip, Parquet and SQLite. Default 256 MiB.
	MaxMemory int64
	// Parquet, if not nil, opens encrypted Parquet files.
	Parquet ParquetKeys
	// Sealed, if not nil, opens sealed objects.
	Sealed Opener
	// Progress, if not nil, is told the bytes searched so far, often, from one goroutine.
	Progress func(bytes int64)
}

func (c Config) withDefaults() Config {
	if c.MaxDepth <= 0 {
		c.MaxDepth = 8
	}
	if c.MaxExpanded <= 0 {
		c.MaxExpanded = 1 << 40
	}
	if c.MaxRatio <= 0 {
		c.MaxRatio = 2000
	}
	if c.MaxMemory <= 0 {
		c.MaxMemory = 256 << 20
	}
	return c
}

// Fault is something that could not be read to its end.
type Fault struct {
	Path string
	Err  error
}

// Error names the place and what is wrong with it.
func (f Fault) Error() string { return f.Path + ": " + f.Err.Error() }

// Unwrap returns what is wrong.
func (f Fault) Unwrap() error { return f.Err }

var (
	// ErrLimit says that something is larger or deeper than the configuration allows.
	ErrLimit = errors.New("beyond the limit")
	// ErrForm says that something is not of the form that its beginning announces.
	ErrForm = errors.New("malformed")
	// ErrClosed says that something is compressed or encrypted in a way that cannot be opened.
	ErrClosed = errors.New("cannot be opened")
)

// Stats says how much was searched.
type Stats struct {
	Sources   int64   // files and objects
	Members   int64   // files within them
	Bytes     int64   // searched, decompressed
	Encrypted []Fault // sealed objects and encrypted Parquet, searched as they are for want of a key
	Skipped   int64   // sockets, pipes, devices and symbolic links
	Faults    []Fault
}

// Scanner searches sources. It is for one goroutine at a time.
type Scanner struct {
	detector *discover.Detector
	cfg      Config
	yield    func(discover.Detection) bool
	stats    Stats
	stopped  bool
	budget   int64 // bytes that may still be decompressed from the source
}

// New returns a scanner that yields what it detects. After yield has returned false nothing
// more is searched.
func New(d *discover.Detector, cfg Config, yield func(discover.Detection) bool) *Scanner {
	return &Scanner{detector: d, cfg: cfg.withDefaults(), yield: yield}
}

// Stats returns what was searched so far.
func (s *Scanner) Stats() Stats { return s.stats }

// Fault records something that the caller could not read.
func (s *Scanner) Fault(path string, err error) {
	s.stats.Faults = append(s.stats.Faults, Fault{s.shown(path), err})
}

// Name searches a name that something has: findings and faults show names.
func (s *Scanner) Name(name string) {
	_ = s.detector.Scan(bytes.NewReader([]byte(name)), discover.Place{Path: s.shown(name), Part: "name"}, s.tell)
}

// File searches a source. What is wrong with it is in Stats; the error is that of ctx.
func (s *Scanner) File(ctx context.Context, path string, src Source) error {
	s.stats.Sources++
	s.budget = s.cfg.MaxExpanded
	s.Name(path)
	s.file(ctx, path, src, 0)
	return ctx.Err()
}

// Stream searches what can be read only once, such as standard input. What is wrong with it is
// in Stats; the error is that of ctx.
func (s *Scanner) Stream(ctx context.Context, path string, r io.Reader) error {
	s.stats.Sources++
	s.budget = s.cfg.MaxExpanded
	s.stream(ctx, path, s.count(ctx, r), 0)
	return ctx.Err()
}

// Column begins a column of values that the caller reads itself.
func (s *Scanner) Column(at discover.Place, yield func(discover.Detection) bool) *discover.Column {
	return s.detector.Column(at, yield)
}

// tell passes a detection on.
func (s *Scanner) tell(d discover.Detection) bool {
	s.stopped = s.stopped || !s.yield(d)
	return !s.stopped
}

// shown is a path as findings and faults may show it.
func (s *Scanner) shown(path string) string {
	b := []byte(path)
	card.Clean(b)
	return string(b)
}

func (s *Scanner) fault(path string, err error) {
	if err == nil || s.stopped {
		return
	}
	s.Fault(path, err)
}

// kind is what a file is by its beginning.
type kind struct {
	name   string
	magic  string
	at     int // of the magic
	stream func(*Scanner, context.Context, string, io.Reader, int)
	file   func(*Scanner, context.Context, string, Source, int)
}

const sniffed = 512

// kinds are those that are opened, and those that cannot be.
func kinds() []kind {
	return []kind{
		{name: "gzip", magic: "\x1f\x8b\x08", stream: (*Scanner).gzip},
		{name: "zstd", magic: "\x28\xb5\x2f\xfd", stream: (*Scanner).zstd},
		{name: "bzip2", magic: "BZh", stream: (*Scanner).bzip2},
		{name: "Snappy", magic: "\xff\x06\x00\x00sNaPpY", stream: (*Scanner).snappy},
		{name: "tar", magic: "ustar", at: 257, stream: (*Scanner).tar},
		{name: "Avro", magic: "Obj\x01", stream: (*Scanner).avro},
		{name: "zip", magic: "PK\x03\x04", file: (*Scanner).zip},
		{name: "zip", magic: "PK\x05\x06", file: (*Scanner).zip},
		{name: "Parquet", magic: "PAR1", file: (*Scanner).parquet},
		{name: "Parquet", magic: "PARE", file: (*Scanner).parquet},
		{name: "SQLite", magic: "SQLite format 3\x00", file: (*Scanner).sqlite},
		{name: "sealed object", magic: "CLSEALED", file: (*Scanner).sealed},
		{name: "7z", magic: "7z\xbc\xaf\x27\x1c"},
		{name: "RAR", magic: "Rar!\x1a\x07"},
		{name: "xz", magic: "\xfd7zXZ\x00"},
		{name: "LZ4", magic: "\x04\x22\x4d\x18"},
		{name: "OpenPGP message", magic: "-----BEGIN PGP MESSAGE-----"},
		{name: "OpenSSL encrypted data", magic: "Salted__"},
		{name: "age encrypted data", magic: "age-encryption.org/"},
	}
}

func kindOf(head []byte) kind {
	for _, k := range kinds() {
		if len(head) >= k.at+len(k.magic) && string(head[k.at:k.at+len(k.magic)]) == k.magic {
			if k.name == "bzip2" && (len(head) < 10 || string(head[4:10]) != "1AY&SY" && string(head[4:10]) != "\x17\x72\x45\x38\x50\x90") {
				continue // text may begin with the letters
			}
			return k
		}
	}
	return kind{}
}

// file searches a source that can be read anywhere.
func (s *Scanner) file(ctx context.Context, path string, src Source, depth int) {
	if s.stopped || ctx.Err() != nil {
		return
	}
	head := make([]byte, min(src.Size(), sniffed))
	if n, err := src.ReadAt(head, 0); n < len(head) {
		s.fault(path, readError(err))
		return
	}
	k := kindOf(head)
	if k.file == nil {
		s.stream(ctx, path, s.count(ctx, io.NewSectionReader(src, 0, src.Size())), depth)
		return
	}
	if depth >= s.cfg.MaxDepth {
		s.fault(path, fmt.Errorf("%w of %d containers within each other", ErrLimit, s.cfg.MaxDepth))
		return
	}
	s.guard(path, k, func() { k.file(s, ctx, path, src, depth) })
}

// stream searches what is read once.
func (s *Scanner) stream(ctx context.Context, path string, r io.Reader, depth int) {
	if s.stopped || ctx.Err() != nil {
		return
	}
	buffered := bufio.NewReaderSize(&sticky{r: r}, 64<<10)
	head, _ := buffered.Peek(sniffed) // an error comes again when it is read
	k := kindOf(head)
	if k.name != "" && depth >= s.cfg.MaxDepth {
		s.fault(path, fmt.Errorf("%w of %d containers within each other", ErrLimit, s.cfg.MaxDepth))
		return
	}
	switch {
	case k.stream != nil:
		s.guard(path, k, func() { k.stream(s, ctx, path, buffered, depth) })
	case k.file != nil:
		body, err := io.ReadAll(io.LimitReader(buffered, s.cfg.MaxMemory+1))
		if int64(len(body)) > s.cfg.MaxMemory {
			s.fault(path, fmt.Errorf("%w: a %s file of more than %d bytes within another one or a stream; unpack it and search it by itself", ErrLimit, k.name, s.cfg.MaxMemory))
			s.bytes(path, io.MultiReader(bytes.NewReader(body), buffered))
			return
		}
		if err != nil {
			s.fault(path, readError(err))
		}
		s.guard(path, k, func() { k.file(s, ctx, path, bytes.NewReader(body), depth) })
	default:
		if k.name != "" {
			s.fault(path, fmt.Errorf("%s %w: unpack it and search what is in it", k.name, ErrClosed))
		}
		s.bytes(path, buffered)
	}
}

// sticky gives an error again and again.
type sticky struct {
	r   io.Reader
	err error
}

func (s *sticky) Read(p []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.r.Read(p)
	}
	return n, s.err
}

// bytes searches bytes as they are.
func (s *Scanner) bytes(path string, r io.Reader) {
	s.fault(path, readError(s.detector.Scan(r, discover.Place{Path: s.shown(path)}, s.tell)))
}

// guard makes a panic of a reader of untrusted files a fault. The panic's value is not shown:
// it may hold content.
func (s *Scanner) guard(path string, k kind, read func()) {
	defer func() {
		if recover() != nil {
			s.fault(path, fmt.Errorf("%s file: %w", k.name, ErrForm))
		}
	}()
	read()
}

// member searches a file within another one.
func (s *Scanner) member(ctx context.Context, path, name string, r io.Reader, depth int) {
	s.stats.Members++
	path += "!" + name
	s.Name(name)
	s.stream(ctx, path, r, depth+1)
}

// readError says what is wrong without what libraries put into their errors.
func readError(err error) error {
	for _, known := range []error{ErrLimit, ErrForm, ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return err
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends too early", ErrForm)
	default:
		return fmt.Errorf("read: %w", err)
	}
}

// counted counts what is read and ends when the search is cancelled.
type counted struct {
	ctx context.Context // io.Reader has no room for it
	s   *Scanner
	r   io.Reader
	n   int64
}

func (s *Scanner) count(ctx context.Context, r io.Reader) *counted {
	return &counted{ctx: ctx, s: s, r: r}
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.s.progress(n)
	return n, err
}

func (s *Scanner) progress(n int) {
	s.stats.Bytes += int64(n)
	if s.cfg.Progress != nil {
		s.cfg.Progress(s.stats.Bytes)
	}
}
