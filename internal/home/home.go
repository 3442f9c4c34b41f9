// Package home names the places in the folder of an embedded cardlake, one machine with
// no server besides, so that every binary finds what another one wrote.
package home

import (
	"fmt"
	"os"
	"path/filepath"
)

// Dir is the folder.
type Dir string

// Default is $CARDLAKE_DIR, or cardlake-data in the working directory.
func Default() string {
	if d := os.Getenv("CARDLAKE_DIR"); d != "" {
		return d
	}
	return "cardlake-data"
}

func (d Dir) in(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Tenants is the register of tenants.
func (d Dir) Tenants() string { return d.in("tenants.json") }

// Catalog is the lake's catalog, a SQLite database.
func (d Dir) Catalog() string { return d.in("lake", "catalog.db") }

// Objects is the root of the lake's sealed object store.
func (d Dir) Objects() string { return d.in("lake", "objects") }

// LakeKeyring holds the keys of the lake (purposes object, audit); LakeSecret its passphrase.
func (d Dir) LakeKeyring() string { return d.in("keys", "lake.keyring") }

// LakeSecret is the file with the passphrase of LakeKeyring.
func (d Dir) LakeSecret() string { return d.in("keys", "lake.secret") }

// CardKeyring holds the keys of zone A (purposes seal, mint, reverse, index, format).
func (d Dir) CardKeyring() string { return d.in("keys", "card.keyring") }

// CardSecret is the file with the passphrase of CardKeyring.
func (d Dir) CardSecret() string { return d.in("keys", "card.secret") }

// Vault holds which token each card has.
func (d Dir) Vault() string { return d.in("vault") }

// Grants is the folder of who may do what: schema, principals, policies.
func (d Dir) Grants() string { return d.in("grants") }

// Retention is the file of how long rows are kept, and which are held.
func (d Dir) Retention() string { return d.in("retention.json") }

// Audit is the folder of the audit log of that name.
func (d Dir) Audit(name string) string { return d.in("audit", name) }

// AuditAnchor is the file that keeps the head of the audit log of that name.
func (d Dir) AuditAnchor(name string) string { return d.in("audit", name+".head") }

// Broker is the data folder of the embedded broker.
func (d Dir) Broker() string { return d.in("broker") }

// Ledger is the processor's store: ledger and outbox.
func (d Dir) Ledger() string { return d.in("processor") }

// Simulator holds the journal and the fraud labels of the simulated card networks.
func (d Dir) Simulator() string { return d.in("sim") }

// Lock is held by the one process that writes the folder.
func (d Dir) Lock() string { return d.in("lock") }

// Make creates the folders that other packages expect, mode 0700.
func (d Dir) Make() error {
	for _, sub := range []string{"", "keys", "lake"} {
		if err := os.MkdirAll(d.in(sub), 0o700); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	return nil
}
