package s3test_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// TestVersions holds the service to what the Amazon S3 User Guide says of versions ("Deleting
// object versions from a versioning-enabled bucket").
func TestVersions(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	bucket, kms := server.VersionedBucket(t), server.KMS.Create()
	c := client(server, nil)
	ctx := t.Context()
	isThere := func(want bool) {
		t.Helper()
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String("a")})
		if (err == nil) != want {
			t.Errorf("the object: %v, is to be there: %t", err, want)
		}
	}
	has := func(versions, markers int) {
		t.Helper()
		if v, m := server.Versions(bucket, "a"); v != versions || m != markers {
			t.Errorf("%d versions and %d markers, want %d and %d", v, m, versions, markers)
		}
	}
	mustPut := func(body string) *string {
		t.Helper()
		out, err := c.PutObject(ctx, put(bucket, "a", kms, body))
		if err != nil || aws.ToString(out.VersionId) == "" {
			t.Fatal(out, err)
		}
		return out.VersionId
	}
	remove := func(id *string) *string {
		t.Helper()
		out, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("a"), VersionId: id})
		if err != nil {
			t.Fatal(err)
		}
		return out.VersionId
	}
	first := mustPut("one")
	has(1, 0)
	marker := remove(nil)
	isThere(false)
	has(1, 1)
	remove(marker) // makes it there again
	isThere(true)
	has(1, 0)
	second := mustPut("second")
	has(2, 0)
	remove(second)
	isThere(true)
	has(1, 0)
	remove(nil)
	remove(first)
	isThere(false)
	has(0, 1)
	list, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &bucket})
	if err != nil || len(list.DeleteMarkers) != 1 || !aws.ToBool(list.DeleteMarkers[0].IsLatest) || len(list.Versions) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if plain := server.Bucket(t); true {
		in := put(plain, "a", kms, "x")
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = types.ObjectLockModeCompliance, aws.Time(time.Now().Add(time.Hour))
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
		_, err := c.PutObject(ctx, in)
		wantCode(t, "a lock in a bucket without", err, "InvalidRequest")
	}
}

// TestObjectLock holds the service to "Locking objects with Object Lock".
func TestObjectLock(t *testing.T) {
	server := s3test.Start(t, s3test.Config{})
	bucket, kms := server.LockedBucket(t), server.KMS.Create()
	c := client(server, nil)
	ctx := t.Context()
	lock := func(key string, mode types.ObjectLockMode, until time.Time) (*string, error) {
		in := put(bucket, key, kms, "x")
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = mode, &until
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
		out, err := c.PutObject(ctx, in)
		if err != nil {
			return nil, err
		}
		return out.VersionId, nil
	}
	if _, err := lock("a", types.ObjectLockModeCompliance, time.Now().Add(-time.Hour)); true {
		wantCode(t, "a lock until yesterday", err, "InvalidArgument")
	}
	until := time.Now().Add(time.Hour)
	for _, mode := range types.ObjectLockMode("").Values() {
		key := string(mode)
		id, err := lock(key, mode, until)
		if err != nil {
			t.Fatal(err)
		}
		remove := func(bypass bool) error {
			_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: id, BypassGovernanceRetention: aws.Bool(bypass)})
			return err
		}
		wantCode(t, "a locked version", remove(false), "AccessDenied")
		if mode == types.ObjectLockModeCompliance {
			wantCode(t, "a locked version, bypassed", remove(true), "AccessDenied")
		}
		// A marker hides it and protects nothing.
		if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
			t.Error(err)
		}
		wantCode(t, "a locked version that is hidden", remove(false), "AccessDenied")
		if mode == types.ObjectLockModeGovernance {
			if err := remove(true); err != nil {
				t.Error(err)
			}
			continue
		}
		server.Advance(2 * time.Hour)
		if err := remove(false); err != nil {
			t.Errorf("when the time is over: %v", err)
		}
	}
}
