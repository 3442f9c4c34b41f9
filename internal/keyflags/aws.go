package keyflags

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// AWS is how AWS is reached: with the environment's credentials, and in clear on this
// machine only, also where the environment names another endpoint.
func (f *Flags) AWS(ctx context.Context) (aws.Config, error) {
	var options []func(*config.LoadOptions) error
	if f.Region != "" {
		options = append(options, config.WithRegion(f.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return cfg, errors.New("AWS configuration: no region: give -aws-region")
	}
	// Not before: instance and container roles are had in clear from addresses of AWS's own.
	cfg.HTTPClient = encryptedOnly{cfg.HTTPClient}
	return cfg, nil
}

// encryptedOnly refuses to send in clear what leaves the machine.
type encryptedOnly struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (e encryptedOnly) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !IsLoopback(r.URL.Hostname()) {
		return nil, fmt.Errorf("%s %s: only https, or http to a loopback address", r.Method, r.URL.Host)
	}
	return e.next.Do(r)
}

// IsLoopback reports whether what is sent to the host, a name or an address, stays on this
// machine.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
