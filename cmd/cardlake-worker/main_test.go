package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
)

func TestMistakesAreOneClearLine(t *testing.T) {
	dir := t.TempDir()
	files := []string{"-vault-cert", "none", "-vault-key", "none", "-vault-ca", "none"}
	const keyARN = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
	authority, err := detokenizetest.NewAuthority(dir, "authority")
	if err != nil {
		t.Fatal(err)
	}
	ca := authority.CA()
	for _, c := range []struct {
		name, word string
		args       []string
	}{
		{"no brokers", "-brokers is required", []string{"run", "-dir", dir}},
		{"plain text to another machine", "TLS is needed", []string{"run", "-dir", dir, "-brokers", "broker.example:9092"}},
		{"one of several is elsewhere", "TLS is needed", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092,192.0.2.1:9092"}},
		{"certificate without key", "go together", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-tls-cert", "x"}},
		{"window too short", "-window", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-window", "1ms"}},
		{"argument", "takes no arguments", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "now"}},
		{"vault without certificates", "go together", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-vault", "https://vault.example:8443"}},
		{"certificates without vault", "go together", []string{"replay", "-dir", dir, "-vault-cert", "c", "-vault-key", "k", "-vault-ca", "a"}},
		{"vault in clear", "-vault is not https", slices.Concat([]string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-vault", "http://127.0.0.1:8443"}, files)},
		{"vault's path", "-vault is not https", slices.Concat([]string{"replay", "-dir", dir, "-vault", "https://vault.example/v1"}, files)},
		{"vault's login", "-vault is not https", slices.Concat([]string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-vault", "https://u:hunter2@vault.example"}, files)},
		{"no cards remembered", "-pinned-cards must be", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-pinned-cards", "0"}},
		{"cards remembered without vault", "-pinned-cards is of -vault", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-pinned-cards", "10"}},
		{"certificates that are not there", "-vault-cert", slices.Concat([]string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-vault", "https://vault.example", "-vault-ca", ca}, files[:4])},
		{"register key", "-card-kms is not the ARN", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-card-kms", "alias/x"}},
		{"register and passphrase", "exclude each other", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-card-kms", keyARN, "-card-keyring-secret", "s"}},
		{"no register", "no keyring", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092", "-card-kms", keyARN, "-aws-region", "eu-west-1"}},
		{"no keyring", "no keyring", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			code := run(context.Background(), c.args, &errs, &errs)
			if code != 2 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), c.word) || strings.Contains(errs.String(), "hunter2") {
				t.Errorf("code %d, want 2 and one line with %q:\n%s", code, c.word, errs.String())
			}
		})
	}
}

func TestHelpAndUsage(t *testing.T) {
	for args, want := range map[string]int{"-h": 0, "run -h": 0, "version": 0, "": 2, "walk": 2} {
		var errs bytes.Buffer
		if code := run(context.Background(), strings.Fields(args), &errs, &errs); code != want || errs.Len() == 0 {
			t.Errorf("%q: code %d, want %d, and something to read", args, code, want)
		}
	}
}
