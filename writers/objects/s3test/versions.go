package s3test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// versioned is a bucket that keeps versions. The gateway has the current ones; the layer
// keeps the others, encrypted as they were, and knows of all. Its lock is held by whatever
// changes the bucket.
type versioned struct {
	hasLock bool // made with Object Lock
	keys    map[string][]*version
}

// version is one version of an object, oldest first in versioned.
type version struct {
	key, id  string
	isMarker bool
	at       time.Time
	etag     string
	content  *content
	header   http.Header // of the object, for when it becomes current again
	sealed   []byte      // nil while it is current
	lock
}

// lock keeps a version from being deleted.
type lock struct {
	mode  string // empty: none
	until time.Time
}

// unversioned is the id of the one version that an object has in a bucket without versions.
const unversioned = "null"

// VersionedBucket makes a new, empty bucket that keeps versions.
func (s *Server) VersionedBucket(tb testing.TB) string { return s.versionedBucket(tb, false) }

// LockedBucket makes a new, empty bucket with Object Lock, which keeps versions.
func (s *Server) LockedBucket(tb testing.TB) string { return s.versionedBucket(tb, true) }

func (s *Server) versionedBucket(tb testing.TB, hasLock bool) string {
	name := s.Bucket(tb)
	s.versions.Lock()
	defer s.versions.Unlock()
	s.versioned[name] = &versioned{hasLock: hasLock, keys: map[string][]*version{}}
	return name
}

// Versions returns how many versions and delete markers there are of objects whose keys begin
// with the prefix, in a bucket that keeps versions.
func (s *Server) Versions(bucket, prefix string) (versions, markers int) {
	s.versions.Lock()
	defer s.versions.Unlock()
	for key, list := range s.versioned[bucket].keys {
		for _, v := range list {
			switch {
			case !strings.HasPrefix(key, prefix):
			case v.isMarker:
				markers++
			default:
				versions++
			}
		}
	}
	return versions, markers
}

// Advance lets the time pass by which locks are judged.
func (s *Server) Advance(d time.Duration) {
	s.versions.Lock()
	defer s.versions.Unlock()
	s.ahead += d
}

// FailVersions answers InternalError for the next n keys of DeleteObjects, of which nothing
// is done.
func (s *Server) FailVersions(n int) {
	s.versions.Lock()
	defer s.versions.Unlock()
	s.failing = n
}

// IgnoreLocks makes the service take requests to lock as if they asked for nothing, as one
// does that knows no Object Lock.
func (s *Server) IgnoreLocks(ignore bool) {
	s.versions.Lock()
	defer s.versions.Unlock()
	s.unlocked = ignore
}

func (s *Server) now() time.Time { return time.Now().Add(s.ahead) }

func (v *versioned) current(key string) *version {
	list := v.keys[key]
	if len(list) == 0 || list[len(list)-1].isMarker {
		return nil
	}
	return list[len(list)-1]
}

// lockOf reads the lock that a request asks for (Amazon S3 API Reference, "PutObject").
func (s *Server) lockOf(q *request, b *versioned) (l lock, refusal *answer) {
	mode, until := q.Header.Get("X-Amz-Object-Lock-Mode"), q.Header.Get("X-Amz-Object-Lock-Retain-Until-Date")
	if mode == "" && until == "" || s.unlocked {
		return lock{}, nil
	}
	date, err := time.Parse(time.RFC3339, until)
	switch {
	case b == nil || !b.hasLock:
		return l, failure(http.StatusBadRequest, "InvalidRequest")
	case mode != "GOVERNANCE" && mode != "COMPLIANCE", err != nil, !date.After(s.now()):
		return l, failure(http.StatusBadRequest, "InvalidArgument")
	case q.Header.Get("Content-Md5") == "" && q.Header.Get("X-Amz-Sdk-Checksum-Algorithm") == "" && q.Header.Get("X-Amz-Checksum-Algorithm") == "":
		return l, failure(http.StatusBadRequest, "InvalidRequest")
	}
	return lock{mode, date}, nil
}

func (s *Server) lockAsked(q *request) (lock, *answer) {
	s.versions.Lock()
	defer s.versions.Unlock()
	return s.lockOf(q, s.versioned[q.bucket])
}

// describe tells the current version of an object and its lock.
func (s *Server) describe(q *request, h http.Header) {
	s.versions.Lock()
	defer s.versions.Unlock()
	b := s.versioned[q.bucket]
	if b == nil {
		return
	}
	v := b.current(q.key)
	if v == nil {
		return
	}
	h.Set("X-Amz-Version-Id", v.id)
	if v.mode != "" {
		h.Set("X-Amz-Object-Lock-Mode", v.mode)
		h.Set("X-Amz-Object-Lock-Retain-Until-Date", v.until.UTC().Format(time.RFC3339))
	}
}

// change runs what makes or removes the current object of a key, and keeps the versions. c
// is the new content, nil when there will be none.
func (s *Server) change(q *request, c *content, l lock, header http.Header, run func() *answer) *answer {
	s.versions.Lock()
	b := s.versioned[q.bucket]
	if b == nil {
		s.versions.Unlock()
		return run()
	}
	defer s.versions.Unlock()
	was := b.current(q.key)
	var sealed []byte
	if was != nil {
		stored, err := s.forward(q.Context(), http.MethodGet, "/"+q.bucket+"/"+escape(q.key), "", nil, nil)
		if err != nil || stored.status != http.StatusOK {
			return failure(http.StatusInternalServerError, "InternalError")
		}
		sealed = stored.body
	}
	a := run()
	if a.status/100 != 2 {
		return a
	}
	if was != nil {
		was.sealed = sealed
	}
	v := &version{key: q.key, id: rand.Text(), isMarker: c == nil, at: time.Now(), content: c, header: header, lock: l}
	if c != nil {
		v.etag = a.header.Get("Etag")
	} else {
		a.header.Set("X-Amz-Delete-Marker", "true")
	}
	b.keys[q.key] = append(b.keys[q.key], v)
	a.header.Set("X-Amz-Version-Id", v.id)
	return a
}

// deleteObject deletes the current object, or one version for good.
func (s *Server) deleteObject(q *request) *answer {
	id := q.URL.Query().Get("versionId")
	if id == "" {
		return s.change(q, nil, lock{}, nil, func() *answer { return s.pass(q, q.Header, q.body) })
	}
	s.versions.Lock()
	defer s.versions.Unlock()
	if code, _ := s.removeVersion(q, q.key, id); code != "" {
		return refusal(code)
	}
	return &answer{http.StatusNoContent, http.Header{"X-Amz-Version-Id": {id}}, nil}
}

func refusal(code string) *answer {
	switch code {
	case "AccessDenied":
		return failure(http.StatusForbidden, code)
	case "InternalError":
		return failure(http.StatusInternalServerError, code)
	}
	return failure(http.StatusBadRequest, code)
}

// lockedText is what S3 says of a version that a lock protects.
const lockedText = "Access Denied because object protected by object lock."

// removeVersion removes one version for good; the one before a current one becomes current.
// It returns the code and the message of an error. A version that is not there is no error.
func (s *Server) removeVersion(q *request, key, id string) (code, message string) {
	path := "/" + q.bucket + "/" + escape(key)
	b := s.versioned[q.bucket]
	if b == nil {
		if id != unversioned {
			return "InvalidArgument", "Invalid version id specified"
		}
		if a, err := s.forward(q.Context(), http.MethodDelete, path, "", nil, nil); err != nil || a.status/100 != 2 && a.status != http.StatusNotFound {
			return "InternalError", "InternalError"
		}
		return "", ""
	}
	list := b.keys[key]
	i := slices.IndexFunc(list, func(v *version) bool { return v.id == id })
	if i < 0 {
		return "", ""
	}
	v := list[i]
	if v.mode != "" && s.now().Before(v.until) && !(v.mode == "GOVERNANCE" && q.Header.Get("X-Amz-Bypass-Governance-Retention") == "true") {
		return "AccessDenied", lockedText
	}
	b.keys[key] = slices.Delete(slices.Clone(list), i, i+1)
	if len(b.keys[key]) == 0 {
		delete(b.keys, key)
	}
	if i < len(list)-1 {
		return "", ""
	}
	if !v.isMarker {
		if a, err := s.forward(q.Context(), http.MethodDelete, path, "", nil, nil); err != nil || a.status/100 != 2 {
			return "InternalError", "InternalError"
		}
	}
	if before := b.current(key); before != nil {
		a, err := s.forward(q.Context(), http.MethodPut, path, "", before.header, before.sealed)
		if err != nil || a.status != http.StatusOK {
			return "InternalError", "InternalError"
		}
		before.sealed = nil
		s.mu.Lock()
		s.current[q.bucket+"/"+key] = before.content
		s.mu.Unlock()
	}
	return "", ""
}

// deletion is the body of DeleteObjects.
type deletion struct {
	XMLName xml.Name `xml:"Delete"`
	Object  []struct{ Key, VersionId string }
	Quiet   bool
}

type deletionResult struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deletedKey
	Error   []deletionError
}

type deletedKey struct {
	Key                   string
	VersionId             string `xml:",omitempty"`
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionId string `xml:",omitempty"`
}

type deletionError struct{ Key, VersionId, Code, Message string }

// deleteObjects deletes up to a thousand objects or versions. The request needs a checksum
// (Amazon S3 API Reference, "DeleteObjects").
func (s *Server) deleteObjects(q *request) *answer {
	var asked deletion
	sum, err := base64.StdEncoding.DecodeString(q.Header.Get("X-Amz-Checksum-Crc32"))
	switch {
	case err != nil || len(sum) != 4 && q.Header.Get("Content-Md5") == "":
		return failure(http.StatusBadRequest, "InvalidRequest")
	case len(sum) == 4 && binary.BigEndian.Uint32(sum) != crc32.ChecksumIEEE(q.body):
		return failure(http.StatusBadRequest, "BadDigest")
	case xml.Unmarshal(q.body, &asked) != nil || len(asked.Object) == 0 || len(asked.Object) > 1000:
		return failure(http.StatusBadRequest, "MalformedXML")
	}
	var result deletionResult
	for _, o := range asked.Object {
		done := deletedKey{Key: o.Key, VersionId: o.VersionId}
		code, message := s.deleteOne(q, o.Key, o.VersionId, &done)
		switch {
		case code != "":
			result.Error = append(result.Error, deletionError{o.Key, o.VersionId, code, message})
		case !asked.Quiet:
			result.Deleted = append(result.Deleted, done)
		}
	}
	body, err := xml.Marshal(result)
	if err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	return &answer{http.StatusOK, http.Header{"Content-Type": {"application/xml"}}, body}
}

func (s *Server) deleteOne(q *request, key, id string, done *deletedKey) (code, message string) {
	s.versions.Lock()
	if s.failing > 0 {
		s.failing--
		s.versions.Unlock()
		return "InternalError", "InternalError"
	}
	if id != "" {
		defer s.versions.Unlock()
		return s.removeVersion(q, key, id)
	}
	s.versions.Unlock()
	one := &request{Request: q.Request, operation: "DeleteObject", bucket: q.bucket, key: key}
	a := s.change(one, nil, lock{}, nil, func() *answer {
		a, err := s.forward(q.Context(), http.MethodDelete, "/"+q.bucket+"/"+escape(key), "", nil, nil)
		if err != nil {
			return failure(http.StatusBadGateway, "InternalError")
		}
		return a
	})
	if a.status/100 != 2 {
		return "InternalError", "InternalError"
	}
	if id := a.header.Get("X-Amz-Version-Id"); id != "" {
		done.DeleteMarker, done.DeleteMarkerVersionId = true, id
	}
	return "", ""
}

func escape(key string) string { return (&url.URL{Path: key}).EscapedPath() }

// versionsListing is the answer to ListObjectVersions.
type versionsListing struct {
	XMLName             xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
	Name, Prefix        string
	KeyMarker           string
	VersionIdMarker     string
	NextKeyMarker       string `xml:",omitempty"`
	NextVersionIdMarker string `xml:",omitempty"`
	MaxKeys             int
	IsTruncated         bool
	Version             []listedVersion
	DeleteMarker        []listedMarker
}

type listedMarker struct {
	Key, VersionId string
	IsLatest       bool
	LastModified   string
}

type listedVersion struct {
	listedMarker
	ETag string
	Size int64
}

// listVersions lists versions by key, the newest of a key first.
func (s *Server) listVersions(q *request) *answer {
	query := q.URL.Query()
	l := versionsListing{
		Name: q.bucket, Prefix: query.Get("prefix"), MaxKeys: 1000,
		KeyMarker: query.Get("key-marker"), VersionIdMarker: query.Get("version-id-marker"),
	}
	if n, err := strconv.Atoi(query.Get("max-keys")); err == nil {
		l.MaxKeys = min(n, l.MaxKeys)
	}
	if s.pageSize > 0 {
		l.MaxKeys = s.pageSize
	}
	if l.VersionIdMarker != "" && l.KeyMarker == "" {
		return failure(http.StatusBadRequest, "InvalidArgument")
	}
	all, err := s.allVersions(q, l.Prefix)
	if err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	isPast := l.KeyMarker == ""
	for i, v := range all {
		switch {
		case isPast:
		case v.key > l.KeyMarker:
			isPast = true
		case v.key == l.KeyMarker && l.VersionIdMarker != "":
			isPast = v.id == l.VersionIdMarker
			continue
		default:
			continue
		}
		if len(l.Version)+len(l.DeleteMarker) == l.MaxKeys {
			l.IsTruncated = true
			break
		}
		entry := listedMarker{v.key, v.id, i == 0 || all[i-1].key != v.key, v.at.UTC().Format("2006-01-02T15:04:05.000Z")}
		if v.isMarker {
			l.DeleteMarker = append(l.DeleteMarker, entry)
		} else {
			l.Version = append(l.Version, listedVersion{entry, v.etag, v.content.size})
		}
		l.NextKeyMarker, l.NextVersionIdMarker = v.key, v.id
	}
	if !l.IsTruncated {
		l.NextKeyMarker, l.NextVersionIdMarker = "", ""
	}
	body, err := xml.Marshal(l)
	if err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	return &answer{http.StatusOK, http.Header{"Content-Type": {"application/xml"}}, body}
}

// allVersions are the versions of objects with the prefix, by key, the newest first.
func (s *Server) allVersions(q *request, prefix string) (all []*version, err error) {
	s.versions.Lock()
	defer s.versions.Unlock()
	if b := s.versioned[q.bucket]; b != nil {
		for key, list := range b.keys {
			if strings.HasPrefix(key, prefix) {
				for _, v := range slices.Backward(list) {
					all = append(all, v)
				}
			}
		}
	} else if all, err = s.plainVersions(q.Context(), q.bucket, prefix); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b *version) int { return strings.Compare(a.key, b.key) })
	return all, nil
}

// plainVersions are the objects of a bucket without versions.
func (s *Server) plainVersions(ctx context.Context, bucket, prefix string) (all []*version, err error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	for {
		a, err := s.forward(ctx, http.MethodGet, "/"+bucket, query.Encode(), nil, nil)
		var l listing
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("list: status %d", a.status)
		}
		if err == nil {
			err = xml.Unmarshal(a.body, &l)
		}
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		for _, o := range l.Contents {
			at, _ := time.Parse(time.RFC3339, o.LastModified)
			if c := s.current[bucket+"/"+o.Key]; c != nil {
				all = append(all, &version{key: o.Key, id: unversioned, at: at, etag: o.ETag, content: c})
			}
		}
		s.mu.Unlock()
		if !l.IsTruncated {
			return all, nil
		}
		query.Set("continuation-token", l.NextContinuationToken)
	}
}
