package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-msk-iam-sasl-signer-go/signer"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Mechanism is how a client shows the broker who it is, beside a TLS certificate.
type Mechanism string

const (
	ScramSHA256 Mechanism = "SCRAM-SHA-256" // RFC 7677
	ScramSHA512 Mechanism = "SCRAM-SHA-512"
	Plain       Mechanism = "PLAIN" // RFC 4616; over TLS only
	// MSKIAM is AWS MSK's IAM authentication: OAUTHBEARER (RFC 7628) whose token is a
	// presigned request for kafka-cluster:Connect (AWS, "aws-msk-iam-sasl-signer").
	MSKIAM Mechanism = "AWS_MSK_IAM"
)

// Auth is who the client is. The zero Auth shows nobody, or a TLS certificate only.
type Auth struct {
	Mechanism Mechanism
	User      string // of SCRAM and PLAIN
	Password  Secret // of SCRAM and PLAIN
	Region    string // AWS region, of MSKIAM
}

// Secret says where a secret is, never the secret itself: "file:PATH" or "env:NAME". It is
// read whenever it is needed, so that a rotated one is used from the next connection on.
type Secret string

// Read returns the secret. One line end after it in a file is not part of it. Errors name
// the place.
func (s Secret) Read() (string, error) {
	kind, place, _ := strings.Cut(string(s), ":")
	var text string
	switch {
	case place == "":
		return "", s.fault()
	case kind == "file":
		b, err := os.ReadFile(place)
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	case kind == "env":
		text = os.Getenv(place)
	default:
		return "", s.fault()
	}
	if text == "" {
		return "", fmt.Errorf("secret: %s %s is empty", kind, place)
	}
	return text, nil
}

// fault is the error of a reference that is none. It does not show the text, which may be a
// secret put in the wrong place.
func (s Secret) fault() error {
	kind, place, _ := strings.Cut(string(s), ":")
	if place != "" && (kind == "file" || kind == "env") {
		return nil
	}
	return errors.New("a secret is given as file:PATH or env:NAME")
}

// faults lists what is wrong with a for a connection with or without TLS, to brokers that
// are all on this machine or not.
func (a Auth) faults(isTLS, isLocal bool) (errs []error) {
	switch a.Mechanism {
	case "":
		if a != (Auth{}) {
			errs = append(errs, errors.New("auth: a user, password or region needs a mechanism"))
		}
		return errs
	case ScramSHA256, ScramSHA512, Plain:
		if a.User == "" {
			errs = append(errs, fmt.Errorf("auth: %s needs a user", a.Mechanism))
		}
		if a.Password == "" {
			errs = append(errs, fmt.Errorf("auth: %s needs a password", a.Mechanism))
		} else if err := a.Password.fault(); err != nil {
			errs = append(errs, fmt.Errorf("auth: password: %w", err))
		}
		if a.Region != "" {
			errs = append(errs, fmt.Errorf("auth: %s has no region", a.Mechanism))
		}
	case MSKIAM:
		if a.Region == "" {
			errs = append(errs, fmt.Errorf("auth: %s needs a region", a.Mechanism))
		}
		if a.User != "" || a.Password != "" {
			errs = append(errs, fmt.Errorf("auth: %s takes AWS credentials, no user or password", a.Mechanism))
		}
	default:
		return append(errs, fmt.Errorf("auth: mechanism %q is none of %s, %s, %s, %s", a.Mechanism, ScramSHA256, ScramSHA512, Plain, MSKIAM))
	}
	// SCRAM does not send the password, but a listener on the way can try passwords offline.
	if needsTLS := a.Mechanism == Plain || a.Mechanism == MSKIAM || !isLocal; needsTLS && !isTLS {
		errs = append(errs, fmt.Errorf("auth: %s needs TLS", a.Mechanism))
	}
	return errs
}

// mechanism returns the client's, nil if there is none. Credentials are read for each
// authentication: with a new connection, and before the session that the broker granted
// ends (KIP-368).
func (a Auth) mechanism(ctx context.Context, credentials aws.CredentialsProvider) (sasl.Mechanism, error) {
	switch a.Mechanism {
	case ScramSHA256, ScramSHA512:
		auth := func(context.Context) (scram.Auth, error) {
			password, err := a.Password.Read()
			return scram.Auth{User: a.User, Pass: password}, err
		}
		if a.Mechanism == ScramSHA256 {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := a.Password.Read()
			return plain.Auth{User: a.User, Pass: password}, err
		}), nil
	case MSKIAM:
		if credentials == nil {
			cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(a.Region))
			if err != nil {
				return nil, fmt.Errorf("AWS credentials: %w", err)
			}
			credentials = cfg.Credentials // caches, and renews before they expire
		}
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			// Signing is local: a token for each authentication is never near its end.
			token, _, err := signer.GenerateAuthTokenFromCredentialsProvider(ctx, a.Region, credentials)
			if err != nil {
				return oauth.Auth{}, fmt.Errorf("sign token: %w", err)
			}
			return oauth.Auth{Token: token}, nil
		}), nil
	}
	return nil, nil
}
