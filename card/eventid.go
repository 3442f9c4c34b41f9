package card

import (
	"crypto/sha256"

	"github.com/cardlake/cardlake"
)

// EventKey is what makes an event the same event: fields that a repeat of the message and
// its replay from another region carry unchanged.
type EventKey struct {
	Tenant       cardlake.Tenant
	Network      cardlake.Network
	Acquirer     string // DE 32
	RRN          string // DE 37
	STAN         string // DE 11
	MTI          string // four digits; 0100 and its repeat 0101 are the same event
	Transmission string // DE 7, MMDDhhmmss
}

// ID returns the key's event id: a UUID of version 8 (RFC 9562, section 5.8) whose other
// 122 bits are the beginning of SHA-256 over the fields, each ended by a zero byte.
func (k EventKey) ID() cardlake.EventID {
	var buf [160]byte
	b := append(buf[:0], "cardlake event 1\x00"...)
	class := k.MTI
	if len(class) == 4 {
		class = class[:3]
	}
	for _, s := range [...]string{string(k.Tenant), string(k.Network), k.Acquirer, k.RRN, k.STAN, class, k.Transmission} {
		b = append(b, s...)
		b = append(b, 0)
	}
	sum := sha256.Sum256(b)
	var id cardlake.EventID
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
