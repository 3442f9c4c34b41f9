package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
)

// certificate writes a self-signed certificate and its key, and returns both files.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// secureCluster is a kfake cluster that speaks TLS only and asks for a client certificate.
func secureCluster(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *tls.Config) {
	t.Helper()
	cert, key := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafka.TLSFiles{CA: cert, Cert: cert, Key: key}.Config()
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client.RootCAs}
	cluster := kfakeGroups(t, append([]kfake.Opt{kfake.TLS(server), kfake.SeedTopics(1, topic)}, opts...)...)
	return cluster, client
}

// assigned is an assignee that tells when it is given partitions.
type assigned chan []cardlake.StreamPartition

func (a assigned) Assigned(parts []cardlake.StreamPartition) (cardlake.Positions, error) {
	a <- parts
	return cardlake.Positions{}, nil
}

func (assigned) Revoked([]cardlake.StreamPartition, bool) {}

// joins runs a source of the configuration and reports whether it joins its group.
func joins(t *testing.T, cfg kafka.Config) (*kafka.Source, bool) {
	t.Helper()
	cfg.Topic, cfg.Group = topic, "g"
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	cfg.Options = append(cfg.Options, kgo.RetryTimeout(time.Second), kgo.RequestRetries(2))
	source := kafka.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done, joined := make(chan error, 1), make(assigned, 8)
	go func() { done <- source.Run(ctx, joined) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for range 40 {
		select {
		case <-joined:
			return source, true
		default:
		}
		pollCtx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := source.Poll(pollCtx)
		cancel()
		if err != nil {
			return source, false
		}
	}
	return source, false
}

func TestAuthentication(t *testing.T) {
	const password = "p&ss=word, of a test"
	file := t.TempDir() + "/password"
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	right, wrong := kafka.Secret("file:"+file), kafka.Secret("env:CARDLAKE_TEST_WRONG")
	t.Setenv("CARDLAKE_TEST_WRONG", "something else")
	for _, m := range []kafka.Mechanism{kafka.ScramSHA256, kafka.ScramSHA512, kafka.Plain} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			cluster, secure := secureCluster(t, kfake.EnableSASL(), kfake.Superuser(string(m), "worker", password))
			cfg := kafka.Config{Brokers: cluster.ListenAddrs(), TLS: secure, Auth: kafka.Auth{Mechanism: m, User: "worker", Password: right}}
			if _, ok := joins(t, cfg); !ok {
				t.Error("the right password is refused")
			}
			cfg.Auth.Password = wrong
			if _, ok := joins(t, cfg); ok {
				t.Error("a wrong password is taken")
			}
		})
	}
	t.Run("client certificate", func(t *testing.T) {
		t.Parallel()
		cluster, secure := secureCluster(t)
		cfg := kafka.Config{Brokers: cluster.ListenAddrs(), TLS: secure}
		if _, ok := joins(t, cfg); !ok {
			t.Error("the right certificate is refused")
		}
		cfg.TLS = &tls.Config{RootCAs: secure.RootCAs}
		if _, ok := joins(t, cfg); ok {
			t.Error("no certificate is needed")
		}
		other, _ := certificate(t)
		unknown, err := kafka.TLSFiles{CA: other}.Config()
		if err != nil {
			t.Fatal(err)
		}
		cfg.TLS = unknown
		if _, ok := joins(t, cfg); ok {
			t.Error("a broker by another authority is trusted")
		}
	})
}

func TestTLSFilesAreRefused(t *testing.T) {
	cert, key := certificate(t)
	for name, f := range map[string]kafka.TLSFiles{
		"no such file": {CA: cert + "x"}, "no certificate in it": {CA: key}, "certificate without key": {Cert: cert},
		"key without certificate": {Key: key}, "key as certificate": {Cert: key, Key: key},
	} {
		if _, err := f.Config(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// mskBroker makes a cluster take AWS MSK's OAUTHBEARER tokens, as MSK documents them, for
// sessions of the length.
func mskBroker(cluster *kfake.Cluster, region string, session time.Duration) (seen func() (tokens []string, faults []error)) {
	var mu sync.Mutex
	var tokens []string
	var faults []error
	keep := func(key kmsg.Key, handle func(kmsg.Request) kmsg.Response) {
		cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			return handle(req), nil, true
		})
	}
	keep(kmsg.SASLHandshake, func(r kmsg.Request) kmsg.Response {
		req, resp := r.(*kmsg.SASLHandshakeRequest), r.ResponseKind().(*kmsg.SASLHandshakeResponse)
		resp.SupportedMechanisms = []string{"OAUTHBEARER"}
		if req.Mechanism != "OAUTHBEARER" {
			resp.ErrorCode = 33 // UNSUPPORTED_SASL_MECHANISM
		}
		return resp
	})
	keep(kmsg.SASLAuthenticate, func(r kmsg.Request) kmsg.Response {
		req, resp := r.(*kmsg.SASLAuthenticateRequest), r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		mu.Lock()
		defer mu.Unlock()
		token, err := mskToken(req.SASLAuthBytes, region)
		if err != nil {
			faults = append(faults, err)
			resp.ErrorCode = 58 // SASL_AUTHENTICATION_FAILED
			return resp
		}
		tokens = append(tokens, token)
		resp.SessionLifetimeMillis = session.Milliseconds()
		return resp
	})
	return func() ([]string, []error) {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), tokens...), append([]error(nil), faults...)
	}
}

// mskToken checks the first message of OAUTHBEARER (RFC 7628, section 3.1) and the token in
// it: the base64url of a URL presigned for kafka-cluster:Connect.
func mskToken(message []byte, region string) (token string, err error) {
	fields := strings.Split(string(message), "\x01")
	if fields[0] != "n,," || len(fields) < 3 {
		return "", errors.New("no GS2 header")
	}
	token, ok := strings.CutPrefix(fields[1], "auth=Bearer ")
	if !ok {
		return "", errors.New("no bearer token")
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(string(text))
	if err != nil {
		return "", err
	}
	q := u.Query()
	at, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date"))
	switch {
	case err != nil:
		return "", err
	case u.Scheme != "https" || u.Host != "kafka."+region+".amazonaws.com":
		return "", errors.New("another host: " + u.Host)
	case q.Get("Action") != "kafka-cluster:Connect":
		return "", errors.New("another action")
	case q.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || len(q.Get("X-Amz-Signature")) != 64:
		return "", errors.New("not signed")
	case !strings.HasPrefix(q.Get("X-Amz-Credential"), "AKIDTEST/") || !strings.Contains(q.Get("X-Amz-Credential"), "/"+region+"/kafka-cluster/aws4_request"):
		return "", errors.New("another credential scope")
	case q.Get("X-Amz-Security-Token") != "a session":
		return "", errors.New("no session token")
	case q.Get("X-Amz-Expires") != "900" || time.Since(at) > time.Minute:
		return "", errors.New("not fresh")
	}
	return token, nil
}

// TestMSKIAM authenticates with presigned tokens, with a fresh one before each session's end.
func TestMSKIAM(t *testing.T) {
	cluster, secure := secureCluster(t)
	seen := mskBroker(cluster, "sa-east-1", 3*time.Second)
	cfg := kafka.Config{
		Brokers: cluster.ListenAddrs(), TLS: secure, Auth: kafka.Auth{Mechanism: kafka.MSKIAM, Region: "sa-east-1"},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "a secret of a test", "a session"),
	}
	source, ok := joins(t, cfg)
	if !ok {
		_, faults := seen()
		t.Fatal("does not join", faults)
	}
	first, _ := seen()
	wait(t, "sessions were renewed with fresh tokens", func() bool {
		pollCtx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := source.Poll(pollCtx); err != nil {
			t.Error(err)
		}
		tokens, _ := seen()
		return len(tokens) > len(first) && tokens[len(tokens)-1] != first[0]
	})
	if _, faults := seen(); len(faults) > 0 {
		t.Error(faults)
	}
	cfg.Auth.Region = "eu-west-1"
	if _, ok := joins(t, cfg); ok {
		t.Error("a token for another region is taken")
	}
}

// TestMSKIAMTakesTheDefaultChain: with nothing configured, credentials are the environment's.
func TestMSKIAMTakesTheDefaultChain(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "a secret of a test")
	t.Setenv("AWS_SESSION_TOKEN", "a session")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	cluster, secure := secureCluster(t)
	seen := mskBroker(cluster, "us-east-1", time.Hour)
	_, ok := joins(t, kafka.Config{Brokers: cluster.ListenAddrs(), TLS: secure, Auth: kafka.Auth{Mechanism: kafka.MSKIAM, Region: "us-east-1"}})
	if _, faults := seen(); !ok || len(faults) > 0 {
		t.Error("does not join", faults)
	}
}

// TestLagAndFaults reads them from the fetches.
func TestLagAndFaults(t *testing.T) {
	cluster := kfakeGroups(t, kfake.SeedTopics(1, topic))
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	put := func(n int) {
		for range n {
			if err := client.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(25)
	source, _ := joins(t, kafka.Config{Brokers: cluster.ListenAddrs(), MaxRecords: 10})
	poll := func() (n int, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		records, err := source.Poll(ctx)
		return len(records), err
	}
	at := cardlake.StreamPartition{Stream: topic}
	total := 25 - int(source.Lag()[at]) // joins may have polled already
	for total < 25 {
		n, err := poll()
		if err != nil {
			t.Fatal(err)
		}
		total += n
		if got := source.Lag()[at]; n > 0 && got != int64(25-total) {
			t.Errorf("lag is %d after %d of 25 records", got, total)
		}
	}
	source.Seek(cardlake.Positions{at: {Next: 1000}})
	wait(t, "the position beyond the end is an error", func() bool { _, err := poll(); return err != nil })
	if faults := source.Faults(); faults[at] == nil {
		t.Errorf("faults are %v", faults)
	}
	source.Seek(cardlake.Positions{at: {Next: 20}})
	wait(t, "the records come", func() bool { n, _ := poll(); return n > 0 })
	if faults := source.Faults(); len(faults) > 0 {
		t.Errorf("faults are %v", faults)
	}
}

var _ ingest.Assignee = assigned(nil)
