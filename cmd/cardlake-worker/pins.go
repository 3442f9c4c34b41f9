package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// pins are the flags of the vault that pins cards.
type pins struct {
	url   string
	files detokenize.Files
	cards int
}

// defaultPinned is of -pinned-cards.
const defaultPinned = 1_000_000

func (p *pins) define(fs *flag.FlagSet) {
	fs.StringVar(&p.url, "vault", "", "`https://HOST:PORT` of cardlake-vault serve, which pins every card's token before it gets into the lake; without one tokens are made here alone, and none can be turned back")
	fs.StringVar(&p.files.Cert, "vault-cert", "", "this worker's certificate `file` for it, PEM, read for each connection")
	fs.StringVar(&p.files.Key, "vault-key", "", "its private key `file`, PEM")
	fs.StringVar(&p.files.CA, "vault-ca", "", "`file` of the certificates that sign the vault's, PEM")
	fs.IntVar(&p.cards, "pinned-cards", defaultPinned, "`number` of cards whose pinned tokens are remembered, in 43 bytes each; others are asked for again")
}

func (p *pins) faults() (errs []error) {
	fault := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	all := []string{p.url, p.files.Cert, p.files.Key, p.files.CA}
	fault(slices.Contains(all, "") && slices.ContainsFunc(all, func(s string) bool { return s != "" }),
		"-vault, -vault-cert, -vault-key and -vault-ca go together")
	if p.url != "" {
		_, err := detokenize.NewClient(p.url, &tls.Config{}, detokenize.ClientConfig{})
		fault(err != nil, "-vault is not https://HOST:PORT")
	}
	fault(p.cards < 1, "-pinned-cards must be at least 1")
	fault(p.url == "" && p.cards > 0 && p.cards != defaultPinned, "-pinned-cards is of -vault")
	return errs
}

// open reads the certificates and returns a client, which connects when it is asked; nil
// without a vault.
func (p *pins) open() (*detokenize.Client, error) {
	if p.url == "" {
		return nil, nil
	}
	config, err := p.files.Client()
	if err != nil {
		return nil, errors.New("-vault-cert, -vault-key, -vault-ca: " + strings.ReplaceAll(err.Error(), "\n", "\n-vault-cert, -vault-key, -vault-ca: "))
	}
	c, err := detokenize.NewClient(p.url, config, detokenize.ClientConfig{})
	if err != nil {
		return nil, fmt.Errorf("-vault: %w", err)
	}
	return c, nil
}
