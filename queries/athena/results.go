package athena

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// newResults returns the client that reads and deletes results, with the process's own identity:
// the roles that ask may not delete.
func newResults(account aws.Config, cfg Config) *s3.Client {
	return s3.NewFromConfig(account, func(o *s3.Options) {
		o.Retryer = newRetryer(cfg, account.Credentials)
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if cfg.S3 != nil {
			cfg.S3(o)
		}
	})
}

// file is an object of results.
type file struct {
	key, etag string
	size      int64
}

// list returns the objects below the prefix, in order of name.
func (e *Engine) list(ctx context.Context, bucket, prefix string) ([]file, error) {
	var out []file
	pages := s3.NewListObjectsV2Paginator(e.results, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix, ExpectedBucketOwner: &e.cfg.BucketOwner})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list what Athena unloaded: %w", refusal(err))
		}
		for _, o := range page.Contents {
			if aws.ToInt64(o.Size) > 0 {
				out = append(out, file{aws.ToString(o.Key), aws.ToString(o.ETag), aws.ToInt64(o.Size)})
			}
		}
	}
	return out, nil
}

// maxDelete is the most keys of one request (DeleteObjects).
const maxDelete = 1000

// delete deletes objects; those that are not there are no error.
func (e *Engine) delete(ctx context.Context, bucket string, keys []string) error {
	for chunk := range slices.Chunk(keys, maxDelete) {
		objects := make([]types.ObjectIdentifier, len(chunk))
		for i := range chunk {
			objects[i].Key = &chunk[i]
		}
		out, err := e.results.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &bucket, ExpectedBucketOwner: &e.cfg.BucketOwner,
			Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return fmt.Errorf("delete results of Athena: %w", refusal(err))
		}
		if len(out.Errors) > 0 {
			return fmt.Errorf("delete results of Athena: %d of %d objects: %s", len(out.Errors), len(chunk), aws.ToString(out.Errors[0].Code))
		}
	}
	return nil
}

// reader reads an object by ranges.
type reader struct {
	engine *Engine
	place  *place
	file   file
}

func (e *Engine) reader(p *place, f file) *reader { return &reader{e, p, f} }

// errUnsealed says that a result is not encrypted as its workgroup says.
var errUnsealed = errors.New("an object is not encrypted under the workgroup's KMS key")

// ReadAt implements io.ReaderAt. What is not encrypted under the workgroup's key is not read: the
// settings were not in force, or somebody else wrote it.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.file.size {
		return 0, io.EOF
	}
	var end error
	if rest := r.file.size - off; int64(len(p)) > rest {
		p, end = p[:rest], io.EOF
	}
	if len(p) == 0 {
		return 0, end
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.engine.cfg.Timeout)
	defer cancel()
	out, err := r.engine.results.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &r.place.bucket, Key: &r.file.key, IfMatch: &r.file.etag, ExpectedBucketOwner: &r.engine.cfg.BucketOwner,
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1)),
	})
	if err != nil {
		return 0, refusal(err)
	}
	defer out.Body.Close()
	if out.ServerSideEncryption != types.ServerSideEncryptionAwsKms || aws.ToString(out.SSEKMSKeyId) != r.place.key {
		return 0, errUnsealed
	}
	n, err := io.ReadFull(out.Body, p)
	if err != nil {
		return n, fmt.Errorf("content: %w", err)
	}
	return n, end
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
