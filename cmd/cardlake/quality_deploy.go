package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/glue"

	"github.com/cardlake/cardlake/queries/quality/deploy"
)

func qualityDeploy(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("quality deploy", "", "Creates a rule set in AWS Glue Data Quality, or updates the one of the name, with the credentials that the AWS tools use.", stderr)
	rules := fs.String("rules", "", "`file` of the rule set, in DQDL, or default")
	name := fs.String("name", "", "`name` of the rule set in Glue; default the file's")
	about := fs.String("description", "", "`text` about it")
	table := fs.String("table", "", "`DATABASE.TABLE` of the Data Catalog that it is for; without, it is for jobs")
	region := fs.String("region", "", "AWS `region`; default the environment's")
	endpoint := fs.String("endpoint", "", "`URL` of another service than Amazon's")
	show := fs.Bool("print", false, "print the request instead of sending it")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *rules == "" || fs.NArg() != 0 {
		return misused(fs, "takes one rule set: -rules FILE")
	}
	set, err := readRules(*rules)
	if err != nil {
		return err
	}
	r := deploy.Ruleset{Name: ruleset(*name, *rules), Description: *about, Rules: set}
	if *table != "" {
		var ok bool
		if r.Database, r.Table, ok = strings.Cut(*table, "."); !ok {
			return misused(fs, "-table: want DATABASE.TABLE")
		}
	}
	if *show {
		in, err := deploy.CreateInput(r)
		if err != nil {
			return err
		}
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(in)
	}
	var options []func(*config.LoadOptions) error
	if *region != "" {
		options = append(options, config.WithRegion(*region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return fmt.Errorf("AWS configuration: %w", err)
	}
	client := glue.NewFromConfig(cfg, func(o *glue.Options) {
		if *endpoint != "" {
			o.BaseEndpoint = aws.String(*endpoint)
		}
	})
	isNew, err := deploy.Deploy(ctx, client, r)
	if err != nil {
		return err
	}
	verb := "updated"
	if isNew {
		verb = "created"
	}
	fmt.Fprintf(stdout, "%s rule set %s\n", verb, r.Name)
	return nil
}
