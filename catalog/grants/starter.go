package grants

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cardlake/cardlake/catalog"
)

//go:embed starter
var starter embed.FS

// starterEnd is the end of the emergency policy in the starter set, which Init replaces.
const starterEnd = "2000-01-01T00:00:00Z"

// Init writes a set for trying out on one machine: a principal called "local" of each kind that
// is of no tenant, a second detokeniser, the jobs of insights, and analyst@TENANT for every tenant of the register
// now, none of whom can sign in; with documented policies. It fails if there is a set in the
// folder already.
func Init(dir string, tenants Tenants) error {
	for _, name := range []string{principalsFile, policiesDir, schemaFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make grants: %s has grants already: %w", dir, errors.Join(err, fs.ErrExist))
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, policiesDir), 0o700); err != nil {
		return fmt.Errorf("make grants: %w", err)
	}
	write := func(name string, text []byte) error {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), text, 0o600); err != nil {
			return fmt.Errorf("make grants: %w", err)
		}
		return nil
	}
	end := time.Now().UTC().AddDate(0, 0, 30).Truncate(24 * time.Hour).Format(time.RFC3339)
	err := fs.WalkDir(starter, "starter", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := starter.ReadFile(path)
		if err != nil {
			return err
		}
		return write(strings.TrimPrefix(path, "starter/"), []byte(strings.ReplaceAll(string(text), starterEnd, end)))
	})
	if err != nil {
		return err
	}
	if err := write(schemaFile, []byte(embeddedSchema)); err != nil {
		return err
	}
	// The principals come last: without them no set is complete.
	text, err := json.MarshalIndent(starterPrincipals(tenants), "", "  ")
	if err != nil {
		return err
	}
	return write(principalsFile, append(text, '\n'))
}

// starterAccount is one principal of the starter set in principals.json.
type starterAccount struct {
	Principal string `json:"principal"`
	Owner     string `json:"owner"`
	Service   bool   `json:"service,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
}

func starterPrincipals(tenants Tenants) any {
	const owner = "local@localhost"
	var list []starterAccount
	for _, kind := range Kinds {
		if kind != TenantAnalyst && kind != TenantService {
			list = append(list, starterAccount{Principal: string(kind) + "/local", Owner: owner, Service: kind == ETLJob})
		}
	}
	list = append(list,
		starterAccount{Principal: string(Detokeniser) + "/second", Owner: owner},
		starterAccount{Principal: string(ETLJob) + "/insights", Owner: owner, Service: true})
	for _, t := range registered(tenants) {
		if t.Status == catalog.TenantOffboarded {
			continue
		}
		list = append(list, starterAccount{Principal: string(TenantAnalyst) + "/analyst@" + string(t.Name), Owner: owner, Tenant: string(t.Name)})
	}
	type persona struct {
		Limits limits `json:"limits"`
	}
	return struct {
		Development bool             `json:"development"`
		Teams       []string         `json:"teams"`
		Personas    map[Kind]persona `json:"personas"`
		Principals  []starterAccount `json:"principals"`
	}{
		Development: true, Teams: []string{},
		Personas: map[Kind]persona{
			DataScientist: {limits{MaxRows: 10_000_000, MaxBytes: 64 << 30, Timeout: "5m0s"}},
			TenantAnalyst: {limits{MaxRows: 1_000_000, MaxBytes: 8 << 30, Timeout: "1m0s"}},
		},
		Principals: list,
	}
}
