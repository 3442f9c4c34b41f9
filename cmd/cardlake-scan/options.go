package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/tokenize/discover/formats"
	"github.com/cardlake/cardlake/writers/objects"
)

// options are what the command line says.
type options struct {
	format      string
	least       discover.Confidence
	most        int
	iins        string
	fingerprint string
	keyring     string
	secret      string
	parquetKey  string
	incident    string
	progress    string
	strict      bool
	version     bool
	maxExpanded int64
	maxMemory   int64
	s3          s3Options
	targets     []string
}

const usage = `usage: cardlake-scan [flags] PATH|URL ...
  PATH  a file, a folder, or - for standard input
  URL   s3://BUCKET/PREFIX, kafka://BROKER[,BROKER]/TOPIC (kafkas: with TLS)
`

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet(program, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // an error is printed once, by run
	fs.Usage = func() {}
	confidence := "medium"
	fs.StringVar(&o.format, "format", "text", "text, json or sarif (2.1.0)")
	fs.StringVar(&confidence, "confidence", confidence, "the least `confidence` of a finding: low, medium or high")
	fs.IntVar(&o.most, "findings", 1000, "the most findings printed for one file; all are counted; 0 for no limit")
	fs.StringVar(&o.iins, "iins", "", "`file` with further ranges of card numbers, as CSV: brand,lo,hi,lengths,luhn,source")
	fs.StringVar(&o.fingerprint, "fingerprint-key", "", "`file` with at least 32 secret characters, so that the fingerprints of several runs can be compared; default: random")
	fs.StringVar(&o.keyring, "keyring", "", "keyring `file` with the purpose object, to search what is in sealed objects")
	fs.StringVar(&o.secret, "keyring-secret", "", "`file` with the secret that opens the keyring")
	fs.StringVar(&o.parquetKey, "parquet-key", "", "`file` with the key of encrypted Parquet files, 32, 48 or 64 hexadecimal digits")
	fs.StringVar(&o.incident, "incident", "", "`file` for incident records (PCI DSS 12.10.7), one a line as JSON")
	fs.StringVar(&o.progress, "progress", "auto", "print progress to standard error: yes, no, or auto for on a terminal")
	fs.BoolVar(&o.strict, "strict", false, "count encrypted objects without a key as not read")
	fs.BoolVar(&o.version, "version", false, "print the version")
	fs.Int64Var(&o.maxExpanded, "max-expanded", 0, "the most `bytes` decompressed from one file; default 1 TiB")
	fs.Int64Var(&o.maxMemory, "max-memory", 0, "the most `bytes` of a zip, Parquet or SQLite file within another file; default 256 MiB")
	fs.StringVar(&o.s3.endpoint, "s3-endpoint", "", "`URL` of another S3 service than Amazon's; https, or http to a loopback address")
	fs.StringVar(&o.s3.region, "s3-region", "", "`region` of the bucket; default: the environment's")
	fs.BoolVar(&o.s3.pathStyle, "s3-path-style", false, "put the bucket's name into the path")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, usage)
			fs.SetOutput(stderr)
			fs.PrintDefaults()
		}
		return nil, err
	}
	o.targets = fs.Args()
	if o.version {
		return o, nil
	}
	for _, c := range []discover.Confidence{discover.Low, discover.Medium, discover.High} {
		if c.String() == confidence {
			o.least = c
		}
	}
	switch {
	case len(o.targets) == 0:
		return nil, errors.New("nothing to search: name a file, a folder, a URL, or - for standard input")
	case o.least == 0:
		return nil, errors.New("-confidence is not low, medium or high")
	case newOutput(o.format, io.Discard) == nil:
		return nil, errors.New("-format is not text, json or sarif")
	case o.progress != "yes" && o.progress != "no" && o.progress != "auto":
		return nil, errors.New("-progress is not yes, no or auto")
	case (o.keyring == "") != (o.secret == ""):
		return nil, errors.New("-keyring and -keyring-secret are given together")
	}
	return o, nil
}

// open reads the files that the options name.
func (o *options) open() (*discover.Detector, formats.Config, error) {
	cfg := formats.Config{MaxExpanded: o.maxExpanded, MaxMemory: o.maxMemory}
	detector := discover.DetectorConfig{IINs: card.KnownIINs()}
	if o.iins != "" {
		f, err := os.Open(o.iins)
		if err != nil {
			return nil, cfg, fmt.Errorf("-iins: %w", err)
		}
		defer f.Close()
		rows, err := card.ReadIINs(f)
		if err != nil {
			return nil, cfg, fmt.Errorf("-iins %s: %w", o.iins, err)
		}
		detector.IINs = detector.IINs.With(rows)
	}
	if o.fingerprint != "" {
		secret, err := readSecret(o.fingerprint)
		if err != nil {
			return nil, cfg, fmt.Errorf("-fingerprint-key: %w", err)
		}
		defer clear(secret)
		if len(secret) < 32 {
			return nil, cfg, errors.New("-fingerprint-key: fewer than 32 characters")
		}
		sum := sha256.Sum256(secret)
		defer clear(sum[:])
		if detector.FingerprintKey, err = keys.KeyFrom(sum[:]); err != nil {
			return nil, cfg, err
		}
		defer detector.FingerprintKey.Destroy()
	}
	if o.keyring != "" {
		ring, err := local.OpenFile(o.keyring, o.secret)
		if err != nil {
			return nil, cfg, err
		}
		cfg.Sealed = sealedObjects{ring}
	}
	if o.parquetKey != "" {
		text, err := readSecret(o.parquetKey)
		if err != nil {
			return nil, cfg, fmt.Errorf("-parquet-key: %w", err)
		}
		defer clear(text)
		key := make([]byte, hex.DecodedLen(len(text)))
		if n, err := hex.Decode(key, text); err != nil || n != 16 && n != 24 && n != 32 {
			return nil, cfg, errors.New("-parquet-key: not 32, 48 or 64 hexadecimal digits")
		}
		cfg.Parquet = parquetKey{&key}
	}
	return discover.NewDetector(detector), cfg, nil
}

// readSecret reads a file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: set its mode to 0600", path)
	}
	b, err := os.ReadFile(path)
	return bytes.TrimSpace(b), err
}

// parquetKey is one key for all files. It prints nothing of itself.
type parquetKey struct{ key *[]byte }

func (k parquetKey) Key([]byte) ([]byte, error) { return *k.key, nil }

// Format implements fmt.Formatter.
func (parquetKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key(redacted)") }

// sealedObjects opens the objects of local sealed stores with a keyring.
type sealedObjects struct{ provider keys.Provider }

// maxFolders is how far above an object its store's root is looked for.
const maxFolders = 12

// Open implements formats.Opener. An object opens only under its own name, so the root of its
// store is the folder above it below which its path is that name.
func (s sealedObjects) Open(ctx context.Context, path string) (formats.Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	root, name := filepath.Dir(abs), filepath.Base(abs)
	for range maxFolders {
		if objects.ValidateName(name) != nil {
			break
		}
		var o objects.Object
		if o, err = objects.NewSealed(root, s.provider, objects.SealedConfig{}).Open(ctx, name); err == nil {
			return o, nil
		}
		if errors.Is(err, keys.ErrNoKey) {
			return nil, keys.ErrNoKey
		}
		if root == filepath.Dir(root) {
			break
		}
		root, name = filepath.Dir(root), filepath.Base(root)+"/"+name
	}
	return nil, objects.ErrCorrupt
}
