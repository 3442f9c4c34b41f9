package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Lines returns a sink that writes each alert as a line of JSON.
func Lines(w io.Writer) Sink { return lines{json.NewEncoder(w)} }

type lines struct{ to *json.Encoder }

// Send implements Sink.
func (l lines) Send(_ context.Context, a Alert) error { return l.to.Encode(a) }

// Counter counts alerts by rule and severity: cardlake_audit_alerts_total.
type Counter struct{ total *prometheus.CounterVec }

// NewCounter registers the counter, with a zero for every rule, so that the first alert is an
// increase.
func NewCounter(r prometheus.Registerer) (*Counter, error) {
	c := &Counter{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cardlake_audit_alerts_total", Help: "Alerts that the rules over the audit log made.",
	}, []string{"rule", "severity"})}
	for _, id := range ids {
		for _, s := range []Severity{Notice, Warning, Critical} {
			c.total.WithLabelValues(string(id), string(s))
		}
	}
	return c, r.Register(c.total)
}

// Send implements Sink.
func (c *Counter) Send(_ context.Context, a Alert) error {
	c.total.WithLabelValues(string(a.Rule), string(a.Severity)).Inc()
	return nil
}

// webhookTimeout bounds how long a receiver may hold up the watcher.
const webhookTimeout = 5 * time.Second

// NewWebhook returns a sink that posts each alert as JSON to the address, which is https, or
// http to a loopback address. A nil client is one with a timeout.
func NewWebhook(address string, client *http.Client) (Sink, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("webhook: not a URL")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return nil, errors.New("webhook: only https, or http to a loopback address")
	}
	if client == nil {
		client = &http.Client{Timeout: webhookTimeout}
	}
	return &webhook{address, client}, nil
}

type webhook struct {
	address string
	client  *http.Client
}

// Send implements Sink.
func (w *webhook) Send(ctx context.Context, a Alert) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.address, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: not a URL")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its text has the address, which may hold a secret
			err = u.Err
		}
		return fmt.Errorf("webhook: %w", err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("webhook: status %d", resp.StatusCode)
	}
	return nil
}
