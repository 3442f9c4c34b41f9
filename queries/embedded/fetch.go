package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/writers/objects"
)

// copyBuffer is how much of an object is decrypted at once: a multiple of the store's chunks.
const copyBuffer = 1 << 20

// fetchAll decrypts the files' objects into memory files, in the same order, except those
// whose key was destroyed: of them it counts the rows in read. The caller closes what it
// returns, also after an error.
func (e *Engine) fetchAll(ctx context.Context, files []cardlake.DataFile, read *queries.Snapshot) ([]*memfd, error) {
	var mu sync.Mutex
	fetched := make([]*memfd, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(e.cfg.Fetches)
	for i, f := range files {
		if fetched[i] = e.cache.take(f.Name); fetched[i] != nil {
			continue
		}
		group.Go(func() error {
			m, err := fetch(ctx, e.store, f)
			if errors.Is(err, keys.ErrDestroyed) {
				mu.Lock()
				defer mu.Unlock()
				if read.Destroyed == nil {
					read.Destroyed = map[cardlake.Tenant]int64{}
				}
				read.Destroyed[f.Tenant] += f.Rows
				return nil
			}
			if err == nil {
				e.cache.add(f.Name, m, f.Bytes)
			}
			fetched[i] = m
			return err
		})
	}
	err := group.Wait()
	complete := fetched[:0]
	for _, m := range fetched {
		if m != nil {
			complete = append(complete, m)
		}
	}
	return complete, err
}

// fetch decrypts one object into a sealed memory file.
func fetch(ctx context.Context, store objects.Store, f cardlake.DataFile) (_ *memfd, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	object, err := store.Open(ctx, f.Name)
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", f.Name, err)
	}
	defer object.Close()
	if object.Size() != f.Bytes {
		return nil, fmt.Errorf("object %s has %d bytes, the catalog says %d", f.Name, object.Size(), f.Bytes)
	}
	m, err := newMemfd()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	buf := make([]byte, min(copyBuffer, object.Size()))
	for at := int64(0); at < object.Size(); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := object.ReadAt(buf[:min(int64(len(buf)), object.Size()-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("object %s: %w", f.Name, err)
		}
		if n == 0 {
			return nil, fmt.Errorf("object %s: %w", f.Name, io.ErrUnexpectedEOF)
		}
		if err := m.write(buf[:n]); err != nil {
			return nil, err
		}
		at += int64(n)
	}
	if err := m.seal(); err != nil {
		return nil, err
	}
	return m, nil
}
