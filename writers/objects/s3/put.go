package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

const (
	// putID is the metadata that tells one call of Put from another.
	putID = "cardlake-put"
	// putSum is the metadata that holds the checksum of the content, for reading it through
	// a service that knows no CRC64NVME or does not tell it.
	putSum = "cardlake-crc64nvme"
)

// OwnerContext is the key of the KMS encryption context that holds the owner, so that key
// policies and grants can bind a key to it (condition kms:EncryptionContext:cardlake-owner).
const OwnerContext = "cardlake-owner"

// upload is one call of Put.
type upload struct {
	api     *s3.Client
	key     *string
	id      string
	kms     string
	context string // the encryption context, base64 of JSON
	body    []byte
	sum     *string // checksum of body
	lock
}

// lock is what a request says of the object's lock; nil and empty: nothing.
type lock struct {
	mode      types.ObjectLockMode
	until     *time.Time
	algorithm types.ChecksumAlgorithm // which S3 wants to be told of what is locked
}

func (l Lock) from(now time.Time) lock {
	if l.Mode == "" {
		return lock{}
	}
	// Whole seconds, which every service keeps.
	return lock{types.ObjectLockMode(l.Mode), aws.Time(now.Add(l.Keep).UTC().Truncate(time.Second)), types.ChecksumAlgorithmCrc64nvme}
}

func (u *upload) metadata() map[string]string {
	return map[string]string{putID: u.id, putSum: *u.sum}
}

// Put implements [objects.Store]. An owner whose KMS key is disabled, to be deleted or gone
// gives [keys.ErrNoKey]; a service that does not encrypt gives [ErrNotEncrypted]. After
// another error there may or may not be an object later, as the package comment says.
func (s *Store) Put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := s.put(ctx, name, owner, body); err != nil {
		return fmt.Errorf("put %s: %w", name, meaning(err))
	}
	return nil
}

func (s *Store) put(ctx context.Context, name string, owner keys.Owner, body []byte) error {
	if err := errors.Join(ctx.Err(), objects.ValidateName(name), objects.ValidateOwner(owner)); err != nil {
		return err
	}
	kms, err := s.keys.KeyOf(owner)
	if err != nil {
		return fmt.Errorf("key of %s: %w", owner, err)
	}
	if kms == "" {
		// Without a name S3 would take the account's own key.
		return fmt.Errorf("key of %s: %w", owner, keys.ErrNoKey)
	}
	encryptionContext, err := json.Marshal(map[string]string{OwnerContext: string(owner)})
	if err != nil {
		return err
	}
	api, err := s.client(ctx)
	if err != nil {
		return err
	}
	u := &upload{
		api: api, key: s.key(name), id: rand.Text(), kms: kms, body: body, sum: checksum(body),
		context: base64.StdEncoding.EncodeToString(encryptionContext), lock: s.cfg.Lock.from(time.Now()),
	}
	if int64(len(body)) > s.cfg.MultipartSize {
		return s.putParts(ctx, u)
	}
	return s.putWhole(ctx, u)
}

func (s *Store) putWhole(ctx context.Context, u *upload) error {
	var out *s3.PutObjectOutput
	err := s.once(ctx, func(ctx context.Context) (err error) {
		out, err = u.api.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &s.cfg.Bucket, Key: u.key, IfNoneMatch: aws.String("*"),
			Body: bytes.NewReader(u.body), ContentLength: aws.Int64(int64(len(u.body))),
			ChecksumCRC64NVME: u.sum, ChecksumAlgorithm: u.algorithm,
			Metadata:       u.metadata(),
			ObjectLockMode: u.mode, ObjectLockRetainUntilDate: u.until,
			ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &u.kms,
			SSEKMSEncryptionContext: &u.context, BucketKeyEnabled: s.bucketKeys(),
		})
		return err
	})
	switch {
	case err == nil:
		return s.verify(ctx, u, out.ServerSideEncryption, out.SSEKMSKeyId, out.VersionId)
	case refused(err):
		return err
	}
	return s.resolve(ctx, u, err)
}

func (s *Store) bucketKeys() *bool { return aws.Bool(!s.cfg.NoBucketKeys) }

// resolve finds out what became of a put that ended in cause, which does not tell.
func (s *Store) resolve(ctx context.Context, u *upload, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	head, err := s.head(ctx, u.api, u.key)
	switch {
	case err == nil && head.Metadata[putID] == u.id:
		return s.verify(ctx, u, head.ServerSideEncryption, head.SSEKMSKeyId, head.VersionId)
	case err == nil, status(cause) == http.StatusPreconditionFailed:
		return objects.ErrExists
	}
	return cause
}

func (s *Store) head(ctx context.Context, api *s3.Client, key *string) (out *s3.HeadObjectOutput, err error) {
	err = s.attempt(ctx, func(ctx context.Context) (err error) {
		out, err = api.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: key})
		return err
	})
	return out, err
}

// verify takes the object back, with its version if there are some, unless the service says
// that it encrypted it under the key; and asks whether it is locked, if it should be.
func (s *Store) verify(ctx context.Context, u *upload, algorithm types.ServerSideEncryption, key, version *string) error {
	err := u.verify(algorithm, key)
	if err == nil {
		return s.verifyLock(ctx, u)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	_, e := u.api.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: u.key, VersionId: version})
	return errors.Join(err, e)
}

// verifyLock reports an object that is not locked as it should be. It stays.
func (s *Store) verifyLock(ctx context.Context, u *upload) error {
	if u.until == nil {
		return nil
	}
	head, err := s.head(ctx, u.api, u.key)
	if err != nil {
		return err
	}
	if head.ObjectLockMode != u.mode || head.ObjectLockRetainUntilDate == nil || head.ObjectLockRetainUntilDate.Before(*u.until) {
		return ErrNotLocked
	}
	return nil
}

// verify compares the service's answer with what was asked. Services other than Amazon's
// put an ARN's beginning before the name that they were given.
func (u *upload) verify(algorithm types.ServerSideEncryption, key *string) error {
	got := aws.ToString(key)
	if algorithm == types.ServerSideEncryptionAwsKms &&
		(got == u.kms || strings.HasSuffix(got, ":"+u.kms) || strings.HasSuffix(got, "/"+u.kms)) {
		return nil
	}
	return ErrNotEncrypted
}

// putParts puts the body in parts, which become an object in the last request. Whatever
// fails before leaves nothing that can be seen or listed, and an upload that a bucket's
// lifecycle rule (AbortIncompleteMultipartUpload) removes if the process was killed or the
// answer that names it was lost.
func (s *Store) putParts(ctx context.Context, u *upload) error {
	var created *s3.CreateMultipartUploadOutput
	err := s.attempt(ctx, func(ctx context.Context) (err error) {
		created, err = u.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: u.key, Metadata: u.metadata(),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
			ObjectLockMode: u.mode, ObjectLockRetainUntilDate: u.until,
			ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &u.kms,
			SSEKMSEncryptionContext: &u.context, BucketKeyEnabled: s.bucketKeys(),
		})
		return err
	})
	if err != nil {
		return err
	}
	if err := u.verify(created.ServerSideEncryption, created.SSEKMSKeyId); err != nil {
		return errors.Join(err, s.abort(ctx, u, created.UploadId))
	}
	parts, err := s.sendParts(ctx, u, created.UploadId)
	if err != nil {
		return errors.Join(err, s.abort(ctx, u, created.UploadId))
	}
	var done *s3.CompleteMultipartUploadOutput
	err = s.once(ctx, func(ctx context.Context) (err error) {
		done, err = u.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.cfg.Bucket, Key: u.key, UploadId: created.UploadId, IfNoneMatch: aws.String("*"),
			MultipartUpload:   &types.CompletedMultipartUpload{Parts: parts},
			ChecksumCRC64NVME: u.sum, ChecksumType: types.ChecksumTypeFullObject,
			MpuObjectSize: aws.Int64(int64(len(u.body))),
		})
		return err
	})
	if err == nil {
		return s.verify(ctx, u, done.ServerSideEncryption, done.SSEKMSKeyId, done.VersionId)
	}
	// Once aborted, an upload cannot become an object any more; one that did is not harmed.
	// So the question that follows has a final answer. An abort that fails leaves the upload
	// to the lifecycle rule and the answer as uncertain as that of a single put.
	_ = s.abort(ctx, u, created.UploadId)
	return s.resolve(ctx, u, err)
}

func (s *Store) sendParts(ctx context.Context, u *upload, uploadID *string) ([]types.CompletedPart, error) {
	size := max(s.cfg.PartSize, (int64(len(u.body))+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (int64(len(u.body))+size-1)/size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Parallel)
	for i := range parts {
		start := int64(i) * size
		part := u.body[start:min(start+size, int64(len(u.body)))]
		group.Go(func() error {
			number, sum := aws.Int32(int32(i+1)), checksum(part)
			return s.attempt(ctx, func(ctx context.Context) error {
				out, err := u.api.UploadPart(ctx, &s3.UploadPartInput{
					Bucket: &s.cfg.Bucket, Key: u.key, UploadId: uploadID, PartNumber: number,
					Body: bytes.NewReader(part), ContentLength: aws.Int64(int64(len(part))), ChecksumCRC64NVME: sum,
				})
				if err == nil {
					parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: number, ChecksumCRC64NVME: sum}
				}
				return err
			})
		})
	}
	return parts, group.Wait()
}

// abort removes an upload, also when the caller's context is over.
func (s *Store) abort(ctx context.Context, u *upload, uploadID *string) error {
	err := s.attempt(context.WithoutCancel(ctx), func(ctx context.Context) error {
		_, err := u.api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.cfg.Bucket, Key: u.key, UploadId: uploadID})
		return err
	})
	if err != nil && code(err) != "NoSuchUpload" {
		return fmt.Errorf("abort: %w", err)
	}
	return nil
}

// checksum is a CRC64NVME as the service's headers spell it: base64 of 8 bytes, big-endian.
func checksum(b []byte) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc64.Checksum(b, table()))))
}
