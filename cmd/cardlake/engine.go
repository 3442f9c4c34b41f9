package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/internal/lakeflags"
	"github.com/cardlake/cardlake/internal/serving"
	"github.com/cardlake/cardlake/queries"
	"github.com/cardlake/cardlake/queries/athena"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/queries/trino"
)

// engines says which engine computes answers.
type engines struct {
	name, file string
}

func (e *engines) define(fs *flag.FlagSet) {
	fs.StringVar(&e.name, "engine", "embedded", "`what` computes answers: embedded (DuckDB in this process), trino or athena")
	fs.StringVar(&e.file, "engine-config", "", "JSON `file` that says where Trino or Athena is and who asks there; see docs/engines.md")
}

func (e *engines) check() error {
	switch e.name {
	case "embedded":
		if e.file != "" {
			return errors.New("-engine-config is for -engine trino and -engine athena")
		}
	case "trino", "athena":
		if e.file == "" {
			return fmt.Errorf("-engine %s needs -engine-config", e.name)
		}
	default:
		return fmt.Errorf("-engine %q is none of embedded, trino and athena", e.name)
	}
	return nil
}

// open returns the engine over the lake. cfg is the embedded one's.
func (e *engines) open(ctx context.Context, l *serving.Lake, place *lakeflags.Flags, cfg embedded.Config) (queries.Engine, error) {
	var engine queries.Engine
	var err error
	switch e.name {
	case "trino":
		engine, err = openTrino(e.file, l)
	case "athena":
		engine, err = openAthena(ctx, e.file, l, place)
	default:
		return embedded.New(l.Planner, l.Store, cfg), nil
	}
	if err != nil {
		return nil, fmt.Errorf("-engine %s: %w", e.name, err)
	}
	return engine, nil
}

// trinoFile is -engine-config for Trino.
type trinoFile struct {
	Server  string                 `json:"server"`
	Catalog string                 `json:"catalog"`
	User    string                 `json:"user"`
	Users   map[grants.Kind]string `json:"users"`
	// CA is a file of the certificates that sign the server's, PEM.
	CA string `json:"ca"`
	// PasswordFile holds User's password, TokenFile a bearer token. Both are read for each request.
	PasswordFile string            `json:"password_file"`
	TokenFile    string            `json:"token_file"`
	Session      map[string]string `json:"session"`
}

func openTrino(path string, l *serving.Lake) (queries.Engine, error) {
	var f trinoFile
	if err := readConfig(path, &f); err != nil {
		return nil, err
	}
	cfg := trino.Config{Server: f.Server, Catalog: f.Catalog, User: f.User, Users: f.Users, Session: f.Session}
	switch {
	case f.PasswordFile != "" && f.TokenFile != "":
		return nil, fmt.Errorf("%s: give password_file or token_file, not both", path)
	case f.PasswordFile != "" && len(f.Users) > 0:
		return nil, fmt.Errorf("%s: a password is of one user: users need a token_file of a principal that may impersonate them", path)
	case f.PasswordFile != "":
		cfg.Credentials = secretFile{path: f.PasswordFile, user: f.User}
	case f.TokenFile != "":
		cfg.Credentials = secretFile{path: f.TokenFile}
	}
	if f.CA != "" {
		pool, err := lakeflags.Certificates(f.CA)
		if err != nil {
			return nil, fmt.Errorf("%s: ca: %w", path, err)
		}
		cfg.RootCAs = pool
	}
	return trino.New(l.Planner, cfg)
}

// secretFile is a file with a password of the user, or with a token if there is no user. It
// implements trino.Credentials.
type secretFile struct{ path, user string }

// maxSecret bounds a password or a token.
const maxSecret = 64 << 10

// Authorization implements trino.Credentials.
func (s secretFile) Authorization(context.Context) (string, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	secret := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", err
	case secret == "" || strings.ContainsAny(secret, "\r\n"):
		return "", fmt.Errorf("%s does not hold one line", s.path)
	case s.user == "":
		return "Bearer " + secret, nil
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.user+":"+secret)), nil
}

// athenaFile is -engine-config for Athena.
type athenaFile struct {
	Region string `json:"region"`
	// Workgroups are those of principals, KIND/NAME, or of all of a kind.
	Workgroups map[string]struct {
		Name string `json:"name"`
		Role string `json:"role"`
	} `json:"workgroups"`
	BucketOwner  string  `json:"bucket_owner"`
	Catalog      string  `json:"catalog"`
	UnloadRows   int64   `json:"unload_rows"`
	ReuseMinutes int     `json:"reuse_minutes"`
	USDPerTB     float64 `json:"usd_per_tb"`
}

func openAthena(ctx context.Context, path string, l *serving.Lake, place *lakeflags.Flags) (queries.Engine, error) {
	var f athenaFile
	if err := readConfig(path, &f); err != nil {
		return nil, err
	}
	cfg := athena.Config{
		Workgroups: map[string]athena.Workgroup{}, Storage: athena.Sealed, BucketOwner: f.BucketOwner, Catalog: f.Catalog,
		UnloadRows: f.UnloadRows, ReuseAge: time.Duration(f.ReuseMinutes) * time.Minute, PricePerTB: int64(f.USDPerTB * 1e6),
	}
	if place.Bucket != "" {
		cfg.Storage = athena.SSEKMS
	}
	for who, w := range f.Workgroups {
		cfg.Workgroups[who] = athena.Workgroup{Name: w.Name, Role: w.Role}
	}
	var options []func(*config.LoadOptions) error
	if f.Region != "" {
		options = append(options, config.WithRegion(f.Region))
	}
	account, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	engine, err := athena.New(account, l.Planner, cfg)
	if err != nil {
		return nil, err
	}
	return engine, engine.Check(ctx)
}

// readConfig reads a JSON file, every field of which must be known.
func readConfig(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s has more than one object", path)
	}
	return nil
}
