package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCardsOfAnErasureThatIsKilled: the tokens are in the file before it is over, because after
// the rows have gone nothing else has them.
func TestCardsOfAnErasureThatIsKilled(t *testing.T) {
	dir, customer := keptLake(t)
	t.Setenv("CARDLAKE_DIR", string(dir))
	t.Setenv("CARDLAKE_AS", "")
	cards := filepath.Join(t.TempDir(), "cards")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // it waits an hour for readers, with the rows gone
		done <- erasePerson(ctx, []string{"-tenant", "acme", "-grace", "1h", "-cards", cards}, strings.NewReader(customer), io.Discard, io.Discard)
	}()
	isListed := false
	for until := time.Now().Add(20 * time.Second); !isListed && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(cards)
		isListed = bytes.Count(text, []byte("tk1_")) == 1 && bytes.HasSuffix(text, []byte("\n"))
	}
	cancel()
	if err := <-done; err == nil || !isListed {
		t.Errorf("%v; the card was on disk before the end: %v", err, isListed)
	}
}
