package cardlake

import "fmt"

// Currency is an ISO 4217 alphabetic code.
type Currency string

// currencies lists ISO 4217: code, number, minor-unit exponent, for the countries served,
// their neighbours and the currencies in which cross-border purchases are made.
var currencies = []struct {
	code     Currency
	number   int
	exponent int
}{
	{"ARS", 32, 2}, {"AUD", 36, 2}, {"BOB", 68, 2}, {"BRL", 986, 2}, {"CAD", 124, 2},
	{"CHF", 756, 2}, {"CLP", 152, 0}, {"CNY", 156, 2}, {"COP", 170, 2}, {"CRC", 188, 2},
	{"DOP", 214, 2}, {"EUR", 978, 2}, {"GBP", 826, 2}, {"GTQ", 320, 2}, {"JPY", 392, 0},
	{"MXN", 484, 2}, {"PAB", 590, 2}, {"PEN", 604, 2}, {"PYG", 600, 0}, {"USD", 840, 2},
	{"UYU", 858, 2},
}

var (
	currencyByNumber = map[int]Currency{}
	currencyNumber   = map[Currency]int{}
	currencyExponent = map[Currency]int{}
)

func init() {
	for _, c := range currencies {
		currencyByNumber[c.number] = c.code
		currencyNumber[c.code] = c.number
		currencyExponent[c.code] = c.exponent
	}
}

// CurrencyByNumber returns the currency with the ISO 4217 number, as ISO 8583 carries it
// in DE 49 and DE 51.
func CurrencyByNumber(n int) (Currency, bool) {
	c, ok := currencyByNumber[n]
	return c, ok
}

// Number returns the ISO 4217 number, 0 for an unknown currency.
func (c Currency) Number() int { return currencyNumber[c] }

// Exponent returns how many decimals the minor unit has (2 for MXN, 0 for CLP), and false
// for an unknown currency.
func (c Currency) Exponent() (int, bool) {
	e, ok := currencyExponent[c]
	return e, ok
}

// Money is an amount in minor units of its currency: {1250, "MXN"} is 12.50 pesos,
// {1250, "CLP"} is 1250 pesos.
type Money struct {
	Minor    int64
	Currency Currency
}

// Scale4 returns the amount in ten-thousandths of the major unit, the unscaled value of
// the lake's decimal(18,4), and false if the currency is unknown or the value does not fit.
func (m Money) Scale4() (int64, bool) {
	e, ok := currencyExponent[m.Currency]
	if !ok {
		return 0, false
	}
	factor := int64(1)
	for range 4 - e {
		factor *= 10
	}
	const limit = 999_999_999_999_999_999 // decimal(18,4)
	if m.Minor > limit/factor || m.Minor < -limit/factor {
		return 0, false
	}
	return m.Minor * factor, true
}

// String formats the amount with its currency's decimals: "12.50 MXN".
func (m Money) String() string {
	e, ok := currencyExponent[m.Currency]
	if !ok {
		return fmt.Sprintf("%d (minor) %s", m.Minor, m.Currency)
	}
	if e == 0 {
		return fmt.Sprintf("%d %s", m.Minor, m.Currency)
	}
	div := int64(1)
	for range e {
		div *= 10
	}
	sign, minor := "", m.Minor
	if minor < 0 {
		sign, minor = "-", -minor
	}
	return fmt.Sprintf("%s%d.%0*d %s", sign, minor/div, e, minor%div, m.Currency)
}
