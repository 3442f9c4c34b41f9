// Package tail asks workers for their hot tail over Arrow Flight with mutual TLS: what
// [queries.Tail] needs when worker and gateway are not one process. A [Client] asks one
// worker; [Workers] asks all of a list, or all behind a name, and unites their answers.
//
// An answer is all or nothing: it counts only if the stream came to its end, has the rows it
// announced, the columns of cards.transactions, and no row outside the positions that were
// asked for and answered. Errors name the worker and hold nothing of any row. Values are
// checked before anybody reads them; the headers of Arrow's messages are taken as they come,
// so a worker, which has proved who it is, could still ask for more memory than there is.
package tail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/queries"
)

// Config configures a Client.
type Config struct {
	// MaxBytes bounds the bytes that are taken from one worker for one answer. More is an
	// error. Default 256 MiB.
	MaxBytes int64
	// Dial reaches a worker. Default TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

func (c Config) withDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = 256 << 20
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	return c
}

const (
	// A worker that was away is tried again within this time of coming back: what is asked of
	// it meanwhile is answered at once, without it.
	retryMin, retryMax = 100 * time.Millisecond, time.Second
	connectTimeout     = 5 * time.Second
	// A worker whose machine has vanished is found out within both together. Servers refuse
	// pings that are more frequent than every 5 s.
	pingAfter, pingTimeout = 10 * time.Second, 5 * time.Second
	// window is what a worker may send before it hears from us, enough for a record.
	window     = 4 << 20
	maxHeaders = 16 << 10
)

// Client asks one worker. It keeps a connection, which it makes when it is first asked. It
// may be used by several goroutines.
type Client struct {
	addr string
	cfg  Config
	conn *grpc.ClientConn
}

// New returns a client of the worker at addr, "host:port". The configuration needs the
// authorities that sign workers' certificates (RootCAs) and a certificate of its own
// (Certificates or GetClientCertificate); without a ServerName the worker's certificate is for
// addr's host. TLS is 1.3.
func New(addr string, config *tls.Config, cfg Config) (*Client, error) {
	if err := checkTLS(config); err != nil {
		return nil, err
	}
	if cfg.MaxBytes < 0 {
		return nil, errors.New("tail: MaxBytes is negative")
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("tail: address: %w", err)
	}
	config = config.Clone()
	config.MinVersion = tls.VersionTLS13
	if config.ServerName == "" {
		config.ServerName = host
	}
	cfg = cfg.withDefaults()
	retry := backoff.DefaultConfig
	retry.BaseDelay, retry.MaxDelay = retryMin, retryMax
	// The address is dialled as it is: what a name stands for is not gRPC's to find out, and a
	// proxy that the environment names is none for this.
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(cfg.Dial),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithMaxHeaderListSize(maxHeaders),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(int(cfg.MaxBytes))),
	)
	if err != nil {
		return nil, fmt.Errorf("tail: %w", err)
	}
	return &Client{addr: addr, cfg: cfg, conn: conn}, nil
}

func checkTLS(c *tls.Config) error {
	var errs []error
	if c == nil {
		return errors.New("tail: TLS configuration is missing")
	}
	if c.RootCAs == nil {
		errs = append(errs, errors.New("tail: RootCAs is missing"))
	}
	if len(c.Certificates) == 0 && c.GetClientCertificate == nil {
		errs = append(errs, errors.New("tail: the client's certificate is missing"))
	}
	if c.InsecureSkipVerify {
		errs = append(errs, errors.New("tail: InsecureSkipVerify is set"))
	}
	return errors.Join(errs...)
}

// Close ends the connection and with it what is being asked.
func (c *Client) Close() error { return c.conn.Close() }

// Tail implements queries.Tail. It takes as long as ctx lets it.
func (c *Client) Tail(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
	rows, err := c.ask(ctx, from)
	if err != nil {
		return queries.TailRows{}, fmt.Errorf("tail of %s: %w", c.addr, err)
	}
	return rows, nil
}

func (c *Client) ask(ctx context.Context, from cardlake.Positions) (queries.TailRows, error) {
	ticket, err := cardlake.TailTicket{Table: cardlake.Transactions.FullName(), From: from}.MarshalText()
	if err != nil {
		return queries.TailRows{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if we leave before it does
	stream, err := flight.NewClientFromConn(c.conn, nil).DoGet(ctx, &flight.Ticket{Ticket: ticket})
	if err != nil {
		return queries.TailRows{}, err
	}
	return receive(&bounded{stream: stream, left: c.cfg.MaxBytes}, from)
}

var _ queries.Tail = (*Client)(nil)
