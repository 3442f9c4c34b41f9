package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// format is the version of the stored form. A change that an older reader would misread, or
// that it would refuse, is a new number.
const format = 1

// MaxEncoded is the longest stored form of a card in bytes.
const MaxEncoded = 2 << 20

type envelope struct {
	Format int `json:"format"`
	Card
}

// Encode is the card's stored form: JSON on one line, fields in the order of the types, so that
// equal cards are equal bytes. It fails on what [Card.Validate] refuses and on cards above
// [MaxEncoded].
func Encode(c Card) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("encode card: %w", err)
	}
	c.AsOf, c.Window.From, c.Window.To = c.AsOf.UTC(), c.Window.From.UTC(), c.Window.To.UTC()
	data, err := json.Marshal(envelope{format, c})
	if err != nil {
		return nil, fmt.Errorf("encode card: %w", err)
	}
	if len(data) > MaxEncoded {
		return nil, fmt.Errorf("encode card: %d bytes, at most %d are stored: give the figures fewer points", len(data), MaxEncoded)
	}
	return data, nil
}

// Decode reads what [Encode] wrote. It refuses other versions of the form, unknown fields, what
// follows the card, more than [MaxEncoded] bytes and what [Card.Validate] refuses. Errors do not
// hold the card's content.
func Decode(data []byte) (Card, error) {
	if len(data) > MaxEncoded {
		return Card{}, fmt.Errorf("decode card: %d bytes, at most %d are read", len(data), MaxEncoded)
	}
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil { // this refuses what follows the card, too
		return Card{}, fmt.Errorf("decode card: %w", plain(err))
	}
	if version.Format != format {
		return Card{}, fmt.Errorf("decode card: format %d, this program reads format %d", version.Format, format)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var e envelope
	if err := d.Decode(&e); err != nil {
		return Card{}, fmt.Errorf("decode card: %w", plain(err))
	}
	if err := e.Card.Validate(); err != nil {
		return Card{}, fmt.Errorf("decode card: %w", err)
	}
	return e.Card, nil
}

// plain is a decoding error without the input that encoding/json quotes in it.
func plain(err error) error {
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON from byte %d on", syntax.Offset)
	case errors.As(err, &typed):
		return fmt.Errorf("a value of the wrong type at byte %d", typed.Offset)
	}
	return errors.New("an unknown field or a malformed value")
}
