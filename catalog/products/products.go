// Package products has the lake's data products: what somebody offers of the lake, answers for,
// and lets others subscribe to.
//
// A product is a file of JSON in a folder that is reviewed like code ([Load]): who owns it, which
// tables and views it is made of, what its words mean, how fresh and how good its owner promises
// it to be, and its [Terms]: what of the tables a subscription gives, of which tenants, to whom and
// for how long. A draft is seen by its owner and stewards only. A published product can be
// subscribed to; a deprecated one is kept for those who have it; a withdrawn one ends all
// subscriptions.
//
// A subscription is asked for with a reason, and approved by the product's owner or a steward who
// is somebody else, also behind another name: [Desk]. What happened is in a log of its own, an
// audit log ([Store]): sealed, chained, appended to by several processes, and read only as far as
// it holds together. A line that the rules do not allow is passed over, whoever wrote it.
//
// # How an approval gives access
//
// [Desk.Sync] writes the subscriptions that are in force as Cedar policies, permits that end by
// themselves, into the folder of grants; doors take them over as they take over every change
// there, and a revoked one is gone with the next look at the folder. A permit never gives more than
// all three of these do at the moment of writing: what was approved, the product's terms as they
// are now, and the tenants for which the policies let the subscriber subscribe. Forbids hold as
// ever. Since grants are of columns by their tags, so are terms: a subscription to a product made
// of views gives the tagged columns of the tables under them.
//
// Whatever is decided is in the lake's audit log first.
package products

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// Status is where a product is in its life.
type Status string

const (
	Draft      Status = "draft"
	Published  Status = "published"
	Deprecated Status = "deprecated" // nobody subscribes any more; who has, keeps it
	Withdrawn  Status = "withdrawn"  // nobody has it
)

// next are the states that may follow one another.
var next = map[Status][]Status{
	Draft: {Published, Withdrawn}, Published: {Deprecated, Withdrawn}, Deprecated: {Published, Withdrawn}, Withdrawn: {},
}

// Terms are the most that a subscription gives.
type Terms struct {
	// Tables are the full names of the tables that it gives columns of. The product's own tables
	// and those under its views must be among them, for without one of them it can't be read.
	Tables []string `json:"tables"`
	// Clear and Masked are the tags of the columns that are given, as they are and masked.
	Clear  []cardlake.Tag `json:"clear"`
	Masked []cardlake.Tag `json:"masked,omitempty"`
	// Actions are what may be done; default query.
	Actions []grants.Action `json:"actions,omitempty"`
	// Tenants are those whose rows are given; default all.
	Tenants []cardlake.Tenant `json:"tenants,omitempty"`
	// Kinds are who may subscribe; default all but operators, auditors and detokenisers, who have
	// what their work needs.
	Kinds []grants.Kind `json:"kinds,omitempty"`
	// Days is how long a subscription lasts at most; default 90, at most 366.
	Days int `json:"days,omitempty"`
}

// Promise is what the owner answers for.
type Promise struct {
	// Fresh is how old the newest state may be, in time.ParseDuration's form; empty promises
	// nothing.
	Fresh string `json:"fresh,omitempty"`
	// Quality is the least share of the rules of quality that hold, in percent; 0 promises nothing.
	Quality int `json:"quality,omitempty"`
}

// freshness is Fresh as a time, 0 for none.
func (p Promise) freshness() time.Duration {
	d, err := time.ParseDuration(cmp.Or(p.Fresh, "0s"))
	if err != nil {
		return -1
	}
	return d
}

// Product is one, as its file has it.
type Product struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Version     string `json:"version"` // MAJOR.MINOR.PATCH
	Status      Status `json:"status"`
	// Owner and Stewards are principals, KIND/NAME. Each may approve what others ask for.
	Owner    string   `json:"owner"`
	Stewards []string `json:"stewards,omitempty"`
	// Relations are the full names of the tables and views that it is made of.
	Relations []string `json:"relations"`
	Terms     Terms    `json:"terms"`
	Promise   Promise  `json:"promise,omitzero"`
	// Glossary are the terms of the glossary that its words are.
	Glossary []string `json:"glossary,omitempty"`
	Labels   []string `json:"labels,omitempty"`
	// Instead is the product to use in place of one that is deprecated.
	Instead string `json:"instead,omitempty"`
}

// Term is one of the glossary.
type Term struct {
	Name  string `json:"name"`
	Short string `json:"short"`
	Long  string `json:"long,omitempty"`
}

// Column is one of a relation.
type Column struct {
	Name     string       `json:"name"`
	Type     string       `json:"type"` // Arrow's spelling
	Tag      cardlake.Tag `json:"tag"`
	Doc      string       `json:"doc"`
	Nullable bool         `json:"nullable"`
}

// Relation is a table or view as the data dictionary has it.
type Relation struct {
	Name    string   `json:"name"` // its full name
	Doc     string   `json:"doc"`
	Columns []Column `json:"columns"`
	// Tables are the full names of those under a view, or the table itself.
	Tables []string `json:"tables"`
}

// Dictionary has the lake's tables and views.
type Dictionary interface {
	// Relation returns nil if there is none of the name.
	Relation(fullName string) *Relation
}

// DefaultDays is how long a subscription lasts at most if the terms do not say.
const DefaultDays = 90

const (
	maxDays = 366
	maxText = 2000
	maxList = 50
)

var (
	productName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	versionForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)
	labelForm   = regexp.MustCompile(`^[\p{L}0-9][\p{L}0-9 _-]{0,39}$`)
	// manyDigits finds what could be taken for a card number.
	manyDigits = regexp.MustCompile(`[0-9]{7}`)
)

// tags are those that terms may give: what is sealed is nobody's.
var tags = []cardlake.Tag{cardlake.Public, cardlake.Identifier, cardlake.TruncatedPAN, cardlake.MoneyTag, cardlake.Lineage}

// actions are those that a subscription can be of.
var actions = []grants.Action{grants.Query, grants.ReadChanges, grants.Export}

// subscribers are the kinds for which products are, unless terms say otherwise.
var subscribers = []grants.Kind{grants.DataScientist, grants.ETLJob, grants.TenantAnalyst, grants.TenantService}

// withDefaults returns the terms with defaults in place of what is not there.
func (t Terms) withDefaults() Terms {
	if len(t.Actions) == 0 {
		t.Actions = []grants.Action{grants.Query}
	}
	if len(t.Kinds) == 0 {
		t.Kinds = subscribers
	}
	t.Days = cmp.Or(t.Days, DefaultDays)
	return t
}

// validate reports every fault of the product, given the dictionary and the glossary.
func (p *Product) validate(d Dictionary, glossary map[string]bool) error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(!productName.MatchString(p.Name) || manyDigits.MatchString(p.Name), "name is not 1 to 40 of a-z, 0-9 and -, beginning with a letter")
	fault(p.Title == "" || len(p.Title) > 100, "title is empty or longer than 100 bytes")
	fault(p.Description == "" || len(p.Description) > maxText, "description is empty or longer than %d bytes", maxText)
	fault(!versionForm.MatchString(p.Version), "version is not MAJOR.MINOR.PATCH")
	fault(next[p.Status] == nil, "status is not one of draft, published, deprecated and withdrawn")
	for _, who := range append([]string{p.Owner}, p.Stewards...) {
		_, err := grants.ParsePrincipal(who)
		fault(err != nil, "owner and stewards: %q is not KIND/NAME", who)
	}
	fault(len(p.Relations) == 0 || len(p.Relations) > maxList, "relations names no table or view, or more than %d", maxList)
	for _, name := range p.Relations {
		r := d.Relation(name)
		if fault(r == nil, "relations: there is no table or view %q", name); r == nil {
			continue
		}
		for _, table := range r.Tables {
			fault(!slices.Contains(p.Terms.Tables, table), "terms: tables lacks %s, without which %s cannot be read", table, name)
		}
	}
	errs = append(errs, p.Terms.validate()...)
	fault(p.Promise.freshness() < 0, "promise: fresh is not a time such as 15m")
	fault(p.Promise.Quality < 0 || p.Promise.Quality > 100, "promise: quality is not 0 to 100 percent")
	for _, term := range p.Glossary {
		fault(!glossary[term], "glossary: there is no term %q", term)
	}
	for _, l := range p.Labels {
		fault(!labelForm.MatchString(l) || manyDigits.MatchString(l), "labels: %q is not up to 40 letters, digits, spaces, _ and -", l)
	}
	fault(p.Instead != "" && p.Status != Deprecated && p.Status != Withdrawn, "instead is for a product that is deprecated or withdrawn")
	return errors.Join(errs...)
}

func (t Terms) validate() (errs []error) {
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("terms: "+format, args...))
		}
	}
	fault(len(t.Tables) == 0, "tables is empty: a subscription would give nothing")
	for _, name := range t.Tables {
		table := cardlake.TableNamed(name)
		fault(table == nil, "there is no table %q", name)
		fault(table != nil && table.Namespace == "audit", "%s is read by who may read the audit log, and nobody else", name)
	}
	fault(len(t.Clear)+len(t.Masked) == 0, "clear and masked are empty: a subscription would give nothing")
	for _, tag := range append(slices.Clone(t.Clear), t.Masked...) {
		fault(!slices.Contains(tags, tag), "%q is not one of the tags %s", tag, join(tags))
	}
	for _, tag := range t.Masked {
		fault(slices.Contains(t.Clear, tag), "%s is given both clear and masked", tag)
	}
	for _, a := range t.Actions {
		fault(!slices.Contains(actions, a), "%q is not one of the actions %s", a, join(actions))
	}
	for _, k := range t.Kinds {
		fault(!slices.Contains(grants.Kinds, k), "there is no kind %q: there are %s", k, join(grants.Kinds))
	}
	for _, tenant := range t.Tenants {
		fault(tenant.Validate() != nil, "tenants: a name does not follow the rule of tenants' names")
	}
	fault(t.Days < 0 || t.Days > maxDays, "days is not up to %d", maxDays)
	return errs
}

func join[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, x := range list {
		texts[i] = string(x)
	}
	return strings.Join(texts, ", ")
}

// IsKeeper reports whether the principal is the product's owner or a steward of it.
func (p *Product) IsKeeper(who grants.Principal) bool {
	return p.Owner == who.String() || slices.Contains(p.Stewards, who.String())
}

// isSeenBy reports whether the principal is told of the product.
func (p *Product) isSeenBy(who grants.Principal) bool {
	return p.Status == Published || p.Status == Deprecated || p.IsKeeper(who)
}
