package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed event (Standard Webhooks 1.0, "Webhook headers").
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

var (
	// ErrSecret says that a text is no secret.
	ErrSecret = errors.New("a webhook's secret is whsec_ and 24 to 64 bytes in base64")
	// ErrSignature says that an event was not signed with any of the secrets.
	ErrSignature = errors.New("the webhook's signature is missing or wrong")
	// ErrTimestamp says that an event was signed too long ago, or in the future.
	ErrTimestamp = errors.New("the webhook's timestamp is missing or too far from now")
)

const (
	secretPrefix = "whsec_"
	minSecret    = 24 // bytes (Standard Webhooks 1.0, "Signature scheme")
	maxSecret    = 64
)

// Secret is a key that sender and receiver share. It redacts itself in logs and errors.
type Secret []byte

// NewSecret draws a secret of 32 bytes.
func NewSecret() Secret {
	s := make(Secret, 32)
	rand.Read(s)
	return s
}

// ParseSecret reads a secret as it is handed over: whsec_ and base64. The error is ErrSecret.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
	s, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(s) < minSecret || len(s) > maxSecret {
		return nil, ErrSecret
	}
	return s, nil
}

// Reveal returns the secret as it is handed over.
func (s Secret) Reveal() string { return secretPrefix + base64.StdEncoding.EncodeToString(s) }

// Format implements fmt.Formatter: a secret is never printed.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secretPrefix + "…")) }

// MarshalText fails: a secret is never written by accident.
func (s Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("a webhook's secret is not written")
}

// Sign sets the headers of an event that is sent at the instant, with a signature by each of
// the secrets.
func Sign(h http.Header, id string, at time.Time, body []byte, secrets ...Secret) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(s.sum(id, timestamp, body))
	}
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderSignature, strings.Join(signatures, " "))
}

func (s Secret) sum(id, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, s)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// DefaultTolerance is how far a receiver's clock may be from a timestamp.
const DefaultTolerance = 5 * time.Minute

// Verify is for receivers: it reports whether an event was signed with one of the secrets, at
// an instant no further from now than the tolerance, DefaultTolerance when zero. The body is the
// request's, byte by byte. The errors are ErrTimestamp and ErrSignature. Within the tolerance a
// receiver drops repeats by webhook-id.
func Verify(h http.Header, body []byte, now time.Time, tolerance time.Duration, secrets ...Secret) error {
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	id, timestamp := h.Get(HeaderID), h.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return ErrTimestamp
	}
	isSigned := false
	for _, text := range strings.Fields(h.Get(HeaderSignature)) {
		encoded, ok := strings.CutPrefix(text, "v1,")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil {
			continue // of another version
		}
		for _, s := range secrets {
			isSigned = hmac.Equal(signature, s.sum(id, timestamp, body)) && len(s) > 0 || isSigned
		}
	}
	if !isSigned || id == "" {
		return ErrSignature
	}
	return nil
}
