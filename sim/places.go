package sim

import (
	"math"

	"github.com/cardlake/cardlake"
)

// country is where tenants, cardholders or merchants are. Its rate is fixed: the networks of
// a simulation do not follow the markets.
type country struct {
	code      string // ISO 3166-1 alpha-2
	number    int    // ISO 3166-1 numeric
	currency  cardlake.Currency
	perUSD    float64 // units of the currency for one US dollar
	income    float64 // median monthly income in US dollars
	acquirers [3]string
}

// The first six have tenants; the others are travelled to and sold from.
var countries = [...]country{
	{"MX", 484, "MXN", 18.2, 720, [3]string{"448001", "448017", "448032"}},
	{"BR", 76, "BRL", 5.45, 640, [3]string{"407601", "407618", "407644"}},
	{"AR", 32, "ARS", 1380, 580, [3]string{"403202", "403219", "403255"}},
	{"CO", 170, "COP", 4050, 460, [3]string{"417003", "417021", "417038"}},
	{"CL", 152, "CLP", 940, 840, [3]string{"415204", "415222", "415249"}},
	{"PE", 604, "PEN", 3.7, 480, [3]string{"460405", "460411", "460437"}},
	{"US", 840, "USD", 1, 0, [3]string{"484006", "484013", "484029"}},
	{"ES", 724, "EUR", 0.91, 0, [3]string{"472407", "472415", "472436"}},
}

const (
	issuingCountries = 6
	usa              = 6
)

// city is a real city. Its offset from UTC is fixed: the simulation has no summer time.
type city struct {
	name     string
	country  int
	lat, lon float64 // degrees
	weight   float64 // about its millions of people
	offset   int     // hours
}

var cities = [...]city{
	{"Mexico City", 0, 19.43, -99.13, 9.2, -6}, {"Guadalajara", 0, 20.67, -103.35, 5.2, -6},
	{"Monterrey", 0, 25.67, -100.31, 5.1, -6}, {"Puebla", 0, 19.04, -98.20, 3.2, -6},
	{"Tijuana", 0, 32.53, -117.02, 2.1, -8}, {"Merida", 0, 20.97, -89.62, 1.3, -6},
	{"Cancun", 0, 21.16, -86.85, 0.9, -5}, {"Queretaro", 0, 20.59, -100.39, 1.5, -6},
	{"Sao Paulo", 1, -23.55, -46.63, 11.4, -3}, {"Rio de Janeiro", 1, -22.91, -43.17, 6.2, -3},
	{"Brasilia", 1, -15.79, -47.88, 2.8, -3}, {"Salvador", 1, -12.97, -38.50, 2.4, -3},
	{"Fortaleza", 1, -3.72, -38.54, 2.4, -3}, {"Curitiba", 1, -25.43, -49.27, 1.8, -3},
	{"Recife", 1, -8.05, -34.88, 1.5, -3}, {"Porto Alegre", 1, -30.03, -51.23, 1.3, -3},
	{"Manaus", 1, -3.12, -60.02, 2.1, -4},
	{"Buenos Aires", 2, -34.60, -58.38, 8.5, -3}, {"Cordoba", 2, -31.42, -64.18, 1.5, -3},
	{"Rosario", 2, -32.95, -60.64, 1.3, -3}, {"Mendoza", 2, -32.89, -68.84, 1.1, -3},
	{"La Plata", 2, -34.92, -57.95, 0.8, -3}, {"Mar del Plata", 2, -38.00, -57.56, 0.6, -3},
	{"Salta", 2, -24.79, -65.41, 0.6, -3},
	{"Bogota", 3, 4.71, -74.07, 7.9, -5}, {"Medellin", 3, 6.24, -75.58, 2.6, -5},
	{"Cali", 3, 3.45, -76.53, 2.3, -5}, {"Barranquilla", 3, 10.97, -74.80, 1.3, -5},
	{"Cartagena", 3, 10.39, -75.51, 1.0, -5}, {"Bucaramanga", 3, 7.12, -73.12, 0.6, -5},
	{"Santiago", 4, -33.45, -70.67, 6.9, -4}, {"Valparaiso", 4, -33.05, -71.61, 1.0, -4},
	{"Concepcion", 4, -36.83, -73.05, 1.0, -4}, {"Antofagasta", 4, -23.65, -70.40, 0.4, -4},
	{"Temuco", 4, -38.74, -72.59, 0.4, -4}, {"La Serena", 4, -29.90, -71.25, 0.4, -4},
	{"Lima", 5, -12.05, -77.04, 10.1, -5}, {"Arequipa", 5, -16.41, -71.54, 1.1, -5},
	{"Trujillo", 5, -8.11, -79.03, 1.0, -5}, {"Cusco", 5, -13.53, -71.97, 0.4, -5},
	{"Chiclayo", 5, -6.77, -79.84, 0.6, -5}, {"Piura", 5, -5.19, -80.63, 0.5, -5},
	{"Miami", 6, 25.76, -80.19, 2.0, -5}, {"New York", 6, 40.71, -74.01, 2.5, -5},
	{"San Francisco", 6, 37.77, -122.42, 0.8, -8},
	{"Madrid", 7, 40.42, -3.70, 1.6, 1},
}

// kilometres is the great-circle distance between two cities.
func kilometres(a, b int) float64 {
	const radians, radius = math.Pi / 180, 6371
	p, q := &cities[a], &cities[b]
	dLat, dLon := (q.lat-p.lat)*radians/2, (q.lon-p.lon)*radians/2
	h := math.Sin(dLat)*math.Sin(dLat) + math.Cos(p.lat*radians)*math.Cos(q.lat*radians)*math.Sin(dLon)*math.Sin(dLon)
	return 2 * radius * math.Asin(math.Sqrt(h))
}

// conversion is how a network turns an amount into the cardholder's currency: rate in the
// form of DE 10 (ISO 8583:1987, section 4.3.10: a digit for the decimals, then seven
// digits), and the amount that this rounded rate gives.
func conversion(m cardlake.Money, to cardlake.Currency) (billing cardlake.Money, de10 uint32) {
	rate := perUSD(to) / perUSD(m.Currency)
	decimals := 0
	for rate < 1e6 && decimals < 9 {
		rate *= 10
		decimals++
	}
	rate = math.Round(rate)
	from, _ := m.Currency.Exponent()
	into, _ := to.Exponent()
	minor := math.Round(float64(m.Minor) * rate * math.Pow10(into-from-decimals))
	return cardlake.Money{Minor: max(1, int64(minor)), Currency: to}, uint32(decimals)*10_000_000 + uint32(rate)
}

func perUSD(c cardlake.Currency) float64 {
	for i := range countries {
		if countries[i].currency == c {
			return countries[i].perUSD
		}
	}
	return 1
}
