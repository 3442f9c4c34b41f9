package s3test_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// client is a plain SDK client, as any tool has.
func client(s *s3test.Server, change func(*s3.Options)) *s3.Client {
	o := s3.Options{
		BaseEndpoint: &s.Endpoint, UsePathStyle: true, Region: s3test.Region, Credentials: s.Credentials, Retryer: aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
	}
	if change != nil {
		change(&o)
	}
	return s3.New(o)
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var a smithy.APIError
	if !errors.As(err, &a) || a.ErrorCode() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func put(bucket, key, kms, body string) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(body),
		ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &kms,
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := s3test.Start(t, s3test.Config{})
	c, bucket, kms, other := client(s, nil), s.Bucket(t), s.KMS.Create(), s.KMS.Create()
	s.RequireKey(bucket, "data/tenant/", kms)
	for what, tc := range map[string]struct {
		code   string
		change func(*s3.PutObjectInput)
	}{
		"no encryption":    {"AccessDenied", func(p *s3.PutObjectInput) { p.ServerSideEncryption, p.SSEKMSKeyId = "", nil }},
		"SSE-S3":           {"AccessDenied", func(p *s3.PutObjectInput) { p.ServerSideEncryption, p.SSEKMSKeyId = "AES256", nil }},
		"no key":           {"AccessDenied", func(p *s3.PutObjectInput) { p.SSEKMSKeyId = nil }},
		"another's key":    {"AccessDenied", func(p *s3.PutObjectInput) { p.SSEKMSKeyId = &other }},
		"an unknown key":   {"KMS.NotFoundException", func(p *s3.PutObjectInput) { p.Key, p.SSEKMSKeyId = aws.String("x"), aws.String("none") }},
		"a wrong checksum": {"BadDigest", func(p *s3.PutObjectInput) { p.ChecksumCRC64NVME = aws.String("AAAAAAAAAAA=") }},
	} {
		p := put(bucket, "data/tenant/x", kms, "synthetic")
		tc.change(p)
		_, err := c.PutObject(t.Context(), p)
		wantCode(t, what, err, tc.code)
	}
	_, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: aws.String("x")})
	wantCode(t, "an upload without encryption", err, "AccessDenied")

	// Signatures: a header that was added or changed on the way, a body that was, a stranger.
	onTheWay := func(change func(*http.Request)) *s3.Client {
		return client(s, func(o *s3.Options) { o.HTTPClient = tampering{change} })
	}
	for what, tc := range map[string]struct {
		code   string
		client *s3.Client
	}{
		"header added":   {"AccessDenied", onTheWay(func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") })},
		"header changed": {"SignatureDoesNotMatch", onTheWay(func(r *http.Request) { r.Header.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", other) })},
		"path changed":   {"SignatureDoesNotMatch", onTheWay(func(r *http.Request) { r.URL.Path += "y" })},
		"body changed":   {"XAmzContentSHA256Mismatch", onTheWay(func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("SYNTHETIC")) })},
		"not signed":     {"AccessDenied", onTheWay(func(r *http.Request) { r.Header.Del("Authorization") })},
		"another's secret": {"SignatureDoesNotMatch", client(s, func(o *s3.Options) {
			o.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
				c, err := s.Credentials.Retrieve(ctx)
				c.SecretAccessKey = "another"
				return c, err
			})
		})},
	} {
		_, err := tc.client.PutObject(t.Context(), put(bucket, "data/tenant/x", kms, "synthetic"))
		wantCode(t, what, err, tc.code)
	}
	if _, err := s.Stored(bucket, "data/tenant/x"); err == nil {
		t.Error("what was refused is there")
	}
	if _, err := c.PutObject(t.Context(), put(bucket, "data/tenant/x", kms, "synthetic")); err != nil {
		t.Error(err)
	}
}

type tampering struct{ change func(*http.Request) }

func (h tampering) Do(r *http.Request) (*http.Response, error) {
	h.change(r)
	return http.DefaultClient.Do(r)
}

// Every range of an object put whole or in parts is the plaintext's, and none of it lies in
// clear.
func TestRanges(t *testing.T) {
	s := s3test.Start(t, s3test.Config{})
	c, bucket, kms := client(s, nil), s.Bucket(t), s.KMS.Create()
	body := bytes.Repeat([]byte("0123456789abcdef"), (11<<20)/16)
	if _, err := c.PutObject(t.Context(), put(bucket, "whole", kms, string(body))); err != nil {
		t.Fatal(err)
	}
	upload(t, c, bucket, "parts", kms, body, 5<<20+12345)
	for _, key := range []string{"whole", "parts"} {
		stored, err := s.Stored(bucket, key)
		if err != nil || bytes.Contains(stored, body[:16]) || len(stored) < len(body) {
			t.Errorf("%s: %d bytes at rest, %v", key, len(stored), err)
		}
		const m = 5<<20 + 12345
		for _, r := range []struct{ start, end int }{
			{0, 1}, {0, 65536}, {65535, 65537}, {65536, 131072}, {m - 1, m}, {m, m + 1}, {m - 70000, m + 70000}, {2*m - 1, 2*m + 1},
			{100, len(body)}, {len(body) - 1, len(body)}, {0, len(body)},
		} {
			out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-%d", r.start, r.end-1))})
			if err != nil {
				t.Fatalf("%s %v: %v", key, r, err)
			}
			got, err := io.ReadAll(out.Body)
			if err != nil || !bytes.Equal(got, body[r.start:r.end]) {
				t.Errorf("%s %v: %d bytes, %v", key, r, len(got), err)
			}
		}
		_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String(fmt.Sprintf("bytes=%d-", len(body)))})
		wantCode(t, key+" beyond the end", err, "InvalidRange")
	}
}

func upload(t *testing.T, c *s3.Client, bucket, key, kms string, body []byte, size int) {
	t.Helper()
	created, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: &bucket, Key: &key, ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &kms,
	})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n := 0; n*size < len(body); n++ {
		number := aws.Int32(int32(n + 1))
		out, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: &key, UploadId: created.UploadId, PartNumber: number, Body: bytes.NewReader(body[n*size : min((n+1)*size, len(body))]),
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: number})
	}
	out, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := crc64.Checksum(body, crc64.MakeTable(0x9a6c9329ac4bc9b5))
	if want := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, sum)); aws.ToString(out.ChecksumCRC64NVME) != want {
		t.Errorf("checksum %q, want %q", aws.ToString(out.ChecksumCRC64NVME), want)
	}
}

// What the layer relies on in versitygw: of many that create an object at once, in either
// way, one succeeds.
func TestConditionsHoldUnderConcurrency(t *testing.T) {
	s := s3test.Start(t, s3test.Config{})
	c, bucket, kms := client(s, nil), s.Bucket(t), s.KMS.Create()
	for round := range 10 {
		key := fmt.Sprintf("race/%d", round)
		const racers = 16
		var wg sync.WaitGroup
		created := make([]bool, racers)
		for i := range racers {
			wg.Go(func() {
				body := strings.Repeat(string(rune('a'+i)), 50_000)
				var err error
				if i%2 == 0 {
					p := put(bucket, key, kms, body)
					p.IfNoneMatch = aws.String("*")
					_, err = c.PutObject(context.Background(), p)
				} else {
					err = createInParts(c, bucket, key, kms, body)
				}
				var r *smithyhttp.ResponseError
				switch {
				case err == nil:
					created[i] = true
				case !errors.As(err, &r) || r.HTTPStatusCode() != http.StatusPreconditionFailed:
					t.Errorf("racer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		winner := -1
		for i, ok := range created {
			if ok && winner >= 0 {
				t.Errorf("round %d: racers %d and %d both created it", round, winner, i)
			} else if ok {
				winner = i
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody created it", round)
		}
		out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(out.Body)
		if err != nil || string(got) != strings.Repeat(string(rune('a'+winner)), 50_000) {
			t.Errorf("round %d: the object is not the winner's (%v)", round, err)
		}
	}
}

func createInParts(c *s3.Client, bucket, key, kms, body string) error {
	ctx := context.Background()
	created, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &bucket, Key: &key, ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &kms,
	})
	if err != nil {
		return err
	}
	part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: created.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader(body)})
	if err != nil {
		return err
	}
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: created.UploadId, IfNoneMatch: aws.String("*"),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}},
	})
	return err
}

// A listing tells the sizes of what was put.
func TestListedSizes(t *testing.T) {
	s := s3test.Start(t, s3test.Config{PageSize: 2})
	c, bucket, kms := client(s, nil), s.Bucket(t), s.KMS.Create()
	for i := range 5 {
		if _, err := c.PutObject(t.Context(), put(bucket, fmt.Sprintf("a/%d", i), kms, strings.Repeat("x", i))); err != nil {
			t.Fatal(err)
		}
	}
	pages, got := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &bucket}), 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Contents) > 2 {
			t.Errorf("%d in a page", len(page.Contents))
		}
		for _, o := range page.Contents {
			if *o.Size != int64(got) {
				t.Errorf("%s has %d bytes", *o.Key, *o.Size)
			}
			got++
		}
	}
	if got != 5 {
		t.Errorf("%d objects", got)
	}
}
