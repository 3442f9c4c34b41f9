package lakeformation

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxPolicy is how many characters a managed policy may have, white space not counted (IAM
// user guide, "IAM and AWS STS quotas").
const maxPolicy = 6144

// policyPath is the path of the policies that this package makes. Together with the tag
// [VersionTag] it says that they are its own.
const policyPath = "/cardlake/"

// The tags of a policy of this package: the version of the policies that it was last written
// for, and the role that it is for.
const (
	VersionTag = "cardlake:version"
	RoleTag    = "cardlake:role"
)

// boundaryName is the name of the permissions boundary of all readers.
const boundaryName = ours + "boundary"

// document is a policy of IAM.
type document struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid         string
	Effect      string
	Action      []string
	Resource    []string                       `json:",omitempty"`
	NotResource []string                       `json:",omitempty"`
	Condition   map[string]map[string][]string `json:",omitempty"`
}

// Actions that a reader needs ("Actions, resources, and condition keys", service authorization
// reference, of Athena, Glue, S3 and KMS; Athena user guide, "Access to workgroups" and
// "Managing Lake Formation and Athena user permissions").
var (
	askActions     = []string{"athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetQueryResultsStream", "athena:GetWorkGroup", "athena:StartQueryExecution", "athena:StopQueryExecution"}
	schemaActions  = []string{"glue:GetDatabase", "glue:GetPartitions", "glue:GetTable"}
	answerActions  = []string{"s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"}
	sealingActions = []string{"kms:Decrypt", "kms:GenerateDataKey"}
)

// readerPolicy is what one reader may do: ask Athena in its workgroup, read the schema of the
// tables it has filters of, let Lake Formation decide, and find its answers.
func (m *Mapping) readerPolicy(r *reader) document {
	folder := m.bucketARN(m.Results.Bucket) + "/" + r.principal.String() + "/"
	schema := []string{m.arn("glue", "catalog")}
	var databases, tables []string
	for _, f := range r.filters {
		databases = append(databases, m.arn("glue", "database/"+f.table.Namespace))
		tables = append(tables, m.arn("glue", "table/"+f.table.Namespace+"/"+f.table.Name))
	}
	return document{"2012-10-17", append([]statement{
		{Sid: "Ask", Effect: "Allow", Action: askActions, Resource: []string{m.arn("athena", "workgroup/"+r.role.Workgroup)}},
		{Sid: "Schema", Effect: "Allow", Action: schemaActions, Resource: slices.Concat(schema, distinct(databases), distinct(tables))},
		m.letDecide(),
		{Sid: "FindAnswers", Effect: "Allow", Action: []string{"s3:GetBucketLocation"}, Resource: []string{m.bucketARN(m.Results.Bucket)}},
		{Sid: "ListAnswers", Effect: "Allow", Action: []string{"s3:ListBucket"}, Resource: []string{m.bucketARN(m.Results.Bucket)},
			Condition: map[string]map[string][]string{"StringLike": {"s3:prefix": {r.principal.String() + "/*"}}}},
		{Sid: "Answers", Effect: "Allow", Action: answerActions, Resource: []string{folder + "*"}},
		m.sealAnswers(),
	}, m.denials()...)}
}

// boundary is the most that the policies of any reader's role may allow together, whoever
// attached them. Resources are as wide as all readers' together, so that it is one document
// however many they are; the denials are what it is for.
func (m *Mapping) boundary() document {
	schema := []string{m.arn("glue", "catalog")}
	var databases []string
	for _, t := range m.tables() {
		databases = append(databases, m.arn("glue", "database/"+t.Namespace), m.arn("glue", "table/"+t.Namespace+"/*"))
	}
	return document{"2012-10-17", append([]statement{
		{Sid: "Ask", Effect: "Allow", Action: askActions, Resource: []string{m.arn("athena", "workgroup/*")}},
		{Sid: "Schema", Effect: "Allow", Action: schemaActions, Resource: slices.Concat(schema, distinct(databases))},
		m.letDecide(),
		{Sid: "FindAnswers", Effect: "Allow", Action: []string{"s3:GetBucketLocation", "s3:ListBucket"}, Resource: []string{m.bucketARN(m.Results.Bucket)}},
		{Sid: "Answers", Effect: "Allow", Action: answerActions, Resource: []string{m.bucketARN(m.Results.Bucket) + "/*"}},
		m.sealAnswers(),
	}, m.denials()...)}
}

// letDecide permits to ask Lake Formation for credentials. The action knows no resources, so
// it is given on all (service authorization reference, "AWS Lake Formation").
func (m *Mapping) letDecide() statement {
	return statement{Sid: "LetLakeFormationDecide", Effect: "Allow", Action: []string{"lakeformation:GetDataAccess"}, Resource: []string{"*"}}
}

func (m *Mapping) sealAnswers() statement {
	return statement{Sid: "SealAnswers", Effect: "Allow", Action: sealingActions, Resource: []string{m.Results.Key},
		Condition: map[string]map[string][]string{"StringEquals": {"kms:ViaService": {"s3." + m.Region + ".amazonaws.com"}}}}
}

// denials keep readers from the objects themselves, whatever else allows it (PCI DSS 4.0.1
// requirement 7.2.6): everything on the lake's bucket, and every other key than the answers'.
func (m *Mapping) denials() []statement {
	lake := m.bucketARN(m.Bucket)
	return []statement{
		{Sid: "NoObjects", Effect: "Deny", Action: []string{"s3:*"}, Resource: []string{lake, lake + "/*"}},
		{Sid: "NoOtherKeys", Effect: "Deny", Action: []string{"kms:*"}, NotResource: []string{m.Results.Key}},
	}
}

func (m *Mapping) bucketARN(name string) string { return "arn:" + m.partition() + ":s3:::" + name }

func distinct(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }

// text spells a document, without white space.
func (d document) text() (string, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	if len(b) > maxPolicy {
		return "", fmt.Errorf("the policy has %d characters, and IAM takes %d: map fewer tables", len(b), maxPolicy)
	}
	return canonical(string(b)), nil
}

// canonical spells a document of JSON the way all are compared: without white space, members in
// order of name. What is not JSON stays as it is.
func canonical(text string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil || d.More() {
		return text
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(b)
}

// policyARN is the ARN of a policy of this package.
func (m *Mapping) policyARN(name string) string {
	return "arn:" + m.partition() + ":iam::" + m.Account + ":policy" + policyPath + name
}

// grantsOf returns the KMS grants that an owner's objects need.
func (m *Mapping) grantsOf(o owned, k Keys) []keyGrant {
	constraint := map[string]string{"aws:s3:arn": m.bucketARN(m.Bucket)}
	if m.ObjectContext {
		constraint = map[string]string{"cardlake-owner": string(o.owner)}
	}
	var out []keyGrant
	for _, key := range k[o.owner] {
		g := keyGrant{key: key, grantee: m.DataAccessRole, retiring: m.RetiringPrincipal, operations: []string{"Decrypt"}, subset: constraint}
		g.name = ours + digest(g.text())
		out = append(out, g)
	}
	return out
}
