// Package saved keeps the views of the dashboard that people have saved: a page, and what it is
// asked with. A view is its owner's alone, has no rows, and nothing that could be a card number.
package saved

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cardlake/cardlake/catalog/audit"
)

// View is a page as somebody looked at it.
type View struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Page is the page's name, such as "overview".
	Page string `json:"page"`
	// Query is what the page is asked with, as URLs have it, without the question mark.
	Query     string    `json:"query"`
	CreatedAt time.Time `json:"created_at"`
}

const (
	// MaxViews is how many views one owner may have.
	MaxViews = 100
	// MaxName is how many characters a name has at most, MaxQuery how many bytes a query.
	MaxName, MaxQuery = 80, 2000
	maxPage           = 32
)

var (
	// ErrView marks a view that breaks a rule. What wraps it names the field and the rule.
	ErrView = errors.New("the view can't be saved")
	// ErrNotFound says that the owner has no view of the id.
	ErrNotFound = errors.New("there is no such view of yours")
	// ErrFull says that the owner has MaxViews.
	ErrFull = errors.New("you have as many views as are kept: remove one")
)

// private are parameters that must not be in URLs, and so not in what is saved of them.
var private = []string{"bin", "last4"}

// Validate returns an error that wraps ErrView and names the field that breaks its rule.
func (v View) Validate() error {
	fault := func(rule string) error { return &fault{rule} }
	values, err := url.ParseQuery(v.Query)
	switch {
	case strings.TrimSpace(v.Name) == "" || !utf8.ValidString(v.Name) || utf8.RuneCountInString(v.Name) > MaxName || strings.ContainsFunc(v.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fault("name must be one line of 1 to 80 printable characters")
	case v.Page == "" || len(v.Page) > maxPage || strings.Trim(v.Page, "abcdefghijklmnopqrstuvwxyz-") != "":
		return fault("page must be the name of a page, such as overview")
	case err != nil || len(v.Query) > MaxQuery || strings.ContainsFunc(v.Query, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fault("query must be the query of a URL, of at most 2000 ASCII characters")
	case audit.Masks(v.Name):
		return fault("name must not hold a number of 12 digits or more, which could be a card's")
	case audit.Masks(v.Query):
		return fault("query must not hold a number of 12 digits or more, which could be a card's")
	}
	for name, all := range values {
		if slices.Contains(private, strings.ToLower(name)) {
			return fault("query must not hold digits of card numbers: leave bin and last4 out")
		}
		if audit.Masks(name) || slices.ContainsFunc(all, audit.Masks) {
			return fault("query must not hold a number of 12 digits or more, which could be a card's")
		}
	}
	return nil
}

// fault is an ErrView.
type fault struct{ rule string }

func (f *fault) Error() string { return f.rule }

func (f *fault) Unwrap() error { return ErrView }
