package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
)

// detokenizeCards is the people's side of the service, one step a call.
func detokenizeCards(ctx context.Context, args []string, std streams) error {
	var s service
	var name, purpose, show, approve, collect string
	var terminal bool
	fs := newFlags("detokenize", `Turns tokens back into card numbers, with a second person's help:

  cardlake-vault detokenize -tenant T -purpose WHY < tokens    asks, and prints the request's id
  cardlake-vault detokenize -show ID                           prints what a request is for, as JSON
  cardlake-vault detokenize -approve ID                        approves another person's request
  cardlake-vault detokenize -collect ID | ...                  writes token, tab, card number: once

Each step needs -service, -cert, -key and -ca. The service keeps the audit log.`)
	s.define(fs)
	fs.StringVar(&name, "tenant", "", "ask for cards of the tenant with this `name`; the tokens come from standard input, one a line")
	fs.StringVar(&purpose, "purpose", "", "`why` they are needed; it goes into the audit log")
	fs.StringVar(&show, "show", "", "`id` of a request to print")
	fs.StringVar(&approve, "approve", "", "`id` of a request to approve")
	fs.StringVar(&collect, "collect", "", "`id` of a request to collect the answer of; not to a terminal")
	fs.BoolVar(&terminal, "terminal", false, "let -collect write card numbers to a terminal, where they stay in its memory")
	if err := parse(fs, args, std, "service", "cert", "key", "ca"); err != nil {
		return err
	}
	steps := 0
	for _, step := range []string{name, show, approve, collect} {
		if step != "" {
			steps++
		}
	}
	switch {
	case steps != 1:
		return usagef("give one of -tenant, -show, -approve and -collect")
	case (name != "") != (purpose != ""):
		return usagef("-tenant and -purpose go together")
	case terminal && collect == "":
		return usagef("-terminal is of -collect")
	case collect != "" && !terminal && isTerminal(std.out):
		// Before the service is asked, because it answers once.
		return usagef("card numbers are not written to a terminal: send them on with a pipe, or give -terminal")
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	defer client.Close()
	switch {
	case name != "":
		return ask(ctx, client, cardlake.Tenant(name), purpose, std)
	case show != "":
		r, err := client.Status(ctx, show)
		if err != nil {
			return err
		}
		return printRequest(std.out, r)
	case approve != "":
		r, err := client.Approve(ctx, approve)
		if err != nil {
			return err
		}
		return printRequest(std.out, r)
	default:
		return collectCards(ctx, client, collect, std.out)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func ask(ctx context.Context, client *detokenize.Client, name cardlake.Tenant, purpose string, std streams) error {
	if name.Validate() != nil {
		return usagef("-tenant breaks the rule: %w", cardlake.ErrTenant)
	}
	tokens, err := readTokens(std.in)
	if err != nil {
		return err
	}
	r, err := client.Request(ctx, name, tokens, purpose)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%d tokens; another person must approve by %s\n", r.Count, r.Until.Format("15:04:05 MST"))
	_, err = fmt.Fprintln(std.out, r.ID)
	return err
}

// readTokens reads tokens, one a line. Bad lines, which may hold card numbers, are named by
// their numbers only.
func readTokens(from io.Reader) (tokens []tokenize.Token, err error) {
	var errs []error
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		token, err := tokenize.ParseToken(string(bytes.TrimSpace(lines.Bytes())))
		if err != nil && len(errs) < maxComplaints {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
		}
		tokens = append(tokens, token)
	}
	return tokens, errors.Join(append(errs, lines.Err())...)
}

func printRequest(to io.Writer, r detokenize.Request) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "%s\n", text)
	return err
}

func collectCards(ctx context.Context, client *detokenize.Client, id string, to io.Writer) error {
	cards, err := client.Collect(ctx, id)
	if err != nil {
		return err
	}
	const perLine = 80 // a token of 45 characters and a number of 19
	text := make([]byte, 0, perLine*len(cards))
	defer func() { clear(text) }()
	for _, c := range cards {
		text, _ = c.Token.AppendText(text) // which does not fail
		text = append(text, '\t')
		text = append(text, c.PAN.Digits()...)
		text = append(text, '\n')
		c.PAN.Clear()
	}
	_, err = to.Write(text)
	return err
}
