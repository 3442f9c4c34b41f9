package kafka_test

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/ingest/kafka"
)

func TestValidateReportsEveryFault(t *testing.T) {
	good := kafka.Config{Brokers: []string{"127.0.0.1:9092"}, Topic: "t", Group: "g"}
	remote := good
	remote.Brokers = []string{"broker.example:9092"}
	with := func(c kafka.Config, change func(*kafka.Config)) kafka.Config { change(&c); return c }
	secure := &tls.Config{}
	for name, c := range map[string]struct {
		cfg   kafka.Config
		wants []string // none: no fault
	}{
		"plain on this machine": {good, nil},
		"empty":                 {kafka.Config{}, []string{"brokers", "topic", "group"}},
		"plain to another":      {remote, []string{"TLS is needed"}},
		"TLS to another":        {with(remote, func(c *kafka.Config) { c.TLS = secure }), nil},
		"no port":               {with(good, func(c *kafka.Config) { c.Brokers = []string{"localhost"} }), []string{"host:port"}},
		"old TLS": {with(remote, func(c *kafka.Config) {
			c.TLS = &tls.Config{MinVersion: tls.VersionTLS11, InsecureSkipVerify: true}
		}), []string{"1.2", "verify"}},
		"protocol and sizes": {with(good, func(c *kafka.Config) { c.Protocol, c.MaxRecords, c.PartitionBytes = "eager", -1, 1<<30 }),
			[]string{"protocol", "max records", "partition bytes"}},
		"SCRAM on this machine": {with(good, func(c *kafka.Config) {
			c.Auth = kafka.Auth{Mechanism: kafka.ScramSHA256, User: "u", Password: "env:P"}
		}), nil},
		"SCRAM without anything, to another": {with(remote, func(c *kafka.Config) { c.Auth = kafka.Auth{Mechanism: kafka.ScramSHA512, Region: "r"} }),
			[]string{"TLS is needed", "needs a user", "needs a password", "no region", "SCRAM-SHA-512 needs TLS"}},
		"PLAIN in clear": {with(good, func(c *kafka.Config) {
			c.Auth = kafka.Auth{Mechanism: kafka.Plain, User: "u", Password: "file:p"}
		}), []string{"PLAIN needs TLS"}},
		"PLAIN over TLS": {with(good, func(c *kafka.Config) {
			c.TLS, c.Auth = secure, kafka.Auth{Mechanism: kafka.Plain, User: "u", Password: "file:p"}
		}), nil},
		"MSK IAM": {with(good, func(c *kafka.Config) {
			c.TLS, c.Auth = secure, kafka.Auth{Mechanism: kafka.MSKIAM, Region: "us-east-1"}
		}), nil},
		"MSK IAM with a user": {with(good, func(c *kafka.Config) { c.Auth = kafka.Auth{Mechanism: kafka.MSKIAM, User: "u"} }),
			[]string{"needs a region", "no user or password", "needs TLS"}},
		"no mechanism":      {with(good, func(c *kafka.Config) { c.Auth.User = "u" }), []string{"needs a mechanism"}},
		"unknown mechanism": {with(good, func(c *kafka.Config) { c.Auth.Mechanism = "GSSAPI" }), []string{"GSSAPI"}},
		"a password in place of its place": {with(good, func(c *kafka.Config) {
			c.Auth = kafka.Auth{Mechanism: kafka.ScramSHA256, User: "u", Password: "hunter2"}
		}), []string{"file:PATH or env:NAME"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.cfg.Validate()
			if (err == nil) != (len(c.wants) == 0) {
				t.Fatalf("error %v, want %d faults", err, len(c.wants))
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no fault speaks of %q:\n%v", want, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a password")
			}
			if err != nil && kafka.New(c.cfg).Run(t.Context(), nil) == nil {
				t.Error("Run takes it")
			}
		})
	}
}

func TestSecretIsReadWhereItIs(t *testing.T) {
	file := t.TempDir() + "/s"
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CARDLAKE_TEST_SECRET", "from the environment")
	for secret, want := range map[kafka.Secret]string{
		kafka.Secret("file:" + file): "from a file", "env:CARDLAKE_TEST_SECRET": "from the environment",
		"env:CARDLAKE_TEST_NOTHING": "", kafka.Secret("file:" + file + "x"): "", "from a flag": "", "": "", "file:": "", "pass:word": "",
	} {
		got, err := secret.Read()
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, error %v, want %q", secret, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "word") {
			t.Errorf("the error shows what may be a secret: %v", err)
		}
	}
}
