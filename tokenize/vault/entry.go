package vault

import (
	"encoding/binary"
	"fmt"

	"github.com/cardlake/cardlake/tokenize"
)

type kind byte

const (
	absent  kind = 0
	pin     kind = 'p' // + the sealed card number
	index   kind = 'i' // + the token it leads to
	retired kind = 'r' // + the token it leads to
	note    kind = 'n' // + the state of a job, JSON
)

// entry is a value of the store: a byte for the kind, then what belongs to the kind. A token
// is its version, 4 bytes big endian, and its bits.
type entry struct {
	kind  kind
	leads tokenize.Token // of index and retired
	data  []byte         // of pin and note
}

const tokenLen = 4 + len(tokenize.Token{}.Bits)

func (e entry) encode() []byte {
	switch e.kind {
	case absent:
		return nil
	case index, retired:
		b := binary.BigEndian.AppendUint32([]byte{byte(e.kind)}, uint32(e.leads.Version))
		return append(b, e.leads.Bits[:]...)
	}
	return append([]byte{byte(e.kind)}, e.data...)
}

// parseEntry reads a value of the store and keeps it. No value is absence.
func parseEntry(value []byte) (entry, error) {
	if len(value) == 0 {
		return entry{}, nil
	}
	e := entry{kind: kind(value[0])}
	switch e.kind {
	case pin, note:
		e.data = value[1:]
		return e, nil
	case index, retired:
		if len(value) != 1+tokenLen {
			return entry{}, fmt.Errorf("%w: it has %d bytes", ErrDamaged, len(value))
		}
		e.leads.Version = int(binary.BigEndian.Uint32(value[1:]))
		copy(e.leads.Bits[:], value[5:])
		if e.leads.Version < 1 || e.leads.Version > tokenize.MaxVersion {
			return entry{}, fmt.Errorf("%w: it leads to version %d", ErrDamaged, e.leads.Version)
		}
		return e, nil
	}
	return entry{}, fmt.Errorf("%w: unknown kind", ErrDamaged)
}
