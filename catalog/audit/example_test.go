package audit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/keys/local"
)

func Example() {
	if err := example(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 audit.open
	// 2 export tenant aurora allowed
	// 3 audit.close
	// holds together: true
	// with its second line changed: audit-00000001.jsonl, line 2 (number 2): its hash is not that of its content
}

func example(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	keyring, err := local.CreateFile(filepath.Join(dir, "keyring"), filepath.Join(dir, "secret"), keys.LakePurposes)
	if err != nil {
		return err
	}
	if err := keyring.EnsureOwners(ctx, keys.Lake); err != nil {
		return err
	}
	at := filepath.Join(dir, "log")
	log, err := audit.Open(ctx, at, keyring, audit.Config{Actor: "gateway"})
	if err != nil {
		return err
	}
	// First the record, then the deed: if this fails, nothing is exported.
	err = log.Append(ctx, audit.Record{Actor: "ana", Action: "export", Resource: "tenant aurora", Outcome: audit.Allowed, Reason: "monthly report"})
	if err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	for e, err := range audit.Read(ctx, at, audit.Filter{}) {
		if err != nil {
			return err
		}
		if e.Segment != nil || e.Action == audit.ActionClose {
			fmt.Println(e.Seq, e.Action)
		} else {
			fmt.Println(e.Seq, e.Action, e.Resource, e.Outcome)
		}
	}
	r, err := audit.Verify(ctx, at, audit.VerifyConfig{Keys: keyring, Anchor: log.Head()})
	if err != nil {
		return err
	}
	fmt.Println("holds together:", r.Break == nil)

	path := filepath.Join(at, "audit-00000001.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := range text {
		if string(text[i:i+5]) == `"ana"` {
			copy(text[i:], `"bea"`)
			break
		}
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	if r, err = audit.Verify(ctx, at, audit.VerifyConfig{Keys: keyring, Anchor: log.Head()}); err != nil {
		return err
	}
	fmt.Println("with its second line changed:", r.Break)
	return nil
}
