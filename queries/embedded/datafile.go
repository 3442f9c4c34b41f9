package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/writers/objects"
)

// dataFile is an object of the lake in memory, as far as statements needed it: its metadata and
// the blocks that hold the columns they read. The rest of its memory file was never written. More
// is added while others read: blocks are written once, and no reader looks at one before it is
// there, because no table of the reader's has its columns.
type dataFile struct {
	name   string
	memory *memfd
	size   int64
	opened time.Time

	mu       sync.Mutex
	footer   *footer
	isLoaded []bool // by block
	bytes    int64  // of the blocks that are loaded
}

const (
	// blockSize is what is decrypted at least: a chunk of the sealed store.
	blockSize = 64 << 10
	// readSize is the most that is read at once.
	readSize = 4 << 20
)

// newDataFile returns the object of the size without anything of its content.
func newDataFile(name string, size int64) (*dataFile, error) {
	memory, err := newMemfd(size)
	if err != nil {
		return nil, err
	}
	return &dataFile{name: name, memory: memory, size: size, opened: time.Now(), isLoaded: make([]bool, (size+blockSize-1)/blockSize)}, nil
}

func (f *dataFile) hold()           { f.memory.hold() }
func (f *dataFile) born() time.Time { return f.opened }

// Close, of the last who holds the file, frees its memory.
func (f *dataFile) Close() error { return f.memory.Close() }

// held is how many bytes are in memory.
func (f *dataFile) held() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bytes
}

// cost is how many bytes are in memory when the parts and the metadata are.
func (f *dataFile) cost(parts []span) int64 {
	var bytes int64
	for _, run := range f.runs(append(slices.Clip(parts), span{f.footer.from, f.size}), nil) {
		bytes += run.to - run.from
	}
	return bytes
}

// metadata returns the file's metadata, which it reads from the object first if nobody has.
func (f *dataFile) metadata(ctx context.Context, object io.ReaderAt) (*footer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.footer != nil {
		return f.footer, nil
	}
	end := span{max(0, f.size-parquetTail), f.size}
	if err := f.loadLocked(ctx, object, []span{end}, 1); err != nil {
		return nil, err
	}
	lies, err := metadataSpan(f.memory.bytes[end.from:], f.size)
	if err != nil {
		return nil, err
	}
	if err := f.loadLocked(ctx, object, []span{lies}, 1); err != nil {
		return nil, err
	}
	f.footer, err = parseFooter(f.memory.bytes[lies.from:lies.to], lies.from)
	return f.footer, err
}

// load reads what is missing of the parts, with so many reads at once.
func (f *dataFile) load(ctx context.Context, object io.ReaderAt, parts []span, reads int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loadLocked(ctx, object, parts, reads)
}

func (f *dataFile) loadLocked(ctx context.Context, object io.ReaderAt, parts []span, reads int) error {
	runs := f.runs(parts, f.isLoaded)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(reads)
	for _, run := range runs {
		for from := run.from; from < run.to; from += readSize {
			into := f.memory.bytes[from:min(from+readSize, run.to)]
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				if n, err := object.ReadAt(into, from); n < len(into) {
					if err == nil || errors.Is(err, io.EOF) {
						err = io.ErrUnexpectedEOF
					}
					return err
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, run := range runs {
		for block := run.from / blockSize; block*blockSize < run.to; block++ {
			f.isLoaded[block] = true
		}
		f.bytes += run.to - run.from
	}
	return nil
}

// runs returns the blocks that the parts touch and that are not in isLoaded, if it is not nil,
// as runs of them in order.
func (f *dataFile) runs(parts []span, isLoaded []bool) []span {
	isWanted := make([]bool, len(f.isLoaded))
	for _, p := range parts {
		for block := p.from / blockSize; block*blockSize < p.to; block++ {
			isWanted[block] = isLoaded == nil || !isLoaded[block]
		}
	}
	var runs []span
	for block, is := range isWanted {
		from := int64(block) * blockSize
		to := min(from+blockSize, f.size)
		switch {
		case !is:
		case len(runs) > 0 && runs[len(runs)-1].to == from:
			runs[len(runs)-1].to = to
		default:
			runs = append(runs, span{from, to})
		}
	}
	return runs
}

// opener opens the object of a data file when it is first read.
type opener struct {
	ctx    context.Context
	store  objects.Store
	name   string
	size   int64
	mu     sync.Mutex
	object objects.Object
}

// ReadAt implements io.ReaderAt.
func (o *opener) ReadAt(p []byte, at int64) (int, error) {
	object, err := o.open()
	if err != nil {
		return 0, err
	}
	return object.ReadAt(p, at)
}

func (o *opener) open() (_ objects.Object, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.object != nil {
		return o.object, nil
	}
	object, err := o.store.Open(o.ctx, o.name)
	if err != nil {
		return nil, err
	}
	if object.Size() != o.size {
		return nil, errors.Join(fmt.Errorf("it has %d bytes, the catalog says %d", object.Size(), o.size), object.Close())
	}
	o.object = object
	return object, nil
}

// Close closes the object if it was opened.
func (o *opener) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.object == nil {
		return nil
	}
	err := o.object.Close()
	o.object = nil
	return err
}
