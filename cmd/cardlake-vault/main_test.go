package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize/detokenize/detokenizetest"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/writers/objects"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cardlake-vault": main})
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

// takes makes a command of a test script that can't be negated and has so many arguments.
func takes(n int, usage string, do func(ts *testscript.TestScript, args []string) error) command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < n {
			ts.Fatalf("usage: %s", usage)
		}
		ts.Check(do(ts, args))
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("there is no condition %s", name)
			}
			return os.Geteuid() == 0, nil // whom sudo was used by is believed of root alone
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("CARDLAKE_DIR", filepath.Join(e.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]command{
			// mkhome makes the folder $CARDLAKE_DIR with the tenants named, and sets for each a
			// variable ID_NAME to its storage id.
			"mkhome": takes(1, "mkhome TENANT...", func(ts *testscript.TestScript, args []string) error {
				d := home.Dir(ts.Getenv("CARDLAKE_DIR"))
				if err := d.Make(); err != nil {
					return err
				}
				tenants, err := catalog.OpenTenants(d.Tenants())
				if err != nil {
					return err
				}
				for _, name := range args {
					r, err := tenants.Create(cardlake.Tenant(name), "BR", "BRL", time.Now())
					if err != nil {
						return err
					}
					ts.Setenv("ID_"+name, string(r.StorageID))
				}
				return nil
			}),
			// mkcerts makes an authority AUTHORITY.pem, a server's certificate AUTHORITY-server.pem
			// and clients' certificates NAME.pem with the URI spiffe://lake.example/NAME.
			"mkcerts": takes(1, "mkcerts AUTHORITY NAME...", func(ts *testscript.TestScript, args []string) error {
				a, err := detokenizetest.NewAuthority(ts.MkAbs("."), args[0])
				if err != nil {
					return err
				}
				if _, err := a.Issue(detokenizetest.Certificate{Name: args[0] + "-server", IsServer: true}); err != nil {
					return err
				}
				for _, name := range args[1:] {
					c := detokenizetest.Certificate{Name: name, URIs: []string{"spiffe://lake.example/" + name}}
					if name == "expired" {
						c.Age = time.Hour
					}
					if _, err := a.Issue(c); err != nil {
						return err
					}
				}
				return nil
			}),
			// waitfor waits for a file to match a pattern and sets a variable to its first group.
			"waitfor": takes(3, "waitfor FILE PATTERN VARIABLE", func(ts *testscript.TestScript, args []string) error {
				pattern, err := regexp.Compile(args[1])
				if err != nil {
					return err
				}
				for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
					text, err := os.ReadFile(ts.MkAbs(args[0]))
					if errors.Is(err, os.ErrNotExist) {
						continue
					}
					if err != nil {
						return err
					}
					if m := pattern.FindSubmatch(text); m != nil {
						ts.Setenv(args[2], string(m[1]))
						return nil
					}
				}
				return fmt.Errorf("%s does not match %s: %s", args[0], args[1], ts.ReadFile(args[0]))
			}),
			// setenv sets a variable to a file's first line.
			"setenv": takes(2, "setenv VARIABLE FILE", func(ts *testscript.TestScript, args []string) error {
				line, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
				ts.Setenv(args[0], line)
				return nil
			}),
			// audited writes what the audit logs say to standard output, one action, resource and
			// outcome a line, after it has verified them.
			"audited": func(ts *testscript.TestScript, neg bool, args []string) {
				d := home.Dir(ts.Getenv("CARDLAKE_DIR"))
				text, err := audited(d, args...)
				ts.Check(err)
				fmt.Fprint(ts.Stdout(), text)
			},
			// private fails unless others than its owner may not read the file.
			"private": takes(1, "private FILE", func(ts *testscript.TestScript, args []string) error {
				info, err := os.Stat(ts.MkAbs(args[0]))
				if err == nil && info.Mode().Perm() != 0o600 {
					err = fmt.Errorf("mode %o", info.Mode().Perm())
				}
				return err
			}),
			// healthy fails unless a probe of the address finds the service ready.
			"healthy": takes(1, "healthy ADDRESS", func(ts *testscript.TestScript, args []string) error {
				for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/v1/requests": 404, "/": 404} {
					resp, err := http.Get("http://" + args[0] + path)
					if err != nil {
						return err
					}
					if err := resp.Body.Close(); err != nil || resp.StatusCode != want {
						return fmt.Errorf("%s: status %d, want %d", path, resp.StatusCode, want)
					}
				}
				return nil
			}),
			// seal leaves an object and an event of a tenant; opens says which of them, and of the
			// cards in the vault, can be opened.
			"seal": takes(1, "seal TENANT", func(ts *testscript.TestScript, args []string) error {
				return sealed(home.Dir(ts.Getenv("CARDLAKE_DIR")), args[0], ts.MkAbs(args[0]+".event"))
			}),
			"opens": takes(1, "opens TENANT", func(ts *testscript.TestScript, args []string) error {
				text, err := opens(home.Dir(ts.Getenv("CARDLAKE_DIR")), args[0], ts.MkAbs(args[0]+".event"), ts.ReadFile(args[0]+".tokens"))
				fmt.Fprintln(ts.Stdout(), text)
				return err
			}),
		},
	})
}

func audited(d home.Dir, actions ...string) (string, error) {
	ctx := context.Background()
	var ring *local.Keyring
	if open, ok := rings.Load(d); ok {
		ring = open.(zone).lake
	} else {
		var err error
		if ring, err = local.OpenFile(d.LakeKeyring(), d.LakeSecret()); err != nil {
			return "", err
		}
	}
	var out strings.Builder
	for _, name := range []string{serviceLog, commandLog} {
		dir := filepath.Join(string(d), "audit", name)
		head, err := audit.FileAnchor(dir + ".head").Load(ctx)
		if err != nil {
			return "", err
		}
		r, err := audit.Verify(ctx, dir, audit.VerifyConfig{Keys: ring, Anchor: head})
		if err != nil {
			return "", err
		}
		if r.Break != nil {
			return "", errors.New(r.Break.String())
		}
		for e, err := range audit.Read(ctx, dir, audit.Filter{}) {
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(e.Action, "audit.") {
				continue
			}
			fmt.Fprintf(&out, "%s, %s, %s, %s", strings.TrimPrefix(e.Actor, "spiffe://lake.example/"), e.Action, e.Resource, e.Outcome)
			if rule := e.Detail["rule"]; rule != "" {
				fmt.Fprintf(&out, ", %s", rule)
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String(), nil
}

// zone holds both keyrings of a home and a tenant's key owner.
type zone struct {
	card, lake *local.Keyring
	owner      keys.Owner
}

// rings are the keyrings that are open, by home: opening one takes long on purpose.
var rings sync.Map

func openZone(d home.Dir, name string) (z zone, err error) {
	if open, ok := rings.Load(d); ok {
		z = open.(zone)
	} else if z, err = openRings(d); err != nil {
		return z, err
	}
	tenants, err := catalog.OpenTenants(d.Tenants())
	if err != nil {
		return z, err
	}
	r, err := tenants.Lookup(cardlake.Tenant(name))
	z.owner = keys.OwnerOf(r.StorageID)
	return z, err
}

func openRings(d home.Dir) (z zone, err error) {
	if z.card, err = local.OpenFile(d.CardKeyring(), d.CardSecret()); err != nil {
		return z, err
	}
	if z.lake, err = local.OpenFile(d.LakeKeyring(), d.LakeSecret()); err == nil {
		rings.Store(d, z)
	}
	return z, err
}

const testCard = "4111111111111111"

func sealed(d home.Dir, name, eventFile string) error {
	ctx := context.Background()
	z, err := openZone(d, name)
	if err != nil {
		return err
	}
	store := objects.NewSealed(d.Objects(), z.lake, objects.SealedConfig{})
	if err := store.Put(ctx, string(z.owner)+"/object", z.owner, []byte("an object")); err != nil {
		return err
	}
	event, err := keys.NewEnvelopes(z.card, keys.Seal, keys.EnvelopeConfig{}).AppendSealed(ctx, nil, z.owner, []byte(testCard), nil)
	if err != nil {
		return err
	}
	return os.WriteFile(eventFile, event, 0o600)
}

func opens(d home.Dir, name, eventFile, tokens string) (string, error) {
	ctx := context.Background()
	z, err := openZone(d, name)
	if err != nil {
		return "", err
	}
	var out []string
	store := objects.NewSealed(d.Objects(), z.lake, objects.SealedConfig{})
	if object, err := store.Open(ctx, string(z.owner)+"/object"); err == nil {
		body := make([]byte, len("an object"))
		_, err := object.ReadAt(body, 0)
		if err := errors.Join(err, object.Close()); err != nil || string(body) != "an object" {
			return "", fmt.Errorf("object: %w", err)
		}
		out = append(out, "object")
	} else if !errors.Is(err, keys.ErrNoKey) {
		return "", fmt.Errorf("object: %w", err)
	}
	event, err := os.ReadFile(eventFile)
	if err != nil {
		return "", err
	}
	if pan, err := keys.NewEnvelopes(z.card, keys.Seal, keys.EnvelopeConfig{}).Open(ctx, nil, z.owner, event, nil); err == nil && string(pan) == testCard {
		out = append(out, "event")
	} else if !errors.Is(err, keys.ErrNoKey) {
		return "", fmt.Errorf("event: %w", err)
	}
	kept, err := pebblestore.Open(filepath.Join(string(d), "vault"), pebblestore.Config{})
	if err != nil {
		return "", err
	}
	list, err := readTokens(strings.NewReader(tokens))
	if err != nil {
		return "", errors.Join(err, kept.Close())
	}
	var pan card.PAN
	pan, err = vault.New(kept, vault.Config{}).Reveal(ctx, keys.NewEnvelopes(z.card, keys.Reverse, keys.EnvelopeConfig{}), z.owner, list[0])
	if err == nil && string(pan.Digits()) == testCard {
		out = append(out, "vault")
	} else if !errors.Is(err, keys.ErrNoKey) {
		return "", errors.Join(fmt.Errorf("vault: %w", err), kept.Close())
	}
	return strings.Join(out, " "), kept.Close()
}

// Card numbers are never taken from, nor repeated to, a command line.
func TestArgumentsAreNotRepeated(t *testing.T) {
	for _, args := range [][]string{
		{"tokenize", "-tenant", "aurora", testCard},
		{"tokenize", "-tenant", testCard},
		{"detokenize", "-service", "https://vault", "-cert", "x", "-key", "x", "-ca", "x", testCard},
		{"rotate", testCard},
		{"keys", "list", testCard},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
		if code != 2 || strings.Contains(stdout.String()+stderr.String(), testCard) {
			t.Errorf("%q: exit code %d, %s", args[:2], code, stderr.String())
		}
	}
}
