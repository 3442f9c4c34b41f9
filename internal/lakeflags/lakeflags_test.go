package lakeflags

import (
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kms"
	"github.com/cardlake/cardlake/keys/kmstest"
)

func parse(t *testing.T, access Access, args ...string) (*Flags, error) {
	t.Helper()
	var f Flags
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.Define(fs, access)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f, f.Complete()
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		access Access
		args   string
		want   []string // words of each fault, in order; none: right
	}{
		{"folder", Write, "", nil},
		{"folder, to read", Read, "-dir d -keyring k -keyring-secret s -catalog c.db", nil},
		{"postgres", Read, "-catalog postgres://lake@db.example/lake?sslmode=verify-full", nil},
		{"bucket", Write, "-s3-bucket the-lake -kms-keys k.json -catalog glue -glue-catalog-id 123456789012 -aws-region eu-west-1 -s3-prefix p -s3-endpoint https://s3.example -s3-path-style -s3-ca ca.pem", nil},
		{"bucket, to read", Read, "-s3-bucket the-lake", nil},
		{"bucket without keys", Write, "-s3-bucket the-lake", []string{"needs -kms-keys"}},
		{"many at once", Write, "-s3-bucket B -s3-endpoint http://s3.example -glue-catalog-id 1", []string{"-glue-catalog-id is of", "needs -kms-keys", "s3: Bucket", "s3: Endpoint"}},
		{"password", Read, "-catalog postgres://lake:hunter2@db.example/lake", []string{"-catalog holds a password"}},
		{"password in the query", Read, "-catalog postgresql://lake@db.example/lake?password=hunter2", []string{"-catalog holds a password"}},
		{"no URL", Read, "-catalog postgres://lake:hunter2@db.example:x/lake", []string{"-catalog is not a URL"}},
		{"other catalog", Read, "-catalog mysql://lake:hunter2@db.example/lake", []string{"-catalog is an SQLite file"}},
		{"glue without bucket", Read, "-catalog glue", []string{"-catalog glue needs -s3-bucket"}},
		{"endpoint without bucket", Read, "-s3-path-style", []string{"-s3-… need -s3-bucket"}},
		{"bucket with a register", Write, "-s3-bucket the-lake -kms " + lakeARN + " -kms-endpoint https://kms.example", nil},
		{"bucket with both", Write, "-s3-bucket the-lake -kms-keys k.json -kms " + lakeARN, []string{"-kms-keys and -kms exclude each other"}},
		{"folder with a register", Read, "-kms " + lakeARN, nil},
		{"keyring's faults", Read, "-kms alias/lake -glue-catalog-id 1", []string{"-kms is not the ARN", "-glue-catalog-id is of"}},
		{"keys without bucket", Write, "-kms-keys k.json", []string{"-kms-keys need -s3-bucket"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			if _, err := parse(t, c.access, strings.Fields(c.args)...); err != nil {
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

func TestFilesThatAreNotNamed(t *testing.T) {
	t.Setenv("CARDLAKE_DIR", "lake")
	f, err := parse(t, Read, "-keyring", "k")
	d := home.Dir("lake")
	if err != nil || f.Keys.Lake.File != "k" || f.Keys.Lake.Secret != d.LakeSecret() || f.Catalog != d.Catalog() {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestReadersMakeNothing opens what is not there.
func TestReadersMakeNothing(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.db")
	for _, c := range []struct{ args, want string }{
		{"-dir " + dir, "there is no lake in " + dir},
		{"-dir " + dir + " -catalog " + none, "there is no catalog " + none},
		{"-dir " + dir + " -s3-bucket the-lake", "there is no catalog " + home.Dir(dir).Catalog()},
	} {
		f, err := parse(t, Read, strings.Fields(c.args)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Open(t.Context(), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.args, err, c.want)
		}
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("made %v, %v", made, err)
	}
}

// TestBucketReachesNoNetwork opens a lake in S3: what is wrong with it is found when it is
// asked for something. A reader's store has no key to put anything under.
func TestBucketReachesNoNetwork(t *testing.T) {
	dir := t.TempDir()
	named := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(named, []byte(`{"lake": "`+lakeARN+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(access Access, args string) (*Lake, error) {
		f, err := parse(t, access, append(strings.Fields(args), "-dir", dir, "-s3-bucket", "the-lake")...)
		if err != nil {
			t.Fatal(err)
		}
		l, err := f.Open(t.Context(), nil)
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return l, err
	}
	for _, prefix := range []string{"", " -s3-prefix prod/lake"} {
		if _, err := open(Write, "-kms-keys "+named+prefix); err != nil {
			t.Error(err)
		}
	}
	l, err := open(Read, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Store.Put(t.Context(), "data/x", keys.Lake, nil); err == nil || !strings.Contains(err.Error(), "for reading only") {
		t.Errorf("put: %v", err)
	}
	if _, err := l.Table(t.Context(), cardlake.Rejected); err == nil || !strings.Contains(err.Error(), "there is no lake in the catalog") {
		t.Errorf("a catalog without tables: %v", err)
	}
	for args, want := range map[string]string{
		"-kms-keys " + filepath.Join(dir, "none.json"):                 "-kms-keys",
		"-kms-keys " + named + " -s3-ca " + filepath.Join(dir, "none"): "-s3-ca",
		"-kms-keys " + named + " -s3-ca " + named:                      "has no certificate",
	} {
		if _, err := open(Write, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		}
	}
}

// TestBucketUnderKeysOfARegister puts objects under the keys that the lake's keyring in KMS
// has for their owners.
func TestBucketUnderKeysOfARegister(t *testing.T) {
	const region, id, tenant = "eu-west-1", "AKIAADMIN", keys.Owner("abcdefghijklmnop")
	service := kmstest.New(kmstest.Config{Principals: map[string]kmstest.Principal{
		id: {ARN: "arn:aws:iam::" + kmstest.Account + ":role/admin", Secret: "of-a-test", IAM: []string{"kms:*"}},
	}})
	web := httptest.NewServer(service)
	defer web.Close()
	const keyOf = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	var under []string
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		under = append(under, r.Method+" "+r.Header.Get(keyOf))
		for _, name := range []string{"X-Amz-Server-Side-Encryption", keyOf} {
			w.Header().Set(name, r.Header.Get(name))
		}
	}))
	defer bucket.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": "of-a-test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	client := service.Client(web.URL, region, id)
	registerKey, err := kms.NewRegisterKey(t.Context(), client, "", false)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "lake.keyring")
	ring, err := kms.Create(t.Context(), file, client, keys.LakePurposes, kms.Config{RegisterKey: registerKey})
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(t, Write, "-dir", dir, "-catalog", filepath.Join(dir, "catalog.db"), "-keyring", file, "-kms", registerKey, "-kms-endpoint", web.URL,
		"-aws-region", region, "-s3-bucket", "the-lake", "-s3-endpoint", bucket.URL, "-s3-path-style")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), nil); !errors.Is(err, keys.ErrNoKey) || !strings.Contains(err.Error(), "cardlake-vault keys create") {
		t.Errorf("a register without the lake's key: %v", err)
	}
	if err := ring.EnsureOwners(t.Context(), keys.Lake); err != nil {
		t.Fatal(err)
	}
	l, err := f.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	put := func(name string, owner keys.Owner) error {
		return l.Store.Put(t.Context(), name, owner, []byte("an object"))
	}
	if err := put("a", tenant); !errors.Is(err, keys.ErrNoKey) {
		t.Errorf("a tenant without keys: %v", err)
	}
	if err := ring.EnsureOwners(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, owner := range []keys.Owner{keys.Lake, tenant} {
		if err := put("of-"+string(owner), owner); err != nil {
			t.Fatal(err)
		}
		arn, err := ring.KeyOf(owner)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, "PUT "+arn)
	}
	if diff := cmp.Diff(want, under); diff != "" || want[0] == want[1] {
		t.Errorf("puts under other keys: %s", diff)
	}
}
