package insights

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Load returns the checkpoint of that key which was saved last, nil if there is none. Keys are
// names of objects: letters, digits and . _ = -. What a job cannot use any more, because it is
// of another version or of other data, it ignores: a checkpoint saves work and decides nothing.
func (t *Task) Load(ctx context.Context, key string) ([]byte, error) {
	saved, err := t.saved(ctx, key)
	if err != nil || len(saved) == 0 {
		return nil, err
	}
	body, err := objects.ReadAll(ctx, t.runner.deps.Store, saved[len(saved)-1].name)
	if errors.Is(err, objects.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", key, err)
	}
	return body, nil
}

// Save keeps a checkpoint, encrypted under the tenant's key, and removes those of the key that
// were saved before.
func (t *Task) Save(ctx context.Context, key string, body []byte) error {
	saved, err := t.saved(ctx, key)
	if err != nil {
		return err
	}
	number := 0
	if len(saved) > 0 {
		number = saved[len(saved)-1].number + 1
	}
	for ; ; number++ {
		err = t.runner.deps.Store.Put(ctx, t.folder+key+"/"+strconv.Itoa(number), t.owner, body)
		if !errors.Is(err, objects.ErrExists) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s: %w", key, err)
	}
	return t.forget(ctx, saved)
}

// Forget removes the checkpoints of that key.
func (t *Task) Forget(ctx context.Context, key string) error {
	saved, err := t.saved(ctx, key)
	if err != nil {
		return err
	}
	return t.forget(ctx, saved)
}

// Saved returns the keys that have a checkpoint, in order.
func (t *Task) Saved(ctx context.Context) ([]string, error) {
	var out []string
	for info, err := range t.runner.deps.Store.List(ctx, t.folder) {
		if err != nil {
			return nil, fmt.Errorf("checkpoints: %w", err)
		}
		out = append(out, path.Base(path.Dir(info.Name)))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

type checkpoint struct {
	name   string
	number int
}

// saved returns the checkpoints of a key, the oldest first.
func (t *Task) saved(ctx context.Context, key string) ([]checkpoint, error) {
	var out []checkpoint
	for info, err := range t.runner.deps.Store.List(ctx, t.folder+key+"/") {
		if err != nil {
			return nil, fmt.Errorf("checkpoint %s: %w", key, err)
		}
		n, err := strconv.Atoi(strings.TrimPrefix(info.Name, t.folder+key+"/"))
		if err == nil {
			out = append(out, checkpoint{info.Name, n})
		}
	}
	slices.SortFunc(out, func(a, b checkpoint) int { return a.number - b.number })
	return out, nil
}

func (t *Task) forget(ctx context.Context, saved []checkpoint) error {
	for _, c := range saved {
		if err := t.runner.deps.Store.Delete(ctx, c.name); err != nil && !errors.Is(err, objects.ErrNotFound) {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// stateFolder is where a job's checkpoints for a tenant are.
func stateFolder(job string, tenant cardlake.StorageID) (string, keys.Owner) {
	return cardlake.CheckpointPrefix(tenant) + job + "/", keys.OwnerOf(tenant)
}
