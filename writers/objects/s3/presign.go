package s3

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cardlake/cardlake/writers/objects"
)

// MaxPresign is the longest that a presigned URL can be valid (Amazon S3 User Guide, "Expiration
// time for presigned URLs"). Temporary credentials end it earlier, when they end.
const MaxPresign = 7 * 24 * time.Hour

// Presign returns a URL by which whoever has it reads the object until it ends, whole or by Range,
// from the service and with no credentials of their own; the service decrypts under the rights of
// this store's credentials. The answer says that the object is a file of the name. Nothing is
// asked of the service: whether there is an object shows when the URL is used.
func (s *Store) Presign(ctx context.Context, name, fileName string, valid time.Duration) (string, error) {
	fault := func(err error) (string, error) { return "", fmt.Errorf("presign %s: %w", name, err) }
	if err := errors.Join(ctx.Err(), objects.ValidateName(name)); err != nil {
		return fault(err)
	}
	if valid < time.Second || valid > MaxPresign {
		return fault(fmt.Errorf("a URL is valid from 1 second to %v", MaxPresign))
	}
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": fileName})
	if disposition == "" {
		return fault(errors.New("the file's name cannot be told"))
	}
	api, err := s.client(ctx)
	if err != nil {
		return fault(err)
	}
	// A checksum of the answer is the reader's to ask for: its headers would have to be sent as
	// they were signed.
	signed, err := s3.NewPresignClient(api).PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.cfg.Bucket, Key: s.key(name), ResponseContentDisposition: aws.String(disposition),
	}, s3.WithPresignExpires(valid))
	if err != nil {
		return fault(err)
	}
	return signed.URL, nil
}
