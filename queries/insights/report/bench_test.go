package report

import (
	"io"
	"testing"
)

func BenchmarkPNG(b *testing.B) {
	f := figures()[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := PNG(f, 2); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSVG(b *testing.B) {
	f := figures()[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := SVG(f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHTML(b *testing.B) {
	card := segmentsCard()
	b.ReportAllocs()
	for b.Loop() {
		if err := HTML(io.Discard, card); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStability compares a million values with a million others.
func BenchmarkStability(b *testing.B) {
	values := make([]float64, 1_000_000)
	for i := range values {
		values[i] = float64(i * 7919 % 1_000_003)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Stability(values, values); err != nil {
			b.Fatal(err)
		}
	}
}
