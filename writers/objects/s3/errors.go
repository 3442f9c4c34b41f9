package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// once runs f with the time-out of one request.
func (s *Store) once(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err := f(limited)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		// The caller's context is not over: the chain must not say so.
		return fmt.Errorf("no answer within %s: %w", s.cfg.Timeout, os.ErrDeadlineExceeded)
	}
	return err
}

// attempt runs f, which may be repeated, until it succeeds or fails for good, or
// Config.Attempts times.
func (s *Store) attempt(ctx context.Context, f func(context.Context) error) error {
	for n := 1; ; n++ {
		err := s.once(ctx, f)
		if err == nil || n == s.cfg.Attempts || ctx.Err() != nil || !transient(err) {
			return err
		}
		// Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
		t := time.NewTimer(rand.N(s.cfg.Backoff << min(n-1, 5)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// status returns the HTTP status of a service's answer, 0 if there was none.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var a smithy.APIError
	if errors.As(err, &a) {
		return a.ErrorCode()
	}
	return ""
}

// transient reports whether the same request may succeed later: all but an answer that
// refuses it. A content that failed its checksum may have been damaged on its way.
func transient(err error) bool {
	switch n := status(err); {
	case n == http.StatusRequestTimeout, n == http.StatusTooManyRequests, n >= 500:
		return true
	case n >= 300:
		return code(err) == "RequestTimeout" // status 400: the body came too slowly
	}
	return true
}

// refused reports whether the service said that it did not do what was asked.
func refused(err error) bool {
	n := status(err)
	return n >= 400 && n < 500 && n != http.StatusRequestTimeout && n != http.StatusConflict && n != http.StatusPreconditionFailed
}

// meaning wraps what the service said in the error that callers branch on.
func meaning(err error) error {
	switch c := code(err); {
	// An answer to HEAD has no body, so its code is made from the status.
	case c == "NoSuchKey", c == "NotFound":
		return objects.ErrNotFound
	// Amazon S3 passes on what KMS says of a key: that it is gone or to be deleted,
	case c == "KMS.NotFoundException", c == "KMS.KMSInvalidStateException" && strings.Contains(err.Error(), "pending deletion"):
		return fmt.Errorf("%w: %w", keys.ErrDestroyed, err)
	// or that it is disabled, or may not be used now for other reasons.
	case strings.HasPrefix(c, "KMS."):
		return fmt.Errorf("%w: %w", keys.ErrNoKey, err)
	}
	return err
}
