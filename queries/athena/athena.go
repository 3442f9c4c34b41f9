// Package athena answers statements with Amazon Athena (engine version 3), which is Trino inside:
// for lakes whose objects are in S3 under the tenants' KMS keys and whose tables are in AWS Glue.
//
// A statement runs with the decision in it: package dialect writes it as SQL of Trino in which every
// table is what the decision permits, pinned to one Iceberg snapshot (FOR VERSION AS OF), so that
// the answer's [queries.Snapshot] is exactly what was read. That is the first wall. The second is
// Amazon's: each principal, or each kind of principal, has a workgroup of its own and, when
// configured, a role that is assumed to ask, whose grants in Lake Formation are compiled from the
// same policies (catalog/grants/lakeformation). What the role may not read, Athena denies,
// whatever the SQL says.
//
// # How an answer comes
//
// Small answers are read page by page (GetQueryResults). A statement that may have more rows
// than Config.UnloadRows, and that does not say in which order, is run as UNLOAD: Athena writes
// Parquet below the workgroup's place for results, under a prefix of that execution alone, which
// is read and then deleted. What is read there must be encrypted under the workgroup's KMS key
// and lie in a bucket of the expected account. Results of both kinds are deleted when the rows
// are closed, but for those that Config.ReuseAge lets Athena use again. A rule of the bucket's
// lifecycle should delete what a killed process left.
//
// # Failures
//
// Requests are repeated in one layer, the SDK's with [Config].Attempts: throttling, the
// service's own faults, broken connections and expired credentials, which are renewed first. The
// request that starts an execution carries a token, so that its repetition starts nothing else.
// An execution that fails for reasons that Athena calls temporary is started anew, up to
// Config.Executions times. When the caller's context ends, the execution is stopped.
//
// Athena's messages can quote values of rows. Only what its analyser says of the statement's text
// is passed on, everything else becomes a message of this package.
//
// # What is not here
//
// The tail of cards.transactions: an answer is as of the snapshot. Objects that Athena can't
// decrypt: those of a sealed folder and those under Parquet's own encryption; New refuses such
// lakes. Arrays in an answer: UNNEST them, or cast them to VARCHAR.
//
// The package was proved against athenatest, a strict server of the wire format, and S3's protocol
// by versitygw, and never run against Amazon itself. Open there: the spelling of Athena's error
// messages beyond those in its documentation; that UNLOAD encrypts as the workgroup says (what
// comes in another form is refused).
//
// Sources are the Amazon Athena API Reference and User Guide as of 2026; single rules name their
// pages.
package athena

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Planner says which files make up a table. One that is a [queries.History] too does so of older
// snapshots.
type Planner = queries.Planner

// Storage is how the objects of a lake are encrypted.
type Storage string

const (
	// SSEKMS is encryption by S3 under KMS keys, the only one that Athena reads here.
	SSEKMS Storage = "sse-kms"
	// Sealed is this lake's own, of a local folder.
	Sealed Storage = "sealed"
	// PME is Parquet Modular Encryption.
	PME Storage = "pme"
)

// Workgroup is where those who share it ask.
type Workgroup struct {
	Name string
	// Role is the ARN of the role that is assumed to ask; empty for the process's own identity,
	// which then has all the grants in Lake Formation that the second wall is made of.
	Role string
}

// Config says who asks where. Workgroups, Storage and BucketOwner must be set.
type Config struct {
	// Workgroups are those of principals, KIND/NAME, or of all of a kind, KIND. Who is in neither
	// gets no answer.
	Workgroups map[string]Workgroup
	// Storage must be SSEKMS.
	Storage Storage
	// BucketOwner is the account whose the buckets of results are (S3's expected bucket owner).
	BucketOwner string
	// Catalog is the data catalog in which the tables' databases are; default AwsDataCatalog.
	Catalog string

	// UnloadRows is how many rows a statement may read before its answer is unloaded; default
	// 100,000. Less than 0 unloads nothing.
	UnloadRows int64
	// ReuseAge is for how long Athena may answer the same statement over the same snapshots, for
	// the same decision, from an earlier result, in whole minutes up to 7 days. Results are then
	// left where they are. 0 means never. Athena itself does not reuse results of tables with
	// fine-grained Lake Formation permissions ("Reusing query results", limitations).
	ReuseAge time.Duration
	// PricePerTB is what Athena charges for 1 TiB scanned, in millionths of a dollar; default
	// 5,000,000.
	PricePerTB int64

	// Attempts is how often a request is made; default 8. Backoff is the longest pause before
	// the second, each one after may be twice as long up to 10 s, and is a random part of that;
	// default 200 ms.
	Attempts int
	Backoff  time.Duration
	// Executions is how often a statement is started that fails for temporary reasons; default 2.
	Executions int
	// PollMin and PollMax bound the pauses between looks at an execution, which grow; default
	// 100 ms and 2 s.
	PollMin, PollMax time.Duration
	// Timeout bounds what is done without a caller's context: stopping, reading rows,
	// deleting results, each request; default 1 minute.
	Timeout time.Duration

	// Athena, S3 and STS change the options of the clients, such as the endpoint.
	Athena func(*athena.Options)
	S3     func(*s3.Options)
	STS    func(*sts.Options)
}

func (c Config) withDefaults() Config {
	c.Catalog = cmp.Or(c.Catalog, "AwsDataCatalog")
	c.UnloadRows = cmp.Or(c.UnloadRows, 100_000)
	c.PricePerTB = cmp.Or(c.PricePerTB, 5_000_000)
	c.Attempts = cmp.Or(c.Attempts, 8)
	c.Backoff = cmp.Or(c.Backoff, 200*time.Millisecond)
	c.Executions = cmp.Or(c.Executions, 2)
	c.PollMin = cmp.Or(c.PollMin, 100*time.Millisecond)
	c.PollMax = cmp.Or(c.PollMax, 2*time.Second)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	return c
}

// maxReuse is the longest that Athena keeps results to be used again
// (ResultReuseByAgeConfiguration).
const maxReuse = 7 * 24 * time.Hour

// Validate reports every fault of the configuration, one a line.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(c.Storage != SSEKMS, "Athena reads objects that S3 encrypts under KMS keys (%s) only, and these are %q: ask the embedded engine, or Trino for pme", SSEKMS, c.Storage)
	fault(len(c.Workgroups) == 0, "Workgroups names no principal and no kind of principals")
	for who, g := range c.Workgroups {
		_, err := grants.ParsePrincipal(who)
		fault(err != nil && !isKind(who), "Workgroups: %q is neither a principal, KIND/NAME, nor a kind", who)
		fault(!workgroupName.MatchString(g.Name), "Workgroups: %q: Name is not the name of a workgroup", who)
		fault(g.Role != "" && !roleARN.MatchString(g.Role), "Workgroups: %q: Role is not the ARN of a role", who)
	}
	fault(!accountID.MatchString(c.BucketOwner), "BucketOwner is not 12 digits")
	fault(c.ReuseAge < 0 || c.ReuseAge > maxReuse || c.ReuseAge%time.Minute != 0, "ReuseAge is not whole minutes up to 7 days")
	fault(c.PricePerTB < 0 || c.Attempts < 1 || c.Executions < 1 || c.Backoff < 0 || c.PollMin <= 0 || c.PollMax < c.PollMin || c.Timeout <= 0,
		"a number or a time is out of its bounds")
	return errors.Join(errs...)
}

// Engine implements queries.Engine. It is safe for concurrent use.
type Engine struct {
	planner Planner
	groups  map[string]*group
	results *s3.Client
	cfg     Config
}

// New returns an engine that asks as the account's configuration says. It calls nothing; the error
// is that of [Config.Validate]. Call [Engine.Check] before the first statement.
func New(account aws.Config, planner Planner, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("Athena: %w", err)
	}
	e := &Engine{planner: planner, groups: map[string]*group{}, cfg: cfg.withDefaults()}
	made := map[Workgroup]*group{}
	for who, w := range cfg.Workgroups {
		if made[w] == nil {
			made[w] = newGroup(account, w, e.cfg)
		}
		e.groups[who] = made[w]
	}
	e.results = newResults(account, e.cfg)
	return e, nil
}

// Query implements queries.Engine. Athena computes the whole answer before the first row is read.
func (e *Engine) Query(ctx context.Context, s queries.Statement) (queries.Rows, error) {
	a, sql, err := e.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	if a.place, err = a.group.place(ctx); err != nil {
		return nil, err
	}
	if e.isLarge(s, a.snapshots) {
		return a.unload(ctx, s, sql)
	}
	return a.page(ctx, s, sql)
}

// Columns implements queries.Engine. Athena is not asked.
func (e *Engine) Columns(ctx context.Context, s queries.Statement) ([]queries.Column, error) {
	a, _, err := e.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	return a.Columns(), nil
}

// State implements queries.Engine.
func (e *Engine) State(ctx context.Context, r queries.Read) (queries.Snapshot, error) {
	return e.plan(ctx, r)
}
