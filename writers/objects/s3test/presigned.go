package s3test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// presigned answers a GET or HEAD that is signed in its query (Amazon S3 API Reference,
// "Authenticating Requests: Using Query Parameters"): with host as the only signed header, and
// until it ends.
func (s *Server) presigned(q *request, c aws.Credentials, r *reader) *answer {
	query := q.URL.Query()
	date := query.Get("X-Amz-Date")
	t, err := time.Parse("20060102T150405Z", date)
	seconds, err2 := strconv.Atoi(query.Get("X-Amz-Expires"))
	if err != nil || err2 != nil || seconds < 1 || seconds > 7*24*60*60 || query.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || query.Get("X-Amz-SignedHeaders") != "host" ||
		q.Method != http.MethodGet && q.Method != http.MethodHead {
		return failure(http.StatusForbidden, "AuthorizationQueryParametersError")
	}
	scope := date[:8] + "/" + Region + "/s3/aws4_request"
	if query.Get("X-Amz-Credential") != c.AccessKeyID+"/"+scope {
		return failure(http.StatusForbidden, "InvalidAccessKeyId")
	}
	signature := query.Get("X-Amz-Signature")
	query.Del("X-Amz-Signature")
	canonical := q.Method + "\n" + q.URL.EscapedPath() + "\n" + strings.ReplaceAll(query.Encode(), "+", "%20") + "\nhost:" + q.Host + "\n\nhost\nUNSIGNED-PAYLOAD"
	sum := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + c.SecretAccessKey)
	for _, part := range []string{date[:8], Region, "s3", "aws4_request"} {
		key = mac(key, part)
	}
	want := mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hex.EncodeToString(sum[:]))
	if !hmac.Equal([]byte(hex.EncodeToString(want)), []byte(signature)) {
		return failure(http.StatusForbidden, "SignatureDoesNotMatch")
	}
	if time.Now().After(t.Add(time.Duration(seconds) * time.Second)) {
		return failure(http.StatusForbidden, "AccessDenied") // "Request has expired"
	}
	disposition := query.Get("response-content-disposition")
	q.URL.RawQuery = "" // the gateway is asked as we are
	a := s.operate(q, r)
	if disposition != "" && a.status < http.StatusMultipleChoices {
		a.header.Set("Content-Disposition", disposition)
	}
	return a
}
