package wire

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cardlake/cardlake"
)

//go:embed control_total.v1.avsc
var totalSchemaV1 string

// TotalSchema returns the Avro schema of the control totals that AppendTotal writes.
func TotalSchema() string { return totalSchemaV1 }

const (
	// TotalSchemaVersion counts the versions of the control totals' schema.
	TotalSchemaVersion = 1
	// DefaultTotalSchemaID is the id in the framing of a control total when no schema
	// registry is configured.
	DefaultTotalSchemaID = 2
)

// maxTotal bounds an encoded control total: four short names and eight numbers.
const maxTotal = 1 << 10

// AppendTotal appends the framed control total to dst under the registry's id of TotalSchema,
// DefaultTotalSchemaID if that is 0. Nothing in it is about one card, so nothing is sealed.
// The fields that only the lake knows (ingestion, position) are not encoded. An error names
// what the total lacks.
func AppendTotal(dst []byte, schemaID uint32, t *cardlake.ControlTotal) ([]byte, error) {
	switch {
	case t.Tenant == "":
		return dst, errors.New("encode control total: no tenant")
	case t.Amount.Currency != t.ApprovedAmount.Currency:
		return dst, errors.New("encode control total: amounts have different currencies")
	}
	if schemaID == 0 {
		schemaID = DefaultTotalSchemaID
	}
	start := len(dst)
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, schemaID)
	dst = appendText(dst, t.Region)
	dst = appendText(dst, t.Processor)
	dst = appendText(dst, string(t.Tenant))
	dst = appendLong(dst, t.Minute)
	dst = appendText(dst, string(t.Amount.Currency))
	for _, n := range [...]int64{
		t.Events, t.Approved, t.Amount.Minor, t.ApprovedAmount.Minor, t.FirstSequence, t.LastSequence, t.EmittedAt,
	} {
		dst = appendLong(dst, n)
	}
	if len(dst)-start > maxTotal {
		return dst[:start], fmt.Errorf("encode control total: %d bytes, more than %d", len(dst)-start, maxTotal)
	}
	return dst, nil
}

// TotalDecoderConfig configures a TotalDecoder.
type TotalDecoderConfig struct {
	// SchemaVersions maps the ids a framing may carry to versions of the control totals'
	// schema; default DefaultTotalSchemaID to TotalSchemaVersion.
	SchemaVersions map[uint32]int
}

// TotalDecoder decodes control totals. It is safe for concurrent use.
type TotalDecoder struct{ versions map[uint32]int }

// NewTotalDecoder returns a decoder.
func NewTotalDecoder(cfg TotalDecoderConfig) *TotalDecoder {
	if cfg.SchemaVersions == nil {
		cfg.SchemaVersions = map[uint32]int{DefaultTotalSchemaID: TotalSchemaVersion}
	}
	return &TotalDecoder{cfg.SchemaVersions}
}

// Is reports whether the value's framing is a control total's, by the schema id alone: what
// is not one is left to a Decoder.
func (d *TotalDecoder) Is(value []byte) bool {
	if len(value) < 5 || value[0] != 0 {
		return false
	}
	_, ok := d.versions[binary.BigEndian.Uint32(value[1:])]
	return ok
}

// Decode reads the framed control total into t, every field that it carries. The strings of t
// share value's memory. Errors wrap ErrUndecodable or ErrUnknownSchema and name the field.
func (d *TotalDecoder) Decode(value []byte, t *cardlake.ControlTotal) error {
	if len(value) < 5 || value[0] != 0 {
		return fmt.Errorf("%w: no schema id framing", ErrUndecodable)
	}
	if id := binary.BigEndian.Uint32(value[1:]); d.versions[id] != TotalSchemaVersion {
		return fmt.Errorf("%w: id %d", ErrUnknownSchema, id)
	}
	if len(value) > maxTotal {
		return fmt.Errorf("%w: %d bytes, more than %d", ErrUndecodable, len(value), maxTotal)
	}
	r := reader{rest: value[5:]}
	t.Region = r.text("region")
	t.Processor = r.text("processor")
	t.Tenant = cardlake.Tenant(r.text("tenant"))
	t.Minute = r.long("minute")
	t.Amount.Currency = cardlake.Currency(r.text("currency"))
	t.ApprovedAmount.Currency = t.Amount.Currency
	t.Events = r.long("events")
	t.Approved = r.long("approved_events")
	t.Amount.Minor = r.long("amount")
	t.ApprovedAmount.Minor = r.long("approved_amount")
	t.FirstSequence = r.long("first_sequence")
	t.LastSequence = r.long("last_sequence")
	t.EmittedAt = r.long("emitted_at")
	if r.field == "" && len(r.rest) > 0 {
		r.fail("emitted_at", "is followed by more bytes")
	}
	if r.field != "" {
		return fmt.Errorf("%w: field %s %s", ErrUndecodable, r.field, r.rule)
	}
	return nil
}
