package kafka_test

import (
	"crypto/tls"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/cardlake/cardlake/ingest/ingesttest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/internal/kafkareal"
)

// TestConformsOnApacheKafka runs the conformance suite over a real broker, under both group
// protocols, plain and over TLS with SCRAM.
func TestConformsOnApacheKafka(t *testing.T) {
	b := kafkareal.Start(t, kafkareal.Options{})
	secure, err := kafka.TLSFiles{CA: b.CAFile, Cert: b.CertFile, Key: b.KeyFile}.Config()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CARDLAKE_TEST_PASSWORD", kafkareal.Password)
	for name, c := range map[string]struct {
		base  kafka.Config
		admin []kgo.Opt
	}{
		"cooperative": {base: kafka.Config{Brokers: []string{b.Addr}, Protocol: kafka.Cooperative}},
		"server-side": {base: kafka.Config{Brokers: []string{b.Addr}, Protocol: kafka.ServerSide}},
		"server-side over TLS with SCRAM-SHA-512": {
			base: kafka.Config{
				Brokers: []string{b.TLSAddr}, Protocol: kafka.ServerSide, TLS: secure,
				Auth: kafka.Auth{Mechanism: kafka.ScramSHA512, User: kafkareal.User, Password: "env:CARDLAKE_TEST_PASSWORD"},
			},
			admin: []kgo.Opt{
				kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: secure.RootCAs}),
				kgo.SASL(scram.Auth{User: kafkareal.User, Pass: kafkareal.Password}.AsSha512Mechanism()),
			},
		},
	} {
		t.Run(name, func(t *testing.T) { ingesttest.Run(t, opener(c.base, true, c.admin...)) })
	}
}
