package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cardlake/cardlake/tokenize/discover"
)

// s3Options say where buckets are. Credentials come from the SDK's chain.
type s3Options struct {
	endpoint, region string
	pathStyle        bool
}

// client connects to S3 over TLS, or to a loopback address.
func (o s3Options) client(ctx context.Context) (*s3.Client, error) {
	if o.endpoint != "" {
		u, err := url.Parse(o.endpoint)
		if err != nil || u.Host == "" {
			return nil, errors.New("-s3-endpoint is not a URL")
		}
		ip := net.ParseIP(u.Hostname())
		if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
			return nil, errors.New("-s3-endpoint is neither https nor http to a loopback address")
		}
	}
	var opts []func(*config.LoadOptions) error
	if o.region != "" {
		opts = append(opts, config.WithRegion(o.region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("S3 configuration: %w", err)
	}
	return s3.NewFromConfig(cfg, func(so *s3.Options) {
		so.UsePathStyle = o.pathStyle
		if o.endpoint != "" {
			so.BaseEndpoint = aws.String(o.endpoint)
		}
	}), nil
}

// bucket searches every object below a prefix, in its current version.
func (s *scan) bucket(ctx context.Context, rest string) error {
	bucket, prefix, _ := strings.Cut(rest, "/")
	api, err := s.o.s3.client(ctx)
	if err != nil {
		return err
	}
	pages := s3.NewListObjectsV2Paginator(api, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list bucket: %w", err)
		}
		for _, o := range page.Contents {
			if s.failed != nil || ctx.Err() != nil {
				return ctx.Err()
			}
			s.origin = discover.Origin{Basis: "the object's time in the store: it may have been there before"}
			if o.LastModified != nil {
				s.origin.Since = *o.LastModified
			}
			src := &objectSource{ctx: ctx, api: api, bucket: bucket, key: aws.ToString(o.Key), etag: o.ETag, size: aws.ToInt64(o.Size)}
			if err := s.scanner.File(ctx, "s3://"+bucket+"/"+src.key, src); err != nil {
				return err
			}
		}
	}
	return nil
}

// objectWindow is how much of an object is read at once.
const objectWindow = 8 << 20

// objectSource reads an object in windows, all of the same version.
type objectSource struct {
	ctx    context.Context // io.ReaderAt has no room for it
	api    *s3.Client
	bucket string
	key    string
	etag   *string
	size   int64

	mu     sync.Mutex
	window []byte
	at     int64
}

func (o *objectSource) Size() int64 { return o.size }

func (o *objectSource) ReadAt(p []byte, off int64) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) {
		if off >= o.size {
			return n, io.EOF
		}
		if off < o.at || off >= o.at+int64(len(o.window)) {
			if err := o.fetch(off); err != nil {
				return n, err
			}
		}
		m := copy(p[n:], o.window[off-o.at:])
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

func (o *objectSource) fetch(off int64) error {
	end := min(off+objectWindow, o.size)
	out, err := o.api.GetObject(o.ctx, &s3.GetObjectInput{
		Bucket: &o.bucket, Key: &o.key, IfMatch: o.etag, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, end-1)),
	})
	if err != nil {
		return fmt.Errorf("get object: %w", err)
	}
	defer out.Body.Close()
	window := make([]byte, end-off)
	if _, err := io.ReadFull(out.Body, window); err != nil {
		return fmt.Errorf("get object: %w", err)
	}
	o.window, o.at = window, off
	return nil
}
