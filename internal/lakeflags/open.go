package lakeflags

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/glue"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/objects/s3"
)

// Lake is an open lake.
type Lake struct {
	Catalog *iceberg.Catalog
	Store   objects.Store
}

// Open opens the lake of flags that [Flags.Complete] found right. Nothing of a bucket, and of
// Glue, is asked for yet. An error says what to do. A nil log discards.
func (f *Flags) Open(ctx context.Context, log *slog.Logger) (*Lake, error) {
	if f.access == Read && f.Catalog != Glue && !f.IsPostgres() {
		if _, err := os.Stat(f.Catalog); errors.Is(err, fs.ErrNotExist) {
			return nil, f.missing()
		} else if err != nil {
			return nil, fmt.Errorf("open lake: %w", err)
		}
	}
	store, err := f.store(ctx)
	if err != nil {
		return nil, err
	}
	cfg := iceberg.Config{Objects: store, Location: f.location(), ReadOnly: f.access == Read, Logger: log}
	if f.Catalog == Glue {
		at, err := f.Keys.AWS(ctx)
		if err != nil {
			return nil, err
		}
		cfg.Glue, cfg.GlueCatalogID = glue.NewFromConfig(at), f.GlueCatalogID
	} else {
		cfg.DB = f.Catalog
	}
	c, err := iceberg.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Lake{Catalog: c, Store: store}, nil
}

// ForWriting returns the flags of the same lake, opened for writing.
func (f *Flags) ForWriting() *Flags {
	w := *f
	w.access = Write
	return &w
}

// Close closes the catalog.
func (l *Lake) Close() error { return l.Catalog.Close() }

// Table opens a table, and makes it if the lake is open for writing. A reader is told of a
// table that nobody has made yet by iceberg.ErrNoTable, unless there is no lake at all: every
// worker makes the transactions' table when it starts, so that without it -catalog is wrong,
// and to find nothing in it would be no answer.
func (l *Lake) Table(ctx context.Context, def *cardlake.Table) (*iceberg.Table, error) {
	t, err := l.Catalog.Table(ctx, def)
	if !errors.Is(err, iceberg.ErrNoTable) {
		return t, err
	}
	if def != cardlake.Transactions {
		if _, other := l.Catalog.Table(ctx, cardlake.Transactions); other == nil {
			return nil, err
		} else if !errors.Is(other, iceberg.ErrNoTable) {
			return nil, other
		}
	}
	return nil, fmt.Errorf("there is no lake in the catalog: it has no table %s, which a worker makes when it starts; give the right one with -catalog",
		cardlake.Transactions.FullName())
}

// store is where the objects are: a bucket, or a sealed folder.
func (f *Flags) store(ctx context.Context) (objects.Store, error) {
	if f.Bucket == "" {
		keyring, err := f.Keys.Lake.Open(ctx)
		if err != nil {
			return nil, err
		}
		return objects.NewSealed(home.Dir(f.Dir).Objects(), keyring, objects.SealedConfig{}), nil
	}
	cfg := f.s3()
	if f.CA != "" {
		var err error
		if cfg.RootCAs, err = Certificates(f.CA); err != nil {
			return nil, fmt.Errorf("-s3-ca: %w", err)
		}
	}
	if f.access == Read {
		return s3.New(noKeys{}, cfg)
	}
	named, err := f.keys(ctx)
	if err != nil {
		return nil, err
	}
	return s3.New(named, cfg)
}

// keys say under which KMS key an owner's objects are put: the file of -kms-keys, or the
// lake's keyring if its keys are in KMS. The lake's own must be among them.
func (f *Flags) keys(ctx context.Context) (s3.Keys, error) {
	if f.KMSKeys != "" {
		return openKMSKeys(f.KMSKeys)
	}
	keyring, err := f.Keys.Lake.OpenKMS(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := keyring.KeyOf(keys.Lake); err != nil {
		return nil, fmt.Errorf("-keyring %s, -kms: objects of the lake itself: %w: make one with \"cardlake-vault keys create\"", f.Keys.Lake.File, err)
	}
	return keyring, nil
}

// noKeys are the keys of who puts nothing. It implements s3.Keys.
type noKeys struct{}

// KeyOf implements s3.Keys.
func (noKeys) KeyOf(keys.Owner) (string, error) {
	return "", errors.New("the lake is open for reading only")
}
