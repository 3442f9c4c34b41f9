package pebblestore

import (
	"crypto/rand"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/vaulttest"
)

func benchStore(b *testing.B) *Store {
	s, err := Open(b.TempDir(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func place(b *testing.B) vaulttest.Place {
	return vaulttest.Place{Open: func(testing.TB) (vault.Store, func()) {
		s := benchStore(b)
		return s, func() { s.Close() }
	}}
}

func BenchmarkPin(b *testing.B) { vaulttest.Bench(b, place) }

func BenchmarkJob(b *testing.B) { vaulttest.BenchJobs(b, place) }

// BenchmarkPinFloor is what Pebble alone needs to make 1,000 entries of a pin's size durable.
func BenchmarkPinFloor(b *testing.B) {
	const size = 1000
	s := benchStore(b)
	defer s.Close()
	key, value := make([]byte, 28), make([]byte, 125)
	b.ReportAllocs()
	for b.Loop() {
		batch := s.db.NewBatch()
		for range size {
			rand.Read(key)
			if err := batch.Set(key, value, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "pins/s")
}
