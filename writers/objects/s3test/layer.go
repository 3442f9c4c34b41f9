package s3test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// failure is an error as S3 spells it.
func failure(status int, code string) *answer {
	return &answer{status, http.Header{"Content-Type": {"application/xml"}},
		fmt.Appendf(nil, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)}
}

func (a *answer) begin(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if a.header.Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
}

// request is what the layer knows of a request.
type request struct {
	*http.Request
	operation, bucket, key string
	body                   []byte
}

// operation names the API operation of a request in path style.
func operation(r *http.Request) (name, bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	if key == "" {
		switch {
		case r.Method == http.MethodGet && q.Has("uploads"):
			return "ListMultipartUploads", bucket, key
		case r.Method == http.MethodGet && q.Get("list-type") == "2":
			return "ListObjectsV2", bucket, key
		case r.Method == http.MethodGet && q.Has("versions"):
			return "ListObjectVersions", bucket, key
		case r.Method == http.MethodPost && q.Has("delete"):
			return "DeleteObjects", bucket, key
		}
		return "Bucket", bucket, key
	}
	switch r.Method + " " + strconv.FormatBool(q.Has("uploadId")) {
	case "PUT true":
		name = "UploadPart"
	case "PUT false":
		name = "PutObject"
	case "POST true":
		name = "CompleteMultipartUpload"
	case "POST false":
		name = "CreateMultipartUpload"
	case "DELETE true":
		name = "AbortMultipartUpload"
	case "DELETE false":
		name = "DeleteObject"
	case "GET true":
		name = "ListParts"
	case "GET false":
		name = "GetObject"
	default:
		name = "HeadObject"
	}
	return name, bucket, key
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := request{Request: r}
	q.operation, q.bucket, q.key = operation(r)
	kind, faulty := s.faultOf(q.operation)
	// It is on record before the client can know of any answer.
	record := &Request{Operation: q.operation, Bucket: q.bucket, Key: q.key, Header: r.Header.Clone(), Context: encryptionContext(r.Header)}
	s.mu.Lock()
	s.requests = append(s.requests, record)
	s.mu.Unlock()
	var a *answer
	done := false
	if faulty {
		if kind != Stall { // the body's end is how the server learns that a client goes
			if a, done = kind.before(w, r); done && a == nil {
				return
			}
		}
	}
	var err error
	if q.body, err = io.ReadAll(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	if faulty && kind == Stall {
		kind.before(w, r)
	}
	if !done {
		a = s.answer(&q)
		if faulty {
			if a = kind.after(w, r, a); a == nil {
				return
			}
		}
	}
	s.mu.Lock()
	record.Status = a.status
	s.mu.Unlock()
	a.begin(w)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body)
	}
}

func (s *Server) answer(q *request) *answer {
	c, _ := s.Credentials.Retrieve(q.Context())
	r := s.caller(q.Request)
	if r != nil {
		c = r.credentials
	}
	if q.URL.Query().Has("X-Amz-Signature") {
		return s.presigned(q, c, r)
	}
	if refusal := authenticate(q.Request, q.body, c); refusal != nil {
		return refusal
	}
	return s.operate(q, r)
}

// operate answers a request that is who it says: a reader's, or the owner's if r is nil.
func (s *Server) operate(q *request, r *reader) *answer {
	if r != nil {
		if refusal := s.refuse(q, r); refusal != nil {
			return refusal
		}
	}
	if q.Header.Get("X-Amz-Copy-Source") != "" || (q.operation == "GetObject" || q.operation == "HeadObject") && (q.URL.Query().Has("partNumber") || q.URL.Query().Has("versionId") || q.Header.Get("If-None-Match") != "") {
		return failure(http.StatusNotImplemented, "NotImplemented")
	}
	switch q.operation {
	case "PutObject":
		return s.putObject(q)
	case "CreateMultipartUpload":
		return s.createUpload(q)
	case "UploadPart":
		return s.uploadPart(q)
	case "CompleteMultipartUpload":
		return s.completeUpload(q)
	case "AbortMultipartUpload":
		return s.abortUpload(q)
	case "GetObject", "HeadObject":
		return s.readObject(q)
	case "ListObjectsV2":
		return s.list(q)
	case "ListObjectVersions":
		return s.listVersions(q)
	case "DeleteObject":
		return s.deleteObject(q)
	case "DeleteObjects":
		return s.deleteObjects(q)
	}
	return s.pass(q, q.Header, q.body)
}

// idHeader is the metadata that tells which content an object has.
const idHeader = "X-Amz-Meta-S3test-Id"

func encryptionContext(h http.Header) (context map[string]string) {
	b, err := base64.StdEncoding.DecodeString(h.Get("X-Amz-Server-Side-Encryption-Context"))
	if err != nil || json.Unmarshal(b, &context) != nil {
		return nil
	}
	return context
}

// begin applies the rules of what may be put and returns a content without segments.
func (s *Server) begin(q *request) (c *content, dataKey []byte, refusal *answer) {
	key := q.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id")
	if q.Header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" || key == "" {
		return nil, nil, failure(http.StatusForbidden, "AccessDenied")
	}
	s.mu.Lock()
	for _, r := range s.rules {
		if q.bucket == r.bucket && strings.HasPrefix(q.key, r.prefix) && key != r.key {
			refusal = failure(http.StatusForbidden, "AccessDenied")
		}
	}
	s.mu.Unlock()
	if refusal != nil {
		return nil, nil, refusal
	}
	c = &content{key: key, context: encryptionContext(q.Header), bucketed: q.Header.Get("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled") == "true"}
	dataKey, c.wrapped, refusal = s.KMS.newDataKey(key, c.context)
	return c, dataKey, refusal
}

// keep gives the content an id, which goes into the object's metadata.
func (s *Server) keep(c *content) (id string) {
	id = strings.ToLower(rand.Text())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contents[id] = c
	return id
}

// checksum compares the body with the checksum that the client gives, if it gives one.
func checksum(q *request, crc uint64) *answer {
	if want := q.Header.Get("X-Amz-Checksum-Crc64nvme"); want != "" && want != spell(crc) {
		return failure(http.StatusBadRequest, "BadDigest")
	}
	return nil
}

// clear drops the headers that say something of the plaintext or of its encryption.
func plainHeaders(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range h {
		switch {
		case strings.HasPrefix(name, "X-Amz-Meta-"), name == "If-Match", name == "If-None-Match", name == "Content-Type":
			out[name] = values
		}
	}
	return out
}

func (s *Server) putObject(q *request) *answer {
	c, dataKey, refusal := s.begin(q)
	if refusal != nil {
		return refusal
	}
	c.segments, c.size, c.crc = []segment{{0, int64(len(q.body))}}, int64(len(q.body)), crc64.Checksum(q.body, crcTable)
	if refusal := checksum(q, c.crc); refusal != nil {
		return refusal
	}
	l, refusal := s.lockAsked(q)
	if refusal != nil {
		return refusal
	}
	h := plainHeaders(q.Header)
	h.Set(idHeader, s.keep(c))
	return s.change(q, c, l, withoutConditions(h), func() *answer {
		a := s.pass(q, h, seal(gcm(dataKey), 0, q.body))
		s.stored(q, c, a)
		return a
	})
}

func withoutConditions(h http.Header) http.Header {
	h = h.Clone()
	h.Del("If-Match")
	h.Del("If-None-Match")
	return h
}

// stored completes the answer to what made an object.
func (s *Server) stored(q *request, c *content, a *answer) {
	if a.status != http.StatusOK {
		return
	}
	s.mu.Lock()
	s.current[q.bucket+"/"+q.key] = c
	s.mu.Unlock()
	c.encryption(a.header)
	a.header.Set("X-Amz-Checksum-Crc64nvme", spell(c.crc))
	a.header.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
}

// readObject looks at an object and then at its content. An object that appears or goes in
// between is looked at anew: the gateway's own answer would be the encrypted content, or a
// condition that no client made.
func (s *Server) readObject(q *request) *answer {
	for range 100 {
		if a := s.readOnce(q); a != nil {
			return a
		}
	}
	return failure(http.StatusInternalServerError, "InternalError")
}

// readOnce returns nil if the object is another, or no more or less there, than it was at
// the beginning.
func (s *Server) readOnce(q *request) *answer {
	head, err := s.forward(q.Context(), http.MethodHead, q.URL.EscapedPath(), "", nil, nil)
	if err != nil {
		return failure(http.StatusBadGateway, "InternalError")
	}
	if head.status != http.StatusOK {
		if a := s.pass(q, nil, nil); a.status != http.StatusOK { // an error, with a body
			return a
		}
		return nil
	}
	s.mu.Lock()
	c := s.contents[head.header.Get(idHeader)]
	s.mu.Unlock()
	if c == nil {
		return nil // its metadata went, or is not yet there
	}
	if want := q.Header.Get("If-Match"); want != "" && want != head.header.Get("Etag") {
		return failure(http.StatusPreconditionFailed, "PreconditionFailed")
	}
	a := &answer{http.StatusOK, http.Header{"Accept-Ranges": {"bytes"}}, nil}
	for name, values := range head.header {
		if strings.HasPrefix(name, "X-Amz-Meta-") && name != idHeader || name == "Etag" || name == "Last-Modified" || name == "Content-Type" {
			a.header[name] = values
		}
	}
	c.encryption(a.header)
	s.describe(q, a.header)
	start, end := int64(0), c.size
	if asked := q.Header.Get("Range"); asked != "" {
		var ok bool
		if start, end, ok = parseRange(asked, c.size); !ok {
			return failure(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
		}
		a.status = http.StatusPartialContent
		a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, c.size))
	} else if q.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" {
		a.header.Set("X-Amz-Checksum-Crc64nvme", spell(c.crc))
		a.header.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
	}
	a.header.Set("Content-Length", strconv.FormatInt(end-start, 10))
	if q.operation == "HeadObject" {
		return a
	}
	dataKey, refusal := s.KMS.unwrap(c.key, c.context, c.wrapped)
	if refusal != nil {
		return refusal
	}
	if start == end {
		return a
	}
	from, to := c.cover(start, end)
	stored, err := s.forward(q.Context(), http.MethodGet, q.URL.EscapedPath(), "", http.Header{
		"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}, "If-Match": head.header["Etag"],
	}, nil)
	if err != nil {
		return failure(http.StatusBadGateway, "InternalError")
	}
	if stored.status != http.StatusPartialContent {
		return nil
	}
	if a.body, err = c.open(gcm(dataKey), stored.body, start, end); err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	return a
}

// parseRange reads a single range of RFC 9110 section 14.1.2.
func parseRange(s string, size int64) (start, end int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes=")
	first, last, found := strings.Cut(s, "-")
	if !ok || !found {
		return 0, 0, false
	}
	end = size
	var err error
	if first == "" {
		var n int64
		n, err = strconv.ParseInt(last, 10, 64)
		start = max(0, size-n)
	} else if start, err = strconv.ParseInt(first, 10, 64); err == nil && last != "" {
		if end, err = strconv.ParseInt(last, 10, 64); err == nil {
			end = min(end+1, size)
		}
	}
	return start, end, err == nil && start < end
}

// listing is what of ListObjectsV2's answer is kept; sizes become those of the plaintext.
type listing struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	StartAfter            string `xml:",omitempty"`
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	Contents              []struct {
		Key          string
		LastModified string
		ETag         string
		Size         int64
		StorageClass string
	}
	CommonPrefixes []struct{ Prefix string }
}

func (s *Server) list(q *request) *answer {
	if query := q.URL.Query(); s.pageSize > 0 {
		query.Set("max-keys", strconv.Itoa(s.pageSize))
		q.URL.RawQuery = query.Encode()
	}
	a := s.pass(q, nil, nil)
	if a.status != http.StatusOK {
		return a
	}
	var l listing
	if err := xml.Unmarshal(a.body, &l); err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	s.mu.Lock()
	for i := range l.Contents {
		if c := s.current[q.bucket+"/"+l.Contents[i].Key]; c != nil {
			l.Contents[i].Size = c.size
		}
	}
	s.mu.Unlock()
	body, err := xml.Marshal(l)
	if err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	a.body = body
	a.header.Del("Content-Length")
	return a
}

// pass has the gateway answer the request with these headers and body.
func (s *Server) pass(q *request, h http.Header, body []byte) *answer {
	a, err := s.forward(q.Context(), q.Method, q.URL.EscapedPath(), q.URL.RawQuery, h, body)
	if err != nil {
		return failure(http.StatusBadGateway, "InternalError")
	}
	return a
}

// forward asks the gateway, signed anew. A service goes on with what a client gave up.
func (s *Server) forward(ctx context.Context, method, path, query string, h http.Header, body []byte) (*answer, error) {
	u := &url.URL{Scheme: "http", Host: "gateway", RawQuery: query}
	var err error
	if u.Path, err = url.PathUnescape(path); err != nil {
		return nil, err
	}
	u.RawPath = path
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range h {
		switch name {
		case "Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "Content-Length", "Accept-Encoding", "Connection", "Expect",
			"Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "User-Agent":
		default:
			r.Header[name] = values
		}
	}
	const payload = "UNSIGNED-PAYLOAD"
	r.Header.Set("X-Amz-Content-Sha256", payload)
	c, err := s.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, c, r, payload, "s3", Region, time.Now()); err != nil {
		return nil, err
	}
	resp, err := s.gateway.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	if method != http.MethodHead {
		a.header.Del("Content-Length")
	}
	a.header.Del("Transfer-Encoding")
	a.header.Del("Connection")
	a.header.Del("Date")
	return a, nil
}
