package kms

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/register"
)

// Error is KMS's refusal of an operation. It is keys.ErrNoKey, keys.ErrUnwrap or
// keys.ErrDenied where the code means that, and may pass otherwise.
type Error struct {
	Operation string // such as "Decrypt"
	Code      string // of the API reference, such as "DisabledException"
	Message   string // the service's; it names keys and principals by their ARNs
	RequestID string // for CloudTrail

	class error
	cause error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("KMS %s: %s (request %s)", e.Operation, strings.TrimSuffix(e.Code+": "+e.Message, ": "), e.RequestID)
	if e.class != nil {
		return e.class.Error() + ": " + text
	}
	return text
}

// Unwrap returns what the refusal means and the SDK's error.
func (e *Error) Unwrap() []error {
	if e.class == nil {
		return []error{e.cause}
	}
	return []error{e.class, e.cause}
}

// call runs one operation, retries included, within the budget.
func call[Out any](ctx context.Context, s *service, operation string, f func(context.Context) (Out, error)) (Out, error) {
	limited, cancel := context.WithTimeout(ctx, s.cfg.Budget)
	defer cancel()
	out, err := f(limited)
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return out, fmt.Errorf("KMS %s: %w", operation, ctx.Err())
	case limited.Err() != nil:
		// The caller's context is not over: the chain must not say so.
		return out, fmt.Errorf("KMS %s: no answer within %s: %w", operation, s.cfg.Budget, os.ErrDeadlineExceeded)
	}
	return out, classify(operation, err)
}

func classify(operation string, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("KMS %s: %w", operation, err)
	}
	e := &Error{Operation: operation, Code: api.ErrorCode(), Message: api.ErrorMessage(), cause: err}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		e.RequestID = response.ServiceRequestID()
	}
	switch e.Code {
	case "NotFoundException", "DisabledException":
		e.class = keys.ErrNoKey
	case "InvalidCiphertextException", "IncorrectKeyException":
		e.class = keys.ErrUnwrap
	case "AccessDeniedException":
		e.class = keys.ErrDenied
	}
	return e
}

// useKey is a call with the key of an entry. That a key is off or gone is remembered for
// Config.Recheck. Two answers are not taken at their word: of a key in a state that does not
// allow the operation the service is asked which, because one that waits for its deletion is
// gone, but one that is just being made or replicated is not ("Key states of AWS KMS keys",
// developer guide); and a key made moments ago may not have reached all of the service
// ("Eventual consistency", developer guide).
func useKey[Out any](ctx context.Context, s *service, operation string, e *register.Entry, f func(context.Context) (Out, error)) (Out, error) {
	var none Out
	here := s.client.Options().Region
	if of, err := RegionOf(s.here(e.KMSKey)); err != nil || here != of {
		return none, fmt.Errorf("KMS %s: the register's key is in region %q only and this client in %s: use a client of that region", operation, of, here)
	}
	if err := s.refusal(e.ID); err != nil {
		return none, err
	}
	out, err := call(ctx, s, operation, f)
	var refused *Error
	if !errors.As(err, &refused) {
		return out, err
	}
	switch refused.Code {
	case "KMSInvalidStateException":
		if key, describeErr := s.describe(ctx, s.client, e.KMSKey); describeErr == nil && isEnding(key.KeyState) {
			refused.class = keys.ErrNoKey
		}
	case "NotFoundException":
		if time.Since(e.Created) < settling {
			refused.class = nil
		}
	}
	if errors.Is(err, keys.ErrNoKey) {
		s.refuse(e.ID, err)
	}
	return out, err
}

// settling is how long after its making a key may not be found, generously.
const settling = 5 * time.Minute

// fresh also retries when a key or alias is not found that was made just now.
func fresh(o *kms.Options) { o.Retryer = retry.AddWithErrorCodes(o.Retryer, "NotFoundException") }

func isEnding(state types.KeyState) bool {
	return state == types.KeyStatePendingDeletion || state == types.KeyStatePendingReplicaDeletion
}

func (s *service) refusal(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.refused[id]
	if !ok {
		return nil
	}
	if time.Now().After(r.until) {
		delete(s.refused, id)
		return nil
	}
	return r.err
}

func (s *service) refuse(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[id] = refusal{err, time.Now().Add(s.cfg.Recheck)}
}

func (s *service) describe(ctx context.Context, client *kms.Client, arn string) (*types.KeyMetadata, error) {
	key := inRegion(arn, client.Options().Region)
	out, err := call(ctx, s, "DescribeKey", func(ctx context.Context) (*kms.DescribeKeyOutput, error) {
		return client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
	})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}
