package iso8583

import (
	"errors"
	"fmt"
)

// Sub-elements of DE 48: two digits of number, two of length, the value; any number of them
// behind one another.
const (
	SubWallet = 26 // device wallet: applepay, googlepay
	SubECI    = 42 // electronic commerce indicator
)

// ErrSubElement says that DE 48 is not a sequence of sub-elements.
var ErrSubElement = errors.New("DE 48 is not a sequence of number, length and value")

// AppendSubElement appends sub-element id, 0 to 99, with a value of at most 99 characters.
func AppendSubElement[S string | []byte](dst []byte, id int, value S) ([]byte, error) {
	if id < 0 || id > 99 || len(value) > 99 {
		return dst, fmt.Errorf("%w: sub-element %d of %d characters", ErrSubElement, id, len(value))
	}
	dst = fmt.Appendf(dst, "%02d%02d", id, len(value))
	return append(dst, value...), nil
}

// EachSubElement calls f for every sub-element in order; value shares data's memory.
func EachSubElement(data []byte, f func(id int, value []byte)) error {
	for len(data) > 0 {
		if len(data) < 4 {
			return ErrSubElement
		}
		id, ok1 := twoDigits(data)
		n, ok2 := twoDigits(data[2:])
		if !ok1 || !ok2 || len(data) < 4+n {
			return ErrSubElement
		}
		f(id, data[4:4+n])
		data = data[4+n:]
	}
	return nil
}

func twoDigits(b []byte) (int, bool) {
	if b[0] < '0' || b[0] > '9' || b[1] < '0' || b[1] > '9' {
		return 0, false
	}
	return int(b[0]-'0')*10 + int(b[1]-'0'), true
}
