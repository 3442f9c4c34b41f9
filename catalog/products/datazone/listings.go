package datazone

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/datazone"
	"github.com/aws/aws-sdk-go-v2/service/datazone/types"

	"github.com/cardlake/cardlake/catalog/products"
)

// publish lists the newest revision of products that are offered, and finds the listings that are
// to go.
func (e *Exporter) publish(ctx context.Context, w Wanted) error {
	have, err := e.listed(ctx)
	if err != nil {
		return err
	}
	for _, p := range w.Catalogue.Products {
		product, ok := e.dataProduct[p.Name]
		if !ok {
			continue
		}
		l, isListed := have[product.id]
		delete(have, product.id)
		if isListed {
			e.listings[p.Name] = l
		}
		if p.Status != products.Published && p.Status != products.Deprecated {
			if isListed {
				e.unoffered[p.Name] = l
			}
			continue
		}
		if isListed && l.entity == product {
			continue
		}
		e.listings[p.Name] = listing{unmade, unmade, product}
		err := e.do(ctx, "publish", "listing", p.Name, func() error {
			out, err := e.list(ctx, types.ChangeActionPublish, product)
			if err == nil {
				e.listings[p.Name] = listing{aws.ToString(out.ListingId), aws.ToString(out.ListingRevision), product}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	// What is left is of products whose files are gone, or not this package's.
	for _, id := range sortedKeys(have) {
		p, err := e.client.GetDataProduct(ctx, &datazone.GetDataProductInput{DomainIdentifier: &e.cfg.Domain, Identifier: &id})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.FormsOutput, func(f types.FormOutput) bool { return aws.ToString(f.FormName) == productForm }) {
			name := aws.ToString(p.Name)
			e.listings[name], e.unoffered[name] = have[id], have[id]
		}
	}
	return nil
}

// listed returns the listings of the project's products, by the product's id.
func (e *Exporter) listed(ctx context.Context) (map[string]listing, error) {
	have := map[string]listing{}
	if e.project == unmade {
		return have, nil
	}
	pages := datazone.NewSearchListingsPaginator(e.client, &datazone.SearchListingsInput{DomainIdentifier: &e.cfg.Domain})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			if p, ok := item.(*types.SearchResultItemMemberDataProductListing); ok && aws.ToString(p.Value.OwningProjectId) == e.project {
				l := p.Value
				have[aws.ToString(l.EntityId)] = listing{aws.ToString(l.ListingId), aws.ToString(l.ListingRevision), entity{aws.ToString(l.EntityId), aws.ToString(l.EntityRevision)}}
			}
		}
	}
	return have, nil
}

// unpublish takes the listings away that are to go, after the subscriptions to them.
func (e *Exporter) unpublish(ctx context.Context, _ Wanted) error {
	for _, name := range sortedKeys(e.unoffered) {
		err := e.do(ctx, "unpublish", "listing", name, func() error {
			_, err := e.list(ctx, types.ChangeActionUnpublish, e.unoffered[name].entity)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (e *Exporter) list(ctx context.Context, action types.ChangeAction, product entity) (*datazone.CreateListingChangeSetOutput, error) {
	return e.client.CreateListingChangeSet(ctx, &datazone.CreateListingChangeSetInput{
		DomainIdentifier: &e.cfg.Domain, Action: action, EntityType: types.EntityTypeDataProduct, EntityIdentifier: &product.id, EntityRevision: &product.revision,
	})
}

// ours begins the reason of the requests that this package makes.
const ours = "cardlake subscription "

// subscriptions makes the consumers' projects have what their members have here.
func (e *Exporter) subscriptions(ctx context.Context, w Wanted) error {
	wanted := map[[2]string]products.Subscription{} // by product and project
	for _, s := range w.InForce {
		if project := e.cfg.Consumers[s.Subscriber.String()]; project != "" {
			wanted[[2]string{s.Product, project}] = s
		}
	}
	consumers := map[string]bool{}
	for _, project := range e.cfg.Consumers {
		consumers[project] = true
	}
	for _, name := range sortedKeys(e.listings) {
		for _, project := range sortedKeys(consumers) {
			s, ok := wanted[[2]string{name, project}]
			_, isToGo := e.unoffered[name]
			var err error
			if ok && !isToGo {
				err = e.subscribe(ctx, name, project, s)
			} else {
				err = e.unsubscribe(ctx, name, project)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// approved returns the approved subscriptions of a project to a listing.
func (e *Exporter) approved(ctx context.Context, l listing, project string) ([]types.SubscriptionSummary, error) {
	if l.id == unmade {
		return nil, nil
	}
	var out []types.SubscriptionSummary
	pages := datazone.NewListSubscriptionsPaginator(e.client, &datazone.ListSubscriptionsInput{
		DomainIdentifier: &e.cfg.Domain, SubscribedListingId: &l.id, OwningProjectId: &project, Status: types.SubscriptionStatusApproved,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
	}
	return out, nil
}

// requests returns the reasons of a project's requests for a listing in a state, by id, of those
// that this package made.
func (e *Exporter) requests(ctx context.Context, l listing, project string, status types.SubscriptionRequestStatus) (map[string]bool, error) {
	out := map[string]bool{}
	if l.id == unmade {
		return out, nil
	}
	pages := datazone.NewListSubscriptionRequestsPaginator(e.client, &datazone.ListSubscriptionRequestsInput{
		DomainIdentifier: &e.cfg.Domain, SubscribedListingId: &l.id, OwningProjectId: &project, Status: status,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Items {
			if strings.HasPrefix(aws.ToString(r.RequestReason), ours) {
				out[aws.ToString(r.Id)] = true
			}
		}
	}
	return out, nil
}

// subscribe requests, accepts and grants what is not there yet of a subscription.
func (e *Exporter) subscribe(ctx context.Context, name, project string, s products.Subscription) error {
	l := e.listings[name]
	what := s.Subscriber.String() + " to " + name
	have, err := e.approved(ctx, l, project)
	if err != nil {
		return err
	}
	if len(have) > 0 {
		return e.fulfil(ctx, what, project, aws.ToString(have[0].Id), l)
	}
	pending, err := e.requests(ctx, l, project, types.SubscriptionRequestStatusPending)
	if err != nil {
		return err
	}
	request := unmade
	if ids := sortedKeys(pending); len(ids) > 0 {
		request = ids[0]
	} else {
		err = e.do(ctx, "request", "subscription", what, func() error {
			out, err := e.client.CreateSubscriptionRequest(ctx, &datazone.CreateSubscriptionRequestInput{
				DomainIdentifier: &e.cfg.Domain, RequestReason: aws.String(ours + s.ID),
				SubscribedListings:   []types.SubscribedListingInput{{Identifier: &l.id}},
				SubscribedPrincipals: []types.SubscribedPrincipalInput{&types.SubscribedPrincipalInputMemberProject{Value: types.SubscribedProjectInput{Identifier: &project}}},
				ClientToken:          e.token("subscription", s.ID),
			})
			if err == nil {
				request = aws.ToString(out.Id)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	err = e.do(ctx, "accept", "subscription", what, func() error {
		_, err := e.client.AcceptSubscriptionRequest(ctx, &datazone.AcceptSubscriptionRequestInput{
			DomainIdentifier: &e.cfg.Domain, Identifier: &request, DecisionComment: aws.String("approved in the lake by " + s.DecidedBy.String()),
		})
		return err
	})
	if err != nil || e.cfg.DryRun {
		return err
	}
	if have, err = e.approved(ctx, l, project); err != nil {
		return err
	}
	if len(have) == 0 {
		return errors.New("what was accepted is not there yet: run the export again")
	}
	return e.fulfil(ctx, what, project, aws.ToString(have[0].Id), l)
}

// fulfil grants a subscription in the project's environment, if it has one.
func (e *Exporter) fulfil(ctx context.Context, what, project, id string, l listing) error {
	target, ok := e.cfg.Targets[project]
	if !ok {
		return nil
	}
	grants, err := e.grantsOf(ctx, id)
	if err != nil || len(grants) > 0 {
		return err
	}
	return e.do(ctx, "grant", "subscription", what, func() error {
		_, err := e.client.CreateSubscriptionGrant(ctx, &datazone.CreateSubscriptionGrantInput{
			DomainIdentifier: &e.cfg.Domain, EnvironmentIdentifier: &target.Environment, SubscriptionTargetIdentifier: &target.Target,
			GrantedEntity: &types.GrantedEntityInputMemberListing{Value: types.ListingRevisionInput{Identifier: &l.id, Revision: &l.revision}},
		})
		return err
	})
}

func (e *Exporter) grantsOf(ctx context.Context, subscription string) ([]string, error) {
	var out []string
	pages := datazone.NewListSubscriptionGrantsPaginator(e.client, &datazone.ListSubscriptionGrantsInput{DomainIdentifier: &e.cfg.Domain, SubscriptionId: &subscription})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.Items {
			out = append(out, aws.ToString(g.Id))
		}
	}
	return out, nil
}

// unsubscribe revokes what this package had accepted and is over here. What somebody accepted
// there by hand gives nothing and is left.
func (e *Exporter) unsubscribe(ctx context.Context, name, project string) error {
	l := e.listings[name]
	have, err := e.approved(ctx, l, project)
	if err != nil || len(have) == 0 {
		return err
	}
	accepted, err := e.requests(ctx, l, project, types.SubscriptionRequestStatusAccepted)
	if err != nil {
		return err
	}
	for _, s := range have {
		if !accepted[aws.ToString(s.SubscriptionRequestId)] {
			continue
		}
		err := e.do(ctx, "revoke", "subscription", project+" to "+name, func() error {
			grants, err := e.grantsOf(ctx, aws.ToString(s.Id))
			if err != nil {
				return err
			}
			for _, id := range grants {
				if _, err := e.client.DeleteSubscriptionGrant(ctx, &datazone.DeleteSubscriptionGrantInput{DomainIdentifier: &e.cfg.Domain, Identifier: &id}); err != nil && !isMissing(err) {
					return err
				}
			}
			_, err = e.client.RevokeSubscription(ctx, &datazone.RevokeSubscriptionInput{DomainIdentifier: &e.cfg.Domain, Identifier: s.Id, RetainPermissions: aws.Bool(false)})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
