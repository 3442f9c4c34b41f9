package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// service are the flags of a client of the service.
type service struct {
	url       string
	files     detokenize.Files
	tokenFile string
}

func (s *service) define(fs *flag.FlagSet) {
	fs.StringVar(&s.url, "service", "", "the service, `https://HOST:PORT`")
	fs.StringVar(&s.files.Cert, "cert", "", "one's own certificate `file`, PEM")
	fs.StringVar(&s.files.Key, "key", "", "its private key `file`, PEM")
	fs.StringVar(&s.files.CA, "ca", "", "`file` of the certificates that sign the service's, PEM")
	fs.StringVar(&s.tokenFile, "token-file", "", "`file` with the token of one's sign-in, read for each call: who one is, unless the service takes the certificate for it. A pipe will do: <(…)")
}

// maxTokenFile bounds the file of a token.
const maxTokenFile = 64 << 10

// token reads the token. Its errors do not quote it.
func (s *service) token() (string, error) {
	f, err := os.Open(s.tokenFile)
	if err != nil {
		return "", fmt.Errorf("-token-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("-token-file: %w", err)
	case token == "" || strings.ContainsAny(token, " \t\r\n"):
		return "", errors.New("-token-file: the file is not one token: sign in again")
	}
	return token, nil
}

func (s *service) client() (*detokenize.Client, error) {
	config, err := s.files.Client()
	if err != nil {
		return nil, usagef("-cert, -key, -ca: %w", err)
	}
	var cfg detokenize.ClientConfig
	if s.tokenFile != "" {
		cfg.Token = s.token
	}
	c, err := detokenize.NewClient(s.url, config, cfg)
	if err != nil {
		return nil, usagef("-service: %w", err)
	}
	return c, nil
}
