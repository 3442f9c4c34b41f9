package s3test

import (
	"crypto/rand"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Reader is what a second access key may do, as the policy of a role does in IAM: read and list
// objects of a bucket under the prefixes, and decrypt with the keys. Everything else is denied, and
// so all of it by the zero Reader. It is this and no more of IAM: no conditions, no wildcards.
type Reader struct {
	Bucket   string
	Prefixes []string
	Keys     []string // ARNs of KMS keys
}

type reader struct {
	Reader
	credentials aws.Credentials
}

// Admit makes an access key for the reader.
func (s *Server) Admit(r Reader) aws.CredentialsProvider {
	c := aws.Credentials{AccessKeyID: "AKIA" + rand.Text()[:16], SecretAccessKey: "synthetic-" + rand.Text()}
	r.Prefixes, r.Keys = slices.Clone(r.Prefixes), slices.Clone(r.Keys)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = append(s.readers, reader{r, c})
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")
}

// caller returns the reader whose access key a request names, nil if it is none's.
func (s *Server) caller(r *http.Request) *reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.readers {
		name := "Credential=" + one.credentials.AccessKeyID + "/"
		if strings.Contains(r.Header.Get("Authorization"), name) || strings.HasPrefix(r.URL.Query().Get("X-Amz-Credential"), one.credentials.AccessKeyID+"/") {
			return &one
		}
	}
	return nil
}

// refuse says what the reader may not do, nil if it may. An action names its resource
// (service authorization reference, "Amazon S3"): the object, or for a listing its prefix.
func (s *Server) refuse(q *request, r *reader) *answer {
	name := q.key
	switch q.operation {
	case "GetObject", "HeadObject":
	case "ListObjectsV2":
		name = q.URL.Query().Get("prefix")
	default:
		return failure(http.StatusForbidden, "AccessDenied")
	}
	// The store behind is a file system, where a name with .. would lie under another prefix.
	within := func(prefix string) bool { return prefix != "" && strings.HasPrefix(name, prefix) }
	isClean := path.Clean("/"+name) == "/"+strings.TrimSuffix(name, "/")
	if q.bucket != r.Bucket || !isClean || !slices.ContainsFunc(r.Prefixes, within) {
		return failure(http.StatusForbidden, "AccessDenied")
	}
	s.mu.Lock()
	c := s.current[q.bucket+"/"+name]
	s.mu.Unlock()
	if q.operation == "GetObject" && c != nil && !slices.Contains(r.Keys, c.key) {
		return failure(http.StatusForbidden, "AccessDenied") // kms:Decrypt
	}
	return nil
}
