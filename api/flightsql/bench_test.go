package flightsql_test

import (
	"io"
	"testing"

	"github.com/cardlake/cardlake/api/flightsql"
	"github.com/cardlake/cardlake/queries/render"
)

// BenchmarkRows compares what the door costs, TLS and client included, with writing the same
// rows as an Arrow stream to nowhere.
func BenchmarkRows(b *testing.B) {
	const n = 200_000
	b.Run("arrow stream", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := render.Arrow(b.Context(), io.Discard, &rows{engine: &engine{rows: n, text: "a merchant's name"}}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("flight sql", func(b *testing.B) {
		s := newSite(b, flightsql.Config{}, generous)
		s.engine.rows, s.engine.text = n, "a merchant's name"
		c, ctx := s.client(), s.as("ana")
		b.ReportAllocs()
		for b.Loop() {
			info, err := c.Execute(ctx, "SELECT 1")
			if err != nil {
				b.Fatal(err)
			}
			if got, _, err := fetch(ctx, c, info); err != nil || got != n {
				b.Fatal(got, err)
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("one row", func(b *testing.B) {
		s := newSite(b, flightsql.Config{}, generous)
		s.engine.rows = 1
		c, ctx := s.client(), s.as("ana")
		b.ReportAllocs()
		for b.Loop() {
			info, err := c.Execute(ctx, "SELECT 1")
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := fetch(ctx, c, info); err != nil {
				b.Fatal(err)
			}
		}
	})
}
