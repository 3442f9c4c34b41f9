package retention

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
)

// The erasures of a tenant are objects under its key, so that every machine of maintenance
// sees them and they end with the tenant:
//
//	retention/<storage id>/key            32 random bytes: the key of the hashes
//	retention/<storage id>/erased/<hash>  a person or a card to be erased, since when
//	retention/<storage id>/done/<hash>    a person of whom all files were gone through
//	retention/<storage id>/upto/<number>  files of commits up to the number were gone through
//	                                      for all that were done then
//	retention/<storage id>/derived/<table>/<number>  the same of a table that jobs write
//	retention/<storage id>/leftover       files were replaced that may still be there
//
// An object is put once and never changed: whoever is second finds what the first put.
func erasuresPrefix(id cardlake.StorageID) string { return "retention/" + string(id) + "/" }

const leftOver = "leftover"

// Hashes begin with what they are of, in letters that no digit of a card can be taken for.
const (
	personHash = 'p'
	cardHash   = 'c'
	hashBytes  = 16
)

// isPerson reports whether text is the hash of a person.
func isPerson(text string) bool {
	if len(text) != 1+2*hashBytes || text[0] != personHash {
		return false
	}
	return strings.Trim(text[1:], "abcdefghijklmnop") == ""
}

// secret is the key of a tenant's hashes.
type secret []byte

// hash is the hash of a customer's id or of a token: HMAC-SHA-256, cut to 128 bits.
func (s secret) hash(kind byte, value []byte) string {
	h := hmac.New(sha256.New, s)
	h.Write([]byte{kind})
	h.Write(value)
	var sum [sha256.Size]byte
	return string(cardlake.AppendLetters([]byte{kind}, h.Sum(sum[:0])[:hashBytes]))
}

// errNoErasures says that the tenant has no key of hashes, because nobody was ever erased or
// held.
var errNoErasures = errors.New("the tenant has no key of erasures")

// secret reads the tenant's key of hashes, and makes it first if it is not there and may be.
func (k *Keeper) secret(ctx context.Context, r catalog.TenantRecord, mayMake bool) (secret, error) {
	name := erasuresPrefix(r.StorageID) + "key"
	for range 2 {
		body, err := objects.ReadAll(ctx, k.lake.Store, name)
		if err == nil && len(body) != sha256.Size {
			return nil, errors.New("the tenant's key of erasures has another length")
		}
		if err == nil || !errors.Is(err, objects.ErrNotFound) {
			return body, err
		}
		if !mayMake {
			return nil, errNoErasures
		}
		fresh := make([]byte, sha256.Size)
		rand.Read(fresh)
		if err := k.lake.Store.Put(ctx, name, owner(r), fresh); err != nil && !errors.Is(err, objects.ErrExists) {
			return nil, err
		}
		// Read again: another process may have been first.
	}
	return nil, errors.New("the tenant's key of erasures does not stay")
}

// Person names a customer as holds and erasures do: by a keyed hash, from which nobody finds
// the customer without the tenant's key.
func (k *Keeper) Person(ctx context.Context, tenant cardlake.Tenant, customer string) (string, error) {
	r, err := k.tenant(tenant)
	if err != nil {
		return "", err
	}
	if err := validateCustomer(customer); err != nil {
		return "", err
	}
	s, err := k.secret(ctx, r, true)
	if err != nil {
		return "", fmt.Errorf("name a customer of tenant %s: %w", tenant, err)
	}
	return s.hash(personHash, []byte(customer)), nil
}

// maxCustomer is the longest customer id, in bytes.
const maxCustomer = 256

func validateCustomer(id string) error {
	if id == "" || len(id) > maxCustomer {
		return fmt.Errorf("a customer id is 1 to %d bytes", maxCustomer)
	}
	return nil
}

// erasure is one that is remembered.
type erasure struct {
	Person string    `json:"person"` // of a card, whose it was
	At     time.Time `json:"at"`
}

// erasures are those of one tenant that are remembered.
type erasures struct {
	entries map[string]erasure // by hash
	done    map[string]bool
	upto    int64 // -1 if nothing was gone through
	// isLeftOver says that a run may have been killed between a commit and the removal of what
	// it replaced.
	isLeftOver bool
	derived    map[string]int64 // upto of tables that jobs write, by name
}

// hasOpen reports whether the files were not gone through for somebody.
func (e *erasures) hasOpen() bool {
	for hash := range e.entries {
		if hash[0] == personHash && !e.done[hash] {
			return true
		}
	}
	return false
}

// erasures lists what is remembered of a tenant.
func (k *Keeper) erasures(ctx context.Context, r catalog.TenantRecord) (*erasures, error) {
	e := &erasures{entries: map[string]erasure{}, done: map[string]bool{}, upto: -1, derived: map[string]int64{}}
	prefix := erasuresPrefix(r.StorageID)
	for info, err := range k.lake.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		kind, name, _ := strings.Cut(strings.TrimPrefix(info.Name, prefix), "/")
		switch kind {
		case leftOver:
			e.isLeftOver = true
		case "erased":
			body, err := objects.ReadAll(ctx, k.lake.Store, info.Name)
			if errors.Is(err, objects.ErrNotFound) {
				continue
			}
			var one erasure
			if err == nil {
				err = json.Unmarshal(body, &one)
			}
			if err != nil {
				return nil, fmt.Errorf("erasures of tenant %s: %w", r.Name, err)
			}
			e.entries[name] = one
		case "done":
			e.done[name] = true
		case "upto":
			if n, err := strconv.ParseInt(name, 10, 64); err == nil {
				e.upto = max(e.upto, n)
			}
		case "derived":
			table, number, _ := strings.Cut(name, "/")
			if n, err := strconv.ParseInt(number, 10, 64); err == nil {
				e.derived[table] = max(e.derived[table], n)
			}
		}
	}
	return e, nil
}

// remember puts an erasure of a person or a card.
func (k *Keeper) remember(ctx context.Context, r catalog.TenantRecord, hash, person string) error {
	body, err := json.Marshal(erasure{Person: person, At: k.cfg.Now().UTC()})
	if err != nil {
		return err
	}
	return k.mark(ctx, r, "erased/"+hash, body)
}

// mark puts an object of the erasures, if it is not there yet.
func (k *Keeper) mark(ctx context.Context, r catalog.TenantRecord, name string, body []byte) error {
	err := k.lake.Store.Put(ctx, erasuresPrefix(r.StorageID)+name, owner(r), body)
	if errors.Is(err, objects.ErrExists) {
		return nil
	}
	return err
}

// unmark removes an object of the erasures.
func (k *Keeper) unmark(ctx context.Context, r catalog.TenantRecord, name string) error {
	err := k.lake.Store.Delete(ctx, erasuresPrefix(r.StorageID)+name)
	if errors.Is(err, objects.ErrNotFound) {
		return nil
	}
	return err
}

// setUpto notes up to which commit all files were gone through.
func (k *Keeper) setUpto(ctx context.Context, r catalog.TenantRecord, before, sequence int64) error {
	if sequence <= before {
		return nil
	}
	if err := k.mark(ctx, r, "upto/"+strconv.FormatInt(sequence, 10), []byte("{}")); err != nil {
		return err
	}
	if before < 0 {
		return nil
	}
	return k.unmark(ctx, r, "upto/"+strconv.FormatInt(before, 10))
}
