package kms_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/keystest"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
)

const (
	home  = "eu-west-1"
	other = "sa-east-1"
	admin = "AKIAADMIN"
)

func arnOf(name string) string { return "arn:aws:iam::" + kmstest.Account + ":role/" + name }

// service is a KMS with an administrator, and principals without permissions of their own.
type service struct {
	*kmstest.Server
	url   string
	ahead *atomic.Int64 // of the real clock, in nanoseconds
}

func newService(t testing.TB, more map[string]kmstest.Principal) *service {
	t.Helper()
	principals := map[string]kmstest.Principal{admin: {ARN: arnOf("admin"), Secret: "admin's secret", IAM: []string{"kms:*"}}}
	for id, p := range more {
		principals[id] = p
	}
	ahead := new(atomic.Int64)
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := kmstest.New(kmstest.Config{Principals: principals, Now: now})
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return &service{s, web.URL, ahead}
}

func (s *service) client(region, who string) *sdk.Client { return s.Client(s.url, region, who) }

// ring is a keyring over a service, with what it was made with.
type ring struct {
	*kms.Keyring
	path string
	cfg  kms.Config
}

func (s *service) ring(t testing.TB, cfg kms.Config, purposes ...keys.Purpose) *ring {
	t.Helper()
	client := s.client(home, admin)
	arn, err := kms.NewRegisterKey(t.Context(), client, "", cfg.Keys.MultiRegion)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RegisterKey = arn
	path := filepath.Join(t.TempDir(), "register")
	k, err := kms.Create(t.Context(), path, client, purposes, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &ring{k, path, cfg}
}

func (r *ring) open(t testing.TB, client *sdk.Client) *kms.Keyring {
	t.Helper()
	k, err := kms.Open(t.Context(), r.path, client, r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSuite(t *testing.T) {
	keystest.Run(t, keystest.Site{New: func(t *testing.T, purposes []keys.Purpose) (keystest.Keyring, func() keystest.Keyring) {
		s := newService(t, nil)
		r := s.ring(t, kms.Config{}, purposes...)
		return r.Keyring, func() keystest.Keyring { return r.open(t, s.client(home, admin)) }
	}})
}

// TestSuiteOnAWS makes KMS keys in the account of the environment's credentials, under the
// alias cardlake-test, and schedules their deletion in 7 days; each costs what AWS asks for a
// key until then. CARDLAKE_KMS_REAL is the ARN of an HMAC_256 KMS key of that account, which
// authenticates the registers; its region is used.
func TestSuiteOnAWS(t *testing.T) {
	registerKey := os.Getenv("CARDLAKE_KMS_REAL")
	if registerKey == "" {
		t.Skip("CARDLAKE_KMS_REAL is not set")
	}
	region, err := kms.RegionOf(registerKey)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kms.NewClient(t.Context(), kms.Endpoint{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	cfg := kms.Config{RegisterKey: registerKey, Keys: kms.KeyConfig{Alias: "cardlake-test"}}
	keystest.Run(t, keystest.Site{Dear: true, New: func(t *testing.T, purposes []keys.Purpose) (keystest.Keyring, func() keystest.Keyring) {
		path := filepath.Join(t.TempDir(), "register")
		k, err := kms.Create(t.Context(), path, client, purposes, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return k, func() keystest.Keyring {
			again, err := kms.Open(t.Context(), path, client, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
	}})
}
