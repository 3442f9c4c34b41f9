package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"os"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/writers/objects"
)

const (
	headFolder    = "checkpoints"
	headSuffix    = ".json"
	segmentPrefix = "audit-"
	segmentSuffix = ".jsonl"
)

// Copy returns the segments of the log that are in the archive.
func Copy(archive objects.Store, log string) audit.Segments { return copied{archive, log} }

type copied struct {
	archive objects.Store
	log     string
}

// Numbers implements audit.Segments.
func (c copied) Numbers(ctx context.Context) ([]int, error) {
	var out []int
	prefix := folder(c.log) + "/" + segmentPrefix
	for info, err := range c.archive.List(ctx, prefix) {
		if err != nil {
			return nil, fmt.Errorf("audit log in the archive: %w", err)
		}
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(info.Name, prefix), segmentSuffix))
		if err != nil || path.Base(info.Name) != audit.SegmentName(n) {
			return nil, fmt.Errorf("audit log in the archive: %s is no segment of it", info.Name)
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// Open implements audit.Segments. It reads the object into memory: a segment is bounded.
func (c copied) Open(ctx context.Context, number int) (io.ReadSeekCloser, error) {
	body, err := objects.ReadAll(ctx, c.archive, path.Join(folder(c.log), audit.SegmentName(number)))
	if errors.Is(err, objects.ErrNotFound) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, err
	}
	return inMemory{bytes.NewReader(body)}, nil
}

type inMemory struct{ *bytes.Reader }

// Close implements io.Closer.
func (inMemory) Close() error { return nil }

// one is a log of a single segment in memory.
type one struct {
	number int
	body   []byte
}

// Numbers implements audit.Segments.
func (o one) Numbers(context.Context) ([]int, error) { return []int{o.number}, nil }

// Open implements audit.Segments.
func (o one) Open(context.Context, int) (io.ReadSeekCloser, error) {
	return inMemory{bytes.NewReader(o.body)}, nil
}

// Heads returns the newest checkpoints of the log that are in the archive, the newest first, at
// most so many. They are not verified.
func Heads(ctx context.Context, archive objects.Store, log string, most int) ([]audit.SignedHead, error) {
	var names []string
	for info, err := range archive.List(ctx, folder(log)+"/"+headFolder+"/") {
		if err != nil {
			return nil, fmt.Errorf("checkpoints in the archive: %w", err)
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	slices.Reverse(names)
	var out []audit.SignedHead
	for _, name := range names[:min(most, len(names))] {
		body, err := objects.ReadAll(ctx, archive, name)
		if err != nil {
			return nil, fmt.Errorf("checkpoints in the archive: %w", err)
		}
		var h audit.SignedHead
		if err := json.Unmarshal(body, &h); err != nil || headName(h.Log, h.Seq) != name || h.Log != log {
			return nil, fmt.Errorf("checkpoints in the archive: %s is none", name)
		}
		out = append(out, h)
	}
	return out, nil
}

// Logs lists the ids of the logs that are in the archive.
func Logs(ctx context.Context, archive objects.Store) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for info, err := range archive.List(ctx, "audit/") {
		if err != nil {
			return nil, fmt.Errorf("logs in the archive: %w", err)
		}
		parts := strings.Split(info.Name, "/")
		if len(parts) > 2 && !seen[parts[1]] {
			seen[parts[1]] = true
			out = append(out, parts[1])
		}
	}
	slices.Sort(out)
	return out, nil
}

// Holds returns nil if the archive has the segment of the log's folder, byte for byte: what
// audit.Log.Prune asks before it removes one.
func Holds(archive objects.Store, dir string) func(context.Context, audit.Closed) error {
	return func(ctx context.Context, c audit.Closed) error {
		name := audit.SegmentName(c.Number)
		here, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		there, err := objects.ReadAll(ctx, archive, path.Join(folder(c.Head.Log), name))
		if err != nil {
			return fmt.Errorf("its copy in the archive: %w", err)
		}
		if !bytes.Equal(here, there) {
			return errors.New("its copy in the archive is not the same")
		}
		return nil
	}
}
