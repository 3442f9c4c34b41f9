package s3test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// authenticate verifies AWS Signature Version 4 in the Authorization header (Amazon S3 API
// Reference, "Authenticating Requests: Using the Authorization Header") and the hash of the
// body. Signatures of chunks are refused; presigned takes those in query strings.
func authenticate(r *http.Request, body []byte, c aws.Credentials) *answer {
	fields := map[string]string{}
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return failure(http.StatusForbidden, "AccessDenied")
	}
	for f := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(f), "=")
		fields[k] = v
	}
	date := r.Header.Get("X-Amz-Date")
	t, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(t).Abs() > 15*time.Minute {
		return failure(http.StatusForbidden, "RequestTimeTooSkewed")
	}
	scope := date[:8] + "/" + Region + "/s3/aws4_request"
	if fields["Credential"] != c.AccessKeyID+"/"+scope {
		return failure(http.StatusForbidden, "InvalidAccessKeyId")
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload != "UNSIGNED-PAYLOAD" {
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != payload {
			return failure(http.StatusBadRequest, "XAmzContentSHA256Mismatch")
		}
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for name := range r.Header {
		// What is not signed could have been added on the way.
		if n := strings.ToLower(name); strings.HasPrefix(n, "x-amz-") && !slices.Contains(signed, n) {
			return failure(http.StatusForbidden, "AccessDenied")
		}
	}
	var canonical strings.Builder
	canonical.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + canonicalQuery(r.URL) + "\n")
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = r.Header.Get("Content-Length")
		}
		canonical.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	canonical.WriteString("\n" + fields["SignedHeaders"] + "\n" + payload)
	sum := sha256.Sum256([]byte(canonical.String()))
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + c.SecretAccessKey)
	for _, part := range []string{date[:8], Region, "s3", "aws4_request"} {
		key = mac(key, part)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(mac(key, toSign))), []byte(fields["Signature"])) {
		return failure(http.StatusForbidden, "SignatureDoesNotMatch")
	}
	return nil
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

func canonicalQuery(u *url.URL) string {
	// Encode sorts by name; it spells a blank as + where the signature wants %20.
	return strings.ReplaceAll(u.Query().Encode(), "+", "%20")
}
