package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrPassword says that the URL holds a password, which command lines and logs show.
	ErrPassword = errors.New("the database URL holds a password: leave it out and use Password, PGPASSFILE or a client certificate")
	// ErrURL marks text that is no URL of PostgreSQL. It does not hold the text.
	ErrURL = errors.New("the database URL must be postgres://user@host/database?sslmode=verify-full")
	// ErrTLS says that the connection could be listened to or led elsewhere.
	ErrTLS = errors.New("a database over a network needs sslmode=verify-full")
)

// Config says where the database is.
type Config struct {
	// URL is postgres://user@host/database?sslmode=verify-full, without a password. Its
	// parameters are libpq's ("PostgreSQL documentation", 34.1.2) and pgxpool's; over a
	// network sslmode is verify-full.
	URL string
	// Password, if not nil, is asked for every connection that is made, so that it can change
	// while the vault runs.
	Password func(ctx context.Context) (string, error)
	// MaxConns is how many connections there are at most; 8 if zero.
	MaxConns int
}

const (
	// statementTimeout and lockTimeout are the server's, where the URL sets none.
	statementTimeout = 60 * time.Second
	lockTimeout      = 10 * time.Second
	connectTimeout   = 10 * time.Second
	// A failover leaves connections to a server that takes no writes any more.
	connectionAge = 30 * time.Minute
)

func (c *Config) pool() (*pgxpool.Config, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("URL: %w", err)
	}
	cc := pc.ConnConfig
	if err := checkSecure(&cc.Config); err != nil {
		return nil, err
	}
	if pc.MaxConns = int32(c.MaxConns); c.MaxConns == 0 {
		pc.MaxConns = 8
	}
	pc.MaxConnLifetime = connectionAge
	// Statements are sent whole: poolers that give each transaction another connection do
	// not know prepared ones.
	cc.DefaultQueryExecMode = pgx.QueryExecModeExec
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name":  "cardlake-vault",
		"statement_timeout": strconv.FormatInt(statementTimeout.Milliseconds(), 10),
		"lock_timeout":      strconv.FormatInt(lockTimeout.Milliseconds(), 10),
	} {
		if _, ok := cc.RuntimeParams[name]; !ok {
			cc.RuntimeParams[name] = value
		}
	}
	cc.RuntimeParams["default_transaction_isolation"] = "read committed"
	// Every statement looks up keys, or reads on in their order. While a table has no
	// statistics, or old ones, the planner would read and sort all of an owner's rows.
	for _, way := range []string{"enable_seqscan", "enable_bitmapscan", "enable_sort"} {
		cc.RuntimeParams[way] = "off"
	}
	if c.Password != nil {
		pc.BeforeConnect = func(ctx context.Context, cc *pgx.ConnConfig) (err error) {
			cc.Password, err = c.Password(ctx)
			return err
		}
	}
	pc.AfterConnect = keepSynchronous
	return pc, nil
}

// checkURL refuses a password in the URL. A password file and the environment are fine.
func checkURL(url string) error {
	u, err := neturl.Parse(url)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return ErrURL // the parser's error would show the URL
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return ErrPassword
	}
	return nil
}

// checkSecure refuses a connection over a network that is not encrypted or does not verify
// the server's name: who stands in between could give cards tokens of other cards.
func checkSecure(cfg *pgconn.Config) error {
	ways := []*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: cfg.TLSConfig}}
	for _, w := range append(ways, cfg.Fallbacks...) {
		if network, _ := pgconn.NetworkAddress(w.Host, w.Port); network == "unix" || isLoopback(w.Host) {
			continue
		}
		if w.TLSConfig == nil || w.TLSConfig.InsecureSkipVerify {
			return fmt.Errorf("host %s: %w", w.Host, ErrTLS)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keepSynchronous makes commits durable where the server's default is that they are not.
func keepSynchronous(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
	return err
}
