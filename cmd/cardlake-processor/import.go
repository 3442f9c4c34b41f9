package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/ledger"
)

func importCards(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	fs := flag.NewFlagSet("import", flag.ContinueOnError)
	var st store
	st.flags(fs)
	if err := parse(fs, args, stderr, 0); err != nil {
		return err
	}
	if err := st.complete(); err != nil {
		return err
	}
	l, _, err := st.open(ctx, ledger.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	n, err := l.Import(ctx, card.ReadIssued(stdin))
	if err != nil {
		return usagef("%w; %d cards before it are imported", err, n.Cards)
	}
	_, err = fmt.Fprintf(stdout, "%d cards imported: %d new, %d accounts opened\n", n.Cards, n.New, n.Accounts)
	return err
}
