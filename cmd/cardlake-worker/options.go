package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/ingest/replay"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/internal/lakeflags"
)

// options are the flags. Secrets are in files or the environment, and named here at most.
type options struct {
	flags  *flag.FlagSet
	config string

	lake lakeflags.Flags

	pins pins

	source string

	brokers, topic, group, instance, protocol string
	tls                                       bool
	tlsCA, tlsCert, tlsKey                    string
	sasl, saslUser, saslPassword              string

	stream, consumer, leases string
	fanOut, skipTrimmed      bool
	from                     string

	isReplay bool
	reasons  []string

	registry, registrySubject, registryCA string
	registryTotals                        string
	registryUser, registryPassword        string

	window, stallAfter, dedup time.Duration
	rows, pending             int
	windowBytes               int64

	admin, adminCert, adminKey, adminClientCA string
	adminPlain, pprof, tracePlain             bool

	tailListen, tailCert, tailKey, tailClientCA, tailClients string
}

// Values of -source.
const (
	fromKafka   = "kafka"
	fromKinesis = "kinesis"

	// fromRejected is that of the subcommand replay; the flag does not take it.
	fromRejected = "rejected"
)

func (o *options) define(fs *flag.FlagSet) {
	o.flags = fs
	fs.StringVar(&o.config, "config", "", "`file` of further flags, one \"name = value\" a line; those of the command line win")
	o.lake.Define(fs, lakeflags.Write, keyflags.Card)
	o.pins.define(fs)

	if strings.HasSuffix(fs.Name(), " replay") {
		fs.Func("reason", "`reason` for which the records were rejected: "+strings.Join(ingest.Reasons(), ", ")+"; may be repeated, default all", func(s string) error {
			o.reasons = append(o.reasons, s)
			_, err := replay.Partition(s)
			return err
		})
		o.isReplay = true
	}
	fs.StringVar(&o.source, "source", fromKafka, "`kind` of stream, kafka or kinesis")

	fs.StringVar(&o.brokers, "brokers", "", "comma-separated `host:port` of the Kafka brokers (required)")
	fs.StringVar(&o.topic, "topic", wire.Topic, "`topic` of the events")
	fs.StringVar(&o.group, "group", "cardlake-worker", "`name` that the workers of one lake share: of the consumer group, or of the leases on a Kinesis stream")
	fs.StringVar(&o.instance, "instance", "", "`name` of this worker, unique in the group and the same after a restart, which on Kafka takes its partitions back at once")
	fs.StringVar(&o.protocol, "protocol", string(kafka.Cooperative), "`how` the group shares its partitions: cooperative, or server-side (Kafka 4.0 or later)")
	fs.BoolVar(&o.tls, "tls", false, "reach the brokers by TLS; -tls-ca and -tls-cert turn it on too")
	fs.StringVar(&o.tlsCA, "tls-ca", "", "`file` of the certificates that sign the brokers', PEM; default the system's")
	fs.StringVar(&o.tlsCert, "tls-cert", "", "this worker's certificate `file`, PEM, read for each connection")
	fs.StringVar(&o.tlsKey, "tls-key", "", "its private key `file`, PEM")
	fs.StringVar(&o.sasl, "sasl", "", "`mechanism` to log in to the brokers by: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN or AWS_MSK_IAM")
	fs.StringVar(&o.saslUser, "sasl-user", "", "`user` to log in as")
	fs.StringVar(&o.saslPassword, "sasl-password", "", "`where` the password is: file:PATH or env:NAME, read for each login")

	fs.StringVar(&o.stream, "stream", "", "`name` of the Kinesis stream (required with -source kinesis)")
	fs.StringVar(&o.leases, "leases", "", "`where` the workers of a Kinesis stream keep their leases: dynamodb:TABLE, or catalog for the database of -catalog (required with -source kinesis)")
	fs.BoolVar(&o.fanOut, "fan-out", false, "read Kinesis by enhanced fan-out")
	fs.StringVar(&o.consumer, "consumer", "cardlake", "`name` that the workers register for enhanced fan-out")
	fs.StringVar(&o.from, "from", "", "`time` (RFC 3339) at which a shard that was never read begins; default at its oldest record")
	fs.BoolVar(&o.skipTrimmed, "skip-trimmed", false, "go on behind records of Kinesis that expired before they were read: they are lost")

	fs.StringVar(&o.registry, "registry", "", "comma-separated `URL`s of a schema registry with Confluent's interface; default the schema id that a processor without one writes")
	fs.StringVar(&o.registrySubject, "registry-subject", "", "`subject` of the events' schemas; default that of the topic or stream, NAME-value")
	fs.StringVar(&o.registryTotals, "registry-totals-subject", "", "`subject` of the control totals' schemas; default NAME-totals-value")
	fs.StringVar(&o.registryCA, "registry-ca", "", "`file` of the certificates that sign the registry's, PEM; default the system's")
	fs.StringVar(&o.registryUser, "registry-user", "", "`user` of the registry")
	fs.StringVar(&o.registryPassword, "registry-password", "", "`where` the password is: file:PATH or env:NAME")

	fs.DurationVar(&o.window, "window", 30*time.Second, "longest time an event waits for its commit")
	fs.IntVar(&o.rows, "window-rows", 1_000_000, "rows after which a window is committed before its time")
	fs.Int64Var(&o.windowBytes, "window-bytes", 256<<20, "`bytes` of memory after which a window is committed before its time, at most 512 MiB")
	fs.IntVar(&o.pending, "pending", 2, "closed `windows` that may wait for their commit before polling stops")
	fs.DurationVar(&o.stallAfter, "stall-after", time.Minute, "how long a poll or a commit may be overdue before the worker says that it is not ready")
	fs.DurationVar(&o.dedup, "dedup", time.Hour, "event `time` within which a repeated event is recognised and dropped")

	fs.StringVar(&o.admin, "admin", "127.0.0.1:0", "`address` that serves /metrics, /livez, /readyz and /status; port 0 takes a free one, which the log names; empty serves none")
	fs.StringVar(&o.adminCert, "admin-cert", "", "certificate `file` of that address, PEM, read for each connection; TLS is needed beyond loopback")
	fs.StringVar(&o.adminKey, "admin-key", "", "its private key `file`, PEM")
	fs.StringVar(&o.adminClientCA, "admin-client-ca", "", "`file` of the certificates that sign its clients', PEM: others are refused")
	fs.BoolVar(&o.adminPlain, "admin-plain", false, "serve it without TLS beyond loopback, on a network that protects it")
	fs.BoolVar(&o.pprof, "pprof", false, "serve /debug/pprof there too; beyond loopback it needs -admin-client-ca")
	fs.StringVar(&o.tailListen, "tail-listen", "", "`address` that serves what is not committed yet to queries, by Arrow Flight with TLS both ways; empty serves none")
	fs.StringVar(&o.tailCert, "tail-tls-cert", "", "certificate `file` of that address, PEM, read for each connection")
	fs.StringVar(&o.tailKey, "tail-tls-key", "", "its private key `file`, PEM")
	fs.StringVar(&o.tailClientCA, "tail-client-ca", "", "`file` of the certificates that sign its clients', PEM")
	fs.StringVar(&o.tailClients, "tail-clients", "", "comma-separated `names` of the clients that may read it: DNS or URI names of their certificates")
	fs.BoolVar(&o.tracePlain, "trace-plain", false, "send traces without TLS beyond loopback, when OTEL_EXPORTER_OTLP_ENDPOINT says so")
}

// parse reads the flags and reports every fault of them at once.
func parse(name string, args []string, help io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run reports errors, in one line
	o.define(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(help)
			fmt.Fprintf(help, "Usage of %s:\n", name)
			fs.PrintDefaults()
		}
		return nil, err
	}
	if o.config != "" {
		if err := o.readConfig(); err != nil {
			return nil, err
		}
	}
	return o, o.validate()
}

// readConfig sets the flags that the file names and the command line does not.
func (o *options) readConfig() error {
	text, err := os.ReadFile(o.config)
	if err != nil {
		return fmt.Errorf("-config: %w", err)
	}
	onLine := map[string]bool{}
	o.flags.Visit(func(f *flag.Flag) { onLine[f.Name] = true })
	inFile := map[string]bool{}
	var errs []error
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fault := func(what string) { errs = append(errs, fmt.Errorf("%s line %d: %s", o.config, n, what)) }
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			fault(`not "name = value"`)
		case name == "config" || o.flags.Lookup(name) == nil:
			fault(fmt.Sprintf("no setting is named %q", name))
		case inFile[name]:
			fault(name + " is set twice")
		case !onLine[name]:
			if err := o.flags.Set(name, value); err != nil {
				fault(name + " has an invalid value") // which may be a secret in the wrong place
			}
		}
		inFile[name] = true
	}
	return errors.Join(append(errs, lines.Err())...)
}

// print writes every setting in the form that -config reads.
func (o *options) print(to io.Writer) {
	o.flags.VisitAll(func(f *flag.Flag) {
		if f.Name != "config" {
			fmt.Fprintln(to, f.Name, "=", f.Value)
		}
	})
}

// only are the flags that do something with one source only.
var only = map[string][]string{
	fromKafka:   {"brokers", "topic", "protocol", "tls", "tls-ca", "tls-cert", "tls-key", "sasl", "sasl-user", "sasl-password"},
	fromKinesis: {"stream", "leases", "fan-out", "consumer", "from", "skip-trimmed"},
}

func (o *options) validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(o.flags.NArg() > 0, "takes no arguments besides flags, got %q", o.flags.Arg(0))
	if o.isReplay {
		o.source = fromRejected
	}
	switch o.source {
	case fromRejected:
		fault(!o.isReplay, "-source is kafka or kinesis")
	case fromKafka:
		errs = append(errs, o.kafkaFaults()...)
	case fromKinesis:
		_, err := o.fromTime()
		fault(err != nil, "-from is not a time of RFC 3339")
		fault(o.stream == "", "-stream is required with -source kinesis")
		table, isDynamo := strings.CutPrefix(o.leases, "dynamodb:")
		fault(o.leases != "catalog" && (!isDynamo || table == ""), "-leases is dynamodb:TABLE or catalog")
		fault(o.leases == "catalog" && o.lake.Catalog == lakeflags.Glue, "-leases catalog needs an SQL catalog: with -catalog glue keep them in dynamodb:TABLE")
	default:
		fault(true, "-source is kafka or kinesis")
	}
	if _, ok := only[o.source]; ok {
		o.flags.Visit(func(f *flag.Flag) {
			for source, names := range only {
				fault(source != o.source && slices.Contains(names, f.Name) && f.Value.String() != f.DefValue, "-%s is of -source %s", f.Name, source)
			}
		})
	}
	if o.registry != "" {
		errs = append(errs, o.registryConfig().Validate())
	}
	fault(o.registry == "" && (o.registrySubject != "" || o.registryTotals != "" || o.registryCA != "" || o.registryUser != "" || o.registryPassword != ""), "-registry-… need -registry")
	errs = append(errs, o.lake.Complete())
	errs = append(errs, o.pins.faults()...)
	fault(o.window < 100*time.Millisecond, "-window must be at least 100ms")
	fault(o.rows < 1, "-window-rows must be at least 1")
	fault(o.windowBytes < 1<<20 || o.windowBytes > 512<<20, "-window-bytes must be from 1 MiB to 512 MiB")
	fault(o.pending < 1, "-pending must be at least 1")
	fault(o.stallAfter < time.Second, "-stall-after must be at least 1s")
	fault(o.dedup < time.Second, "-dedup must be at least 1s")
	errs = append(errs, o.adminFaults()...)
	tail := []string{o.tailListen, o.tailCert, o.tailKey, o.tailClientCA, o.tailClients}
	fault(slices.Contains(tail, "") && slices.ContainsFunc(tail, func(s string) bool { return s != "" }),
		"-tail-listen, -tail-tls-cert, -tail-tls-key, -tail-client-ca and -tail-clients go together")
	errs = append(errs, traceFaults(os.Getenv, o.tracePlain)...)
	return errors.Join(errs...)
}

// fromTime is -from, zero if there is none.
func (o *options) fromTime() (time.Time, error) {
	if o.from == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, o.from)
}

func (o *options) kafkaFaults() (errs []error) {
	if o.brokers == "" {
		errs = append(errs, errors.New("-brokers is required"))
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		errs = append(errs, errors.New("-tls-cert and -tls-key go together"))
	}
	cfg := o.kafka()
	if o.brokers == "" {
		cfg.Brokers = []string{"localhost:0"} // it was said already
	}
	if o.isTLS() {
		cfg.TLS = &tls.Config{} // its files are read later
	}
	if err := cfg.Validate(); err != nil {
		errs = append(errs, errors.New("kafka: "+strings.ReplaceAll(err.Error(), "\n", "\nkafka: ")))
	}
	return errs
}

func (o *options) isTLS() bool { return o.tls || o.tlsCA != "" || o.tlsCert != "" }

// kafka is the source's configuration, without what is read from files.
func (o *options) kafka() kafka.Config {
	cfg := kafka.Config{
		Topic: o.topic, Group: o.group, InstanceID: o.instance, Protocol: kafka.Protocol(o.protocol),
		Auth: kafka.Auth{Mechanism: kafka.Mechanism(o.sasl), User: o.saslUser, Password: kafka.Secret(o.saslPassword)},
	}
	if o.brokers != "" {
		cfg.Brokers = strings.Split(o.brokers, ",")
	}
	if cfg.Auth.Mechanism == kafka.MSKIAM {
		cfg.Auth.Region = cmp.Or(o.lake.Keys.Region, os.Getenv("AWS_REGION"))
	}
	return cfg
}

// registryConfig is the registry's configuration, without what is read from files.
func (o *options) registryConfig() kafka.RegistryConfig {
	return kafka.RegistryConfig{URLs: strings.Split(o.registry, ","), User: o.registryUser, Password: kafka.Secret(o.registryPassword)}
}

// subjects are those of events and of control totals. The default follows Confluent's
// TopicNameStrategy, which leaves one subject to a topic: the totals get one beside.
func (o *options) subjects() (events, totals string) {
	name := o.topic
	if o.source == fromKinesis {
		name = o.stream
	}
	return cmp.Or(o.registrySubject, name+"-value"), cmp.Or(o.registryTotals, name+"-totals-value")
}

func (o *options) adminFaults() (errs []error) {
	if o.admin == "" {
		return nil
	}
	fault := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	host, _, err := net.SplitHostPort(o.admin)
	if err != nil {
		return []error{errors.New("-admin is not host:port")}
	}
	local, isTLS := keyflags.IsLoopback(host), o.adminCert != ""
	fault(isTLS != (o.adminKey != ""), "-admin-cert and -admin-key go together")
	fault(o.adminClientCA != "" && !isTLS, "-admin-client-ca needs -admin-cert")
	fault(o.adminPlain && isTLS, "-admin-plain and -admin-cert exclude each other")
	fault(!local && !isTLS && !o.adminPlain, "-admin is not on loopback: TLS is needed, give -admin-cert and -admin-key (or -admin-plain, on a network that protects it)")
	fault(o.pprof && !local && o.adminClientCA == "", "-pprof beyond loopback needs -admin-client-ca")
	return errs
}
