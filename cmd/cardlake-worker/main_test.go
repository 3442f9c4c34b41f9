package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestMistakesAreOneClearLine(t *testing.T) {
	dir := t.TempDir()
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
		{"no keyring", "no keyring", []string{"run", "-dir", dir, "-brokers", "127.0.0.1:9092"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			code := run(context.Background(), c.args, &errs, &errs)
			if code != 2 || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), c.word) {
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
