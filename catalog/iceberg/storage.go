package iceberg

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// read returns a metadata object by its location.
func (c *Catalog) read(ctx context.Context, uri string) ([]byte, error) {
	name, err := c.locations.object(uri)
	if err != nil {
		return nil, err
	}
	body, err := objects.ReadAll(ctx, c.store, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return body, nil
}

// blob is an object to be written.
type blob struct {
	name string
	body []byte
}

// put writes the objects at the same time, because each takes a sync of the disk or a round
// trip, and none is read before the pointer names the last.
func (c *Catalog) put(ctx context.Context, blobs ...blob) error {
	errs := make([]error, len(blobs))
	var wg sync.WaitGroup
	for i, b := range blobs {
		wg.Go(func() {
			if err := c.store.Put(ctx, b.name, keys.Lake, b.body); err != nil {
				errs[i] = fmt.Errorf("write %s: %w", b.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// removeWidth is how many objects are removed at the same time.
const removeWidth = 8

// remove deletes objects that no version of the table needs. It goes through although the
// operation was cancelled, and it is best effort: maintenance finds what it leaves, as objects
// that no metadata names.
func (c *Catalog) remove(ctx context.Context, names ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	var wg sync.WaitGroup
	for i := range min(removeWidth, len(names)) {
		wg.Go(func() {
			for ; i < len(names); i += removeWidth {
				if err := c.store.Delete(ctx, names[i]); err != nil && !errors.Is(err, objects.ErrNotFound) {
					c.log.WarnContext(ctx, "old table metadata was not removed", "object", names[i], "error", err)
				}
			}
		})
	}
	wg.Wait()
}
