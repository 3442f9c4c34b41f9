// Package kafkareal starts a real Apache Kafka broker for tests: one process in KRaft mode
// on free ports of this machine, with a plain listener and one with TLS and SASL/SCRAM.
//
// Kafka comes from Maven Central in the one version that pom.xml names, and each of its
// jars must have the digest in jars.sha256. They are kept in .cache/kafka of the module.
// A Java runtime, 17 or newer, and Maven must be on the PATH.
package kafkareal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Env is the environment variable without which tests that need a real broker are skipped.
const Env = "CARDLAKE_REAL"

// User and Password are the SCRAM credentials that the secure listener takes.
const (
	User     = "cardlake-worker"
	Password = "a password for this test"
)

// MaxMessage is the largest record batch that the broker takes, in bytes.
const MaxMessage = 12 << 20

// Options change the broker.
type Options struct {
	// Config overrides settings of the broker (Apache Kafka documentation, "Broker Configs").
	Config map[string]string
}

// Broker is a running broker.
type Broker struct {
	Addr    string // plain, no authentication
	TLSAddr string // TLS with SASL/SCRAM-SHA-256 and SCRAM-SHA-512

	CAFile            string // of the certificate that signs the broker's, PEM
	CertFile, KeyFile string // of a client certificate by the same authority; the broker verifies it if one is shown

	dir string
	cmd *exec.Cmd
	end chan error
}

const (
	startTimeout = 90 * time.Second
	stopTimeout  = 20 * time.Second
)

// Start starts a broker and stops it when the test ends. It skips the test unless Env is
// set.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	if os.Getenv(Env) == "" {
		t.Skipf("needs a real Kafka broker: set %s=1", Env)
	}
	jars, err := Jars(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{dir: t.TempDir(), end: make(chan error, 1)}
	if err := b.start(t.Context(), jars, o); err != nil {
		t.Fatalf("start Kafka: %v\n%s", err, b.Log())
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("stop Kafka: %v\n%s", err, b.Log())
		}
	})
	return b
}

func (b *Broker) start(ctx context.Context, jars string, o Options) error {
	if err := b.makeCertificates(); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	b.Addr, b.TLSAddr = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	properties := filepath.Join(b.dir, "server.properties")
	if err := os.WriteFile(properties, b.properties(ports[2], o), 0o600); err != nil {
		return err
	}
	logging := filepath.Join(b.dir, "log4j2.properties")
	if err := os.WriteFile(logging, fmt.Appendf(nil, logConfig, filepath.Join(b.dir, "kafka.log")), 0o600); err != nil {
		return err
	}
	java := func(ctx context.Context, main string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "java", append([]string{
			"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + logging,
			"-cp", filepath.Join(jars, "*"), main,
		}, args...)...)
		cmd.Dir = b.dir
		return cmd
	}
	format := []string{"format", "--cluster-id", "Y2FyZGxha2UtdGVzdHMtMQ", "--config", properties}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		format = append(format, "--add-scram", fmt.Sprintf("%s=[name=%s,password=\"%s\"]", mechanism, User, Password))
	}
	if out, err := java(ctx, "kafka.tools.StorageTool", format...).CombinedOutput(); err != nil {
		return fmt.Errorf("format storage: %w\n%s", err, out)
	}
	out, err := os.Create(filepath.Join(b.dir, "out.log"))
	if err != nil {
		return err
	}
	defer out.Close()
	b.cmd = java(context.WithoutCancel(ctx), "kafka.Kafka", properties) // ended by stop
	b.cmd.Stdout, b.cmd.Stderr = out, out
	// Not in the test's process group: an interrupt must reach the tests first.
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	go func() { b.end <- b.cmd.Wait() }()
	if err := b.ready(ctx); err != nil {
		return errors.Join(err, b.stop())
	}
	return nil
}

// ready waits until both listeners answer.
func (b *Broker) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, addr := range []string{b.Addr, b.TLSAddr} {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case err := <-b.end:
				b.cmd = nil
				return fmt.Errorf("ended at once: %w", err)
			case <-ctx.Done():
				return fmt.Errorf("not ready: %w", ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// stop ends the broker in good order, and kills it if that takes too long.
func (b *Broker) stop() error {
	if b.cmd == nil {
		return nil
	}
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.end: // Java ends with 143 after SIGTERM
		return nil
	case <-time.After(stopTimeout):
		_ = b.cmd.Process.Kill()
		<-b.end
		return errors.New("did not end on SIGTERM")
	}
}

// Log returns the end of what the broker logged, warnings and errors only.
func (b *Broker) Log() string {
	var all []byte
	for _, name := range []string{"out.log", "kafka.log"} {
		text, _ := os.ReadFile(filepath.Join(b.dir, name))
		all = append(all, text...)
	}
	const most = 8 << 10
	return string(bytes.TrimSpace(all[max(0, len(all)-most):]))
}

const logConfig = `status = error
appender.file.type = File
appender.file.name = file
appender.file.fileName = %s
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %%d %%p %%c{1} %%m%%n
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
`

// properties is the broker's configuration: small, quick to rebalance, one replica.
func (b *Broker) properties(controllerPort int, o Options) []byte {
	const jaas = `org.apache.kafka.common.security.scram.ScramLoginModule required;`
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        "1",
		"controller.quorum.voters":       fmt.Sprintf("1@127.0.0.1:%d", controllerPort),
		"controller.listener.names":      "CONTROLLER",
		"listeners":                      fmt.Sprintf("PLAIN://%s,SECURE://%s,CONTROLLER://127.0.0.1:%d", b.Addr, b.TLSAddr, controllerPort),
		"listener.security.protocol.map": "PLAIN:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "PLAIN",
		"log.dirs":                       filepath.Join(b.dir, "data"),

		"sasl.enabled.mechanisms":                             "SCRAM-SHA-256,SCRAM-SHA-512",
		"listener.name.secure.scram-sha-256.sasl.jaas.config": jaas,
		"listener.name.secure.scram-sha-512.sasl.jaas.config": jaas,
		"ssl.keystore.type":                                   "PEM",
		"ssl.keystore.location":                               filepath.Join(b.dir, "broker.pem"),
		"ssl.truststore.type":                                 "PEM",
		"ssl.truststore.location":                             b.CAFile,
		"ssl.client.auth":                                     "requested",
		"ssl.enabled.protocols":                               "TLSv1.2,TLSv1.3",

		"auto.create.topics.enable":                "false",
		"offsets.topic.replication.factor":         "1",
		"offsets.topic.num.partitions":             "4",
		"transaction.state.log.replication.factor": "1",
		"transaction.state.log.min.isr":            "1",
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "1000",

		"group.consumer.min.session.timeout.ms":    "1000",
		"group.consumer.session.timeout.ms":        "3000",
		"group.consumer.min.heartbeat.interval.ms": "100",
		"group.consumer.heartbeat.interval.ms":     "300",

		"message.max.bytes":              fmt.Sprint(MaxMessage),
		"replica.fetch.max.bytes":        fmt.Sprint(MaxMessage),
		"log.cleaner.dedupe.buffer.size": fmt.Sprint(16 << 20),
	}
	for k, v := range o.Config {
		p[k] = v
	}
	var lines []string
	for k, v := range p {
		lines = append(lines, k+"="+v+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// freePorts returns ports that are free now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all are drawn, so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
