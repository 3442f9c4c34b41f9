package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/writers/objects"
)

// minRead is the least that is read at once: a request costs about as much as the transfer
// of this.
const minRead = 256 << 10

// Open implements [objects.Store]. An object within Config.Window is read and verified here;
// of a larger one Open reads the first window, ReadAt the others, and its checksum is
// verified by whoever reads it from start to end in order: the read that ends it returns
// [objects.ErrCorrupt] if it is not what was put. What [Store.Put] put carries its checksum
// itself; of what other tools put the service's CRC64NVME is taken, and without one it is read
// as it is.
//
// The reads are made under ctx, which must last until the object is closed. A read of an
// object that was deleted gives [objects.ErrNotFound], of one that was replaced ErrCorrupt,
// and of one whose KMS key is disabled or gone [keys.ErrNoKey].
func (s *Store) Open(ctx context.Context, name string) (objects.Object, error) {
	o, err := s.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, meaning(err))
	}
	return o, nil
}

func (s *Store) open(ctx context.Context, name string) (*object, error) {
	if err := errors.Join(ctx.Err(), objects.ValidateName(name)); err != nil {
		return nil, err
	}
	api, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	o := &object{store: s, api: api, name: name, ctx: ctx, cancel: cancel}
	if err := s.attempt(ctx, o.start); err != nil {
		cancel()
		return nil, err
	}
	return o, nil
}

// object is an open object. What it has in memory never changes; a new window is a new slice.
type object struct {
	store  *Store
	api    *s3.Client
	name   string
	ctx    context.Context // that of Open: io.ReaderAt has none
	cancel context.CancelFunc

	etag *string
	size int64
	sum  uint64 // CRC64NVME of the content
	has  bool   // sum is known

	mu       sync.Mutex
	window   []byte
	at       int64 // where window begins
	end      int64 // where the last read ended
	verified int64 // up to where crc goes
	crc      uint64
}

// withChecksum asks for the content's checksum. The SDK's own way of asking would also
// compute it, once more than needed.
func withChecksum(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Checksum-Mode", "ENABLED"))
}

// start reads the first window and what there is to know of the object. The request asks for
// the whole, because the service is sure to tell the checksum of a whole only; it is broken
// off after the window.
func (o *object) start(ctx context.Context) error {
	out, err := o.api.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.store.cfg.Bucket, Key: o.store.key(o.name)}, withChecksum)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	if out.ContentLength == nil || *out.ContentLength < 0 {
		return errors.New("the service did not tell the size")
	}
	o.etag, o.size, o.has = out.ETag, *out.ContentLength, false
	told, own := out.Metadata[putSum]
	if !own {
		told = aws.ToString(out.ChecksumCRC64NVME)
	}
	if sum, err := base64.StdEncoding.DecodeString(told); err == nil && len(sum) == 8 {
		o.sum, o.has = binary.BigEndian.Uint64(sum), true
	} else if own {
		return fmt.Errorf("%w: checksum unreadable", objects.ErrCorrupt)
	}
	o.window = make([]byte, min(o.size, o.store.cfg.Window))
	if _, err := io.ReadFull(out.Body, o.window); err != nil {
		return fmt.Errorf("content: %w", noEOF(err))
	}
	if int64(len(o.window)) == o.size {
		o.verified, o.crc = 0, 0 // this may be another attempt
		return o.verify(o.window, 0)
	}
	return nil
}

func (o *object) Size() int64 { return o.size }

// Close ends the reads under way.
func (o *object) Close() error {
	o.cancel()
	return nil
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset", o.name)
	}
	if off >= o.size {
		return 0, io.EOF
	}
	if o.size-off < int64(len(p)) {
		p, err = p[:o.size-off], io.EOF
	}
	for n < len(p) {
		c := o.fromWindow(p[n:], off+int64(n))
		if c == 0 {
			var e error
			if c, e = o.read(p[n:], off+int64(n)); e != nil {
				return n, fmt.Errorf("read %s: %w", o.name, meaning(e))
			}
		}
		n += c
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = off + int64(n)
	if o.size > o.store.cfg.Window {
		if e := o.verify(p, off); e != nil {
			return 0, fmt.Errorf("read %s: %w", o.name, e)
		}
	}
	return n, err
}

// fromWindow copies what the window has of the bytes at off.
func (o *object) fromWindow(p []byte, off int64) int {
	o.mu.Lock()
	window, at := o.window, o.at
	o.mu.Unlock()
	if off < at || off >= at+int64(len(window)) {
		return 0
	}
	return copy(p, window[off-at:])
}

// read fetches the bytes at off: into p if they fill a window or more, else as a new window,
// which is a whole one for whoever reads on where the last read ended.
func (o *object) read(p []byte, off int64) (int, error) {
	size := o.store.cfg.Window
	if int64(len(p)) >= size {
		group, ctx := errgroup.WithContext(o.ctx)
		group.SetLimit(o.store.cfg.Parallel)
		for start := int64(0); start < int64(len(p)); start += size {
			part := p[start:min(start+size, int64(len(p)))]
			group.Go(func() error { return o.fetch(ctx, part, off+start) })
		}
		return len(p), group.Wait()
	}
	o.mu.Lock()
	inOrder := off == o.end || off == o.at+int64(len(o.window))
	o.mu.Unlock()
	if !inOrder {
		size = max(minRead, int64(len(p)))
	}
	window := make([]byte, min(size, o.size-off))
	if err := o.fetch(o.ctx, window, off); err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.window, o.at = window, off
	return copy(p, window), nil
}

// fetch fills p with the bytes at off, if the object is still the one that was opened.
func (o *object) fetch(ctx context.Context, p []byte, off int64) error {
	asked := fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)
	err := o.store.attempt(ctx, func(ctx context.Context) error {
		out, err := o.api.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &o.store.cfg.Bucket, Key: o.store.key(o.name), IfMatch: o.etag, Range: &asked,
		})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		if want := fmt.Sprintf("bytes %d-%d/", off, off+int64(len(p))-1); !strings.HasPrefix(aws.ToString(out.ContentRange), want) {
			return errors.New("the service answered with another range")
		}
		if _, err = io.ReadFull(out.Body, p); err != nil {
			return fmt.Errorf("content: %w", noEOF(err))
		}
		return nil
	})
	if status(err) == http.StatusPreconditionFailed {
		return fmt.Errorf("%w: replaced since it was opened", objects.ErrCorrupt)
	}
	return err
}

// verify goes on with the checksum if the bytes at off go on where it is, and compares it
// at the end.
func (o *object) verify(p []byte, off int64) error {
	if off == 0 && o.verified == o.size {
		o.verified, o.crc = 0, 0 // read once more, perhaps fetched once more
	}
	skip := o.verified - off
	if !o.has || skip < 0 || skip > int64(len(p)) {
		return nil
	}
	o.crc = crc64.Update(o.crc, table(), p[skip:])
	o.verified = off + int64(len(p))
	if o.verified == o.size && o.crc != o.sum {
		return fmt.Errorf("%w: checksum", objects.ErrCorrupt)
	}
	return nil
}

// noEOF keeps a content that ends early from looking like the end of the object.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
