package ingest

import (
	"encoding/binary"
	"errors"

	"github.com/cardlake/cardlake"
)

// appendPayload writes what a rejected row keeps of its record: the key's length as a
// varint, the key, the value.
func appendPayload(dst []byte, r *Record) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.Key)))
	dst = append(dst, r.Key...)
	return append(dst, r.Value...)
}

// ParsePayload takes an opened payload of cards.transactions_rejected apart.
func ParsePayload(payload []byte) (key, value []byte, err error) {
	n, size := binary.Uvarint(payload)
	if size <= 0 || n > uint64(len(payload)-size) {
		return nil, nil, errors.New("payload of a rejected record is cut short")
	}
	return payload[size : size+int(n)], payload[size+int(n):], nil
}

// RejectedAAD binds a sealed payload of cards.transactions_rejected to its place on the stream.
func RejectedAAD(p cardlake.Position) []byte {
	aad := append([]byte("cardlake rejected record\x00"), p.Stream...)
	aad = append(aad, 0)
	aad = binary.BigEndian.AppendUint32(aad, uint32(p.Partition))
	return binary.BigEndian.AppendUint64(aad, uint64(p.Offset))
}
