// Package wire is the event as it travels on the stream: Avro (specification 1.12) in
// Confluent's framing, with the card number sealed. The processor encodes, the worker
// decodes and opens; nobody else has the keys.
//
// The clear part cannot hold a card number: the card number has no field there, and every
// text field is passed through card.MaskPANs.
package wire

import (
	_ "embed"
	"errors"

	"github.com/cardlake/cardlake"
)

//go:embed transaction_event.v1.avsc
var schemaV1 string

// Schema returns the Avro schema of the events that an Encoder writes.
func Schema() string { return schemaV1 }

const (
	// SchemaVersion counts the versions of the schema; it is bound into every sealed card
	// number.
	SchemaVersion = 1
	// DefaultSchemaID is the id in the framing when no schema registry is configured.
	DefaultSchemaID = 1
)

// Topic is the stream's default name.
const Topic = "cardlake.transactions"

var (
	// ErrUndecodable marks a record that is not an event of its schema.
	ErrUndecodable = errors.New("undecodable")
	// ErrUnknownSchema marks a record whose schema id is not known.
	ErrUnknownSchema = errors.New("unknown schema")
	// ErrUnopenable marks an event whose sealed card number does not open: changed, moved
	// from another event, or its tenant's key destroyed.
	ErrUnopenable = errors.New("unopenable")
)

// appendAAD binds a sealed card number to its event: tenant, event id and schema version.
func appendAAD(dst []byte, tenant cardlake.Tenant, id cardlake.EventID, version byte) []byte {
	dst = append(dst, "cardlake event pan\x00"...)
	dst = append(dst, tenant...)
	dst = append(dst, 0)
	dst = append(dst, id[:]...)
	return append(dst, version)
}
