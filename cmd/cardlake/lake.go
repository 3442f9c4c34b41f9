package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/queries/embedded"
	"github.com/cardlake/cardlake/writers/objects"
)

// place says where a lake and its keys are.
type place struct{ dir, keyring, secret string }

// flags registers the flags of a place.
func (p *place) flags(fs *flag.FlagSet) {
	fs.StringVar(&p.dir, "dir", home.Default(), "`folder` of the lake and its keyring; default $CARDLAKE_DIR or cardlake-data")
	fs.StringVar(&p.keyring, "keyring", "", "the lake's keyring `file`; default keys/lake.keyring in -dir")
	fs.StringVar(&p.secret, "keyring-secret", "", "`file` with its passphrase; default keys/lake.secret in -dir")
}

// lake is an open lake, read-only.
type lake struct {
	catalog *iceberg.Catalog
	store   objects.Store
	planner embedded.Planner
}

// open opens the lake. An error says what to do.
func (p place) open(ctx context.Context) (*lake, error) {
	dir := home.Dir(p.dir)
	if p.keyring == "" {
		p.keyring = dir.LakeKeyring()
	}
	if p.secret == "" {
		p.secret = dir.LakeSecret()
	}
	if _, err := os.Stat(dir.Catalog()); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no lake in %s: make one with \"make demo\", or give its folder with -dir", p.dir)
	} else if err != nil {
		return nil, fmt.Errorf("open lake: %w", err)
	}
	keyring, err := local.OpenFile(p.keyring, p.secret)
	switch {
	case errors.Is(err, local.ErrMissing):
		return nil, fmt.Errorf("there is no keyring %s: without it the lake cannot be read; give it with -keyring", p.keyring)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s with the keyring's passphrase: give it with -keyring-secret", p.secret)
	case errors.Is(err, local.ErrSecret):
		return nil, fmt.Errorf("the passphrase in %s does not open the keyring %s: give the right ones with -keyring and -keyring-secret", p.secret, p.keyring)
	case err != nil:
		return nil, err
	}
	store := objects.NewSealed(dir.Objects(), keyring, objects.SealedConfig{})
	cat, err := iceberg.Open(ctx, iceberg.Config{DB: dir.Catalog(), Objects: store, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	return &lake{catalog: cat, store: store, planner: planner{embedded.Tables(cat.Table)}}, nil
}

// Close closes the catalog.
func (l *lake) Close() error { return l.catalog.Close() }

// planner plans a table that was never written to as an empty one.
type planner struct{ embedded.Planner }

// Plan implements embedded.Planner.
func (p planner) Plan(ctx context.Context, table *cardlake.Table) (catalog.Snapshot, []cardlake.DataFile, error) {
	snapshot, files, err := p.Planner.Plan(ctx, table)
	if errors.Is(err, iceberg.ErrNoTable) {
		return catalog.Snapshot{}, nil, nil
	}
	return snapshot, files, err
}
