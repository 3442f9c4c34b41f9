package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cardlake/cardlake/catalog/grants"
)

// TestAwait: who waits for a place gets it when one is free, gives up after a while, and no more
// than so many wait.
func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ana, bea := grants.Principal{Kind: grants.TenantAnalyst, Name: "ana"}, grants.Principal{Kind: grants.TenantAnalyst, Name: "bea"}
		l := newLimits(Config{PerPrincipal: 1, Queries: 2}.withDefaults())
		first, err := l.await(t.Context(), ana, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var p *problem
		if _, err := l.await(t.Context(), ana, time.Now); !errors.As(err, &p) || p.kind != kindLimit || time.Since(began) != waitForPlace {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.await(ctx, ana, time.Now); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		// Another principal has a place of its own.
		other, err := l.await(t.Context(), bea, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		other()

		ended := make(chan error, maxPlaces)
		for range maxPlaces {
			go func() {
				end, err := l.await(t.Context(), ana, time.Now)
				if err == nil {
					end()
				}
				ended <- err
			}()
		}
		synctest.Wait()
		began = time.Now()
		if _, err := l.await(t.Context(), ana, time.Now); !errors.As(err, &p) || p.kind != kindLimit || time.Since(began) != 0 {
			t.Errorf("one too many: %v after %v", err, time.Since(began))
		}
		first()
		for range maxPlaces {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if one := l.of[ana]; one.running != 0 || one.waiting != 0 || l.running != 0 {
			t.Errorf("%+v, %d run", one, l.running)
		}
	})
}

// TestMePages: the pages rest on columns that there are.
func TestMePages(t *testing.T) {
	for _, p := range mePages {
		found := false
		for _, c := range p.table.Columns {
			found = found || c.Name == p.column
		}
		if !found {
			t.Errorf("%s has no column %s", p.table.FullName(), p.column)
		}
	}
}
