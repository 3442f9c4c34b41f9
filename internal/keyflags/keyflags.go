// Package keyflags is how the binaries are told on their command line where their keyrings
// and AWS are, and how they open them: the same flags, faults and errors for all. A keyring is
// a file whose passphrase opens it, or a register of AWS KMS keys.
package keyflags

import (
	"cmp"
	"errors"
	"flag"
	"net/url"
	"strings"

	"github.com/cardlake/cardlake/internal/home"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/kms"
)

// Kind is which of the two keyrings of an installation.
type Kind int

const (
	// Card is zone A's: purposes seal, mint, reverse, index and format.
	Card Kind = iota
	// Lake is the lake's: purposes object and audit.
	Lake
)

// Flags are the flags of AWS and of keyrings. [Flags.Define] comes first, then
// [Flags.Complete] when the command line was parsed, then [Ring.Open].
type Flags struct {
	// Region is empty for that of the environment.
	Region string
	// Endpoint is the URL of KMS, empty for the region's.
	Endpoint string
	// Card and Lake are the keyrings. One that was not defined cannot be opened.
	Card, Lake Ring

	defined []*Ring
}

// Ring are the flags of one keyring.
type Ring struct {
	// File is the keyring's, whoever keeps its keys.
	File string
	// Secret is where its passphrase is, as local.ReadSecret takes it; empty with KMS.
	Secret string
	// KMS is the ARN of the HMAC KMS key that authenticates a register of KMS keys; empty for
	// a keyring with a passphrase.
	KMS string

	flags         *Flags
	name, kmsName string // of the flags of File and KMS
	purposes      []keys.Purpose
	opened        Keyring // once Open has returned it
}

// Define adds the flags of AWS and of the keyrings to fs.
func (f *Flags) Define(fs *flag.FlagSet, kinds ...Kind) {
	for _, k := range kinds {
		if k == Card {
			f.define(fs, &f.Card, "card-", "zone A's", "card", keys.CardPurposes)
		} else {
			f.define(fs, &f.Lake, "", "the lake's", "lake", keys.LakePurposes)
		}
	}
	fs.StringVar(&f.Endpoint, "kms-endpoint", "", "`URL` of KMS in place of the region's, as for an interface endpoint")
	fs.StringVar(&f.Region, "aws-region", "", "AWS `region` of whatever is used of AWS; default that of the environment")
}

func (f *Flags) define(fs *flag.FlagSet, r *Ring, prefix, whose, base string, purposes []keys.Purpose) {
	r.flags, r.name, r.kmsName, r.purposes = f, prefix+"keyring", prefix+"kms", purposes
	var served []string
	for _, p := range purposes {
		served = append(served, string(p))
	}
	fs.StringVar(&r.File, r.name, "", whose+" keyring `file`, of the purposes "+strings.Join(served, ", ")+"; default keys/"+base+".keyring in -dir")
	fs.StringVar(&r.Secret, r.name+"-secret", "", "its passphrase: a `file`, credential:NAME or kernel:NAME; default keys/"+base+".secret in -dir")
	fs.StringVar(&r.KMS, r.kmsName, "", "`ARN` of the HMAC KMS key that authenticates -"+r.name+", whose keys are then AWS KMS keys")
	f.defined = append(f.defined, r)
}

// Complete sets the files that were not named to those of the folder, and reports every fault
// of the flags, one a line. None shows a secret.
func (f *Flags) Complete(d home.Dir) error {
	f.Card.complete(d.CardKeyring(), d.CardSecret())
	f.Lake.complete(d.LakeKeyring(), d.LakeSecret())
	var errs []error
	fault := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	var names []string
	inKMS := false
	for _, r := range f.defined {
		names = append(names, "-"+r.kmsName)
		if r.KMS == "" {
			continue
		}
		inKMS = true
		_, err := kms.RegionOf(r.KMS)
		fault(err != nil, "-"+r.kmsName+" is not the ARN of a KMS key")
		fault(r.Secret != "", "-"+r.kmsName+" and -"+r.name+"-secret exclude each other: keys that KMS keeps have no passphrase")
	}
	if f.Endpoint != "" {
		u, err := url.Parse(f.Endpoint)
		isURL := err == nil && u.Host != "" && u.User == nil
		fault(!isURL || u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Hostname())), "-kms-endpoint is not https://…, or http://… on loopback")
		fault(!inKMS, "-kms-endpoint is of "+strings.Join(names, " and "))
	}
	return errors.Join(errs...)
}

func (r *Ring) complete(file, secret string) {
	r.File = cmp.Or(r.File, file)
	if r.KMS == "" {
		r.Secret = cmp.Or(r.Secret, secret)
	}
}
