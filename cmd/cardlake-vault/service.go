package main

import (
	"flag"

	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// service are the flags of a client of the service.
type service struct {
	url   string
	files detokenize.Files
}

func (s *service) define(fs *flag.FlagSet) {
	fs.StringVar(&s.url, "service", "", "the service, `https://HOST:PORT`")
	fs.StringVar(&s.files.Cert, "cert", "", "one's own certificate `file`, PEM: who one is")
	fs.StringVar(&s.files.Key, "key", "", "its private key `file`, PEM")
	fs.StringVar(&s.files.CA, "ca", "", "`file` of the certificates that sign the service's, PEM")
}

func (s *service) client() (*detokenize.Client, error) {
	config, err := s.files.Client()
	if err != nil {
		return nil, usagef("-cert, -key, -ca: %w", err)
	}
	c, err := detokenize.NewClient(s.url, config, detokenize.ClientConfig{})
	if err != nil {
		return nil, usagef("-service: %w", err)
	}
	return c, nil
}
