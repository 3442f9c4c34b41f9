package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

const qualityUsage = `usage: cardlake quality COMMAND [flags]

  run        evaluate a rule set over a file, or a table of the lake
  check      only read a rule set, and tell its faults
  history    what earlier runs came to
  release    take a partition out of quarantine
  deploy     take a rule set to AWS Glue Data Quality

Rule sets are in DQDL, the Data Quality Definition Language of AWS Glue. -rules default is the set
for partitions of cards.transactions that comes with the lake.

Exit codes: 0 every rule passed, or done; 1 a rule failed or could not be evaluated; 2 misuse, a
rule set with a fault, or nothing could be evaluated.
`

// qualityCommand looks at the quality of data.
func qualityCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, qualityUsage)
		return errUsage
	}
	switch command, args := args[0], args[1:]; command {
	case "run":
		return qualityRun(ctx, args, stdout, stderr)
	case "check":
		return qualityCheck(args, stdout, stderr)
	case "history":
		return qualityHistory(args, stdout, stderr)
	case "release":
		return qualityRelease(ctx, args, stdout, stderr)
	case "deploy":
		return qualityDeploy(ctx, args, stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, qualityUsage)
		return nil
	default:
		fmt.Fprintf(stderr, "cardlake quality: there is no command %q\n\n%s", command, qualityUsage)
		return errUsage
	}
}

// defaultRules is the name of the rule set that comes with the lake.
const defaultRules = "default"

// maxRules bounds what is read of a file of rules.
const maxRules = 2 << 20

// readRules reads a rule set. The error shows the place of a fault.
func readRules(path string) (*dqdl.Ruleset, error) {
	text := quality.TransactionRules
	if path != defaultRules {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("-rules: %w", err)
		}
		content, err := io.ReadAll(io.LimitReader(f, maxRules))
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("-rules: %w", err)
		}
		text = string(content)
	}
	set, err := dqdl.Parse(text)
	var fault *dqdl.Error
	if errors.As(err, &fault) {
		return nil, fmt.Errorf("%s: %w\n%s", path, err, fault.Excerpt(text))
	}
	return set, err
}

// ruleset is the name of a rule set, as results are kept under it.
func ruleset(name, path string) string {
	if name != "" {
		return name
	}
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// keptFlag is where results are kept unless they are somewhere else.
func keptFlag(fs *flag.FlagSet) *string {
	return fs.String("history", "", "`folder` in which results and the quarantine are kept; default quality in -dir")
}

func keptIn(history, dir string) string {
	if history != "" {
		return history
	}
	return serving.QualityFolder(dir)
}

func qualityCheck(args []string, stdout, stderr io.Writer) error {
	fs := flagSet("quality check", "", "Reads a rule set and tells its first fault, with its place. Nothing is evaluated.", stderr)
	rules := fs.String("rules", "", "`file` of the rule set, in DQDL, or default")
	show := fs.Bool("print", false, "print the rule set as it was understood")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case *rules == "" && fs.NArg() == 1:
		*rules = fs.Arg(0)
	case *rules == "" || fs.NArg() != 0:
		return misused(fs, "takes one rule set: -rules FILE")
	}
	set, err := readRules(*rules)
	if err != nil {
		return err
	}
	if *show {
		fmt.Fprint(stdout, set)
		return nil
	}
	fmt.Fprintf(stdout, "%s is valid: %s, %s\n", *rules, numbered(len(set.Rules), "rule"), numbered(len(set.Analyzers), "analyzer"))
	return nil
}

func numbered(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprint(n, " ", noun)
}
