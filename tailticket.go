package cardlake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// tailVersion is the version of TailTicket and TailHeader.
const tailVersion = 1

// TailTicket is what a reader asks a worker for over Arrow Flight: the rows of a table beyond
// the positions of a snapshot. Its text is the ticket of DoGet.
type TailTicket struct {
	Table string // full name
	From  Positions
}

type tailTicketText struct {
	Version int             `json:"v"`
	Table   string          `json:"table"`
	From    json.RawMessage `json:"from"`
}

// MarshalText writes the ticket as {"v":1,"table":NAME,"from":POSITIONS}, positions in the
// form of [Positions.MarshalText].
func (t TailTicket) MarshalText() ([]byte, error) {
	from, err := t.From.MarshalText()
	if err != nil {
		return nil, err
	}
	return json.Marshal(tailTicketText{tailVersion, t.Table, from})
}

// UnmarshalText reads what MarshalText wrote. Another version or a field that the version
// does not have is an error, because a reader that skips it would misunderstand the rest.
func (t *TailTicket) UnmarshalText(text []byte) error {
	var raw tailTicketText
	if err := unmarshalStrictly(text, &raw); err != nil {
		return fmt.Errorf("tail ticket: %w", err)
	}
	switch {
	case raw.Version != tailVersion:
		return fmt.Errorf("tail ticket: version is %d, want %d", raw.Version, tailVersion)
	case raw.Table == "":
		return errors.New("tail ticket: table is missing")
	}
	from, err := tailPositions(raw.From)
	if err != nil {
		return fmt.Errorf("tail ticket: from: %w", err)
	}
	*t = TailTicket{raw.Table, from}
	return nil
}

// TailHeader says what a tail is, before its rows: the application metadata of the first
// message that answers a TailTicket.
type TailHeader struct {
	// To is, for each partition that the tail covers, where it ends.
	To Positions
	// Rows is how many rows follow, so that a stream that ends early is never taken for a
	// shorter tail.
	Rows int64
}

type tailHeaderText struct {
	Version int             `json:"v"`
	To      json.RawMessage `json:"to"`
	Rows    *int64          `json:"rows"`
}

// MarshalText writes the header as {"v":1,"to":POSITIONS,"rows":NUMBER}.
func (h TailHeader) MarshalText() ([]byte, error) {
	to, err := h.To.MarshalText()
	if err != nil {
		return nil, err
	}
	return json.Marshal(tailHeaderText{tailVersion, to, &h.Rows})
}

// UnmarshalText reads what MarshalText wrote, as strictly as [TailTicket.UnmarshalText].
func (h *TailHeader) UnmarshalText(text []byte) error {
	var raw tailHeaderText
	if err := unmarshalStrictly(text, &raw); err != nil {
		return fmt.Errorf("tail header: %w", err)
	}
	switch {
	case raw.Version != tailVersion:
		return fmt.Errorf("tail header: version is %d, want %d", raw.Version, tailVersion)
	case raw.Rows == nil:
		return errors.New("tail header: rows is missing")
	case *raw.Rows < 0:
		return fmt.Errorf("tail header: rows is %d", *raw.Rows)
	}
	to, err := tailPositions(raw.To)
	if err != nil {
		return fmt.Errorf("tail header: to: %w", err)
	}
	*h = TailHeader{to, *raw.Rows}
	return nil
}

// tailPositions reads positions, which may be empty but not missing.
func tailPositions(text json.RawMessage) (Positions, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("is not an object")
	}
	var p Positions
	err := p.UnmarshalText(text)
	return p, err
}

// unmarshalStrictly reads one JSON value that has no unknown field and nothing behind it.
func unmarshalStrictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("text goes on behind its value")
	}
	return nil
}
