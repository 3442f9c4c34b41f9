package register

import (
	"fmt"
	"os"
	"slices"

	"github.com/cardlake/cardlake/keys"
)

// Snapshot is a document as it was at one time, authenticated. Nobody changes it.
type Snapshot struct {
	path string
	doc  Document
	info os.FileInfo
	byID map[string]*Entry
	live map[keys.Scope][]*Entry // newest first
}

func newSnapshot(path string, d Document, info os.FileInfo) *Snapshot {
	s := &Snapshot{path: path, doc: d, info: info, byID: map[string]*Entry{}, live: map[keys.Scope][]*Entry{}}
	for i := range s.doc.Keys {
		s.byID[s.doc.Keys[i].ID] = &s.doc.Keys[i]
	}
	for _, e := range s.doc.live(func(*Entry) bool { return true }) {
		s.live[e.Scope()] = append(s.live[e.Scope()], e)
	}
	return s
}

// isOf reports whether the snapshot is of the very file that info tells of. A change makes a
// new file, so its identity and time say whether there was one.
func (s *Snapshot) isOf(info os.FileInfo) bool {
	return s != nil && os.SameFile(s.info, info) && s.info.ModTime().Equal(info.ModTime()) && s.info.Size() == info.Size()
}

// wrapped data key: version byte, ID of the key version that wraps it, what the keyring made.
const (
	wrapVersion = 1
	idLen       = 16
	headerLen   = 1 + idLen
)

// Header is how a data key that the entry wraps begins.
func (e *Entry) Header() []byte { return append([]byte{wrapVersion}, e.ID...) }

// wasThere reports whether the scope ever had a version.
func (s *Snapshot) wasThere(scope keys.Scope) bool {
	return slices.ContainsFunc(s.doc.Keys, func(e Entry) bool { return e.Scope() == scope })
}

// Wrapping returns the version that wraps the scope's new data keys; ErrNoKey if there is
// none, or the purpose is one of secrets; ErrDestroyed if there was one.
func (s *Snapshot) Wrapping(scope keys.Scope) (*Entry, error) {
	live := s.live[scope]
	if len(live) == 0 && s.wasThere(scope) {
		return nil, fmt.Errorf("%w for %s: every version was destroyed", keys.ErrDestroyed, scope)
	}
	if len(live) == 0 || scope.Purpose.IsSecret() {
		return nil, fmt.Errorf("%w that wraps for %s in keyring %s", keys.ErrNoKey, scope, s.path)
	}
	return live[0], nil
}

// Unwrapping returns the version that wrapped a data key and what the keyring made of it.
// ErrUnwrap says that it is of another scope or no wrapped key, ErrNoKey that its version is
// not in the keyring, ErrDestroyed that it was.
func (s *Snapshot) Unwrapping(scope keys.Scope, wrapped []byte) (*Entry, []byte, error) {
	if len(wrapped) <= headerLen || wrapped[0] != wrapVersion {
		return nil, nil, keys.ErrUnwrap
	}
	e := s.byID[string(wrapped[1:headerLen])]
	switch {
	case e == nil:
		return nil, nil, fmt.Errorf("%w of that id in keyring %s", keys.ErrNoKey, s.path)
	case e.Scope() != scope || scope.Purpose.IsSecret():
		return nil, nil, keys.ErrUnwrap
	case !e.IsLive():
		return nil, nil, fmt.Errorf("%w: version %d was destroyed", keys.ErrDestroyed, e.Version)
	}
	return e, wrapped[headerLen:], nil
}

// Secrets returns the live versions of the scope's secret, newest first; ErrNoKey if there is
// none, or the purpose is not one of secrets.
func (s *Snapshot) Secrets(scope keys.Scope) ([]*Entry, error) {
	live := s.live[scope]
	if len(live) == 0 || !scope.Purpose.IsSecret() {
		return nil, fmt.Errorf("%w: no secret for %s in keyring %s", keys.ErrNoKey, scope, s.path)
	}
	return live, nil
}

// Entries are all versions, in the order in which they were made. They are not to be changed.
func (s *Snapshot) Entries() []Entry { return s.doc.Keys }

// Listed is the entry's line in the inventory, except who keeps it.
func (s *Snapshot) Listed(e *Entry) keys.Entry {
	state := keys.Retired
	if live := s.live[e.Scope()]; !e.IsLive() {
		state = keys.Destroyed
	} else if live[0].ID == e.ID {
		state = keys.Active
	}
	return keys.Entry{
		ID: e.ID, Owner: e.Owner, Purpose: e.Purpose, Version: e.Version, State: state,
		Created: e.Created, RotateBy: e.Created.Add(s.doc.Cryptoperiod(e.Purpose)), Destroyed: e.Destroyed,
		Algorithm: e.Purpose.Algorithm(), Bits: 256, Usage: e.Purpose.Usage(),
	}
}
