package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/processor/iso8583"
)

const specName = "iso8583-1987-ascii"

// element is one data element as decode shows it.
type element struct {
	DE     int    `json:"de"`
	Name   string `json:"name"`
	Length int    `json:"length"`
	Value  string `json:"value,omitempty"`
	Masked bool   `json:"masked,omitempty"`
	// SubElements are the numbers of DE 48's sub-elements.
	SubElements []int `json:"sub_elements,omitempty"`
}

type decoded struct {
	Spec     string    `json:"spec"`
	MTI      string    `json:"mti"`
	Elements []element `json:"elements"`
	Error    string    `json:"error,omitempty"` // then the elements are those that could be read
}

// shown are the elements whose value decode prints: operational ones, that can hold neither
// card number nor authentication data. All others are masked, known or not.
var shown = map[int]bool{
	3: true, 4: true, 5: true, 6: true, 7: true, 9: true, 10: true, 11: true, 12: true, 13: true, 15: true, 16: true, 17: true,
	18: true, 19: true, 21: true, 22: true, 24: true, 25: true, 26: true, 32: true, 33: true, 37: true, 38: true, 39: true,
	41: true, 42: true, 43: true, 49: true, 50: true, 51: true, 70: true, 90: true, 95: true, 100: true,
}

func decode(_ context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("decode", flag.ContinueOnError)
	spec := fs.String("spec", specName, "message `format`; "+specName+" is the only one")
	if err := parse(fs, args, stderr, 1); err != nil {
		return err
	}
	if *spec != specName {
		return usagef("no message format %q; there is %s", *spec, specName)
	}
	if name := fs.Arg(0); name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usageError{err}
		}
		defer f.Close()
		stdin = f
	}
	// Twice the frame for hexadecimal, and room for white space.
	input, err := io.ReadAll(io.LimitReader(stdin, 4*iso8583.MaxFrame))
	defer clear(input)
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	var v iso8583.View
	parseErr := parseAnyForm(&v, input)
	defer v.Wipe()
	if v.MTI() == "" {
		return usagef("not a message of %s: %w", specName, parseErr)
	}
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(masked(&v, parseErr)); err != nil {
		return err
	}
	if parseErr != nil {
		return usagef("the message is damaged: %w", parseErr)
	}
	return nil
}

// parseAnyForm parses a message with or without its length header, or the hexadecimal text
// of either. A length that fits is the surest sign, so it is looked for first: a message in
// ASCII can consist of hexadecimal digits only.
func parseAnyForm(v *iso8583.View, input []byte) error {
	if msg, ok := framed(input); ok {
		return v.Parse(msg)
	}
	if raw, err := hex.DecodeString(string(bytes.Join(bytes.Fields(input), nil))); err == nil {
		if msg, ok := framed(raw); ok {
			return v.Parse(msg)
		}
		if len(raw) >= 4 && raw[0] == '0' { // a message type of 1987; no hexadecimal text of one begins so
			return v.Parse(raw)
		}
	}
	input = bytes.TrimRight(input, "\r\n")
	if len(input) == 0 {
		return errors.New("it is empty")
	}
	return v.Parse(input)
}

func framed(b []byte) ([]byte, bool) {
	if len(b) < 3 || int(binary.BigEndian.Uint16(b)) != len(b)-2 {
		return nil, false
	}
	return b[2:], true
}

func masked(v *iso8583.View, parseErr error) decoded {
	d := decoded{Spec: specName, MTI: v.MTI(), Elements: []element{}}
	if parseErr != nil {
		d.Error = parseErr.Error()
	}
	for de := 2; de <= 128; de++ {
		if !v.Has(de) {
			continue
		}
		f, _ := iso8583.FieldOf(de)
		value := v.Bytes(de)
		e := element{DE: de, Name: f.Name, Length: len(value)}
		switch {
		case shown[de]:
			e.Value = card.MaskPANs(string(value))
		// Six and four digits of a shorter number would leave too little hidden.
		case de == 2 && len(value) >= 14:
			e.Value, e.Masked = fmt.Sprintf("%s…%s", value[:6], value[len(value)-4:]), true
		default:
			e.Masked = true
			if de == 48 {
				_ = iso8583.EachSubElement(value, func(id int, _ []byte) { e.SubElements = append(e.SubElements, id) })
			}
		}
		d.Elements = append(d.Elements, e)
	}
	return d
}
