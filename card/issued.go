package card

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strconv"

	"github.com/cardlake/cardlake"
)

// Status is the state of an issued card.
type Status string

const (
	Active  Status = "active"
	Blocked Status = "blocked" // by the cardholder or the issuer
	Stolen  Status = "stolen"
)

// Issued is one card as the issuer's card file has it. It prints as its account id.
type Issued struct {
	PAN        PAN
	Tenant     cardlake.Tenant
	Program    string
	Network    cardlake.Network
	Product    cardlake.Product
	CustomerID string
	AccountID  string
	Expiry     string // YYMM, as DE 14
	Status     Status
	Currency   cardlake.Currency
	Limit      int64 // credit limit, or opening balance of a prepaid or debit account, in minor units
}

// Format implements fmt.Formatter: the account id, whatever the verb.
func (c Issued) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "card of account "+c.AccountID) }

// LogValue implements slog.LogValuer.
func (c Issued) LogValue() slog.Value { return slog.StringValue("card of account " + c.AccountID) }

var issuedHeader = []string{"pan", "tenant", "program", "network", "product", "customer_id", "account_id", "expiry", "status", "currency", "limit"}

// WriteIssued writes the cards as CSV (RFC 4180) with a header line. The card numbers are
// in clear: the destination must be a pipe into zone A, never a file.
func WriteIssued(w io.Writer, cards iter.Seq[Issued]) error {
	cw := csv.NewWriter(w)
	_ = cw.Write(issuedHeader)
	for c := range cards {
		if err := cw.Write([]string{
			string(c.PAN.Digits()), string(c.Tenant), c.Program, string(c.Network), string(c.Product), c.CustomerID,
			c.AccountID, c.Expiry, string(c.Status), string(c.Currency), strconv.FormatInt(c.Limit, 10),
		}); err != nil {
			return fmt.Errorf("write card file: %w", err)
		}
	}
	cw.Flush()
	return cw.Error()
}

// ReadIssued reads what WriteIssued wrote. It stops at the first line that is wrong; the
// error has the line's number and the field's name, never its content.
func ReadIssued(r io.Reader) iter.Seq2[Issued, error] {
	return func(yield func(Issued, error) bool) {
		cr := csv.NewReader(r)
		cr.FieldsPerRecord = len(issuedHeader)
		cr.ReuseRecord = true
		for line := 1; ; line++ {
			rec, err := cr.Read()
			if err == io.EOF {
				return
			}
			if err != nil {
				// encoding/csv quotes no content in its errors, but the position is enough.
				yield(Issued{}, fmt.Errorf("card file line %d: not %d comma-separated fields", line, len(issuedHeader)))
				return
			}
			if line == 1 {
				continue
			}
			c, err := parseIssued(rec)
			if err != nil {
				yield(Issued{}, fmt.Errorf("card file line %d: %w", line, err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func parseIssued(rec []string) (Issued, error) {
	pan, err := ParsePAN(rec[0])
	if err != nil {
		return Issued{}, fmt.Errorf("pan: %w", err)
	}
	c := Issued{
		PAN: pan, Tenant: cardlake.Tenant(rec[1]), Program: rec[2], Network: cardlake.Network(rec[3]),
		Product: cardlake.Product(rec[4]), CustomerID: rec[5], AccountID: rec[6], Expiry: rec[7],
		Status: Status(rec[8]), Currency: cardlake.Currency(rec[9]),
	}
	if err := c.Tenant.Validate(); err != nil {
		return Issued{}, fmt.Errorf("tenant: %w", err)
	}
	if len(c.Expiry) != 4 {
		return Issued{}, errors.New("expiry: want YYMM")
	}
	switch c.Status {
	case Active, Blocked, Stolen:
	default:
		return Issued{}, errors.New("status: want active, blocked or stolen")
	}
	if _, ok := c.Currency.Exponent(); !ok {
		return Issued{}, errors.New("currency: not an ISO 4217 code known here")
	}
	if c.Limit, err = strconv.ParseInt(rec[10], 10, 64); err != nil || c.Limit < 0 {
		return Issued{}, errors.New("limit: want a whole number of minor units, not negative")
	}
	return c, nil
}
