package keys

import (
	"fmt"
	"time"
)

// State is where a key version stands in its life. The names are those of NIST SP 800-57
// part 1 revision 5, section 7, except that Retired is its "deactivated".
type State string

const (
	Active    State = "active"    // the newest version: protects new data and opens old
	Retired   State = "retired"   // an older version: opens what it protected; a secret is still live
	Suspended State = "suspended" // switched off by an administrator of its keeper: of no use until switched on
	Pending   State = "pending"   // of no use any more, and destroyed when the keeper's waiting period ends
	Destroyed State = "destroyed" // no copy is left with the keeper
	Unknown   State = "unknown"   // the keeper does not say: unreachable, or not yet ready
)

// Entry is one version of one key, as the inventory lists it: what PCI DSS 4.0.1
// requirements 3.6.1.1 (algorithm, strength, expiry, usage, keeper of each key) and 12.3.3
// (inventory of the cryptography in use) ask for. It holds no key material.
type Entry struct {
	ID        string    `json:"id"`
	Owner     Owner     `json:"owner"`
	Purpose   Purpose   `json:"purpose"`
	Version   int       `json:"version"` // counted from 1 within owner and purpose
	State     State     `json:"state"`
	Created   time.Time `json:"created"`
	RotateBy  time.Time `json:"rotate_by"`          // end of the cryptoperiod in which it may protect new data
	Destroyed time.Time `json:"destroyed,omitzero"` // when it was destroyed, or became of no use and pending
	Algorithm string    `json:"algorithm"`          // such as "AES-256-GCM key wrapping"
	Bits      int       `json:"bits"`               // strength
	Usage     string    `json:"usage"`              // what it protects, in words
	Custody   string    `json:"custody"`            // who keeps it and where: a file and its derivation, a KMS key's ARN
}

// Scope is whose key the entry is, and for what.
func (e Entry) Scope() Scope { return Scope{e.Owner, e.Purpose} }

// IsOverdue reports whether a version that still protects new data should have been rotated.
func (e Entry) IsOverdue(now time.Time) bool { return e.State == Active && now.After(e.RotateBy) }

// Cryptoperiod is how long one version of the purpose's key may protect new data unless
// configured otherwise. NIST SP 800-57 part 1 revision 5, section 5.3.6 and table 1, allows
// up to two years to symmetric key-wrapping and authentication keys; wrapping keys get one
// year here, which is also how often AWS KMS rotates by default.
func (p Purpose) Cryptoperiod() time.Duration {
	if p.IsSecret() {
		return 2 * year
	}
	return year
}

const year = 365 * 24 * time.Hour

// IsSecret reports whether the purpose's keys are secrets that are used as they are. Those of
// other purposes only wrap data keys. No key does both (NIST SP 800-57 part 1, section 5.2).
func (p Purpose) IsSecret() bool { return p == Mint || p == Index || p == Format }

// Algorithm names what the purpose's keys are used with.
func (p Purpose) Algorithm() string {
	switch p {
	case Mint, Index:
		return "HMAC-SHA-256"
	case Format:
		return "AES-256 FF1"
	}
	return "AES-256-GCM key wrapping"
}

// Usage says what the purpose's keys protect.
func (p Purpose) Usage() string {
	switch p {
	case Seal:
		return "wraps data keys of card numbers on the stream and in rejected records"
	case Mint:
		return "turns card numbers into tokens"
	case Reverse:
		return "wraps data keys of the vault's card numbers"
	case Index:
		return "turns card numbers into the processor's look-up keys"
	case Format:
		return "turns card numbers into format-preserving tokens"
	case Object:
		return "wraps data keys of the lake's objects"
	case Audit:
		return "wraps data keys of the audit log"
	}
	return "unknown purpose " + fmt.Sprintf("%q", string(p))
}
