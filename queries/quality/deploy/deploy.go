// Package deploy takes rule sets to AWS Glue Data Quality.
package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/glue"
	"github.com/aws/aws-sdk-go-v2/service/glue/types"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// Limits of Glue (API reference, CreateDataQualityRuleset): of the rule set's text, and of names.
const (
	maxRuleset = 65_536
	maxName    = 255
)

// Glue is what is asked of AWS Glue, such as by *glue.Client.
type Glue interface {
	CreateDataQualityRuleset(context.Context, *glue.CreateDataQualityRulesetInput, ...func(*glue.Options)) (*glue.CreateDataQualityRulesetOutput, error)
	UpdateDataQualityRuleset(context.Context, *glue.UpdateDataQualityRulesetInput, ...func(*glue.Options)) (*glue.UpdateDataQualityRulesetOutput, error)
}

// Ruleset is a rule set as it stands in Glue. Database and Table name the table that it is for;
// without them it is for jobs.
type Ruleset struct {
	Name, Description string
	Database, Table   string
	Rules             *dqdl.Ruleset
}

// forJobs are the words that only Glue's jobs understand, not its Data Catalog (guide, notes on
// "Dynamic rules", "Analyzers" and "Labels").
var forJobs = regexp.MustCompile(`\blast\s*\(`)

// text checks the rule set and returns its text. It is printed anew: so Glue, whose grammar gives
// all operators one precedence, computes what is computed here.
func (r Ruleset) text() (string, error) {
	text := r.Rules.String()
	var errs []error
	fault := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(r.Name == "" || utf8.RuneCountInString(r.Name) > maxName, "the rule set's name has %d characters, and 1 to %d are allowed", utf8.RuneCountInString(r.Name), maxName)
	fault(len(text) > maxRuleset, "the rule set has %d bytes, at most %d are allowed: put long SQL into constants, or split it", len(text), maxRuleset)
	fault((r.Database == "") != (r.Table == ""), "a rule set for a table needs database and table")
	for _, rule := range leaves(r.Rules.Rules) {
		fault(rule.Type == "ColumnNamesMatchPattern" && rule.Where != nil, "line %d: Glue takes no where after ColumnNamesMatchPattern: leave it out, it changes nothing", rule.Pos.Line)
		fault(rule.Type == "RowCount" && rule.Threshold != nil, "line %d: Glue takes no threshold after RowCount: leave it out", rule.Pos.Line)
	}
	if r.Table != "" {
		fault(len(r.Rules.Analyzers) > 0, "a rule set for a table of the Data Catalog has no analyzers: deploy it without a table, for jobs")
		fault(len(r.Rules.DefaultLabels) > 0 || strings.Contains(text, "labels=["), "a rule set for a table of the Data Catalog has no labels: deploy it without a table, for jobs")
		fault(forJobs.MatchString(text), "a rule set for a table of the Data Catalog has no dynamic rules: deploy it without a table, for jobs")
	}
	return text, errors.Join(errs...)
}

// leaves are the rules without the composites that join them.
func leaves(rules []*dqdl.Rule) []*dqdl.Rule {
	var all []*dqdl.Rule
	for _, r := range rules {
		if r.IsComposite() {
			all = append(all, leaves(r.Rules)...)
		} else {
			all = append(all, r)
		}
	}
	return all
}

// CreateInput is the body of CreateDataQualityRuleset. The same rule set has the same token, so
// that a request that is sent again creates nothing twice.
func CreateInput(r Ruleset) (*glue.CreateDataQualityRulesetInput, error) {
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Name, r.Database, r.Table, r.Description, text}, "\x00")))
	in := &glue.CreateDataQualityRulesetInput{
		Name: aws.String(r.Name), Ruleset: aws.String(text), ClientToken: aws.String(hex.EncodeToString(sum[:])),
	}
	if r.Description != "" {
		in.Description = aws.String(r.Description)
	}
	if r.Table != "" {
		in.TargetTable = &types.DataQualityTargetTable{DatabaseName: aws.String(r.Database), TableName: aws.String(r.Table)}
	}
	return in, nil
}

// Deploy creates the rule set in Glue, or updates the one of the name. isNew says which.
func Deploy(ctx context.Context, g Glue, r Ruleset) (isNew bool, err error) {
	in, err := CreateInput(r)
	if err != nil {
		return false, err
	}
	_, err = g.CreateDataQualityRuleset(ctx, in)
	var exists *types.AlreadyExistsException
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &exists):
		return false, fmt.Errorf("create rule set: %w", err)
	}
	_, err = g.UpdateDataQualityRuleset(ctx, &glue.UpdateDataQualityRulesetInput{Name: in.Name, Ruleset: in.Ruleset, Description: in.Description})
	if err != nil {
		return false, fmt.Errorf("update rule set: %w", err)
	}
	return false, nil
}
