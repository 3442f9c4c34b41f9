package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg/gluetest"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/postgrestest"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/queries/queriestest"
	"github.com/cardlake/cardlake/writers/objects/s3test"
)

// TestEveryLakeThatIsWrittenIsRead opens lakes as cardlake-worker does, by the same flags,
// writes to them and reads them with the commands.
func TestEveryLakeThatIsWrittenIsRead(t *testing.T) {
	service := s3test.Start(t, s3test.Config{})
	secret, err := service.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	glue := gluetest.Start(gluetest.Config{})
	defer glue.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": secret.AccessKeyID, "AWS_SECRET_ACCESS_KEY": secret.SecretAccessKey, "AWS_ENDPOINT_URL_GLUE": glue.URL(),
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	arns := map[keys.Owner]string{keys.Lake: service.KMS.Create(), testOwner: service.KMS.Create()}
	kms := filepath.Join(t.TempDir(), "kms.json")
	if text, err := json.Marshal(arns); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(kms, text, 0o600); err != nil {
		t.Fatal(err)
	}
	bucket := func(prefix string) []string {
		args := []string{"-s3-bucket", service.Bucket(t), "-s3-endpoint", service.Endpoint, "-s3-path-style", "-aws-region", s3test.Region}
		if prefix != "" {
			args = append(args, "-s3-prefix", prefix)
		}
		return args
	}
	with := func(args []string, more ...string) []string { return append(args[:len(args):len(args)], more...) }
	check := func(t *testing.T, more []string) {
		t.Helper()
		inBucket := slices.Contains(more, "-s3-bucket")
		dir := t.TempDir()
		args := append([]string{"-dir", dir}, more...)
		if _, _, code := command(t, "tables", args...); code != 2 {
			t.Errorf("a lake that nobody has made: exit code %d", code)
		}
		flags := args
		// A lake in a bucket needs no keyring for its objects, but the record of its readers does.
		if err := makeKeyring(t.Context(), home.Dir(dir)); err != nil {
			t.Fatal(err)
		}
		if inBucket {
			flags = with(args, "-kms-keys", kms)
		}
		if err := fill(t.Context(), flags, 3, 10); err != nil {
			t.Fatal(err)
		}
		service.Requests()
		out, errs, code := command(t, "query", with(args, "-format", "csv", "SELECT count(*), sum(amount) FROM cards.transactions")...)
		if want := "30,465.0000"; code != 0 || !strings.Contains(out, want) {
			t.Errorf("query: exit code %d, %q, want %q; %s", code, out, want, errs)
		}
		out, errs, code = command(t, "tables", with(args, "-format", "csv")...)
		if want := "cards.transactions,30,3,"; code != 0 || !strings.Contains(out, want) {
			t.Errorf("tables: exit code %d, %q, want one with %q; %s", code, out, want, errs)
		}
		if out, errs, code = command(t, "reconcile", args...); code != 1 || !strings.HasPrefix(errs, "(wrong as of") {
			t.Errorf("reconcile without control totals: exit code %d, %q; %s", code, out, errs)
		}
		asked := service.Requests()
		if (len(asked) > 0) != inBucket {
			t.Errorf("%d requests to the bucket", len(asked))
		}
		for _, r := range asked {
			if r.Operation != "GetObject" && r.Operation != "HeadObject" {
				t.Errorf("a reader asked for %s of %s", r.Operation, r.Key)
			}
		}
	}
	for name, flags := range map[string][]string{
		"folder":                    nil,
		"folder, catalog elsewhere": {"-catalog", filepath.Join(t.TempDir(), "c.db")},
		"bucket":                    bucket(""),
		"bucket with prefix":        bucket("prod/lake"),
		"bucket, Glue":              with(bucket("lake"), "-catalog", "glue"),
	} {
		t.Run(name, func(t *testing.T) { check(t, flags) })
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		server := postgrestest.Start(t)
		check(t, []string{"-catalog", server.URL(server.Schema(t))})
		check(t, with(bucket(""), "-catalog", server.URL(server.Schema(t))))
	})
	t.Run("a tenant's key is gone", func(t *testing.T) {
		dir := t.TempDir()
		if err := makeKeyring(t.Context(), home.Dir(dir)); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"-dir", dir}, bucket("")...)
		if err := fill(t.Context(), with(args, "-kms-keys", kms), 1, 10); err != nil {
			t.Fatal(err)
		}
		service.KMS.ScheduleDeletion(arns[testOwner])
		defer service.KMS.Enable(arns[testOwner])
		if out, errs, code := command(t, "query", with(args, "SELECT count(*) FROM cards.transactions")...); code != 2 || out != "" || !strings.Contains(errs, keys.ErrNoKey.Error()) {
			t.Errorf("exit code %d, %q, %q", code, out, errs)
		}
	})
}

// openToWrite opens the lake of a worker's flags.
func openToWrite(ctx context.Context, args []string) (*lakeflags.Lake, error) {
	var f lakeflags.Flags
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	f.Define(fs, lakeflags.Write)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if err := f.Complete(); err != nil {
		return nil, err
	}
	return f.Open(ctx, nil)
}

// fill adds files of cards.transactions to the lake of a worker's flags, in one snapshot.
func fill(ctx context.Context, args []string, files, rows int) error {
	l, err := openToWrite(ctx, args)
	if err != nil {
		return err
	}
	defer l.Close()
	table, err := l.Table(ctx, cardlake.Transactions)
	if err != nil || files == 0 {
		return err
	}
	var all []cardlake.DataFile
	for i := range files {
		file, body, err := queriestest.File(i, rows)
		if err != nil {
			return err
		}
		if err := l.Store.Put(ctx, file.Name, testOwner, body); err != nil {
			return err
		}
		all = append(all, file)
	}
	to := cardlake.Positions{{Stream: "transactions"}: {Next: int64(files * rows)}}
	_, err = table.Append(ctx, catalog.Append{Files: all, To: to})
	return err
}

// command runs a command of the binary.
func command(t *testing.T, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{name}, args...), nil, &out, &errs)
	return out.String(), errs.String(), code
}

// TestFaultsOfTheLakesFlags: they are those of cardlake-worker, all at once, before the usage.
func TestFaultsOfTheLakesFlags(t *testing.T) {
	for _, name := range []string{"query", "tables", "reconcile"} {
		args := []string{"-catalog", "postgres://lake:hunter2@db.example/lake", "-s3-path-style"}
		if name == "query" {
			args = append(args, "SELECT 1")
		}
		out, errs, code := command(t, name, args...)
		if code != 2 || out != "" || strings.Contains(errs, "hunter2") || !strings.Contains(errs, "-s3-… need -s3-bucket\n\nusage: cardlake "+name) ||
			!strings.HasPrefix(errs, "cardlake "+name+": -catalog holds a password") {
			t.Errorf("%s: exit code %d, %s%.300s", name, code, out, errs)
		}
		if _, errs, code := command(t, name, "-kms-keys", "k.json"); code != 2 || !strings.Contains(errs, "not defined: -kms-keys") {
			t.Errorf("%s: a reader takes the keys of puts: %d, %.100s", name, code, errs)
		}
	}
}
