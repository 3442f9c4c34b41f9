package s3test

import (
	"encoding/xml"
	"fmt"
	"hash/crc64"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// upload is a multipart upload that was begun. The plaintext of its parts stays in memory
// until the checksum of the whole can be verified.
type upload struct {
	busy    sync.RWMutex // held for reading while a part is put, for writing to end the upload
	content *content
	dataKey []byte
	parts   map[int]part
	lock    lock
	header  http.Header
}

type part struct {
	etag  string
	plain []byte
}

// minPart is what every part but the last must have (Amazon S3 User Guide, "Multipart upload
// limits").
const minPart = 5 << 20

func (s *Server) createUpload(q *request) *answer {
	c, dataKey, refusal := s.begin(q)
	if refusal != nil {
		return refusal
	}
	l, refusal := s.lockAsked(q)
	if refusal != nil {
		return refusal
	}
	h := plainHeaders(q.Header)
	h.Set(idHeader, s.keep(c))
	a := s.pass(q, h, nil)
	var created struct{ UploadId string }
	if a.status != http.StatusOK || xml.Unmarshal(a.body, &created) != nil {
		return a
	}
	s.mu.Lock()
	s.uploads[created.UploadId] = &upload{content: c, dataKey: dataKey, parts: map[int]part{}, lock: l, header: h}
	s.mu.Unlock()
	c.encryption(a.header)
	return a
}

func (s *Server) uploadOf(q *request) (u *upload, id string) {
	id = q.URL.Query().Get("uploadId")
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[id], id
}

func (s *Server) uploadPart(q *request) *answer {
	u, _ := s.uploadOf(q)
	number, err := strconv.Atoi(q.URL.Query().Get("partNumber"))
	if u == nil || err != nil || number < 1 {
		return failure(http.StatusNotFound, "NoSuchUpload")
	}
	if refusal := checksum(q, crc64.Checksum(q.body, crcTable)); refusal != nil {
		return refusal
	}
	if _, refusal := s.KMS.unwrap(u.content.key, u.content.context, u.content.wrapped); refusal != nil {
		return refusal
	}
	sealed := seal(gcm(u.dataKey), number, q.body)
	u.busy.RLock()
	defer u.busy.RUnlock()
	if u, _ := s.uploadOf(q); u == nil {
		return failure(http.StatusNotFound, "NoSuchUpload")
	}
	a := s.pass(q, nil, sealed)
	if a.status == http.StatusOK {
		s.mu.Lock()
		u.parts[number] = part{a.header.Get("Etag"), q.body}
		s.mu.Unlock()
		u.content.encryption(a.header)
	}
	return a
}

// abortUpload waits for the parts under way: the gateway cannot take a part while it removes
// the upload.
func (s *Server) abortUpload(q *request) *answer {
	u, id := s.uploadOf(q)
	if u == nil {
		return failure(http.StatusNotFound, "NoSuchUpload")
	}
	u.busy.Lock()
	defer u.busy.Unlock()
	a := s.pass(q, nil, nil)
	if a.status == http.StatusNoContent {
		s.mu.Lock()
		delete(s.uploads, id)
		s.mu.Unlock()
	}
	return a
}

// completion is the body of CompleteMultipartUpload, without the checksums of the plaintext.
type completion struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUpload"`
	Part    []struct {
		PartNumber int
		ETag       string
	}
}

// completed is the answer to CompleteMultipartUpload.
type completed struct {
	XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location          string
	Bucket            string
	Key               string
	ETag              string
	ChecksumCRC64NVME string
	ChecksumType      string
}

func (s *Server) completeUpload(q *request) *answer {
	u, id := s.uploadOf(q)
	if u == nil {
		return failure(http.StatusNotFound, "NoSuchUpload")
	}
	u.busy.Lock()
	defer u.busy.Unlock()
	var asked completion
	if err := xml.Unmarshal(q.body, &asked); err != nil || len(asked.Part) == 0 {
		return failure(http.StatusBadRequest, "MalformedXML")
	}
	done := *u.content
	done.segments, done.size, done.crc = nil, 0, 0
	s.mu.Lock()
	for i, p := range asked.Part {
		have, ok := u.parts[p.PartNumber]
		if !ok || strings.Trim(have.etag, `"`) != strings.Trim(p.ETag, `"`) {
			s.mu.Unlock()
			return failure(http.StatusBadRequest, "InvalidPart")
		}
		if len(have.plain) < minPart && i < len(asked.Part)-1 {
			s.mu.Unlock()
			return failure(http.StatusBadRequest, "EntityTooSmall")
		}
		done.segments = append(done.segments, segment{p.PartNumber, int64(len(have.plain))})
		done.size += int64(len(have.plain))
		done.crc = crc64.Update(done.crc, crcTable, have.plain)
	}
	s.mu.Unlock()
	if refusal := checksum(q, done.crc); refusal != nil {
		return refusal
	}
	if size := q.Header.Get("X-Amz-Mp-Object-Size"); size != "" && size != fmt.Sprint(done.size) {
		return failure(http.StatusBadRequest, "InvalidRequest")
	}
	body, err := xml.Marshal(asked)
	if err != nil {
		return failure(http.StatusInternalServerError, "InternalError")
	}
	// The object can be read as soon as the gateway has made it.
	s.mu.Lock()
	*u.content = done
	s.mu.Unlock()
	a := s.change(q, u.content, u.lock, withoutConditions(u.header), func() *answer { return s.pass(q, plainHeaders(q.Header), body) })
	if a.status == http.StatusOK {
		s.mu.Lock()
		delete(s.uploads, id)
		s.mu.Unlock()
		// The gateway tells a checksum of what lies encrypted.
		var result completed
		if xml.Unmarshal(a.body, &result) != nil {
			return failure(http.StatusInternalServerError, "InternalError")
		}
		result.ChecksumCRC64NVME, result.ChecksumType = spell(done.crc), "FULL_OBJECT"
		if a.body, err = xml.Marshal(result); err != nil {
			return failure(http.StatusInternalServerError, "InternalError")
		}
	}
	s.stored(q, u.content, a)
	return a
}
