package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awsdatazone "github.com/aws/aws-sdk-go-v2/service/datazone"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products/datazone"
)

const exportAbout = `Makes the products known in a domain of AWS DataZone: glossary, assets, products, listings and
subscriptions. Without -apply it tells what it would change. Who may maintain the lake may apply it.

-consumers is a file of JSON that says in which projects of DataZone subscribers work, and where
these have their subscriptions fulfilled:
  {"consumers": {"data_scientist/ana": "PROJECT"}, "targets": {"PROJECT": {"environment": "…", "target": "…"}}}

Exit codes: 0 nothing differs, or it was changed, 1 something differs, 2 refused or failed.`

func productsExport(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flagSet("products export", "", exportAbout, stderr)
	var p productsPlace
	p.define(fs)
	cfg := datazone.Config{}
	fs.StringVar(&cfg.Domain, "datazone-domain", "", "`id` of the domain, dzd_…")
	fs.StringVar(&cfg.Project, "datazone-project", "cardlake", "`name` of the project that owns what is exported")
	endpoint := fs.String("datazone-endpoint", "", "`URL` of another service than Amazon's")
	consumers := fs.String("consumers", "", "`file` of who works in which project")
	apply := fs.Bool("apply", false, "change what differs")
	check := func() error { return errors.Join(readConsumers(*consumers, &cfg), cfg.Validate()) }
	return withDesk(ctx, fs, &p, args, 0, check, func(d *openDesk) error {
		if *apply && !d.permits.Permitted(p.door.caller, grants.Maintain).Lake {
			return d.recordExport(ctx, "products.export", cfg.Domain, fmt.Errorf("%s may not maintain the lake, and so not export", p.door.caller.Principal))
		}
		cfg.DryRun = !*apply
		cfg.Record = func(ctx context.Context, c datazone.Change) error {
			return d.recordExport(ctx, "products.export."+c.Action, strings.ReplaceAll(c.Kind, " ", "_")+" "+c.Name, nil)
		}
		loaded, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return fmt.Errorf("AWS configuration: %w", err)
		}
		client := awsdatazone.NewFromConfig(loaded, func(o *awsdatazone.Options) {
			if *endpoint != "" {
				o.BaseEndpoint = aws.String(*endpoint)
			}
		})
		e, err := datazone.New(client, cfg)
		if err != nil {
			return err
		}
		catalogue, err := d.catalogue()
		if err != nil {
			return err
		}
		inForce, err := d.InForce(ctx)
		if err != nil {
			return err
		}
		changes, err := e.Run(ctx, datazone.Wanted{Catalogue: catalogue, Dictionary: d.words, InForce: inForce})
		for _, c := range changes {
			fmt.Fprintln(stdout, c)
		}
		if err != nil {
			return err
		}
		switch {
		case len(changes) == 0:
			fmt.Fprintln(stderr, "Nothing differs.")
		case cfg.DryRun:
			fmt.Fprintf(stderr, "%d things differ; -apply changes them.\n", len(changes))
			return exitCode(1)
		}
		return nil
	})
}

// readConsumers reads the file of consumers, if one is named.
func readConsumers(path string, cfg *datazone.Config) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("-consumers: %w", err)
	}
	var f struct {
		Consumers map[string]string          `json:"consumers"`
		Targets   map[string]datazone.Target `json:"targets"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return fmt.Errorf("-consumers: %s: %w", path, err)
	}
	var errs []error
	for who := range f.Consumers {
		if _, err := grants.ParsePrincipal(who); err != nil {
			errs = append(errs, fmt.Errorf("-consumers: %q: %w", who, err))
		}
	}
	cfg.Consumers, cfg.Targets = f.Consumers, f.Targets
	return errors.Join(errs...)
}

// recordExport puts an export, or why there is none, on record.
func (d *openDesk) recordExport(ctx context.Context, action, resource string, refused error) error {
	line := audit.Record{
		Actor: d.place.door.caller.Principal.String(), Action: action, Resource: resource, Outcome: audit.Allowed,
		Origin: d.place.door.caller.Origin, Reason: d.place.door.caller.Reason,
	}
	if refused != nil {
		line.Outcome = audit.Refused
	}
	if err := d.log.Append(ctx, line); err != nil {
		return err
	}
	return refused
}
