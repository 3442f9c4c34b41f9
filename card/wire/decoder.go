package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// DecoderConfig configures a Decoder.
type DecoderConfig struct {
	// SchemaVersions maps the ids a framing may carry to schema versions; default
	// DefaultSchemaID to SchemaVersion.
	SchemaVersions map[uint32]int
	// Envelope bounds how long an unwrapped data key is kept.
	Envelope keys.EnvelopeConfig
}

// Decoder decodes and opens events. One goroutine uses it at a time.
type Decoder struct {
	envelopes *keys.Envelopes
	versions  map[uint32]int
	schemaID  int64 // one that is known to be of SchemaVersion, -1 at first
	row       cardlake.Row
	aad, pan  []byte
}

// NewDecoder returns a decoder that opens with provider's data keys of purpose keys.Seal.
func NewDecoder(provider keys.Provider, cfg DecoderConfig) *Decoder {
	if cfg.SchemaVersions == nil {
		cfg.SchemaVersions = map[uint32]int{DefaultSchemaID: SchemaVersion}
	}
	return &Decoder{
		envelopes: keys.NewEnvelopes(provider, keys.Seal, cfg.Envelope),
		versions:  cfg.SchemaVersions, schemaID: -1,
		aad: make([]byte, 0, 128), pan: make([]byte, 0, 32),
	}
}

// Decode reads the framed event into m and returns its sealed card number. The strings of m
// and the sealed value share value's memory. It overwrites every field of the transaction,
// with zero what an event does not carry, and leaves m.PAN alone. Errors wrap ErrUndecodable
// or ErrUnknownSchema and name the field.
func (d *Decoder) Decode(value []byte, m *card.Message) (sealed []byte, err error) {
	if sealed, err = d.DecodeRow(value, &d.row); err != nil {
		return nil, err
	}
	d.row.Transaction(&m.Transaction)
	return sealed, nil
}

// DecodeRow reads the framed event into r and returns its sealed card number. The texts of r
// and the sealed value share value's memory. It overwrites every field that an event carries
// and leaves the others alone: token, bin, last4, time of ingestion and position. Errors wrap
// ErrUndecodable or ErrUnknownSchema and name the field; r is then of no use.
func (d *Decoder) DecodeRow(value []byte, r *cardlake.Row) (sealed []byte, err error) {
	if len(value) < 5 || value[0] != 0 {
		return nil, fmt.Errorf("%w: no schema id framing", ErrUndecodable)
	}
	if id := binary.BigEndian.Uint32(value[1:]); int64(id) != d.schemaID {
		if d.versions[id] != SchemaVersion {
			return nil, fmt.Errorf("%w: id %d", ErrUnknownSchema, id)
		}
		d.schemaID = int64(id)
	}
	if len(value) > maxEvent {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrUndecodable, len(value), maxEvent)
	}
	return decodeEvent(value[5:], r)
}

// Open opens the sealed card number of the decoded event m into m.PAN, with owner, the
// tenant's key owner. ErrUnopenable is final; any other error is the key provider's and may
// pass.
func (d *Decoder) Open(ctx context.Context, owner keys.Owner, m *card.Message, sealed []byte) error {
	return d.open(ctx, owner, appendAAD(d.aad[:0], m.Tenant, m.EventID, SchemaVersion), sealed, &m.PAN)
}

// OpenRow is Open of an event that was decoded into r. The card number goes into pan, since a
// row has no place for one.
func (d *Decoder) OpenRow(ctx context.Context, owner keys.Owner, r *cardlake.Row, sealed []byte, pan *card.PAN) error {
	tenant := cardlake.Tenant(r.Text(cardlake.TextTenant))
	return d.open(ctx, owner, appendAAD(d.aad[:0], tenant, r.EventID, SchemaVersion), sealed, pan)
}

func (d *Decoder) open(ctx context.Context, owner keys.Owner, aad, sealed []byte, to *card.PAN) error {
	d.aad = aad
	pan, err := d.envelopes.Open(ctx, d.pan[:0], owner, sealed, aad)
	defer clear(d.pan[:cap(d.pan)])
	switch {
	case errors.Is(err, keys.ErrOpen), errors.Is(err, keys.ErrUnwrap), errors.Is(err, keys.ErrNoKey):
		return fmt.Errorf("%w: %w", ErrUnopenable, err)
	case err != nil:
		return err
	}
	if cap(pan) > cap(d.pan) { // no card number is that long: Set will refuse it
		defer clear(pan)
	}
	if err := to.Set(pan); err != nil {
		return fmt.Errorf("%w: %w", ErrUnopenable, err)
	}
	return nil
}
