// Package webhook tells others by HTTP that something happened, signed as Standard Webhooks 1.0
// says (standardwebhooks.com, specification 1.0.0): the headers webhook-id, webhook-timestamp and
// webhook-signature, "v1," and the HMAC-SHA-256 of "id.timestamp.body" in base64.
//
// The addresses belong to those who are told, so a [Sender] trusts none of them: it speaks HTTPS
// only, follows no redirect, takes no proxy from its environment, and looks at the address that
// is dialled, after the name was resolved: no address of a machine's own, of a private network or
// of a cloud's metadata service is, unless an operator allows its network.
//
// What a receiver answers is not kept and shown to nobody; only its status is.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrAddress says that a URL's host has an address to which nothing is sent.
	ErrAddress = errors.New("its address is not a public one")
	// ErrURL says that a URL is none to which anything is sent.
	ErrURL = errors.New("a webhook needs a URL as https://host/path, without user and fragment")
	// ErrGone says that the receiver answered 410 Gone: nothing more should be sent there.
	ErrGone = errors.New("the receiver wants no more events (410 Gone)")
)

// Config tunes a [Sender]. The zero value is right for most uses.
type Config struct {
	// Allow are the networks that are not public to which may be sent all the same: of one's
	// own receivers. Loopback addresses among them may be spoken to by plain http.
	Allow []netip.Prefix
	// Attempts is how often an event is sent before it is given up; 5 when zero.
	Attempts int
	// Backoff is waited after the first failure, and five times as long after each that
	// follows, with jitter; 1 second when zero. MaxBackoff bounds it; 2 minutes when zero.
	Backoff, MaxBackoff time.Duration
	// Timeout bounds one attempt; 15 seconds when zero.
	Timeout time.Duration
	// Authorities are trusted to certify receivers; the system's if nil.
	Authorities *x509.CertPool
	// UserAgent names the sender; "cardlake" when empty.
	UserAgent string
}

func (c Config) withDefaults() Config {
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.Backoff == 0 {
		c.Backoff = time.Second
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 2 * time.Minute
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Second
	}
	if c.UserAgent == "" {
		c.UserAgent = "cardlake"
	}
	return c
}

// Endpoint is who is told.
type Endpoint struct {
	// URL is https://…, of a host with a public address.
	URL    string
	Secret Secret
	// Old are secrets that the receiver may still know while it changes over: every event is
	// signed with them too.
	Old []Secret
}

// Event is what is told.
type Event struct {
	// ID is the same each time that the event is sent: by it a receiver drops repeats. It has
	// 1 to 128 characters of a-z A-Z 0-9 _ -.
	ID string
	// Type is a name in dots, such as export.completed.
	Type string
	// Time is when it happened, not when it is sent.
	Time time.Time
	Data json.RawMessage
}

var (
	validID   = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	validType = regexp.MustCompile(`^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*$`)
)

// Body returns the event as it is sent: an object of type, timestamp and data, as the
// specification recommends.
func (e Event) Body() ([]byte, error) {
	switch {
	case !validID.MatchString(e.ID):
		return nil, errors.New("the event's id is empty, too long or has other characters than a-z A-Z 0-9 _ -")
	case !validType.MatchString(e.Type):
		return nil, errors.New("the event's type is not words joined by dots")
	case e.Time.IsZero():
		return nil, errors.New("the event has no time")
	}
	return json.Marshal(struct {
		Type string          `json:"type"`
		Time time.Time       `json:"timestamp"`
		Data json.RawMessage `json:"data"`
	}{e.Type, e.Time.UTC(), e.Data})
}

// Undelivered is the error of an event that was given up.
type Undelivered struct {
	Attempts int
	// Status is the last answer's, 0 if there was none.
	Status int
	// Err is why the last attempt failed.
	Err error
}

// Error implements error.
func (u *Undelivered) Error() string {
	return fmt.Sprintf("webhook not delivered in %d attempts: %v", u.Attempts, u.Err)
}

// Unwrap returns Err.
func (u *Undelivered) Unwrap() error { return u.Err }

// Sender sends events. It is safe for concurrent use.
type Sender struct {
	cfg    Config
	client http.Client
}

// New returns a sender.
func New(cfg Config) *Sender {
	cfg = cfg.withDefaults()
	dialer := net.Dialer{Timeout: cfg.Timeout, ControlContext: (&guard{cfg.Allow}).control}
	return &Sender{cfg: cfg, client: http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Authorities}, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout, MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Check reports what is wrong with a URL or secret, without sending anything. Whether the host
// has a public address shows only when it is dialled.
func (s *Sender) Check(e Endpoint) error {
	_, err := s.parse(e)
	return err
}

func (s *Sender) parse(e Endpoint) (*url.URL, error) {
	if len(e.Secret) == 0 {
		return nil, errors.New("a webhook needs a secret")
	}
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, ErrURL // not the parser's words, which repeat the URL
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil && !(&guard{s.cfg.Allow}).permits(ip) {
		return nil, ErrAddress
	}
	if u.Scheme == "https" {
		return u, nil
	}
	if ip, err := netip.ParseAddr(host); u.Scheme == "http" && err == nil && ip.Unmap().IsLoopback() {
		return u, nil
	}
	return nil, ErrURL
}

// Send sends the event until the receiver answers with 2xx, and waits for it. An event that
// could not be delivered is an *[Undelivered]; an error that matches ErrGone, ErrURL or
// ErrAddress is final. Whoever must not lose an event keeps it and sends it again, with the same
// id.
func (s *Sender) Send(ctx context.Context, to Endpoint, e Event) error {
	u, err := s.parse(to)
	if err != nil {
		return fmt.Errorf("send webhook: %w", err)
	}
	body, err := e.Body()
	if err != nil {
		return fmt.Errorf("send webhook: %w", err)
	}
	wait := s.cfg.Backoff
	for attempt := 1; ; attempt++ {
		status, after, err := s.post(ctx, u, to, e.ID, body)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("send webhook: %w", context.Cause(ctx))
		case errors.Is(err, ErrAddress), errors.Is(err, ErrGone), attempt >= s.cfg.Attempts:
			return &Undelivered{Attempts: attempt, Status: status, Err: err}
		}
		pause := min(max(wait/2+rand.N(wait/2+1), after), s.cfg.MaxBackoff)
		select {
		case <-ctx.Done():
			return fmt.Errorf("send webhook: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
		wait = min(5*wait, s.cfg.MaxBackoff)
	}
}

// post makes one attempt. after is how long the receiver asks to be left alone.
func (s *Sender) post(ctx context.Context, u *url.URL, to Endpoint, id string, body []byte) (status int, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, 0, ErrURL
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	Sign(req.Header, id, time.Now(), body, append([]Secret{to.Secret}, to.Old...)...)
	res, err := s.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which may hold a token
		}
		return 0, 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return res.StatusCode, 0, nil
	case res.StatusCode == http.StatusGone:
		return res.StatusCode, 0, ErrGone
	}
	if seconds, err := strconv.Atoi(strings.TrimSpace(res.Header.Get("Retry-After"))); err == nil && seconds > 0 {
		after = min(time.Duration(seconds), 3600) * time.Second
	}
	return res.StatusCode, after, fmt.Errorf("the receiver answered %d", res.StatusCode)
}
