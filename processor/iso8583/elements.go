package iso8583

import (
	"fmt"
	"strings"
)

// Acceptor is DE 43: a card acceptor's name, city and country.
type Acceptor struct {
	Name    string // at most 25 characters
	City    string // at most 13 characters
	Country string // ISO 3166-1 alpha-2
}

// String is the element's 40 characters: each part cut or filled with spaces.
func (a Acceptor) String() string {
	return fmt.Sprintf("%-25.25s%-13.13s%-2.2s", a.Name, a.City, a.Country)
}

// ParseAcceptor splits DE 43 and trims its parts. A shorter value yields the parts it has.
func ParseAcceptor[S string | []byte](de43 S) Acceptor {
	s := string(de43)
	cut := func(n int) string {
		part := s[:min(n, len(s))]
		s = s[len(part):]
		return strings.TrimSpace(part)
	}
	return Acceptor{Name: cut(25), City: cut(13), Country: cut(2)}
}

// Original is DE 90: what identifies the message that a reversal undoes.
type Original struct {
	MTI          string // 4 digits
	STAN         string // 6 digits, its DE 11
	Transmission string // 10 digits, its DE 7
	Acquirer     string // its DE 32, at most 11 digits
	Forwarding   string // its DE 33, at most 11 digits
}

// String is the element's 42 digits, each part filled with zeros on the left. It holds a
// part that is too long whole, so that packing fails instead of naming another message.
func (o Original) String() string {
	fill := func(s string, n int) string { return strings.Repeat("0", max(0, n-len(s))) + s }
	return fill(o.MTI, 4) + fill(o.STAN, 6) + fill(o.Transmission, 10) + fill(o.Acquirer, 11) + fill(o.Forwarding, 11)
}

// ParseOriginal splits DE 90. The institutions keep their leading zeros: whether those are
// filling or part of the code only the message's own DE 32 can tell.
func ParseOriginal[S string | []byte](de90 S) (Original, error) {
	s := string(de90)
	if len(s) != 42 {
		return Original{}, fieldError(90, "has not 42 digits")
	}
	return Original{MTI: s[:4], STAN: s[4:10], Transmission: s[10:20], Acquirer: s[20:31], Forwarding: s[31:]}, nil
}
