package features

import (
	"math"
	"strings"
	"sync"
	"unicode/utf8"
)

// Place is a city, or a country where the city is not known; 0 is nowhere.
type Place uint16

// Nowhere is the place of which nothing is known.
const Nowhere Place = 0

// point is a place on the map. A country's radius is that of the circle around its middle
// within which almost all of its people live, so that distances to it are a lower bound.
type point struct {
	name     string
	country  uint8 // index into countries, from 1; 0 is none
	lat, lon float64
	radius   float64 // kilometres
}

type gazetteer struct {
	points []point          // by Place
	places map[string]Place // by country and folded name, or by country alone
}

// atlas is made once of the tables of countries and cities.
var atlas = sync.OnceValue(func() *gazetteer {
	a := &gazetteer{points: make([]point, 1, 1+len(countries)+len(cities)), places: map[string]Place{}}
	byCode := map[string]uint8{}
	for i, c := range countries {
		byCode[c.code] = uint8(i + 1)
		a.places[c.code] = Place(len(a.points))
		a.points = append(a.points, point{c.name, uint8(i + 1), c.lat, c.lon, c.radius})
	}
	for _, c := range cities {
		p := Place(len(a.points))
		a.points = append(a.points, point{name: c.name, country: byCode[c.country], lat: c.lat, lon: c.lon})
		for _, name := range append(strings.Split(c.also, ","), c.name) {
			if name != "" {
				a.places[c.country+string(appendFolded(nil, name))] = p
			}
		}
	}
	return a
})

// PlaceOf returns the place of a city, given with the ISO 3166-1 alpha-2 code of its country:
// the country if the city is not among those known, Nowhere if neither is. Case and accents
// don't matter, nor what follows the 13th letter, where ISO 8583 cuts a merchant's city off.
func PlaceOf(country, city string) Place {
	if len(country) != 2 {
		return Nowhere
	}
	var buffer [2 + 64]byte
	key := append(buffer[:0], country...)
	a := atlas()
	if p, ok := a.places[string(appendFolded(key, city))]; ok {
		return p
	}
	return a.places[country]
}

const acceptorCity = 13 // letters of the city in DE 43

// appendFolded appends the name in capitals without accents, other marks than letters and
// digits being one space.
func appendFolded(dst []byte, name string) []byte {
	gap, n := false, 0
	for _, r := range name {
		letter := folded(r)
		if letter == 0 {
			gap = n > 0
			continue
		}
		if gap && n < acceptorCity {
			dst, n = append(dst, ' '), n+1
		}
		if gap = false; n == acceptorCity {
			break
		}
		dst, n = append(dst, letter), n+1
	}
	return dst
}

func folded(r rune) byte {
	switch {
	case r >= 'a' && r <= 'z':
		return byte(r) - 'a' + 'A'
	case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
		return byte(r)
	case r < utf8.RuneSelf:
		return 0
	}
	const accented, plain = "áàâãäåéèêëíìîïóòôõöúùûüçñýÁÀÂÃÄÅÉÈÊËÍÌÎÏÓÒÔÕÖÚÙÛÜÇÑÝ", "AAAAAAEEEEIIIIOOOOOUUUUCNY"
	if i := strings.IndexRune(accented, r); i >= 0 {
		return plain[i/2%len(plain)] // each of the accented has two bytes
	}
	return 0
}

// String is the city's name, or "somewhere in" its country.
func (p Place) String() string {
	points := atlas().points
	switch {
	case p == Nowhere || int(p) >= len(points):
		return "an unknown place"
	case points[p].radius > 0:
		return "somewhere in " + points[p].name
	}
	return points[p].name
}

// Country is the name of the place's country in English, empty if unknown.
func (p Place) Country() string {
	if c := p.country(); c > 0 {
		return countries[c-1].name
	}
	return ""
}

func (p Place) country() uint8 {
	if points := atlas().points; int(p) < len(points) {
		return points[p].country
	}
	return 0
}

// Kilometres is the great-circle distance on a sphere of 6,371 km between two places, and 0 if
// one is unknown. If one is known by its country only it is the least that it may be.
func Kilometres(a, b Place) float64 {
	points := atlas().points
	if a == b || a == Nowhere || b == Nowhere || int(max(a, b)) >= len(points) {
		return 0
	}
	const radians, radius = math.Pi / 180, 6371
	p, q := &points[a], &points[b]
	if p.country == q.country && p.radius+q.radius > 0 {
		return 0
	}
	lat, lon := math.Sin((q.lat-p.lat)*radians/2), math.Sin((q.lon-p.lon)*radians/2)
	h := lat*lat + math.Cos(p.lat*radians)*math.Cos(q.lat*radians)*lon*lon
	return max(2*radius*math.Asin(math.Sqrt(min(h, 1)))-p.radius-q.radius, 0)
}
