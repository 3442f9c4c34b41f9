package pgstore

import (
	"testing"

	"github.com/cardlake/cardlake/internal/postgrestest"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/vaulttest"
)

func places(b *testing.B) func(b *testing.B) vaulttest.Place {
	server := postgrestest.Start(b)
	return func(b *testing.B) vaulttest.Place {
		url := server.URL(server.Schema(b))
		return vaulttest.Place{Shared: true, Open: func(testing.TB) (vault.Store, func()) {
			return openTest(b, url), func() {}
		}}
	}
}

func BenchmarkPin(b *testing.B) { vaulttest.Bench(b, places(b)) }

func BenchmarkJob(b *testing.B) { vaulttest.BenchJobs(b, places(b)) }
