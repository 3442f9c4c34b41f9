package signin_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin"
)

// A caller is told to sign in again and nothing else; the operator is told why.
func ExampleVerifier_FromRequest() {
	known := principals{"spiffe://lake.example/etl": {Kind: grants.ETLJob, Name: "etl"}}
	v, err := signin.New(known, signin.Config{Certificates: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodGet, "https://lake.example/v1/me", nil)
	r.Header.Set("X-Forwarded-User", "etl_job/etl")
	_, err = v.FromRequest(r)
	var refused *signin.Error
	fmt.Println(err, errors.As(err, &refused), refused.Reason)
	// Output: not signed in: sign in again true no_credentials
}

// Only a configured proxy is believed about where a request came from.
func ExampleOrigin() {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.7:41000"
	r.Header.Set("X-Forwarded-For", "192.0.2.1, 198.51.100.9")
	fmt.Println(signin.Origin(r, nil))
	fmt.Println(signin.Origin(r, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}))
	// Output:
	// 10.0.0.7
	// 198.51.100.9
}
