package athena

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// maxBackoff is the longest pause between two attempts.
const maxBackoff = 10 * time.Second

// expired are the codes with which the services refuse credentials whose time is over ("Common
// errors" of Athena, "Error responses" of S3).
var expired = map[string]bool{"ExpiredTokenException": true, "ExpiredToken": true}

// newRetryer is the one layer in which requests are repeated: what the SDK takes for throttling,
// faults of the service and of the network, as often as the configuration says, and expired
// credentials after they were thrown away.
func newRetryer(cfg Config, provider aws.CredentialsProvider) aws.Retryer {
	renew := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
		var api smithy.APIError
		if !errors.As(err, &api) || !expired[api.ErrorCode()] {
			return aws.UnknownTernary
		}
		cache, ok := provider.(interface{ Invalidate() })
		if !ok {
			return aws.FalseTernary
		}
		cache.Invalidate()
		return aws.TrueTernary
	})
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = cfg.Attempts
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			longest := min(cfg.Backoff<<min(attempt, 16), maxBackoff)
			return time.Duration(rand.Int64N(int64(longest) + 1)), nil
		})
		o.RateLimiter = ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{renew}, o.Retryables...)
	})
}
