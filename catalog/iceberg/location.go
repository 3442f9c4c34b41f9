package iceberg

import (
	"fmt"
	"net/url"
	"strings"
)

// defaultLocation is where a lake in a local object store lies. The scheme is this
// package's own: only an object store opened with the right keys gives the names a meaning.
const defaultLocation = "cardlake://lake"

// locations turns object names into the absolute locations that Iceberg metadata holds, and
// back. It is what comes before the object name, the slash included.
type locations string

func newLocations(root string) (locations, error) {
	if root == "" {
		root = defaultLocation
	}
	u, err := url.Parse(root)
	if err != nil || u.Scheme == "" || (u.Host == "" && u.Scheme != "file") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", fmt.Errorf("location %q is not like s3://bucket/prefix", root)
	}
	return locations(strings.TrimRight(root, "/") + "/"), nil
}

func (l locations) uri(object string) string { return string(l) + object }

func (l locations) object(uri string) (name string, err error) {
	name, ok := strings.CutPrefix(uri, string(l))
	if !ok || name == "" {
		return "", fmt.Errorf("location %q is not an object of the lake at %s", uri, string(l))
	}
	return name, nil
}
