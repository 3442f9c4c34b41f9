package datazone

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/datazone"
	"github.com/aws/aws-sdk-go-v2/service/datazone/types"

	"github.com/cardlake/cardlake/catalog/products"
)

// Names of what is made.
const (
	glossaryName = "cardlake"
	glossaryText = "The words of the card lake's data products."
	relationForm = "CardlakeRelationForm"
	productForm  = "CardlakeProductForm"
	relationType = "CardlakeRelation"
	// external begins the external identifier of assets.
	external = "cardlake:"
)

// Models of the forms, in Smithy (DataZone user guide, "Create metadata forms").
const (
	relationModel = `structure CardlakeRelationForm {
  @required
  kind: String
  @required
  columns: String
}`
	productModel = `structure CardlakeProductForm {
  @required
  version: String
  @required
  status: String
  @required
  owner: String
  @required
  gives: String
  fresh: String
  quality: String
  labels: String
  instead: String
}`
)

// glossary makes the glossary and its terms be those of the catalogue.
func (e *Exporter) glossary(ctx context.Context, w Wanted) error {
	id := ""
	var have types.GlossaryItem
	err := e.search(ctx, types.InventorySearchScopeGlossary, func(item types.SearchInventoryResultItem) {
		if g, ok := item.(*types.SearchInventoryResultItemMemberGlossaryItem); ok && aws.ToString(g.Value.Name) == glossaryName {
			have, id = g.Value, aws.ToString(g.Value.Id)
		}
	})
	switch {
	case err != nil:
	case id == "":
		id = unmade
		err = e.do(ctx, "create", "glossary", glossaryName, func() error {
			out, err := e.client.CreateGlossary(ctx, &datazone.CreateGlossaryInput{
				DomainIdentifier: &e.cfg.Domain, OwningProjectIdentifier: &e.project, Name: aws.String(glossaryName), Description: aws.String(glossaryText),
				Status: types.GlossaryStatusEnabled, ClientToken: e.token("glossary", glossaryName),
			})
			if err == nil {
				id = aws.ToString(out.Id)
			}
			return err
		})
	case aws.ToString(have.Description) != glossaryText || have.Status != types.GlossaryStatusEnabled:
		err = e.do(ctx, "update", "glossary", glossaryName, func() error {
			_, err := e.client.UpdateGlossary(ctx, &datazone.UpdateGlossaryInput{DomainIdentifier: &e.cfg.Domain, Identifier: &id, Description: aws.String(glossaryText), Status: types.GlossaryStatusEnabled})
			return err
		})
	}
	if err != nil {
		return err
	}
	there := map[string]types.GlossaryTermItem{}
	err = e.search(ctx, types.InventorySearchScopeGlossaryTerm, func(item types.SearchInventoryResultItem) {
		if t, ok := item.(*types.SearchInventoryResultItemMemberGlossaryTermItem); ok && aws.ToString(t.Value.GlossaryId) == id {
			there[aws.ToString(t.Value.Name)] = t.Value
		}
	})
	if err != nil {
		return err
	}
	for _, t := range w.Catalogue.Glossary {
		if err := e.term(ctx, id, t, there); err != nil {
			return err
		}
		delete(there, t.Name)
	}
	for _, name := range sortedKeys(there) {
		if there[name].Status == types.GlossaryTermStatusDisabled {
			continue
		}
		err := e.do(ctx, "disable", "term", name, func() error {
			_, err := e.client.UpdateGlossaryTerm(ctx, &datazone.UpdateGlossaryTermInput{DomainIdentifier: &e.cfg.Domain, Identifier: there[name].Id, Status: types.GlossaryTermStatusDisabled})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Exporter) term(ctx context.Context, glossary string, t products.Term, there map[string]types.GlossaryTermItem) error {
	long := cmp.Or(t.Long, t.Short) // what is there can't be taken away
	have, ok := there[t.Name]
	e.terms[t.Name] = aws.ToString(have.Id)
	if !ok {
		e.terms[t.Name] = unmade
		return e.do(ctx, "create", "term", t.Name, func() error {
			out, err := e.client.CreateGlossaryTerm(ctx, &datazone.CreateGlossaryTermInput{
				DomainIdentifier: &e.cfg.Domain, GlossaryIdentifier: &glossary, Name: &t.Name, ShortDescription: &t.Short, LongDescription: &long,
				Status: types.GlossaryTermStatusEnabled, ClientToken: e.token("term", t.Name),
			})
			if err == nil {
				e.terms[t.Name] = aws.ToString(out.Id)
			}
			return err
		})
	}
	if aws.ToString(have.ShortDescription) == t.Short && aws.ToString(have.LongDescription) == long && have.Status == types.GlossaryTermStatusEnabled {
		return nil
	}
	return e.do(ctx, "update", "term", t.Name, func() error {
		_, err := e.client.UpdateGlossaryTerm(ctx, &datazone.UpdateGlossaryTermInput{
			DomainIdentifier: &e.cfg.Domain, Identifier: have.Id, ShortDescription: &t.Short, LongDescription: &long, Status: types.GlossaryTermStatusEnabled,
		})
		return err
	})
}

// types makes the types of forms and of assets.
func (e *Exporter) types(ctx context.Context, _ Wanted) (err error) {
	if e.relation, err = e.formType(ctx, relationForm, relationModel); err != nil {
		return err
	}
	if e.product, err = e.formType(ctx, productForm, productModel); err != nil {
		return err
	}
	have, err := e.client.GetAssetType(ctx, &datazone.GetAssetTypeInput{DomainIdentifier: &e.cfg.Domain, Identifier: aws.String(relationType)})
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		if f, ok := have.FormsOutput[relationForm]; ok && aws.ToString(f.TypeRevision) == e.relation.revision {
			e.asset = aws.ToString(have.Revision)
			return nil
		}
	}
	e.asset = unmade
	return e.do(ctx, "create", "asset type", relationType, func() error {
		out, err := e.client.CreateAssetType(ctx, &datazone.CreateAssetTypeInput{
			DomainIdentifier: &e.cfg.Domain, OwningProjectIdentifier: &e.project, Name: aws.String(relationType), Description: aws.String("A table or view of the card lake."),
			FormsInput: map[string]types.FormEntryInput{relationForm: {TypeIdentifier: aws.String(relationForm), TypeRevision: &e.relation.revision, Required: aws.Bool(true)}},
		})
		if err == nil {
			e.asset = aws.ToString(out.Revision)
		}
		return err
	})
}

// formType returns the form type, of which another model makes another revision.
func (e *Exporter) formType(ctx context.Context, name, model string) (form, error) {
	have, err := e.client.GetFormType(ctx, &datazone.GetFormTypeInput{DomainIdentifier: &e.cfg.Domain, FormTypeIdentifier: &name})
	if err != nil && !isMissing(err) {
		return form{}, err
	}
	if err == nil {
		if m, ok := have.Model.(*types.ModelMemberSmithy); ok && sameModel(m.Value, model) && have.Status == types.FormTypeStatusEnabled {
			return form{name, aws.ToString(have.Revision)}, nil
		}
	}
	f := form{name, unmade}
	err = e.do(ctx, "create", "form type", name, func() error {
		out, err := e.client.CreateFormType(ctx, &datazone.CreateFormTypeInput{
			DomainIdentifier: &e.cfg.Domain, OwningProjectIdentifier: &e.project, Name: &name, Model: &types.ModelMemberSmithy{Value: model}, Status: types.FormTypeStatusEnabled,
		})
		if err == nil {
			f.revision = aws.ToString(out.Revision)
		}
		return err
	})
	return f, err
}

// sameModel compares models whatever their white space.
func sameModel(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}

// relationContent is what the form of an asset says.
type relationContent struct {
	Kind    string `json:"kind"`
	Columns string `json:"columns"` // JSON
}

// offered are the products that DataZone shows: drafts are nobody's business.
func offered(w Wanted) []*products.Product {
	return slices.DeleteFunc(slices.Clone(w.Catalogue.Products), func(p *products.Product) bool {
		return p.Status != products.Published && p.Status != products.Deprecated
	})
}

// maxText is the longest description that DataZone takes of an asset or product.
const maxText = 2048

func cut(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// exportAssets makes an asset of each table and view of which a product is made.
func (e *Exporter) exportAssets(ctx context.Context, w Wanted) error {
	there := map[string]string{}
	err := e.search(ctx, types.InventorySearchScopeAsset, func(item types.SearchInventoryResultItem) {
		if a, ok := item.(*types.SearchInventoryResultItemMemberAssetItem); ok {
			if name, ok := strings.CutPrefix(aws.ToString(a.Value.ExternalIdentifier), external); ok {
				there[name] = aws.ToString(a.Value.Identifier)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, p := range offered(w) {
		for _, name := range p.Relations {
			if _, ok := e.assets[name]; ok {
				continue
			}
			r := w.Dictionary.Relation(name)
			if r == nil {
				return fmt.Errorf("product %s: there is no table or view %q", p.Name, name)
			}
			if err := e.exportAsset(ctx, r, there[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Exporter) exportAsset(ctx context.Context, r *products.Relation, id string) error {
	columns, err := json.Marshal(r.Columns)
	if err != nil {
		return err
	}
	content := relationContent{"table", string(columns)}
	if len(r.Tables) != 1 || r.Tables[0] != r.Name {
		content.Kind = "view"
	}
	forms, err := e.relation.input(content)
	if err != nil {
		return err
	}
	doc := cut(r.Doc)
	if id == "" {
		e.assets[r.Name] = unmade
		return e.do(ctx, "create", "asset", r.Name, func() error {
			out, err := e.client.CreateAsset(ctx, &datazone.CreateAssetInput{
				DomainIdentifier: &e.cfg.Domain, OwningProjectIdentifier: &e.project, Name: &r.Name, Description: &doc, ExternalIdentifier: aws.String(external + r.Name),
				TypeIdentifier: aws.String(relationType), TypeRevision: &e.asset, FormsInput: forms, ClientToken: e.token("asset", r.Name),
			})
			if err == nil {
				e.assets[r.Name] = aws.ToString(out.Id)
			}
			return err
		})
	}
	e.assets[r.Name] = id
	have, err := e.client.GetAsset(ctx, &datazone.GetAssetInput{DomainIdentifier: &e.cfg.Domain, Identifier: &id})
	if err != nil {
		return err
	}
	if aws.ToString(have.Name) == r.Name && aws.ToString(have.Description) == doc && aws.ToString(have.TypeRevision) == e.asset && e.relation.isIn(have.FormsOutput, content) {
		return nil
	}
	return e.do(ctx, "update", "asset", r.Name, func() error {
		_, err := e.client.CreateAssetRevision(ctx, &datazone.CreateAssetRevisionInput{
			DomainIdentifier: &e.cfg.Domain, Identifier: &id, Name: &r.Name, Description: &doc, TypeRevision: &e.asset, FormsInput: forms,
		})
		return err
	})
}

// productContent is what the form of a product says.
type productContent struct {
	Version string `json:"version"`
	Status  string `json:"status"`
	Owner   string `json:"owner"`
	Gives   string `json:"gives"`
	Fresh   string `json:"fresh,omitempty"`
	Quality string `json:"quality,omitempty"`
	Labels  string `json:"labels,omitempty"`
	Instead string `json:"instead,omitempty"`
}

func contentOf(p *products.Product) productContent {
	tags := make([]string, len(p.Terms.Clear))
	for i, t := range p.Terms.Clear {
		tags[i] = string(t)
	}
	c := productContent{
		Version: p.Version, Status: string(p.Status), Owner: p.Owner, Fresh: p.Promise.Fresh, Labels: strings.Join(p.Labels, ", "), Instead: p.Instead,
		Gives: strings.Join(tags, ", ") + " of " + strings.Join(p.Terms.Tables, ", "),
	}
	if p.Promise.Quality > 0 {
		c.Quality = fmt.Sprintf("%d %%", p.Promise.Quality)
	}
	return c
}

// exportProducts makes the data products.
func (e *Exporter) exportProducts(ctx context.Context, w Wanted) error {
	there := map[string]string{}
	err := e.search(ctx, types.InventorySearchScopeDataProduct, func(item types.SearchInventoryResultItem) {
		if p, ok := item.(*types.SearchInventoryResultItemMemberDataProductItem); ok {
			there[aws.ToString(p.Value.Name)] = aws.ToString(p.Value.Id)
		}
	})
	if err != nil {
		return err
	}
	for _, p := range w.Catalogue.Products {
		if id := there[p.Name]; id != "" {
			e.dataProduct[p.Name] = entity{id: id}
		}
	}
	for _, p := range offered(w) {
		if err := e.exportProduct(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (e *Exporter) exportProduct(ctx context.Context, p *products.Product) error {
	content := contentOf(p)
	forms, err := e.product.input(content)
	if err != nil {
		return err
	}
	var items []types.DataProductItem
	for _, r := range p.Relations {
		items = append(items, types.DataProductItem{Identifier: aws.String(e.assets[r]), ItemType: types.DataProductItemTypeAsset})
	}
	var terms []string
	for _, t := range p.Glossary {
		terms = append(terms, e.terms[t])
	}
	text := cut(p.Title + ". " + p.Description)
	id := e.dataProduct[p.Name].id
	if id == "" {
		e.dataProduct[p.Name] = entity{unmade, unmade}
		return e.do(ctx, "create", "product", p.Name, func() error {
			out, err := e.client.CreateDataProduct(ctx, &datazone.CreateDataProductInput{
				DomainIdentifier: &e.cfg.Domain, OwningProjectIdentifier: &e.project, Name: &p.Name, Description: &text,
				FormsInput: forms, GlossaryTerms: terms, Items: items, ClientToken: e.token("product", p.Name),
			})
			if err == nil {
				e.dataProduct[p.Name] = entity{aws.ToString(out.Id), aws.ToString(out.Revision)}
			}
			return err
		})
	}
	have, err := e.client.GetDataProduct(ctx, &datazone.GetDataProductInput{DomainIdentifier: &e.cfg.Domain, Identifier: &id})
	if err != nil {
		return err
	}
	e.dataProduct[p.Name] = entity{id, aws.ToString(have.Revision)}
	if aws.ToString(have.Description) == text && sameSet(have.GlossaryTerms, terms) && sameSet(identifiers(have.Items), identifiers(items)) && e.product.isIn(have.FormsOutput, content) {
		return nil
	}
	return e.do(ctx, "update", "product", p.Name, func() error {
		out, err := e.client.CreateDataProductRevision(ctx, &datazone.CreateDataProductRevisionInput{
			DomainIdentifier: &e.cfg.Domain, Identifier: &id, Name: &p.Name, Description: &text, FormsInput: forms, GlossaryTerms: terms, Items: items,
		})
		if err == nil {
			e.dataProduct[p.Name] = entity{id, aws.ToString(out.Revision)}
		}
		return err
	})
}

func identifiers(items []types.DataProductItem) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = aws.ToString(item.Identifier)
	}
	return out
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
