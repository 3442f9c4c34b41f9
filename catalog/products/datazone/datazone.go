// Package datazone makes the lake's data products known in a domain of Amazon DataZone, through its
// API: the glossary and its terms, the types of forms and assets, an asset for each table and view,
// the data products, their listings, and what subscriptions there are to them.
//
// What is here decides; DataZone shows it. [Exporter.Run] compares and changes what differs: a
// second run changes nothing, and what was changed there by hand is put back. It changes only what
// it made: the glossary of its name, assets by their external identifier, data products by their
// name, all in its project, and subscriptions whose request names one of the lake's. It deletes
// nothing: terms that are no more are disabled, products that are no more are unlisted,
// subscriptions that ended are revoked.
//
// A subscription in DataZone gives nothing of the lake by itself: assets are of a type of this
// package's own, which DataZone manages no access to. What gives is the grants (package products).
// So nobody gets at anything by subscribing there.
//
// A run that was stopped by whatever is taken up by the next one. Requests are repeated by the SDK,
// in one layer. The domain must be there, for making one takes a role and an encryption key that
// are infrastructure's.
//
// The package was proved against a server of its own tests that has the API's paths and rules,
// and never run against Amazon. Open there: DataZone's searches lag behind what was made, against
// which creations carry tokens that repeat within the hour; and the text of form types, of which
// the service may keep another spelling than it was given.
package datazone

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/datazone"
	"github.com/aws/aws-sdk-go-v2/service/datazone/types"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/products"
)

// Change is one thing that is made, changed or ended.
type Change struct {
	Action string // create, update, disable, publish, unpublish, request, accept, grant, revoke
	Kind   string // glossary, term, form type, asset type, asset, product, listing, subscription
	Name   string
}

func (c Change) String() string { return c.Action + " " + c.Kind + " " + c.Name }

// Target is where a subscription is fulfilled.
type Target struct {
	Environment string `json:"environment"`
	Target      string `json:"target"`
}

// Config says where in DataZone. Domain and Project must be set.
type Config struct {
	Domain string // its id, dzd_…
	// Project is the name of the project that owns what is exported; it is made if it is not there.
	Project string
	// Consumers are the ids of the projects in which subscribers, KIND/NAME, work. Whoever is not
	// named has no subscription there.
	Consumers map[string]string
	// Targets are where a consumer's project, by id, has its subscriptions fulfilled; without one
	// there are no subscription grants.
	Targets map[string]Target
	// DryRun changes nothing.
	DryRun bool
	// Record is called before each change, which is not made if it fails. Nil records nothing.
	Record func(context.Context, Change) error
	Now    func() time.Time // default time.Now
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	if !strings.HasPrefix(c.Domain, "dzd") {
		errs = append(errs, errors.New("Domain is not the id of a domain, dzd_…"))
	}
	if c.Project == "" || len(c.Project) > 64 {
		errs = append(errs, errors.New("Project is not the name of a project, of 1 to 64 characters"))
	}
	return errors.Join(errs...)
}

// Wanted is what is to be known in DataZone.
type Wanted struct {
	Catalogue  *products.Catalogue
	Dictionary products.Dictionary
	// InForce are the subscriptions that give something.
	InForce []products.Subscription
}

// Exporter exports to one domain. It is used by one goroutine at a time.
type Exporter struct {
	client *datazone.Client
	cfg    Config

	changes     []Change
	project     string
	terms       map[string]string // ids by name
	relation    form
	product     form
	asset       string             // revision of the asset type
	assets      map[string]string  // ids by relation
	dataProduct map[string]entity  // by name
	listings    map[string]listing // of products, by name
	unoffered   map[string]listing // those of them that are to go
}

// entity is what is made and revised.
type entity struct{ id, revision string }

// listing is what subscribers see of an entity.
type listing struct {
	id, revision string
	entity       entity
}

// New returns an exporter. It calls nothing; the error is that of [Config.Validate].
func New(client *datazone.Client, cfg Config) (*Exporter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("DataZone: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Exporter{client: client, cfg: cfg}, nil
}

// Run makes DataZone have what is wanted, and returns what it changed, also beside an error; in a
// dry run what it would.
func (e *Exporter) Run(ctx context.Context, w Wanted) ([]Change, error) {
	*e = Exporter{client: e.client, cfg: e.cfg, terms: map[string]string{}, assets: map[string]string{}, dataProduct: map[string]entity{}, listings: map[string]listing{}, unoffered: map[string]listing{}}
	for _, step := range []struct {
		what string
		do   func(context.Context, Wanted) error
	}{
		{"project", e.findProject}, {"glossary", e.glossary}, {"types", e.types}, {"assets", e.exportAssets},
		{"products", e.exportProducts}, {"listings", e.publish}, {"subscriptions", e.subscriptions}, {"listings", e.unpublish},
	} {
		if err := step.do(ctx, w); err != nil {
			return e.changes, fmt.Errorf("DataZone: %s: %w", step.what, err)
		}
	}
	return e.changes, nil
}

// unmade stands for the id of what a dry run does not make.
const unmade = "(not made)"

// do notes a change, and makes it unless the run is dry.
func (e *Exporter) do(ctx context.Context, action, kind, name string, make func() error) error {
	c := Change{action, kind, name}
	if !e.cfg.DryRun {
		if e.cfg.Record != nil {
			if err := e.cfg.Record(ctx, c); err != nil {
				return err
			}
		}
		if err := make(); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	e.changes = append(e.changes, c)
	return nil
}

// token makes a creation that is asked for again within the hour the same one (ClientToken).
func (e *Exporter) token(kind, name string) *string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s\x00%d", e.cfg.Domain, e.project, kind, name, e.cfg.Now().Unix()/3600))
	return aws.String(string(cardlake.AppendLetters(nil, sum[:16])))
}

func isMissing(err error) bool { return errors.As(err, new(*types.ResourceNotFoundException)) }

// findProject finds the project by its name.
func (e *Exporter) findProject(ctx context.Context, _ Wanted) error {
	d, err := e.client.GetDomain(ctx, &datazone.GetDomainInput{Identifier: &e.cfg.Domain})
	if err != nil {
		return err
	}
	if d.Status != types.DomainStatusAvailable {
		return fmt.Errorf("the domain is %s", d.Status)
	}
	pages := datazone.NewListProjectsPaginator(e.client, &datazone.ListProjectsInput{DomainIdentifier: &e.cfg.Domain, Name: &e.cfg.Project})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.Items {
			if aws.ToString(p.Name) == e.cfg.Project {
				e.project = aws.ToString(p.Id)
				return nil
			}
		}
	}
	e.project = unmade
	return e.do(ctx, "create", "project", e.cfg.Project, func() error {
		out, err := e.client.CreateProject(ctx, &datazone.CreateProjectInput{DomainIdentifier: &e.cfg.Domain, Name: &e.cfg.Project, Description: aws.String("The card lake's data products.")})
		if err == nil {
			e.project = aws.ToString(out.Id)
		}
		return err
	})
}

// search calls each with what of the scope is in the project.
func (e *Exporter) search(ctx context.Context, scope types.InventorySearchScope, each func(types.SearchInventoryResultItem)) error {
	if e.project == unmade {
		return nil
	}
	pages := datazone.NewSearchPaginator(e.client, &datazone.SearchInput{DomainIdentifier: &e.cfg.Domain, SearchScope: scope, OwningProjectIdentifier: &e.project})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			each(item)
		}
	}
	return nil
}

// form is one that is filled in.
type form struct{ name, revision string }

// input fills it in.
func (f form) input(content any) ([]types.FormInput, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return []types.FormInput{{FormName: &f.name, TypeIdentifier: &f.name, TypeRevision: &f.revision, Content: aws.String(string(text))}}, nil
}

// isIn reports whether it is among what is there with the same content, however it is spelled.
func (f form) isIn(have []types.FormOutput, content any) bool {
	want, err := json.Marshal(content)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(have, func(o types.FormOutput) bool {
		var a, b any
		return aws.ToString(o.FormName) == f.name && aws.ToString(o.TypeRevision) == f.revision &&
			json.Unmarshal(want, &a) == nil && json.Unmarshal([]byte(aws.ToString(o.Content)), &b) == nil && reflect.DeepEqual(a, b)
	})
}
