package lakeformation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/keys"
)

// Mapping says what the lake is called in one account and region of AWS. A database of Glue is
// named as the tables' namespace, a table as the table.
type Mapping struct {
	// Partition is the partition of AWS; default "aws".
	Partition string `json:"partition,omitempty"`
	Account   string `json:"account"`
	Region    string `json:"region"`
	// Bucket holds the lake's objects, in the folder Prefix, if there is one.
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix,omitempty"`
	// DataAccessRole is the ARN of the role with which Lake Formation reads the objects on
	// behalf of those it permits. It is the only one that may decrypt them.
	DataAccessRole string `json:"data_access_role"`
	// ObjectContext says that objects are put without S3 bucket keys, so that KMS sees each
	// one's encryption context; with bucket keys it sees the bucket's ARN only (Amazon S3,
	// "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys").
	ObjectContext bool `json:"object_context,omitempty"`
	// RetiringPrincipal is the ARN of who may retire the KMS grants besides whoever may revoke
	// them.
	RetiringPrincipal string `json:"retiring_principal"`
	// Results is where Athena puts answers: those of a principal lie in the folder KIND/NAME
	// of a bucket of their own, under a KMS key of their own.
	Results Results `json:"results"`
	// Roles are the roles of AWS that principals, KIND/NAME, read the lake with. A role is one
	// principal's, and is for nothing else: it gets a permissions boundary that says so.
	Roles map[string]Role `json:"roles"`
	// Tables are the full names of the tables that are in Glue; default all of the lake.
	Tables []string `json:"tables,omitempty"`
	// Known are the ARNs of principals that may have grants of their own on the lake, such as
	// those who write and maintain it. What they have is neither shown nor touched.
	Known []string `json:"known,omitempty"`
	// IgnoreLimits compiles decisions with limits, which are then those of Athena's workgroups
	// only. Otherwise such decisions are kept to the gateway.
	IgnoreLimits bool `json:"ignore_limits,omitempty"`
}

// Results is where Athena puts answers.
type Results struct {
	Bucket string `json:"bucket"`
	Key    string `json:"kms_key"` // ARN
}

// Role is what one principal reads with.
type Role struct {
	ARN       string `json:"role"`
	Workgroup string `json:"workgroup"` // of Athena, with the principal's folder for results enforced
}

// ReadMapping reads a mapping from a file of JSON.
func ReadMapping(path string) (*Mapping, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("AWS mapping: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var m Mapping
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("AWS mapping %s: %w", path, err)
	}
	if d.More() {
		return nil, fmt.Errorf("AWS mapping %s: something follows the mapping", path)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("AWS mapping %s:\n%w", path, err)
	}
	return &m, nil
}

var (
	partitionName = regexp.MustCompile(`^aws(-[a-z]+)*$`)
	accountID     = regexp.MustCompile(`^[0-9]{12}$`)
	regionName    = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)
	bucketName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixName    = regexp.MustCompile(`^[a-zA-Z0-9_.=-]+(/[a-zA-Z0-9_.=-]+)*$`)
	roleARN       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/([a-zA-Z0-9_./-]*/)?([\w+=,.@-]{1,64})$`)
	principalARN  = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:(root|(role|user)/[\w+=,.@/-]{1,512})$`)
	keyARN        = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)
	workgroupName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,128}$`)
)

// Validate reports every fault of the mapping, one a line.
func (m *Mapping) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(!partitionName.MatchString(m.partition()), "partition is not aws, aws-cn or another")
	fault(!accountID.MatchString(m.Account), "account is not 12 digits")
	fault(!regionName.MatchString(m.Region), "region is not like us-east-1")
	fault(!bucketName.MatchString(m.Bucket), "bucket is not the name of a bucket")
	fault(m.Prefix != "" && !prefixName.MatchString(m.Prefix), "prefix is not a folder, without slashes around it")
	fault(m.accountOf(m.DataAccessRole) != m.Account, "data_access_role is not the ARN of a role of the account")
	fault(!principalARN.MatchString(m.RetiringPrincipal), "retiring_principal is not the ARN of a role or user")
	fault(!bucketName.MatchString(m.Results.Bucket), "results.bucket is not the name of a bucket")
	fault(m.Results.Bucket == m.Bucket, "results.bucket is the lake's own: whoever reads answers there would be denied, or read the lake")
	fault(!keyARN.MatchString(m.Results.Key), "results.kms_key is not the ARN of a KMS key")
	fault(len(m.Roles) == 0, "roles names no principal")
	owners, workgroups := map[string]string{m.DataAccessRole: "data_access_role"}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m.Roles)) {
		r := m.Roles[name]
		if _, err := grants.ParsePrincipal(name); err != nil {
			fault(true, "roles: %q: %w", name, err)
		}
		fault(m.accountOf(r.ARN) != m.Account, "roles: %q: role is not the ARN of a role of the account", name)
		fault(!workgroupName.MatchString(r.Workgroup), "roles: %q: workgroup is not the name of a workgroup", name)
		if other, ok := owners[r.ARN]; ok {
			fault(true, "roles: %q has the role of %s: nobody shares one", name, other)
		}
		if other, ok := workgroups[r.Workgroup]; ok {
			fault(true, "roles: %q has the workgroup of %s: it would find its answers", name, other)
		}
		owners[r.ARN], workgroups[r.Workgroup] = name, name
	}
	fault(owners[m.RetiringPrincipal] != "", "retiring_principal is a role that reads")
	for _, arn := range m.Known {
		fault(!principalARN.MatchString(arn), "known: %q is not the ARN of a role or user", arn)
		fault(owners[arn] != "" && owners[arn] != "data_access_role", "known: %q is the role of %s: what it has would not be seen", arn, owners[arn])
	}
	for _, name := range m.Tables {
		fault(cardlake.TableNamed(name) == nil, "tables: there is no table %q", name)
	}
	return errors.Join(errs...)
}

func (m *Mapping) partition() string {
	if m.Partition == "" {
		return "aws"
	}
	return m.Partition
}

// accountOf returns the account of a role's ARN, empty if it is none.
func (m *Mapping) accountOf(arn string) string {
	if match := roleARN.FindStringSubmatch(arn); match != nil {
		return match[1]
	}
	return ""
}

// roleName is the last part of a role's ARN, by which IAM takes it.
func roleName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// arn spells an ARN of the account and region.
func (m *Mapping) arn(service, resource string) string {
	return "arn:" + m.partition() + ":" + service + ":" + m.Region + ":" + m.Account + ":" + resource
}

// location is the ARN of where the lake's objects lie, as Lake Formation registers it.
func (m *Mapping) location() string {
	arn := "arn:" + m.partition() + ":s3:::" + m.Bucket
	if m.Prefix != "" {
		arn += "/" + m.Prefix
	}
	return arn
}

// tables are those in Glue.
func (m *Mapping) tables() []*cardlake.Table {
	if len(m.Tables) == 0 {
		return cardlake.Tables
	}
	var out []*cardlake.Table
	for _, t := range cardlake.Tables {
		if slices.Contains(m.Tables, t.FullName()) {
			out = append(out, t)
		}
	}
	return out
}

// Keys are the ARNs of the KMS keys under which objects of an owner lie: a tenant's storage
// id, or [keys.Lake]. An owner whose key was rotated by hand has several.
type Keys map[keys.Owner][]string

// ReadKeys reads keys from a file of JSON, the one that a worker's -kms-keys names: each owner
// has an ARN, or a list of them.
func ReadKeys(path string) (Keys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("KMS keys: %w", err)
	}
	var raw map[keys.Owner]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("KMS keys %s: %w", path, err)
	}
	out, users := Keys{}, map[string]keys.Owner{}
	var errs []error
	for _, owner := range slices.Sorted(maps.Keys(raw)) {
		var list []string
		var one string
		if json.Unmarshal(raw[owner], &one) == nil {
			list = []string{one}
		} else if err := json.Unmarshal(raw[owner], &list); err != nil || len(list) == 0 {
			errs = append(errs, fmt.Errorf("KMS keys %s: %q has neither an ARN nor a list of them", path, owner))
		}
		for _, arn := range list {
			if !keyARN.MatchString(arn) {
				errs = append(errs, fmt.Errorf("KMS keys %s: a key of %q is not the ARN of a KMS key", path, owner))
			}
			if other, ok := users[arn]; ok {
				errs = append(errs, fmt.Errorf("KMS keys %s: %q and %q have a key in common: whoever decrypts one's rows decrypts the other's", path, other, owner))
			}
			users[arn] = owner
		}
		out[owner] = list
	}
	if len(out[keys.Lake]) == 0 {
		errs = append(errs, fmt.Errorf("KMS keys %s: there is no key of %q", path, keys.Lake))
	}
	return out, errors.Join(errs...)
}
