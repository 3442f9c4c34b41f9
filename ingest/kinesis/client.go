package kinesis

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// Endpoint says where Kinesis is. The zero value is what the environment and the shared
// configuration files say.
type Endpoint struct {
	Region string
	URL    string // in place of the region's, as for an interface endpoint of a VPC
}

// NewClient returns a client with the credentials of the SDK's default chain. It reads the
// environment and the shared configuration files, and calls nobody yet.
func NewClient(ctx context.Context, e Endpoint) (*kinesis.Client, error) {
	var opts []func(*config.LoadOptions) error
	if e.Region != "" {
		opts = append(opts, config.WithRegion(e.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("kinesis client: %w", err)
	}
	return kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		if e.URL != "" {
			o.BaseEndpoint = &e.URL
		}
	}), nil
}
