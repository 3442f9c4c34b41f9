package apikeys_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
)

type nowhere struct{}

func (nowhere) Append(context.Context, audit.Record) error { return nil }

// BenchmarkVerify is what a key costs each call.
func BenchmarkVerify(b *testing.B) {
	s, err := apikeys.Open(b.Context(), filepath.Join(b.TempDir(), "keys.db"), nowhere{}, apikeys.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	_, secret, err := s.Issue(b.Context(), asAna, apikeys.Request{Name: "x"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(b.Context(), secret); err != nil {
			b.Fatal(err)
		}
	}
}
