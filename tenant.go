package cardlake

import (
	"errors"
	"fmt"
)

// Tenant is the public name of a company whose cards are processed: the value of the
// column tenant, the subject of grants. It is 1 to 40 lower-case letters, digits and
// hyphens, begins with a letter and has no run of more than six digits, so that it can
// never be taken for a card number.
type Tenant string

// ErrTenant marks a tenant name that does not follow the rule.
var ErrTenant = errors.New("tenant name must be 1 to 40 of a-z, 0-9 and -, begin with a letter, and have at most 6 digits in a row")

// Validate returns ErrTenant if the name does not follow the rule.
func (t Tenant) Validate() error {
	if len(t) == 0 || len(t) > 40 || t[0] < 'a' || t[0] > 'z' {
		return ErrTenant
	}
	digits := 0
	for i := range len(t) {
		switch c := t[i]; {
		case c >= '0' && c <= '9':
			if digits++; digits > 6 {
				return ErrTenant
			}
		case c >= 'a' && c <= 'z', c == '-':
			digits = 0
		default:
			return ErrTenant
		}
	}
	return nil
}

// StorageID names a tenant in paths, key names and encryption contexts. It is 16 of the
// letters a to p, drawn at random when the tenant is created, so that neither a path nor a
// key name tells whose data it is. It never changes.
type StorageID string

// Validate reports whether the id is 16 letters a to p.
func (s StorageID) Validate() error {
	if len(s) != 16 {
		return fmt.Errorf("storage id has %d characters, want 16", len(s))
	}
	for i := range len(s) {
		if s[i] < 'a' || s[i] > 'p' {
			return errors.New("storage id has a character outside a-p")
		}
	}
	return nil
}

// AppendLetters appends src spelled with two of the letters a to p a byte, high half
// first. The spelling has no digit: nothing written with it can look like a card number.
func AppendLetters(dst, src []byte) []byte {
	for _, b := range src {
		dst = append(dst, 'a'+b>>4, 'a'+b&15)
	}
	return dst
}
