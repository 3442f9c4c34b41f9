package export

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
)

// Content is an open file of an export.
type Content struct {
	File
	// ContentType is the media type.
	ContentType string
	objects.Object
}

// ETag is the strong entity tag of the file: its digest, which no other content has.
func (c *Content) ETag() string { return `"` + c.SHA256 + `"` }

// Open opens a file of the caller's export, or its manifest, number 0, after it asked the grants
// again and put the download on record; from is the first byte that is wanted.
func (s *Service) Open(ctx context.Context, c grants.Caller, id string, number int, from int64) (*Content, error) {
	j, f, err := s.permitted(ctx, c, id, number)
	if err != nil {
		return nil, s.refused(ctx, c, actionDownload, id, number, err)
	}
	err = s.record(ctx, c, audit.Record{
		Action: actionDownload, Resource: "export " + id, Outcome: audit.Allowed,
		Detail:  map[string]string{"tenant": string(j.Tenant), "sha256": lettersOf(f.SHA256)},
		Numbers: map[string]int64{"file": int64(number), "bytes": f.Bytes, "from": from},
	})
	if err != nil {
		return nil, err
	}
	o, err := s.deps.Files.Open(ctx, f.Object)
	switch {
	case errors.Is(err, keys.ErrNoKey):
		return nil, faultf(Gone, "the tenant's key is destroyed or switched off: the file cannot be read")
	case errors.Is(err, objects.ErrNotFound):
		return nil, faultf(Gone, "the files of the export are gone: start a new one")
	case err != nil:
		return nil, fmt.Errorf("open file: %w", err)
	}
	if o.Size() != f.Bytes {
		return nil, errors.Join(fmt.Errorf("open file: %w", objects.ErrCorrupt), o.Close())
	}
	return &Content{*f, contentType(&j.Request, number), o}, nil
}

// Recheck asks whether a download that is under way may go on: the export is there, the tenant
// has not left, and the caller is given what the files hold.
func (s *Service) Recheck(ctx context.Context, c grants.Caller, id string, number int) error {
	_, _, err := s.permitted(ctx, c, id, number)
	return err
}

// permitted returns a file of the caller's export, if the caller may have it now.
func (s *Service) permitted(ctx context.Context, c grants.Caller, id string, number int) (*Job, *File, error) {
	j, err := s.Job(ctx, c, id)
	if err != nil {
		return nil, nil, err
	}
	switch j.State {
	case Done:
	case Expired:
		return nil, nil, faultf(Gone, "the files of the export were removed when its time was over: start a new one")
	case Failed:
		return nil, nil, faultf(NotReady, "the export failed: %s", j.Error)
	default:
		return nil, nil, faultf(NotReady, "the export is %s: wait until it is done", j.State)
	}
	f := j.file(number)
	if f == nil {
		return nil, nil, faultf(NotFound, "the export has files 0, its manifest, to %d", len(j.Files)-1)
	}
	if _, err := s.tenant(j.Tenant); err != nil {
		return nil, nil, err
	}
	if l := s.lacking(j, c); l != "" {
		return nil, nil, faultf(Refused, "the files hold more of %s than you may have now: start a new export, which has what you may", l)
	}
	return j, f, nil
}

// refused puts a refused download or link on record.
func (s *Service) refused(ctx context.Context, c grants.Caller, action, id string, number int, err error) error {
	r := audit.Record{
		Action: action, Resource: "export " + cut(id), Outcome: audit.Refused,
		Detail: map[string]string{"refused": cut(err.Error())}, Numbers: map[string]int64{"file": int64(number)},
	}
	if unrecorded := s.record(ctx, c, r); unrecorded != nil {
		return unrecorded
	}
	return err
}

func contentType(r *Request, number int) string {
	switch {
	case number == 0:
		return "application/json"
	case r.encryption() != "":
		return "application/octet-stream"
	case r.compression() == "zstd":
		return "application/zstd"
	case r.compression() == "gzip":
		return "application/gzip"
	}
	switch r.Format {
	case Parquet:
		return "application/vnd.apache.parquet"
	case CSV:
		return "text/csv; charset=utf-8; header=present"
	case JSONL:
		return "application/jsonl"
	}
	return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
}

// lettersOf spells a digest in letters: no mask of digits damages it on record.
func lettersOf(digest string) string {
	b, err := hex.DecodeString(digest)
	if err != nil {
		return ""
	}
	return string(cardlake.AppendLetters(nil, b))
}

// Link is where a file can be had without signing in, until it ends.
type Link struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// Link makes a link to a file of the caller's export. It is the caller's: who has it has what the
// caller is given, as long as the caller is. base is the path of the door's downloads, such as
// /v1/downloads; objects in S3 are had from there, if Deps.Presigner is set, and are then asked
// for without us until the link ends. valid is shortened to Config.LinkAge.
func (s *Service) Link(ctx context.Context, c grants.Caller, base, id string, number int, valid time.Duration) (Link, error) {
	j, f, err := s.permitted(ctx, c, id, number)
	if err != nil {
		return Link{}, s.refused(ctx, c, actionLink, id, number, err)
	}
	if valid <= 0 || valid > s.cfg.LinkAge {
		valid = s.cfg.LinkAge
	}
	ends := s.now().Add(valid).Truncate(time.Second)
	if ends.After(j.ExpiresAt) {
		ends = j.ExpiresAt
	}
	r := audit.Record{
		Action: actionLink, Resource: "export " + id, Outcome: audit.Allowed,
		Detail:  map[string]string{"tenant": string(j.Tenant), "until": ends.Format(time.RFC3339)},
		Numbers: map[string]int64{"file": int64(number), "bytes": f.Bytes},
	}
	if err := s.record(ctx, c, r); err != nil {
		return Link{}, err
	}
	if s.deps.Presigner != nil {
		to, err := s.deps.Presigner.Presign(ctx, f.Object, f.Name, ends.Sub(s.now()))
		return Link{to, ends}, err
	}
	query, err := s.links.sign(ctx, claim{
		path: downloadPath(base, id, number), tenant: j.Tenant, principal: c.Principal, mfa: c.MFA, until: ends,
	})
	if err != nil {
		return Link{}, err
	}
	return Link{downloadPath(base, id, number) + "?" + query, ends}, nil
}

func downloadPath(base, id string, number int) string {
	return base + "/" + url.PathEscape(id) + "/" + strconv.Itoa(number)
}

// Follow returns the caller that a link stands for, or why it is refused, which is the door's to
// put on record: whoever has no link may try as often as they like. by is who is signed in
// besides, nil for nobody: a link is not for somebody else who is known. method, path and query
// are the request's.
func (s *Service) Follow(ctx context.Context, method, path, query string, by *grants.Caller) (grants.Caller, error) {
	got, err := s.links.verify(ctx, method, path, query)
	switch {
	case err != nil:
	case by != nil && by.Principal != got.principal:
		err = faultf(Refused, "the link was made for another principal: make your own, of an export of yours")
	case !s.now().Before(got.until):
		err = faultf(Gone, "the link ended at %s: make a new one", got.until.Format(time.RFC3339))
	}
	if err != nil {
		return grants.Caller{}, err
	}
	return grants.Caller{Principal: got.principal, MFA: got.mfa, Reason: "by link"}, nil
}
