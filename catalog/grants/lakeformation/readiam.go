package lakeformation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// policies reads this package's policies, and what they are attached to.
func (r *reading) policies(ctx context.Context) error {
	pages := iam.NewListPoliciesPaginator(r.iam, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal, PathPrefix: aws.String(policyPath)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("policies: %w", err)
		}
		for _, p := range page.Policies {
			if err := r.policyThere(ctx, aws.ToString(p.PolicyName), p.Arn); err != nil {
				return fmt.Errorf("policy %s: %w", aws.ToString(p.PolicyName), err)
			}
		}
	}
	return nil
}

func (r *reading) policyThere(ctx context.Context, name string, arn *string) error {
	out, err := r.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	if err != nil {
		return err
	}
	labels := map[string]string{}
	for _, t := range out.Policy.Tags {
		labels[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	if _, isOurs := labels[VersionTag]; !isOurs {
		r.foreign = append(r.foreign, Foreign{ID: "policy " + name, Text: "without the tag " + VersionTag,
			Why: "it lies among this program's policies and is not its own: rename it, or tag it to hand it over"})
		return nil
	}
	version, err := r.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: out.Policy.DefaultVersionId})
	if err != nil {
		return err
	}
	text, err := url.QueryUnescape(aws.ToString(version.PolicyVersion.Document))
	if err != nil {
		return fmt.Errorf("its text: %w", err)
	}
	i := r.policy(name, canonical(text), labels[RoleTag], labels[VersionTag])
	i.version = aws.ToString(out.Policy.DefaultVersionId)
	r.add(i)
	if role := labels[RoleTag]; role != "" {
		r.readers[role] = true
	}
	on := iam.NewListEntitiesForPolicyPaginator(r.iam, &iam.ListEntitiesForPolicyInput{PolicyArn: arn, PolicyUsageFilter: types.PolicyUsageTypePermissionsPolicy})
	for on.HasMorePages() {
		page, err := on.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("what it is attached to: %w", err)
		}
		for _, e := range page.PolicyRoles {
			r.add(r.attachment(name, entity{"role", aws.ToString(e.RoleName)}))
		}
		for _, e := range page.PolicyUsers {
			r.add(r.attachment(name, entity{"user", aws.ToString(e.UserName)}))
		}
		for _, e := range page.PolicyGroups {
			r.add(r.attachment(name, entity{"group", aws.ToString(e.GroupName)}))
		}
	}
	return nil
}

// roles reads what else the readers' roles have.
func (r *reading) roles(ctx context.Context) error {
	for _, principal := range slices.Sorted(maps.Keys(r.mapping.Roles)) {
		arn := r.mapping.Roles[principal].ARN
		if err := r.role(ctx, arn); err != nil {
			return fmt.Errorf("role of %s: %w", principal, err)
		}
	}
	return nil
}

func (r *reading) role(ctx context.Context, arn string) error {
	name := roleName(arn)
	out, err := r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	var missing *types.NoSuchEntityException
	if errors.As(err, &missing) || err == nil && aws.ToString(out.Role.Arn) != arn {
		return fmt.Errorf("%s is not in the account: make it, or take it from the mapping", arn)
	}
	if err != nil {
		return err
	}
	if b := out.Role.PermissionsBoundary; b != nil && aws.ToString(b.PermissionsBoundaryArn) != "" {
		i := r.bound(arn)
		i.text = aws.ToString(b.PermissionsBoundaryArn)
		r.add(i)
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(r.iam, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.AttachedPolicies {
			if policy := aws.ToString(p.PolicyArn); !r.isOurs(policy) {
				r.foreign = append(r.foreign, Foreign{ID: "policy " + policy + " on role " + name, Text: "attached", Why: "allows a reader what the lake's policies do not speak of",
					end: func(ctx context.Context) error { return r.detach(ctx, policy, entity{"role", name}) }})
			}
		}
	}
	inline := iam.NewListRolePoliciesPaginator(r.iam, &iam.ListRolePoliciesInput{RoleName: &name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, policy := range page.PolicyNames {
			r.foreign = append(r.foreign, Foreign{ID: "policy " + policy + " in role " + name, Text: "inline", Why: "allows a reader what the lake's policies do not speak of",
				end: func(ctx context.Context) error {
					_, err := r.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &policy})
					return err
				}})
		}
	}
	return nil
}

// isOurs reports whether a policy is one of those that were read as this package's own.
func (r *reading) isOurs(policyARN string) bool {
	name, ok := strings.CutPrefix(policyARN, r.mapping.policyARN(""))
	return ok && r.items["policy "+name] != nil
}
