package detokenize

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

// ClientConfig tunes a Client.
type ClientConfig struct {
	Timeout time.Duration // of one call; default 30 s
	// Token returns the bearer token that says who the person is, for each call anew; nil for
	// workers, and where the certificate says it.
	Token func() (string, error)
}

// Client speaks to the service. It keeps its connections, and does not retry: an error that
// is not a *Refusal, or one with a status of 500 or more but [RuleDamaged], may pass, and
// whoever calls decides when to try again. Pinning again does no harm. It is safe for
// concurrent use.
type Client struct {
	base      string
	http      *http.Client
	transport *http.Transport
	token     func() (string, error)
}

// NewClient returns a client of the service at a URL such as https://vault.example:8443. It
// does not connect yet. Proxies of the environment are not used.
func NewClient(service string, config *tls.Config, cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(service)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("the vault's address is https://HOST:PORT")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	config = config.Clone()
	config.MinVersion = tls.VersionTLS13
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Minute,
		MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	return &Client{
		base: "https://" + u.Host, transport: transport, token: cfg.Token,
		http: &http.Client{Transport: transport, Timeout: cfg.Timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// pinsPerCall is how many cards Pin sends at a time.
const pinsPerCall = 1024

// Pin implements tokenize.Pins. It sends 1,024 cards at a time.
func (c *Client) Pin(ctx context.Context, owner keys.Owner, cards []tokenize.Card) ([]tokenize.Token, error) {
	tokens := make([]tokenize.Token, 0, len(cards))
	for len(cards) > 0 {
		some := cards[:min(len(cards), pinsPerCall)]
		cards = cards[len(some):]
		body := pinBody{Owner: owner, Cards: make([]pinCard, len(some))}
		for i, p := range some {
			body.Cards[i] = pinCard{p.Candidates, p.Sealed}
		}
		var got pinAnswer
		if err := c.call(ctx, http.MethodPost, "/v1/pins", body, &got); err != nil {
			return nil, fmt.Errorf("pin cards: %w", err)
		}
		if len(got.Tokens) != len(some) {
			return nil, fmt.Errorf("pin cards: the vault answered with %d tokens for %d cards", len(got.Tokens), len(some))
		}
		for _, t := range got.Tokens {
			if t.IsZero() {
				return nil, errors.New("pin cards: the vault answered without a token")
			}
		}
		tokens = append(tokens, got.Tokens...)
	}
	return tokens, nil
}

// Request asks for the card numbers of tokens. What it returns waits for an approver.
func (c *Client) Request(ctx context.Context, tenant cardlake.Tenant, tokens []tokenize.Token, purpose string) (Request, error) {
	var got Request
	err := c.call(ctx, http.MethodPost, "/v1/requests", requestBody{tenant, tokens, purpose}, &got)
	return got, wrap("request card numbers", err)
}

// Status says what a request is for and how far it is.
func (c *Client) Status(ctx context.Context, id string) (Request, error) {
	var got Request
	err := c.call(ctx, http.MethodGet, "/v1/requests/"+url.PathEscape(id), nil, &got)
	return got, wrap("look at request", err)
}

// Approve approves another person's request.
func (c *Client) Approve(ctx context.Context, id string) (Request, error) {
	var got Request
	err := c.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/approve", nil, &got)
	return got, wrap("approve request", err)
}

// Revealed is a token and the card number behind it.
type Revealed struct {
	Token tokenize.Token
	PAN   card.PAN
}

// Collect returns the card numbers of an approved request, in the order of its tokens. The
// service hands them out once. The caller clears them.
func (c *Client) Collect(ctx context.Context, id string) ([]Revealed, error) {
	var got struct {
		Cards []struct {
			Token tokenize.Token `json:"token"`
			PAN   arriving       `json:"pan"`
		} `json:"cards"`
	}
	if err := c.call(ctx, http.MethodPost, "/v1/requests/"+url.PathEscape(id)+"/collect", nil, &got); err != nil {
		return nil, fmt.Errorf("collect card numbers: %w", err)
	}
	out := make([]Revealed, len(got.Cards))
	for i, g := range got.Cards {
		out[i] = Revealed{g.Token, g.PAN.PAN}
	}
	return out, nil
}

// arriving is a card number as it is read from an answer.
type arriving struct{ card.PAN }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *arriving) UnmarshalText(text []byte) error { return a.Set(text) }

func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// maxAnswer has room for the largest answer: tokens of a batch of pins.
const maxAnswer = 4 << 20

// call makes one call. A refusal is a *Refusal.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := readAll(resp)
	defer clear(got)
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusalFrom(resp, got)
	}
	if err := json.Unmarshal(got, into); err != nil {
		return errors.New("the vault's answer is not the JSON of this call") // the decoder's error may quote it
	}
	return nil
}

// readAll reads an answer, whose length the service states, into memory that does not move,
// so that clearing it leaves no copy.
func readAll(resp *http.Response) ([]byte, error) {
	if resp.ContentLength < 0 || resp.ContentLength > maxAnswer {
		return nil, fmt.Errorf("the vault's answer has no length, or more than %d bytes", maxAnswer)
	}
	text := make([]byte, resp.ContentLength)
	_, err := io.ReadFull(resp.Body, text)
	return text, err
}

func refusalFrom(resp *http.Response, text []byte) *Refusal {
	e := &Refusal{Rule: RuleOther, Status: resp.StatusCode, Detail: "status " + resp.Status}
	var p problem
	if resp.Header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(text, &p) == nil {
		if rule, ok := strings.CutPrefix(p.Type, problemType); ok {
			e.Rule, e.Detail = Rule(rule), p.Detail
		}
	}
	return e
}

var _ tokenize.Pins = (*Client)(nil)
