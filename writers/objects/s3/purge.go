package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cardlake/cardlake/writers/objects"
)

// faultsMost bounds the errors of single versions that an error tells.
const faultsMost = 5

// Purge implements [objects.Versioned]. The contents go before the markers: an object whose
// marker went first would be there again. In a bucket without versions it deletes the objects
// themselves, whose only version is "null".
func (s *Store) Purge(ctx context.Context, prefix string, doomed func(objects.Version) bool) (purged int, err error) {
	p := &purge{store: s}
	if err = errors.Join(ctx.Err(), objects.ValidatePrefix(prefix)); err == nil {
		p.api, err = s.client(ctx)
	}
	for _, markers := range [...]bool{false, true} {
		if err == nil {
			err = p.pass(ctx, prefix, func(v objects.Version) bool { return v.IsMarker == markers && doomed(v) })
		}
	}
	if err == nil {
		err = p.err()
	}
	if err != nil {
		return p.purged, fmt.Errorf("purge %s: %w", prefix, meaning(err))
	}
	return p.purged, nil
}

// purge is one call of Purge.
type purge struct {
	store  *Store
	api    *s3.Client
	purged int
	failed int
	faults []error // the first ones
	locked bool    // one of all is
}

// pass lists all versions, a page at a time, and deletes those that are doomed: those of a
// page when the next one was listed, which begins after a version that must still be there.
func (p *purge) pass(ctx context.Context, prefix string, doomed func(objects.Version) bool) error {
	s := p.store
	root := *s.key("")
	// A page has at most a thousand versions, which is what one DeleteObjects takes (Amazon S3
	// API Reference).
	input := &s3.ListObjectVersionsInput{Bucket: &s.cfg.Bucket, Prefix: s.key(prefix), MaxKeys: aws.Int32(1000)}
	var batch []types.ObjectIdentifier
	for {
		var page *s3.ListObjectVersionsOutput
		err := s.attempt(ctx, func(ctx context.Context) (err error) {
			page, err = p.api.ListObjectVersions(ctx, input)
			return err
		})
		if err != nil {
			return err
		}
		if err := p.delete(ctx, batch); err != nil {
			return err
		}
		batch = batch[:0]
		consider := func(key, id *string, v objects.Version) {
			name, ok := strings.CutPrefix(aws.ToString(key), root)
			v.Name, v.ID = name, aws.ToString(id)
			if ok && objects.ValidateName(name) == nil && doomed(v) {
				batch = append(batch, types.ObjectIdentifier{Key: key, VersionId: id})
			}
		}
		for _, v := range page.Versions {
			consider(v.Key, v.VersionId, objects.Version{
				Info: objects.Info{Size: aws.ToInt64(v.Size), ModTime: aws.ToTime(v.LastModified)}, IsCurrent: aws.ToBool(v.IsLatest),
			})
		}
		for _, m := range page.DeleteMarkers {
			consider(m.Key, m.VersionId, objects.Version{
				Info: objects.Info{ModTime: aws.ToTime(m.LastModified)}, IsCurrent: aws.ToBool(m.IsLatest), IsMarker: true,
			})
		}
		if !aws.ToBool(page.IsTruncated) {
			return p.delete(ctx, batch)
		}
		input.KeyMarker, input.VersionIdMarker = page.NextKeyMarker, page.NextVersionIdMarker
	}
}

// delete removes versions, at most those of a page, in one request. Those of which the service says that they failed,
// and may not another time, are asked for again: a version that is gone is deleted once more
// without harm.
func (p *purge) delete(ctx context.Context, batch []types.ObjectIdentifier) error {
	if len(batch) == 0 {
		return nil
	}
	var last []types.Error
	err := p.store.attempt(ctx, func(ctx context.Context) error {
		out, err := p.api.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &p.store.cfg.Bucket, Delete: &types.Delete{Objects: batch, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return err
		}
		var again []types.ObjectIdentifier
		final := 0
		for _, e := range out.Errors {
			if isTransientCode(aws.ToString(e.Code)) {
				again = append(again, types.ObjectIdentifier{Key: e.Key, VersionId: e.VersionId})
				continue
			}
			p.fail(e)
			final++
		}
		p.purged += len(batch) - len(again) - final
		last, batch = out.Errors, again
		if len(again) > 0 {
			return errSomeFailed
		}
		return nil
	})
	if errors.Is(err, errSomeFailed) {
		for _, e := range last {
			if isTransientCode(aws.ToString(e.Code)) {
				p.fail(e)
			}
		}
		return nil
	}
	return err
}

// errSomeFailed makes attempt try again.
var errSomeFailed = errors.New("some versions were not deleted")

// isTransientCode reports whether a key's error may pass (Amazon S3 API Reference, "Error
// responses").
func isTransientCode(code string) bool {
	switch code {
	case "InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted", "RequestTimeout":
		return true
	}
	return false
}

func (p *purge) fail(e types.Error) {
	p.failed++
	err := errors.New(aws.ToString(e.Code))
	// What S3 says of a version that a lock protects differs from other refusals in its text.
	if aws.ToString(e.Code) == "AccessDenied" && strings.Contains(strings.ToLower(aws.ToString(e.Message)), "object lock") {
		err = objects.ErrLocked
		if !p.locked && len(p.faults) == faultsMost {
			p.faults = p.faults[:faultsMost-1]
		}
		p.locked = true
	}
	if len(p.faults) == faultsMost {
		return
	}
	p.faults = append(p.faults, fmt.Errorf("%s: %w", strings.TrimPrefix(aws.ToString(e.Key), *p.store.key("")), err))
}

func (p *purge) err() error {
	if p.failed == 0 {
		return nil
	}
	return fmt.Errorf("%d versions were not deleted: %w", p.failed, errors.Join(p.faults...))
}
