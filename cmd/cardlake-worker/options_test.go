package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// faultsOf are the lines of what is wrong with the flags.
func faultsOf(args ...string) []string {
	_, err := parse("test", args, io.Discard)
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestFaults(t *testing.T) {
	kafka := []string{"-brokers", "127.0.0.1:9092"}
	kinesis := []string{"-source", "kinesis", "-stream", "s", "-leases", "dynamodb:t"}
	s3 := append([]string{"-s3-bucket", "the-lake", "-kms-keys", "k.json"}, kafka...)
	for _, c := range []struct {
		name string
		base []string
		args string
		want []string // words of each fault, in order; none: valid
	}{
		{"kafka", kafka, "", nil},
		{"kinesis", kinesis, "-fan-out -consumer c -from 2026-03-14T15:09:26Z -skip-trimmed -instance w1 -group g", nil},
		{"kinesis, leases in the catalog", []string{"-source", "kinesis", "-stream", "s"}, "-leases catalog", nil},
		{"s3", s3, "-catalog glue -glue-catalog-id 123456789012 -aws-region eu-west-1 -s3-prefix p -s3-endpoint https://s3.example -s3-path-style", nil},
		{"postgres", kafka, "-catalog postgres://lake@db.example/lake?sslmode=verify-full", nil},
		{"login", []string{"-brokers", "b.example:9092", "-tls"}, "-sasl SCRAM-SHA-512 -sasl-user u -sasl-password file:p", nil},
		{"MSK", []string{"-brokers", "b.example:9098", "-tls"}, "-sasl AWS_MSK_IAM -aws-region eu-west-1", nil},
		{"many at once", nil, "-window 1ms -window-rows 0 -window-bytes 5 -pending 0 -stall-after 1ms -dedup 1ms -admin nowhere",
			[]string{"-brokers is required", "-window ", "-window-rows", "-window-bytes", "-pending", "-stall-after", "-dedup", "-admin"}},
		{"other source", kafka, "-source pulsar", []string{"-source is kafka or kinesis"}},
		{"kinesis without stream", []string{"-source", "kinesis"}, "-from noon", []string{"-from", "-stream is required", "-leases is"}},
		{"leases without table", kinesis, "-leases dynamodb:", []string{"-leases is"}},
		{"leases in glue", kinesis, "-leases catalog -catalog glue -s3-bucket the-lake -kms-keys k.json", []string{"-leases catalog needs an SQL catalog"}},
		{"flags of the other source", kafka, "-stream s -fan-out", []string{"-fan-out is of -source kinesis", "-stream is of -source kinesis"}},
		{"and the other way", kinesis, "-topic t", []string{"-topic is of -source kafka"}},
		{"login in clear", []string{"-brokers", "127.0.0.1:9092"}, "-sasl PLAIN -sasl-user u -sasl-password env:P", []string{"needs TLS"}},
		{"login by nothing known", kafka, "-sasl KERBEROS", []string{"KERBEROS"}},
		{"protocol", kafka, "-protocol eager", []string{"protocol"}},
		{"registry", kafka, "-registry https://a.example,https://b.example -registry-subject s -registry-ca c -registry-user u -registry-password env:P", nil},
		{"registry in clear", kafka, "-registry http://a.example,x -registry-user u", []string{"https is needed", "URL 2", "go together"}},
		{"registry's user without registry", kafka, "-registry-user u", []string{"need -registry"}},
		{"password in the catalog's URL", kafka, "-catalog postgres://lake:hunter2@db.example/lake", []string{"-catalog holds a password"}},
		{"and in its query", kafka, "-catalog postgres://lake@db.example/lake?password=hunter2", []string{"-catalog holds a password"}},
		{"glue without bucket", kafka, "-catalog glue", []string{"-catalog glue needs -s3-bucket"}},
		{"account without glue", kafka, "-glue-catalog-id 123456789012", []string{"-glue-catalog-id is of -catalog glue"}},
		{"s3 without bucket", kafka, "-s3-prefix p", []string{"need -s3-bucket"}},
		{"bucket without keys", kafka, "-s3-bucket the-lake", []string{"needs -kms-keys"}},
		{"vault", kafka, "-vault https://vault.example:8443 -vault-cert c -vault-key k -vault-ca a -pinned-cards 10", nil},
		{"vault's faults at once", kafka, "-vault http://vault.example -vault-cert c -pinned-cards -1", []string{"go together", "-vault is not https", "-pinned-cards must be"}},
		{"bucket's name and endpoint in clear", s3, "-s3-bucket B -s3-endpoint http://s3.example", []string{"Bucket", "Endpoint"}},
		{"admin on all interfaces", kafka, "-admin :9464", []string{"-admin is not on loopback"}},
		{"admin elsewhere", kafka, "-admin 192.0.2.1:9464", []string{"-admin is not on loopback"}},
		{"admin in clear on purpose", kafka, "-admin :9464 -admin-plain", nil},
		{"admin by TLS", kafka, "-admin :9464 -admin-cert c -admin-key k", nil},
		{"admin in clear and by TLS", kafka, "-admin :9464 -admin-plain -admin-cert c -admin-key k", []string{"exclude each other"}},
		{"admin certificate without key", kafka, "-admin :9464 -admin-cert c", []string{"go together"}},
		{"clients without TLS", kafka, "-admin-client-ca c", []string{"-admin-client-ca needs -admin-cert"}},
		{"no admin", kafka, "-admin=", nil},
		{"profiles on loopback", kafka, "-pprof", nil},
		{"profiles in clear", kafka, "-admin :9464 -admin-plain -pprof", []string{"-pprof beyond loopback"}},
		{"profiles for anybody", kafka, "-admin :9464 -admin-cert c -admin-key k -pprof", []string{"-pprof beyond loopback"}},
		{"profiles for known clients", kafka, "-admin :9464 -admin-cert c -admin-key k -admin-client-ca a -pprof", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := faultsOf(append(c.base[:len(c.base):len(c.base)], strings.Fields(c.args)...)...)
			if len(got) != len(c.want) {
				t.Fatalf("faults %q, want %d with %q", got, len(c.want), c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("fault %q, want one with %q", got[i], want)
				}
			}
		})
	}
}

func TestNoFaultShowsASecret(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "worker.conf")
	if err := os.WriteFile(config, []byte("sasl-password = hunter2\nhunter2\npending = hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-brokers", "b:1", "-tls", "-sasl", "PLAIN", "-sasl-user", "u", "-sasl-password", "hunter2"},
		{"-brokers", "b:1", "-tls", "-catalog", "postgres://u:hunter2@h/d"},
		{"-brokers", "b:1", "-tls", "-catalog", "postgres://u:hunter2@h:x/d"},
		{"-brokers", "b:1", "-tls", "-config", config},
		{"-brokers", "b:1", "-tls", "-registry", "https://u:hunter2@r.example"},
		{"-brokers", "b:1", "-tls", "-registry", "https://r.example", "-registry-user", "u", "-registry-password", "hunter2"},
	} {
		faults := faultsOf(args...)
		if len(faults) == 0 {
			t.Errorf("%q is valid", args)
		}
		if strings.Contains(strings.Join(faults, "\n"), "hunter2") {
			t.Errorf("%q shows the secret", faults)
		}
	}
}

// TestConfigIsWhatIsPrinted reads back what config prints, and finds the command line
// stronger.
func TestConfigIsWhatIsPrinted(t *testing.T) {
	first, err := parse("test", strings.Fields("-brokers 127.0.0.1:9092 -window 5s -pprof -dir lake"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	first.print(&printed)
	path := filepath.Join(t.TempDir(), "worker.conf")
	if err := os.WriteFile(path, append([]byte("# a worker\n\n"), printed.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"-config " + path:                  printed.String(),
		"-config " + path + " -window 30s": strings.Replace(printed.String(), "window = 5s", "window = 30s", 1),
	} {
		again, err := parse("test", strings.Fields(args), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		again.print(&got)
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Errorf("%s: %s", args, diff)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "worker.conf")
	text := "brokers = 127.0.0.1:9092\nbroker = x\nwindow\npending = many\nconfig = y\ntopic = a\ntopic = b\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`line 2: no setting is named "broker"`, `line 3: not "name = value"`, "line 4: pending has an invalid value",
		`line 5: no setting is named "config"`, "line 7: topic is set twice",
	}
	got := faultsOf("-config", path)
	for i := range got {
		got[i] = strings.TrimPrefix(got[i], path+" ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTraceEndpoint(t *testing.T) {
	const endpoint, traces, insecure = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_INSECURE"
	for _, c := range []struct {
		name  string
		env   map[string]string
		plain bool
		sent  bool
		ok    bool
	}{
		{"none", nil, false, false, true},
		{"TLS", map[string]string{endpoint: "https://otel.example:4318"}, false, true, true},
		{"loopback", map[string]string{endpoint: "http://127.0.0.1:4318"}, false, true, true},
		{"in clear", map[string]string{endpoint: "http://otel.example:4318"}, false, true, false},
		{"traces in clear", map[string]string{endpoint: "https://otel.example:4318", traces: "http://otel.example:4318/v1/traces"}, false, true, false},
		{"in clear by another variable", map[string]string{endpoint: "https://otel.example:4318", insecure: "True"}, false, true, false},
		{"in clear on purpose", map[string]string{endpoint: "http://otel.example:4318"}, true, true, true},
		{"no URL", map[string]string{endpoint: "otel.example:4318"}, false, true, false},
		{"switched off", map[string]string{endpoint: "http://otel.example:4318", "OTEL_SDK_DISABLED": "true"}, false, false, true},
		{"exported elsewhere", map[string]string{endpoint: "http://otel.example:4318", "OTEL_TRACES_EXPORTER": "none"}, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := func(name string) string { return c.env[name] }
			if got := traceEndpoint(env) != ""; got != c.sent {
				t.Errorf("sent: %v, want %v", got, c.sent)
			}
			if got := traceFaults(env, c.plain); (len(got) == 0) != c.ok {
				t.Errorf("faults %v, want none: %v", got, c.ok)
			}
		})
	}
}
