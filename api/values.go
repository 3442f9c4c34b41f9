package api

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cardlake/cardlake"
)

var tenantType = reflect.TypeFor[cardlake.Tenant]()

// values are the parameters of the query, each at most once and of those that there are.
func (c *call) values(names ...string) (map[string]string, error) {
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return nil, problemOf(kindRequest, "the parameters are not well-formed: each is name=value, percent-encoded, with & between")
	}
	out := map[string]string{}
	for name, values := range q {
		switch {
		case !slices.Contains(names, name) && len(names) == 0:
			return nil, problemOf(kindRequest, "there are no parameters here")
		case !slices.Contains(names, name):
			return nil, problemOf(kindRequest, "there is a parameter that is none of %s", strings.Join(names, ", "))
		case len(values) > 1:
			return nil, problemOf(kindRequest, "%s must be there once", name)
		case !utf8.ValidString(values[0]) || strings.ContainsRune(values[0], 0):
			return nil, problemOf(kindRequest, "%s must be UTF-8 without zero bytes", name)
		}
		out[name] = values[0]
	}
	return out, nil
}
