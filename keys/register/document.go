package register

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/keys"
)

// ErrActive says that the newest version of a key can't be destroyed alone: an older one
// would protect new data again.
var ErrActive = errors.New("it is the active version: rotate first, or destroy all keys of the owner")

const format = "cardlake keyring 2"

// Document lists a keyring's key versions.
type Document struct {
	Format   string          `json:"format"`
	Serial   uint64          `json:"serial"`  // grows with each change
	Custody  json.RawMessage `json:"custody"` // how the keyring wraps; its own
	Purposes []keys.Purpose  `json:"purposes"`
	// Cryptoperiods are in days, where they are not the purpose's own.
	Cryptoperiods map[keys.Purpose]int `json:"cryptoperiod_days,omitempty"`
	Keys          []Entry              `json:"keys"`
	Tag           []byte               `json:"tag,omitempty"` // of all the above
}

// Entry is one version of a key. Material is wrapped, and gone once it was destroyed.
type Entry struct {
	ID        string       `json:"id"` // 16 letters
	Owner     keys.Owner   `json:"owner"`
	Purpose   keys.Purpose `json:"purpose"`
	Version   int          `json:"version"`
	Created   time.Time    `json:"created"`
	Destroyed time.Time    `json:"destroyed,omitzero"`
	KMSKey    string       `json:"kms_key,omitempty"` // ARN of the KMS key of this version
	Wrapped   []byte       `json:"wrapped,omitempty"`
}

// Scope is whose key the entry is, and for what.
func (e *Entry) Scope() keys.Scope { return keys.Scope{Owner: e.Owner, Purpose: e.Purpose} }

// IsLive reports whether the version was not destroyed.
func (e *Entry) IsLive() bool { return e.Destroyed.IsZero() }

// Decode reads a document, not authenticated. Errors name the rule, not the content.
func Decode(r io.Reader) (Document, error) {
	var d Document
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil || d.Format != format {
		return Document{}, fmt.Errorf("not a keyring file of format %q", format)
	}
	if _, err := json.Marshal(d); err != nil {
		return Document{}, errors.New("the keyring has a date that can't be written")
	}
	ids := map[string]bool{}
	type numbered struct {
		keys.Scope
		version int
	}
	versions := map[numbered]bool{}
	for i := range d.Keys {
		e := &d.Keys[i]
		at := numbered{e.Scope(), e.Version}
		if len(e.ID) != idLen || ids[e.ID] || e.Version < 1 || versions[at] || !e.IsLive() && len(e.Wrapped) > 0 {
			return Document{}, fmt.Errorf("entry %d of the keyring is not well formed", i+1)
		}
		ids[e.ID], versions[at] = true, true
	}
	return d, nil
}

// digest is over all but the tag, in one spelling.
func (d *Document) digest() []byte {
	untagged := *d
	untagged.Tag = nil
	text, err := json.Marshal(untagged)
	if err != nil {
		panic("a keyring's document can't be written: " + err.Error()) // Decode tried
	}
	return sum(text)
}

// follows reports whether the document can have come of the other by changes: its serial is no
// lower, and no version of a key has gone or is live again. Changes made on an older document
// raise its serial just as well.
func (d *Document) follows(other *Document) bool {
	if d.Serial < other.Serial {
		return false
	}
	live := make(map[string]bool, len(d.Keys))
	for i := range d.Keys {
		live[d.Keys[i].ID] = d.Keys[i].IsLive()
	}
	for i := range other.Keys {
		isLive, isThere := live[other.Keys[i].ID]
		if !isThere || isLive && !other.Keys[i].IsLive() {
			return false
		}
	}
	return true
}

func (d *Document) clone() Document {
	c := *d
	c.Purposes, c.Cryptoperiods, c.Keys = slices.Clone(d.Purposes), maps.Clone(d.Cryptoperiods), slices.Clone(d.Keys)
	return c
}

// Missing returns the scopes of the owners, for every purpose of the keyring, of which there
// was never a key. An owner whose keys were destroyed misses none: it does not come back.
func (d *Document) Missing(owners ...keys.Owner) []keys.Scope {
	known := map[keys.Scope]bool{}
	for i := range d.Keys {
		known[d.Keys[i].Scope()] = true
	}
	var out []keys.Scope
	for _, owner := range owners {
		for _, purpose := range d.Purposes {
			scope := keys.Scope{Owner: owner, Purpose: purpose}
			if !known[scope] {
				out, known[scope] = append(out, scope), true
			}
		}
	}
	return out
}

// Next returns an entry for the next version of the scope, without material, not yet in the
// document.
func (d *Document) Next(scope keys.Scope) Entry {
	var id [idLen / 2]byte
	rand.Read(id[:])
	e := Entry{
		ID: string(cardlake.AppendLetters(nil, id[:])), Owner: scope.Owner, Purpose: scope.Purpose,
		Version: 1, Created: now(),
	}
	for i := range d.Keys {
		if d.Keys[i].Scope() == scope {
			e.Version = max(e.Version, d.Keys[i].Version+1)
		}
	}
	return e
}

// Add puts an entry in.
func (d *Document) Add(e Entry) { d.Keys = append(d.Keys, e) }

// Live returns the scope's live versions, newest first, for change; ErrNoKey if none is left.
func (d *Document) Live(scope keys.Scope) ([]*Entry, error) {
	live := d.live(func(e *Entry) bool { return e.Scope() == scope })
	if len(live) == 0 {
		return nil, fmt.Errorf("%w for %s", keys.ErrNoKey, scope)
	}
	return live, nil
}

// LiveOf returns the owner's live versions of all purposes, for change; ErrNoKey if none is
// left.
func (d *Document) LiveOf(owner keys.Owner) ([]*Entry, error) {
	live := d.live(func(e *Entry) bool { return e.Owner == owner })
	if len(live) == 0 {
		return nil, fmt.Errorf("%w of %s", keys.ErrNoKey, owner)
	}
	return live, nil
}

// Destroyable returns a live version that is not the active one, for change: ErrNoKey if
// there is none of that number, ErrActive.
func (d *Document) Destroyable(scope keys.Scope, version int) (*Entry, error) {
	live, err := d.Live(scope)
	if err != nil {
		return nil, err
	}
	for i, e := range live {
		switch {
		case e.Version != version:
		case i == 0:
			return nil, fmt.Errorf("version %d of %s: %w", version, scope, ErrActive)
		default:
			return e, nil
		}
	}
	return nil, fmt.Errorf("%w: no live version %d of %s", keys.ErrNoKey, version, scope)
}

// Destroy takes the material out and marks the version as destroyed.
func (e *Entry) Destroy() { e.Wrapped, e.Destroyed = nil, now() }

func (d *Document) live(wanted func(*Entry) bool) []*Entry {
	var out []*Entry
	for i := range d.Keys {
		if e := &d.Keys[i]; e.IsLive() && wanted(e) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b *Entry) int { return b.Version - a.Version })
	return out
}

// SetCryptoperiod sets the purpose's, in whole days: at least one, at most five years.
func (d *Document) SetCryptoperiod(purpose keys.Purpose, period time.Duration) error {
	days := int(period / (24 * time.Hour))
	if days < 1 || days > 5*365 {
		return fmt.Errorf("cryptoperiod of %s: want 1 to %d days", purpose, 5*365)
	}
	if !slices.Contains(d.Purposes, purpose) {
		return fmt.Errorf("cryptoperiod: %w for purpose %s in this keyring", keys.ErrNoKey, purpose)
	}
	if d.Cryptoperiods == nil {
		d.Cryptoperiods = map[keys.Purpose]int{}
	}
	d.Cryptoperiods[purpose] = days
	return nil
}

// Cryptoperiod is how long a version of the purpose may protect new data.
func (d *Document) Cryptoperiod(purpose keys.Purpose) time.Duration {
	if days, ok := d.Cryptoperiods[purpose]; ok {
		return time.Duration(days) * 24 * time.Hour
	}
	return purpose.Cryptoperiod()
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
