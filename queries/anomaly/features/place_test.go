package features_test

import (
	"math"
	"testing"

	"github.com/cardlake/cardlake/queries/anomaly/features"
)

func TestPlaceOf(t *testing.T) {
	for _, tt := range []struct{ country, city, want string }{
		{"BR", "SAO PAULO", "São Paulo"}, {"BR", "São Paulo", "São Paulo"}, {"BR", "  sao  paulo ", "São Paulo"},
		{"CO", "BOGOTA D.C.", "Bogotá"}, {"MX", "CDMX", "Mexico City"}, {"AR", "SAN SALVADOR ", "somewhere in Argentina"},
		{"AR", "SAN SALVADOR DE JUJUY", "San Salvador de Jujuy"}, {"BR", "RIO DE JANEIR", "Rio de Janeiro"}, {"BR", "RIO DE JANEIRO CENTRO", "Rio de Janeiro"},
		{"MX", "LA PAZ", "La Paz"}, {"PE", "PUEBLO LIBRE", "somewhere in Peru"}, {"PE", "", "somewhere in Peru"},
		{"ZZ", "LIMA", "an unknown place"}, {"", "LIMA", "an unknown place"}, {"PER", "LIMA", "an unknown place"}, {"ES", "MÁLAGA", "Málaga"}, {"ES", "ÑÝZ", "somewhere in Spain"},
		{"DE", "MÜNCHEN", "Munich"}, {"CH", "Zürich", "Zurich"}, {"BR", "日本", "somewhere in Brazil"}, {"BR", "\xff\xfe", "somewhere in Brazil"},
	} {
		if got := features.PlaceOf(tt.country, tt.city).String(); got != tt.want {
			t.Errorf("%s, %s: %s, want %s", tt.country, tt.city, got, tt.want)
		}
	}
	if a, b := features.PlaceOf("MX", "LA PAZ"), features.PlaceOf("BO", "LA PAZ"); a == b || a.Country() != "Mexico" || b.Country() != "Bolivia" {
		t.Error("two cities of one name are one")
	}
	if s := features.Place(65_000).String() + features.Place(65_000).Country(); s != "an unknown place" {
		t.Errorf("a place out of range is %s", s)
	}
}

// TestKilometres compares with distances between cities as timetables and maps give them.
func TestKilometres(t *testing.T) {
	at := features.PlaceOf
	for _, tt := range []struct {
		a, b       features.Place
		want, slop float64
	}{
		{at("BR", "SAO PAULO"), at("CO", "BOGOTA"), 4300, 50},
		{at("AR", "BUENOS AIRES"), at("CL", "SANTIAGO"), 1140, 20},
		{at("MX", "MEXICO CITY"), at("ES", "MADRID"), 9070, 50},
		{at("US", "NEW YORK"), at("GB", "LONDON"), 5570, 30},
		{at("BR", "SAO PAULO"), at("BR", "SAO PAULO"), 0, 0},
		{at("BR", "SAO PAULO"), at("BR", "SOMEWHERE"), 0, 0},
		{at("BR", "SAO PAULO"), features.Nowhere, 0, 0},
		{at("BR", "MANAUS"), at("CO", ""), 750, 200}, // to the nearest that Colombia may be
		{at("UY", ""), at("AR", ""), 0, 0},
		{features.Place(65_000), at("AR", ""), 0, 0},
	} {
		got := features.Kilometres(tt.a, tt.b)
		if math.Abs(got-tt.want) > tt.slop || got != features.Kilometres(tt.b, tt.a) {
			t.Errorf("%s to %s: %.0f km, want %.0f", tt.a, tt.b, got, tt.want)
		}
	}
}
