package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cardlake/cardlake/writers/objects"
)

// List implements [objects.Store], a page of a thousand objects at a time. It passes over
// objects whose names do not follow the rule of names, as a folder's that a console made.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[objects.Info, error] {
	return func(yield func(objects.Info, error) bool) {
		if err := s.list(ctx, prefix, yield); err != nil {
			yield(objects.Info{}, fmt.Errorf("list %s: %w", prefix, meaning(err)))
		}
	}
}

func (s *Store) list(ctx context.Context, prefix string, yield func(objects.Info, error) bool) error {
	if err := errors.Join(ctx.Err(), objects.ValidatePrefix(prefix)); err != nil {
		return err
	}
	api, err := s.client(ctx)
	if err != nil {
		return err
	}
	input := &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, Prefix: s.key(prefix)}
	root := *s.key("")
	for {
		var page *s3.ListObjectsV2Output
		err := s.attempt(ctx, func(ctx context.Context) (err error) {
			page, err = api.ListObjectsV2(ctx, input)
			return err
		})
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			name, ok := strings.CutPrefix(aws.ToString(o.Key), root)
			if !ok || objects.ValidateName(name) != nil {
				continue
			}
			if !yield(objects.Info{Name: name, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)}, nil) {
				return nil
			}
		}
		if !aws.ToBool(page.IsTruncated) {
			return nil
		}
		input.ContinuationToken = page.NextContinuationToken
	}
}

// Delete implements [objects.Store]. The service does not tell whether there was something
// to delete, so the object is looked at first and then deleted only as it was seen; of two
// that delete it at once the second gets ErrNotFound from a service that keeps to the
// condition. In a bucket with versions it leaves the older version, for Purge or the bucket's
// lifecycle rule.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.delete(ctx, name); err != nil {
		return fmt.Errorf("delete %s: %w", name, meaning(err))
	}
	return nil
}

func (s *Store) delete(ctx context.Context, name string) error {
	if err := errors.Join(ctx.Err(), objects.ValidateName(name)); err != nil {
		return err
	}
	api, err := s.client(ctx)
	if err != nil {
		return err
	}
	head, err := s.head(ctx, api, s.key(name))
	if err != nil {
		return err
	}
	err = s.once(ctx, func(ctx context.Context) error {
		_, err := api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(name), IfMatch: head.ETag})
		return err
	})
	if n := status(err); n == http.StatusPreconditionFailed || n == http.StatusNotFound && code(err) != "NoSuchBucket" {
		return objects.ErrNotFound // it went, or went and came again, since it was looked at
	}
	return err
}
