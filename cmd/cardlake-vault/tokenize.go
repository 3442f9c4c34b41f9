package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/internal/keyflags"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/tokenize"
)

const (
	// maxCards is how many card numbers a call of tokenize takes.
	maxCards = 1_000_000
	// maxComplaints is how many bad lines it names.
	maxComplaints = 20
	// chunk is how many cards are pinned at a time.
	chunk = 1024
)

// tokenizeCards writes the token of each card number of standard input. It writes nothing if
// any line is bad, or any card can't be pinned.
func tokenizeCards(ctx context.Context, args []string, std streams) (err error) {
	var p place
	var s service
	var name, format string
	fs := newFlags("tokenize", "Reads card numbers from standard input, one a line, pins them in the vault and writes\ntheir tokens in the same order. If a line is bad nothing is pinned and nothing written.")
	p.define(fs)
	p.defineStore(fs)
	p.defineAudit(fs, commandLog)
	s.define(fs)
	fs.StringVar(&name, "tenant", "", "whose cards they are, by `name` (required)")
	fs.StringVar(&format, "format", "token", "`kind` of token: token, or ff1, which has as many digits as the number and is not pinned")
	if err := parse(fs, args, std, "tenant"); err != nil {
		return err
	}
	if format != "token" && format != "ff1" {
		return usagef("-format is token or ff1")
	}
	if err := p.complete(commandLog); err != nil {
		return err
	}
	t, err := p.tenant(name)
	if err != nil {
		return err
	}
	pans, err := readCards(std.in)
	defer func() {
		for _, pan := range pans {
			pan.Clear()
		}
	}()
	if err != nil {
		return err
	}
	cardKeys, err := open(ctx, &p.keys.Card)
	if err != nil {
		return err
	}
	lakeKeys, err := open(ctx, &p.keys.Lake)
	if err != nil {
		return err
	}
	to := &pinning{place: &p, service: &s, keys: cardKeys, owner: t.owner, log: slog.New(slog.NewTextHandler(std.err, nil))}
	mint := to.tokens
	if format == "ff1" {
		mint = to.formatted
	}
	recorder := p.newRecorder(lakeKeys, "vault.tokenise", "tenant "+name)
	var tokens []byte
	err = recorder.around(ctx, "", map[string]int64{"cards": int64(len(pans))}, func() error {
		tokens, err = mint(ctx, pans)
		return err
	})
	if err != nil {
		return err
	}
	_, err = std.out.Write(tokens)
	return err
}

// readCards reads card numbers, one a line. Bad lines are named by their numbers only.
func readCards(from io.Reader) (pans []card.PAN, err error) {
	lines := bufio.NewScanner(from)
	buf := make([]byte, 4096)
	lines.Buffer(buf, len(buf))
	defer clear(buf)
	var errs []error
	bad, n := 0, 0
	for lines.Scan() {
		n++
		pan, err := card.ParsePAN(bytes.TrimSpace(lines.Bytes()))
		if err != nil {
			if bad++; bad <= maxComplaints {
				errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			}
			continue
		}
		if len(pans) == maxCards {
			return pans, fmt.Errorf("there are more than %d lines: split them", maxCards)
		}
		pans = append(pans, pan)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		errs = append(errs, fmt.Errorf("line %d: it is too long for a card number", n+1))
	case err != nil:
		errs = append(errs, fmt.Errorf("standard input: %w", err))
	}
	if bad > maxComplaints {
		errs = append(errs, fmt.Errorf("%d more lines are bad", bad-maxComplaints))
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("nothing was tokenised"))
	}
	return pans, errors.Join(errs...)
}

// pinning makes tokens for one tenant.
type pinning struct {
	place   *place
	service *service
	keys    keyflags.Keyring
	owner   keys.Owner
	log     *slog.Logger
}

// tokens pins the cards, by the service if there is one, and returns their tokens, one a line.
func (p *pinning) tokens(ctx context.Context, pans []card.PAN) (text []byte, err error) {
	var pins tokenize.Pins
	if p.service.url != "" {
		client, err := p.service.client()
		if err != nil {
			return nil, err
		}
		defer client.Close()
		pins = client
	} else {
		v, closeVault, openErr := p.place.openVault(ctx, p.log)
		if openErr != nil {
			return nil, openErr
		}
		defer func() { err = errors.Join(err, closeVault()) }()
		pins = v
	}
	tokenizer := tokenize.NewPinned(p.keys, pins, keys.NewEnvelopes(p.keys, keys.Reverse, keys.EnvelopeConfig{}), tokenize.Config{})
	for len(pans) > 0 {
		some := pans[:min(len(pans), chunk)]
		pans = pans[len(some):]
		minter, err := tokenizer.Minter(ctx, p.owner, time.Now())
		if err != nil {
			return nil, err
		}
		places := make([]int, len(some))
		for i, pan := range some {
			if places[i], err = minter.Queue(ctx, pan); err != nil {
				return nil, err
			}
		}
		tokens, err := tokenizer.Settle(ctx)
		if err != nil {
			return nil, err
		}
		for _, place := range places {
			if tokens[place].IsZero() {
				return nil, fmt.Errorf("the vault has no key for the tenant any more: %w", keys.ErrNoKey)
			}
			text, _ = tokens[place].AppendText(text) // which does not fail
			text = append(text, '\n')
		}
	}
	return text, nil
}

// formatted returns the cards' format-preserving tokens, one a line.
func (p *pinning) formatted(ctx context.Context, pans []card.PAN) (text []byte, err error) {
	formatter, _, err := tokenize.OpenFormatter(ctx, p.keys, p.owner)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, pan := range pans {
		if text, err = formatter.AppendToken(text, pan); err != nil && len(errs) < maxComplaints {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
		}
		text = append(text, '\n')
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, errors.New("nothing was tokenised"))...)
	}
	return text, nil
}
