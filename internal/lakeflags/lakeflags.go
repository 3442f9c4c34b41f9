// Package lakeflags is how the binaries are told on their command line where a lake is, and
// how they open it: the same flags, faults and errors for those who write and who read. A lake
// is a catalog (an SQLite file, PostgreSQL, AWS Glue) and its objects (a sealed folder, or a
// bucket); every pair of them that can be written can be read, but for Glue with a folder,
// which would name files that nobody finds.
package lakeflags

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strings"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/writers/objects/s3"
)

// Access is what a binary does with the lake.
type Access int

const (
	// Read opens a lake that must exist, and changes nothing.
	Read Access = iota
	// Write makes what of a lake is not there yet.
	Write
)

// Glue is the value of -catalog for AWS Glue.
const Glue = "glue"

// Flags are the flags of a lake. [Flags.Define] comes first, then [Flags.Complete] when the
// command line was parsed, then [Flags.Open].
type Flags struct {
	// Dir is the folder in which all that is a file lies unless it is named.
	Dir string
	// Keys are AWS and the keyrings: the lake's, which opens a sealed folder or names the KMS
	// keys of a bucket, and the others that [Flags.Define] was told.
	Keys keyflags.Flags
	// Catalog is an SQLite file, the URL of a PostgreSQL database, or Glue.
	Catalog, GlueCatalogID string
	// Bucket is empty for a sealed folder. The others are of the bucket.
	Bucket, Prefix, Endpoint, CA, KMSKeys string
	PathStyle                             bool

	access Access
}

// Define adds the flags to fs, and those of the keyrings that are used besides the lake's. A
// reader has no -kms-keys: the service decrypts what it is asked for by itself, for whoever
// may use the key.
func (f *Flags) Define(fs *flag.FlagSet, access Access, besides ...keyflags.Kind) {
	f.access = access
	fs.StringVar(&f.Dir, "dir", home.Default(), "`folder` of the lake, its tenants and keyrings; default $CARDLAKE_DIR or cardlake-data")
	f.Keys.Define(fs, append([]keyflags.Kind{keyflags.Lake}, besides...)...)
	fs.StringVar(&f.Catalog, "catalog", "", "the catalog: an SQLite `file`, postgres://…, or glue; default lake/catalog.db in -dir")
	fs.StringVar(&f.GlueCatalogID, "glue-catalog-id", "", "`account` of the Glue Data Catalog, when it is not the caller's own")
	fs.StringVar(&f.Bucket, "s3-bucket", "", "S3 `bucket` of the lake's objects; without one they are sealed in lake/objects in -dir, under -keyring")
	fs.StringVar(&f.Prefix, "s3-prefix", "", "`folder` in the bucket")
	fs.StringVar(&f.Endpoint, "s3-endpoint", "", "`URL` of another service than Amazon's")
	fs.BoolVar(&f.PathStyle, "s3-path-style", false, "name the bucket in the path of URLs")
	fs.StringVar(&f.CA, "s3-ca", "", "`file` of the certificates that sign the endpoint's, PEM; default the system's")
	if access == Write {
		fs.StringVar(&f.KMSKeys, "kms-keys", "", "JSON `file` of the KMS key ARN of each tenant's storage id, and of \"lake\" (-s3-bucket requires it, or -kms)")
	}
}

// Complete sets the files that were not named and reports every fault of the flags, one a
// line. None shows a secret.
func (f *Flags) Complete() error {
	d := home.Dir(f.Dir)
	f.Catalog = cmp.Or(f.Catalog, d.Catalog())

	var errs []error
	if err := f.Keys.Complete(d); err != nil {
		errs = append(errs, err)
	}
	fault := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	if f.IsPostgres() {
		u, err := url.Parse(f.Catalog)
		fault(err != nil, "-catalog is not a URL")
		if err == nil {
			_, inUser := u.User.Password()
			fault(inUser || u.Query().Has("password") || u.Query().Has("sslpassword"),
				"-catalog holds a password, which every process of the machine can read: put it into the file that PGPASSFILE names")
		}
	}
	fault(strings.Contains(f.Catalog, "://") && !f.IsPostgres(), "-catalog is an SQLite file, postgres://… or glue")
	fault(f.GlueCatalogID != "" && f.Catalog != Glue, "-glue-catalog-id is of -catalog glue")
	if f.Bucket == "" {
		fault(f.Catalog == Glue, "-catalog glue needs -s3-bucket, where those who read Glue find the files")
		of := "-s3-… need -s3-bucket"
		if f.access == Write {
			of = "-s3-… and -kms-keys need -s3-bucket"
		}
		fault(f.Prefix != "" || f.Endpoint != "" || f.PathStyle || f.CA != "" || f.KMSKeys != "", of)
		return errors.Join(errs...)
	}
	if f.access == Write {
		fault(f.KMSKeys == "" && f.Keys.Lake.KMS == "", "-s3-bucket needs -kms-keys, or -kms")
		fault(f.KMSKeys != "" && f.Keys.Lake.KMS != "", "-kms-keys and -kms exclude each other: both say which KMS key is whose")
	}
	if err := f.s3().Validate(); err != nil {
		fault(true, "s3: "+strings.ReplaceAll(err.Error(), "\n", "\ns3: "))
	}
	return errors.Join(errs...)
}

// IsPostgres reports whether the catalog is in a PostgreSQL database.
func (f *Flags) IsPostgres() bool {
	return strings.HasPrefix(f.Catalog, "postgres://") || strings.HasPrefix(f.Catalog, "postgresql://")
}

// s3 is the bucket's configuration, without what is read from files.
func (f *Flags) s3() s3.Config {
	return s3.Config{Bucket: f.Bucket, Prefix: f.Prefix, Region: f.Keys.Region, Endpoint: f.Endpoint, PathStyle: f.PathStyle}
}

// location is where other engines find the objects, empty for a folder, which they cannot read.
func (f *Flags) location() string {
	if f.Bucket == "" {
		return ""
	}
	return (&url.URL{Scheme: "s3", Host: f.Bucket, Path: f.Prefix}).String()
}

// missing tells a reader that there is no catalog where the flags say.
func (f *Flags) missing() error {
	if f.Bucket == "" && f.Catalog == home.Dir(f.Dir).Catalog() {
		return fmt.Errorf("there is no lake in %s: make one with \"make demo\", or give its folder with -dir", f.Dir)
	}
	return fmt.Errorf("there is no catalog %s: give the lake's with -catalog", f.Catalog)
}
