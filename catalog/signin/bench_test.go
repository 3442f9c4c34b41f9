package signin_test

import (
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/cardlake/cardlake/catalog/signin"
	"github.com/cardlake/cardlake/catalog/signin/signintest"
)

// BenchmarkVerify is what a call costs to sign in: one signature, as the algorithm has it.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA} {
		b.Run(string(algorithm), func(b *testing.B) {
			i, c := signintest.Start(b), newClock()
			i.SetKeys(signintest.NewKey(b, "k", algorithm))
			v, err := signin.NewIssuer(signin.IssuerConfig{URL: i.URL, Audience: signintest.Audience, RootCAs: i.Pool(), Now: c.Now})
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			token := i.Token("ana", c.Now(), nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
