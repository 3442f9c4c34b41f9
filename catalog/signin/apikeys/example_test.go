package apikeys_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/signin/apikeys"
)

// A key acts as its maker, for the one tenant that it names, and shows no second factor.
func ExampleStore() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := apikeys.Open(ctx, filepath.Join(dir, "api-keys.db"), nowhere{}, apikeys.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	maker := grants.Caller{Principal: grants.Principal{Kind: grants.TenantAnalyst, Name: "ana"}, Subject: "oidc:https://issuer.example#7", MFA: true}
	_, secret, err := store.Issue(ctx, maker, apikeys.Request{Name: "nightly report", Tenant: "acme"})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := store.Verify(ctx, secret)
	fmt.Println(id.Subject, id.Principal, id.Tenant, id.MFA, err)
	// Output: oidc:https://issuer.example#7 tenant_analyst/ana acme false <nil>
}
