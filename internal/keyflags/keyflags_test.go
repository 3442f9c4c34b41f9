package keyflags

import (
	"errors"
	"flag"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
	"github.com/cardlake/cardlake/keys/local"
)

func parse(t *testing.T, d home.Dir, kinds []Kind, args ...string) (*Flags, error) {
	t.Helper()
	var f Flags
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	f.Define(set, kinds...)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f, f.Complete(d)
}

const arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"

var both = []Kind{Card, Lake}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		kinds []Kind
		args  string
		want  []string // words of each fault, in order; none: right
	}{
		{"nothing", both, "", nil},
		{"files", both, "-card-keyring a -card-keyring-secret kernel:b -keyring c -keyring-secret credential:d", nil},
		{"KMS", both, "-card-keyring a -card-kms " + arn + " -keyring b -kms " + arn + " -kms-endpoint https://vpce.example -aws-region eu-west-1", nil},
		{"one of each kind", both, "-card-kms " + arn + " -keyring-secret s -kms-endpoint http://127.0.0.1:8080", nil},
		{"a region for something else", both, "-aws-region eu-west-1", nil},
		{"many at once", both, "-card-kms alias/x -kms " + arn + " -keyring-secret s -kms-endpoint http://kms.example",
			[]string{"-card-kms is not the ARN", "-kms and -keyring-secret exclude each other", "-kms-endpoint is not https"}},
		{"endpoint without KMS", both, "-kms-endpoint https://kms.example", []string{"-kms-endpoint is of -card-kms and -kms"}},
		{"endpoint without KMS, one keyring", []Kind{Lake}, "-kms-endpoint https://kms.example", []string{"-kms-endpoint is of -kms"}},
		{"endpoint with a login", both, "-kms " + arn + " -kms-endpoint https://u:hunter2@kms.example", []string{"-kms-endpoint is not https"}},
		{"endpoint is a name", both, "-kms " + arn + " -kms-endpoint kms.example", []string{"-kms-endpoint is not https"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			if _, err := parse(t, "d", c.kinds, strings.Fields(c.args)...); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(c.want) {
				t.Fatalf("faults %q, want %d with %q", got, len(c.want), c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) || strings.Contains(got[i], "hunter2") {
					t.Errorf("fault %q, want one with %q", got[i], want)
				}
			}
		})
	}
}

// TestDefaults: a register of KMS keys has no passphrase.
func TestDefaults(t *testing.T) {
	d := home.Dir("d")
	f, err := parse(t, d, both, "-kms", arn, "-card-keyring", "c")
	if err != nil {
		t.Fatal(err)
	}
	type named struct{ File, Secret, KMS string }
	got := []named{{f.Card.File, f.Card.Secret, f.Card.KMS}, {f.Lake.File, f.Lake.Secret, f.Lake.KMS}}
	if diff := cmp.Diff([]named{{"c", d.CardSecret(), ""}, {d.LakeKeyring(), "", arn}}, got); diff != "" {
		t.Error(diff)
	}
}

// newKMS starts a KMS whose credentials are the environment's, and returns its URL and the
// ARN of a key that authenticates registers.
func newKMS(t *testing.T) (url, registerKey string) {
	t.Helper()
	const id = "AKIAADMIN"
	server := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{
		id: {ARN: "arn:aws:iam::" + kmstest.Account + ":role/admin", Secret: "of-a-test", IAM: []string{"kms:*"}},
	}})
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": "of-a-test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	registerKey, err := kms.NewRegisterKey(t.Context(), server.Client(web.URL, "eu-west-1", id), "", false)
	if err != nil {
		t.Fatal(err)
	}
	return web.URL, registerKey
}

// TestMadeAndOpened makes keyrings of both kinds and opens them again.
func TestMadeAndOpened(t *testing.T) {
	url, registerKey := newKMS(t)
	inKMS := []string{"-card-kms", registerKey, "-kms", registerKey, "-kms-endpoint", url, "-aws-region", "eu-west-1"}
	for name, args := range map[string][]string{"files": nil, "KMS": inKMS} {
		t.Run(name, func(t *testing.T) {
			f, err := parse(t, home.Dir(t.TempDir()), both, args...)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				ring      *Ring
				has, lack keys.Purpose
			}{{&f.Card, keys.Seal, keys.Object}, {&f.Lake, keys.Object, keys.Seal}} {
				if _, err := c.ring.Open(t.Context()); !errors.Is(err, local.ErrMissing) || !strings.Contains(err.Error(), "no keyring "+c.ring.File+": give it with -"+c.ring.name) {
					t.Errorf("error %v, want one that says what to do", err)
				}
				made, err := c.ring.Create(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := made.EnsureOwners(t.Context(), keys.Lake); err != nil {
					t.Fatal(err)
				}
				key, wrapped, err := made.NewDataKey(t.Context(), keys.Scope{Owner: keys.Lake, Purpose: c.has})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.ring.Create(t.Context()); !errors.Is(err, fs.ErrExist) {
					t.Errorf("made once more: %v", err)
				}
				again, err := c.ring.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got, err := again.UnwrapDataKey(t.Context(), keys.Scope{Owner: keys.Lake, Purpose: c.has}, wrapped); err != nil || string(got.Bytes()) != string(key.Bytes()) {
					t.Errorf("another keyring: %v", err)
				}
				if _, _, err := again.NewDataKey(t.Context(), keys.Scope{Owner: keys.Lake, Purpose: c.lack}); !errors.Is(err, keys.ErrNoKey) {
					t.Errorf("it has a key for %s: %v", c.lack, err)
				}
			}
		})
	}
}

// TestErrorsSayWhatToDo opens keyrings otherwise than they were made.
func TestErrorsSayWhatToDo(t *testing.T) {
	url, registerKey := newKMS(t)
	_, other := newKMS(t)
	d := home.Dir(t.TempDir())
	made, err := parse(t, d, both, "-kms", registerKey, "-kms-endpoint", url, "-aws-region", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*Ring{&made.Card, &made.Lake} {
		if _, err := r.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wrong := filepath.Join(string(d), "wrong")
	if err := os.WriteFile(wrong, []byte("another passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const endpoint, region = "-kms-endpoint", "-aws-region"
	for _, c := range []struct {
		name string
		ring func(*Flags) *Ring
		args []string
		want string
	}{
		{"passphrase is not there", card, []string{"-card-keyring-secret", "none"}, "no file none with the keyring's passphrase: give it with -card-keyring-secret"},
		{"wrong passphrase", card, []string{"-card-keyring-secret", wrong}, "give the right ones with -card-keyring and -card-keyring-secret"},
		{"register without KMS", lake, []string{"-keyring-secret", wrong}, "-keyring: "},
		{"passphrase's keyring as a register", card, []string{"-card-kms", registerKey, endpoint, url, region, "eu-west-1"}, "-card-keyring, -card-kms: "},
		{"another register key", lake, []string{"-kms", other, endpoint, url, region, "eu-west-1"}, "-keyring, -kms: "},
		{"no region", lake, []string{"-kms", registerKey, endpoint, url}, "give -aws-region"},
		{"no register", lake, []string{"-keyring", "none", "-kms", registerKey, endpoint, url, region, "eu-west-1"}, "no keyring none: give it with -keyring"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := parse(t, d, both, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			k, err := c.ring(f).Open(t.Context())
			if err == nil || k != nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, error %v, want one line with %q", k, err, c.want)
			}
		})
	}
}

func card(f *Flags) *Ring { return &f.Card }
func lake(f *Flags) *Ring { return &f.Lake }
