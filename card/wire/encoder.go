package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
)

// EncoderConfig configures an Encoder.
type EncoderConfig struct {
	// SchemaID is the registry's id of Schema; default DefaultSchemaID.
	SchemaID uint32
	// Envelope bounds the use of one data key.
	Envelope keys.EnvelopeConfig
}

// Encoder encodes and seals events. It is safe for concurrent use.
type Encoder struct {
	envelopes *keys.Envelopes
	schemaID  uint32
	scratch   sync.Pool // *[]byte, for associated data and the sealed value
}

// NewEncoder returns an encoder that seals with provider's data keys of purpose keys.Seal.
func NewEncoder(provider keys.Provider, cfg EncoderConfig) *Encoder {
	if cfg.SchemaID == 0 {
		cfg.SchemaID = DefaultSchemaID
	}
	return &Encoder{
		envelopes: keys.NewEnvelopes(provider, keys.Seal, cfg.Envelope),
		schemaID:  cfg.SchemaID,
		scratch:   sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }},
	}
}

// Append appends the framed event to dst, its card number sealed for owner, the tenant's
// key owner. The fields that only the lake knows (token, bin, last4, ingestion, position)
// are not encoded. An error is the key provider's or names what the message lacks.
func (e *Encoder) Append(ctx context.Context, dst []byte, owner keys.Owner, m *card.Message) ([]byte, error) {
	switch {
	case m.PAN.IsZero():
		return dst, errors.New("encode event: no card number")
	case m.EventID == cardlake.EventID{}:
		return dst, errors.New("encode event: no event id")
	case m.Tenant == "":
		return dst, errors.New("encode event: no tenant")
	}
	scratch := e.scratch.Get().(*[]byte)
	defer e.scratch.Put(scratch)
	aad := appendAAD((*scratch)[:0], m.Tenant, m.EventID, SchemaVersion)
	sealed, err := e.envelopes.AppendSealed(ctx, aad, owner, m.PAN.Digits(), aad)
	*scratch = sealed[:0]
	if err != nil {
		return dst, fmt.Errorf("encode event: %w", err)
	}
	sealed = sealed[len(aad):]

	start := len(dst)
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, e.schemaID)
	dst = appendEvent(dst, &m.Transaction)
	dst = appendLong(dst, int64(len(sealed)))
	dst = append(dst, sealed...)
	if len(dst)-start > maxEvent {
		return dst[:start], fmt.Errorf("encode event: %d bytes, more than %d", len(dst)-start, maxEvent)
	}
	return dst, nil
}

// maxEvent bounds an encoded event: a message of a card network has at most a few kilobytes.
const maxEvent = 64 << 10

// appendEvent writes the clear fields in the schema's order.
func appendEvent(dst []byte, t *cardlake.Transaction) []byte {
	dst = append(dst, t.EventID[:]...)
	dst = append(dst, t.TransactionID[:]...)
	dst = appendText(dst, string(t.EventType))
	dst = appendText(dst, string(t.Tenant))
	dst = appendText(dst, t.Program)
	dst = appendText(dst, t.Region)
	dst = appendLong(dst, t.EventTime)
	if t.LocalTime == 0 {
		dst = append(dst, unionNull)
	} else {
		dst = appendLong(append(dst, unionValue), t.LocalTime)
	}
	dst = appendOptional(dst, t.CustomerID)
	dst = appendOptional(dst, t.AccountID)
	dst = appendText(dst, string(t.Network))
	dst = appendOptional(dst, string(t.Product))
	dst = appendLong(dst, t.Amount.Minor)
	dst = appendText(dst, string(t.Amount.Currency))
	if t.BillingAmount.Currency == "" {
		dst = append(dst, unionNull, unionNull)
	} else {
		dst = appendLong(append(dst, unionValue), t.BillingAmount.Minor)
		dst = appendOptional(dst, string(t.BillingAmount.Currency))
	}
	dst = appendOptional(dst, t.MerchantID)
	dst = appendOptional(dst, t.MerchantName)
	dst = appendOptional(dst, t.MCC)
	dst = appendOptional(dst, t.MerchantCity)
	dst = appendOptional(dst, t.MerchantCountry)
	dst = appendOptional(dst, t.TerminalID)
	dst = appendOptional(dst, t.AcquirerID)
	dst = appendText(dst, string(t.Channel))
	dst = appendText(dst, t.EntryMode)
	dst = appendBool(dst, t.CardPresent)
	dst = appendOptional(dst, t.Wallet)
	dst = appendOptional(dst, t.ECI)
	dst = appendText(dst, t.ResponseCode)
	dst = appendBool(dst, t.Approved)
	dst = appendOptional(dst, t.DeclineReason)
	dst = appendOptional(dst, t.ApprovalCode)
	dst = appendOptional(dst, t.CVVResult)
	dst = appendOptional(dst, t.AVSResult)
	if t.PINVerified == cardlake.Unknown {
		dst = append(dst, unionNull)
	} else {
		dst = appendBool(append(dst, unionValue), t.PINVerified == cardlake.True)
	}
	dst = appendLong(dst, int64(t.LatencyMicros))
	dst = appendText(dst, t.MTI)
	dst = appendOptional(dst, t.ProcessingCode)
	dst = appendOptional(dst, t.STAN)
	return appendOptional(dst, t.RRN)
}

// The branches of a ["null", T] union, as zig-zag varints.
const (
	unionNull  = 0
	unionValue = 2
)

func appendLong(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }

func appendText(dst []byte, s string) []byte {
	s = card.MaskPANs(s)
	return append(appendLong(dst, int64(len(s))), s...)
}

func appendOptional(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, unionNull)
	}
	return appendText(append(dst, unionValue), s)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}
