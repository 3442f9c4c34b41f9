package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Protocol is how a group shares its partitions.
type Protocol string

const (
	// Cooperative is the classic protocol with the cooperative-sticky assignor (KIP-429): the
	// members assign, and keep what they have while they do. Every broker speaks it.
	Cooperative Protocol = "cooperative"
	// ServerSide is the consumer protocol (KIP-848): the broker assigns, without a barrier
	// over all members. It needs Kafka 4.0; with an older broker the group falls back to the
	// classic protocol and its sticky assignor.
	ServerSide Protocol = "server-side"
)

// Config configures a Source. Brokers, Topic, Group and Log are required.
type Config struct {
	Brokers []string // host:port
	Topic   string
	Group   string
	// InstanceID names this member of the group (KIP-345): a worker that comes back under the
	// same name takes its partitions at once, without waiting for its former self to time
	// out. Two workers must not share one. Empty: a dynamic member.
	InstanceID string
	// Protocol is the group's; default Cooperative. A group is moved from one to the other
	// while no member runs.
	Protocol Protocol

	TLS  *tls.Config // nil: plain, for loopback only. TLS 1.2 is the least; see TLSFiles
	Auth Auth
	// Credentials replace the default AWS credential chain for MSKIAM.
	Credentials aws.CredentialsProvider

	Log *slog.Logger

	// MaxRecords bounds one Poll; default 10,000.
	MaxRecords int
	// BufferBytes bounds what one fetch from one broker brings, compressed, and so what is
	// fetched ahead; default 8 MiB. One batch larger than it still comes, alone.
	BufferBytes int32
	// PartitionBytes bounds what one fetch brings of one partition; default 1 MiB.
	PartitionBytes int32
	// Options are appended to the client's, for what has no field here.
	Options []kgo.Opt
}

func (c Config) withDefaults() Config {
	if c.Protocol == "" {
		c.Protocol = Cooperative
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 10_000
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = 8 << 20
	}
	if c.PartitionBytes == 0 {
		c.PartitionBytes = min(1<<20, c.BufferBytes)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate reports every fault of the configuration at once. It reads no file.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(len(c.Brokers) == 0, "brokers: at least one is needed")
	fault(c.Topic == "", "topic is needed")
	fault(c.Group == "", "group is needed")
	fault(c.Protocol != Cooperative && c.Protocol != ServerSide, "protocol %q is neither %s nor %s", c.Protocol, Cooperative, ServerSide)
	fault(c.MaxRecords < 1, "max records must be at least 1")
	fault(c.BufferBytes < 1, "buffer bytes must be at least 1")
	fault(c.PartitionBytes < 1 || c.PartitionBytes > c.BufferBytes, "partition bytes must be between 1 and buffer bytes")
	local := true
	for _, b := range c.Brokers {
		host, port, err := net.SplitHostPort(b)
		fault(err != nil || host == "" || port == "", "broker %q is not host:port", b)
		if err == nil && !isLoopback(host) {
			local = false
			fault(c.TLS == nil, "broker %s is not on this machine: TLS is needed", b)
		}
	}
	if c.TLS != nil {
		fault(c.TLS.MinVersion != 0 && c.TLS.MinVersion < tls.VersionTLS12, "TLS must be 1.2 or better")
		fault(c.TLS.InsecureSkipVerify && c.TLS.VerifyConnection == nil && c.TLS.VerifyPeerCertificate == nil, "TLS must verify the broker's certificate")
	}
	errs = append(errs, c.Auth.faults(c.TLS != nil, local)...)
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// consume are the options of a client that consumes, beside those that connect it and those
// that call an assignee.
func (c Config) consume() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.Group),
		kgo.ConsumeTopics(c.Topic),
		kgo.FetchMaxBytes(c.BufferBytes),
		kgo.FetchMaxPartitionBytes(c.PartitionBytes),
		kgo.FetchMaxWait(250 * time.Millisecond),
		kgo.DisableAutoCommit(),
		// A position that the broker no longer has is an error to be seen, never a silent jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.BlockRebalanceOnPoll(),
		kgo.WithPools(&pool{}),
	}
	switch c.Protocol {
	case ServerSide:
		opts = append(opts, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	default:
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	return opts
}

// connect are the options by which a client reaches the brokers.
func (c Config) connect(ctx context.Context) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID("cardlake-worker"),
		kgo.BrokerMaxReadBytes(max(100<<20, 2*c.BufferBytes)),
		kgo.WithLogger(clientLog{c.Log}),
	}
	if c.TLS != nil {
		t := c.TLS.Clone()
		t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	mechanism, err := c.Auth.mechanism(ctx, c.Credentials)
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// clientLog hands the client's warnings and errors on. The client logs no record and no
// credential.
type clientLog struct{ log *slog.Logger }

func (clientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (l clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelWarn
	if level == kgo.LogLevelError {
		to = slog.LevelError
	}
	l.log.Log(context.Background(), to, "kafka client: "+msg, keyvals...)
}
