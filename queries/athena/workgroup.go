package athena

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/cardlake/cardlake/catalog/grants"
)

var (
	workgroupName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,128}$`)
	roleARN       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}$`)
	accountID     = regexp.MustCompile(`^[0-9]{12}$`)
	keyARN        = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
)

func isKind(s string) bool { return slices.Contains(grants.Kinds, grants.Kind(s)) }

// group is a workgroup and the identity that asks in it.
type group struct {
	name   string
	owner  string // of the bucket for results
	client *athena.Client

	mu    sync.Mutex
	found *place
}

// sessionName is what CloudTrail has beside the role.
const sessionName = "cardlake"

func newGroup(account aws.Config, w Workgroup, cfg Config) *group {
	provider := account.Credentials
	if w.Role != "" {
		client := sts.NewFromConfig(account, func(o *sts.Options) {
			o.Retryer = newRetryer(cfg, account.Credentials)
			if cfg.STS != nil {
				cfg.STS(o)
			}
		})
		provider = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, w.Role, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = sessionName + "-" + w.Name[:min(len(w.Name), 64-len(sessionName)-1)]
		}))
	}
	return &group{name: w.Name, owner: cfg.BucketOwner, client: athena.NewFromConfig(account, func(o *athena.Options) {
		o.Credentials = provider
		o.Retryer = newRetryer(cfg, provider)
		if cfg.Athena != nil {
			cfg.Athena(o)
		}
	})}
}

// place is where the answers of a workgroup are.
type place struct {
	bucket, prefix string // the prefix is empty or ends with a slash
	key            string // ARN of the KMS key
}

// object returns the key of a URI below the place, false if it is not below it.
func (p *place) object(uri string) (key string, ok bool) {
	key, ok = strings.CutPrefix(uri, "s3://"+p.bucket+"/")
	return key, ok && strings.HasPrefix(key, p.prefix) && key != p.prefix
}

// place returns the workgroup's, which it asks for once.
func (g *group) place(ctx context.Context) (*place, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.found != nil {
		return g.found, nil
	}
	out, err := g.client.GetWorkGroup(ctx, &athena.GetWorkGroupInput{WorkGroup: &g.name})
	if err != nil {
		return nil, fmt.Errorf("workgroup %s: %w", g.name, refusal(err))
	}
	found, err := g.check(out.WorkGroup)
	if err != nil {
		return nil, fmt.Errorf("workgroup %s is not fit to ask in:\n%w", g.name, err)
	}
	g.found = found
	return found, nil
}

// engineVersion is what the printed SQL is written for.
const engineVersion = "Athena engine version 3"

// check reports every fault of the workgroup, one a line, and returns its place for results.
// Settings that callers can override, results in clear, and statements without a bound on what
// they scan are faults (PCI DSS 4.0.1 requirements 3.5.1 and 7.2.1).
func (g *group) check(w *types.WorkGroup) (*place, error) {
	var errs []error
	fault := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	if w == nil || w.Configuration == nil {
		return nil, errors.New("Athena tells nothing of its configuration: the role needs athena:GetWorkGroup")
	}
	c := w.Configuration
	version := c.EngineVersion
	fault(w.State != types.WorkGroupStateEnabled, "it is not enabled")
	fault(!aws.ToBool(c.EnforceWorkGroupConfiguration), "its settings are not enforced: set EnforceWorkGroupConfiguration")
	fault(version == nil || aws.ToString(version.EffectiveEngineVersion) != engineVersion, "it does not run "+engineVersion)
	fault(aws.ToInt64(c.BytesScannedCutoffPerQuery) <= 0, "nothing bounds what a query scans: set BytesScannedCutoffPerQuery")
	fault(aws.ToBool(c.RequesterPaysEnabled), "it may read buckets of requester pays: unset RequesterPaysEnabled")
	fault(c.ManagedQueryResultsConfiguration != nil && c.ManagedQueryResultsConfiguration.Enabled, "its results are in Athena's own storage, from which nothing can be unloaded or deleted: give it a place in S3")
	p := &place{}
	r := c.ResultConfiguration
	if r == nil {
		return nil, errors.Join(append(errs, errors.New("it has no place for results: set ResultConfiguration"))...)
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(aws.ToString(r.OutputLocation), "s3://"), "/")
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	p.bucket, p.prefix = bucket, prefix
	fault(!strings.HasPrefix(aws.ToString(r.OutputLocation), "s3://") || bucket == "", "its place for results is not s3://BUCKET/PREFIX/")
	fault(strings.ContainsAny(prefix, "'\n"), "its place for results has a character that no statement can name")
	e := r.EncryptionConfiguration
	fault(e == nil || e.EncryptionOption != types.EncryptionOptionSseKms, "its results are not encrypted under a KMS key: set EncryptionOption to SSE_KMS")
	if e != nil {
		p.key = aws.ToString(e.KmsKey)
		fault(!keyARN.MatchString(p.key), "the KMS key of its results is not named by its ARN")
	}
	fault(aws.ToString(r.ExpectedBucketOwner) != g.owner, "ExpectedBucketOwner of its results is not the account of BucketOwner")
	return p, errors.Join(errs...)
}

// Check asks for the settings of every workgroup, and reports each that is not fit: results that
// are not encrypted, settings that are not enforced, another engine, no bound on what is scanned.
func (e *Engine) Check(ctx context.Context) error {
	groups := map[string]*group{}
	for _, g := range e.groups {
		groups[g.name] = g
	}
	var errs []error
	for _, name := range sortedKeys(groups) {
		if _, err := groups[name].place(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
