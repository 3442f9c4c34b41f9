package lakeformation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation"
	"github.com/aws/aws-sdk-go-v2/service/lakeformation/types"
)

func (a *Account) cells(f filter) *types.DataCellsFilter {
	d := &types.DataCellsFilter{
		TableCatalogId: &a.mapping.Account, DatabaseName: &f.table.Namespace, TableName: &f.table.Name, Name: &f.name,
		ColumnNames: f.columns, RowFilter: &types.RowFilter{},
	}
	if expression := f.rows.expression(); expression != "" {
		d.RowFilter.FilterExpression = &expression
	} else {
		d.RowFilter.AllRowsWildcard = &types.AllRowsWildcard{}
	}
	return d
}

func (a *Account) createFilter(ctx context.Context, f filter) error {
	_, err := a.lf.CreateDataCellsFilter(ctx, &lakeformation.CreateDataCellsFilterInput{TableData: a.cells(f)})
	return err
}

// updateFilter replaces the filter if it is still in the version that was read.
func (a *Account) updateFilter(ctx context.Context, f filter, version string) error {
	d := a.cells(f)
	d.VersionId = &version
	_, err := a.lf.UpdateDataCellsFilter(ctx, &lakeformation.UpdateDataCellsFilterInput{TableData: d})
	return err
}

func (a *Account) deleteFilter(ctx context.Context, f filter) error {
	_, err := a.lf.DeleteDataCellsFilter(ctx, &lakeformation.DeleteDataCellsFilterInput{
		TableCatalogId: &a.mapping.Account, DatabaseName: &f.table.Namespace, TableName: &f.table.Name, Name: &f.name,
	})
	return err
}

func (a *Account) grant(ctx context.Context, p permission) error {
	_, err := a.lf.GrantPermissions(ctx, &lakeformation.GrantPermissionsInput{
		CatalogId: &a.mapping.Account, Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: &p.principal},
		Resource: p.resource, Permissions: p.allowed,
	})
	return err
}

func (a *Account) revoke(ctx context.Context, p permission) error {
	_, err := a.lf.RevokePermissions(ctx, &lakeformation.RevokePermissionsInput{
		CatalogId: &a.mapping.Account, Principal: &types.DataLakePrincipal{DataLakePrincipalIdentifier: &p.principal},
		Resource: p.resource, Permissions: p.allowed, PermissionsWithGrantOption: p.grantable, Condition: p.condition,
	})
	return err
}

// closeDefaults leaves every other setting as it is. The service takes them as a whole and
// without a version, so they are read again right before.
func (a *Account) closeDefaults(ctx context.Context) error {
	out, err := a.lf.GetDataLakeSettings(ctx, &lakeformation.GetDataLakeSettingsInput{CatalogId: &a.mapping.Account})
	if err != nil {
		return err
	}
	settings := out.DataLakeSettings
	settings.CreateDatabaseDefaultPermissions = []types.PrincipalPermissions{}
	settings.CreateTableDefaultPermissions = []types.PrincipalPermissions{}
	_, err = a.lf.PutDataLakeSettings(ctx, &lakeformation.PutDataLakeSettingsInput{CatalogId: &a.mapping.Account, DataLakeSettings: settings})
	return err
}

func (a *Account) register(ctx context.Context, role string) error {
	_, err := a.lf.RegisterResource(ctx, &lakeformation.RegisterResourceInput{
		ResourceArn: aws.String(a.mapping.location()), RoleArn: &role, HybridAccessEnabled: aws.Bool(false),
	})
	return err
}

func (a *Account) reregister(ctx context.Context, role string) error {
	_, err := a.lf.UpdateResource(ctx, &lakeformation.UpdateResourceInput{
		ResourceArn: aws.String(a.mapping.location()), RoleArn: &role, HybridAccessEnabled: aws.Bool(false),
	})
	return err
}

func tags(role, version string) []iamtypes.Tag {
	out := []iamtypes.Tag{{Key: aws.String(VersionTag), Value: &version}}
	if role != "" {
		out = append(out, iamtypes.Tag{Key: aws.String(RoleTag), Value: &role})
	}
	return out
}

func (a *Account) createPolicy(ctx context.Context, name, text, role, version string) error {
	_, err := a.iam.CreatePolicy(ctx, &iam.CreatePolicyInput{
		Path: aws.String(policyPath), PolicyName: &name, PolicyDocument: &text, Tags: tags(role, version),
		Description: aws.String("Made by cardlake from its grants; changed by hand, it is changed back."),
	})
	return err
}

// maxVersions is how many versions a policy may have (IAM user guide, "IAM and AWS STS quotas").
const maxVersions = 5

// changePolicy makes a new version the policy's own if the one that was read still is it. The
// oldest versions make room.
func (a *Account) changePolicy(ctx context.Context, name, text, role, version, read string) error {
	arn := a.mapping.policyARN(name)
	now, err := a.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return err
	}
	if aws.ToString(now.Policy.DefaultVersionId) != read {
		return ErrMoved
	}
	if err := a.prune(ctx, arn, maxVersions-1); err != nil {
		return err
	}
	if _, err := a.iam.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: &arn, Tags: tags(role, version)}); err != nil {
		return err
	}
	_, err = a.iam.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &text, SetAsDefault: true})
	return err
}

// prune deletes the oldest versions that are not the default one until at most keep are left.
func (a *Account) prune(ctx context.Context, arn string, keep int) error {
	var all []iamtypes.PolicyVersion
	pages := iam.NewListPolicyVersionsPaginator(a.iam, &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		all = append(all, page.Versions...)
	}
	left := len(all)
	slices.SortStableFunc(all, func(x, y iamtypes.PolicyVersion) int {
		if c := aws.ToTime(x.CreateDate).Compare(aws.ToTime(y.CreateDate)); c != 0 {
			return c
		}
		return versionNumber(x) - versionNumber(y)
	})
	for _, v := range all {
		if left <= keep {
			return nil
		}
		if v.IsDefaultVersion {
			continue
		}
		_, err := a.iam.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: v.VersionId})
		if err != nil && !isGone(err) {
			return err
		}
		left--
	}
	return nil
}

// versionNumber is the number of a version, such as v3, for versions of one second.
func versionNumber(v iamtypes.PolicyVersion) (n int) {
	_, _ = fmt.Sscanf(aws.ToString(v.VersionId), "v%d", &n)
	return n
}

func (a *Account) deletePolicy(ctx context.Context, name string) error {
	arn := a.mapping.policyARN(name)
	if err := a.prune(ctx, arn, 1); err != nil {
		return err
	}
	_, err := a.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &arn})
	return err
}

// attach waits for IAM to know a policy that was made a moment before (IAM user guide, "Changes
// that I make are not always immediately visible").
func (a *Account) attach(ctx context.Context, policy, role string) error {
	arn := a.mapping.policyARN(policy)
	_, err := a.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &arn}, untilKnown)
	return err
}

func (a *Account) putBoundary(ctx context.Context, role string) error {
	arn := a.mapping.policyARN(boundaryName)
	_, err := a.iam.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: &role, PermissionsBoundary: &arn}, untilKnown)
	return err
}

func untilKnown(o *iam.Options) {
	o.Retryer = retry.AddWithErrorCodes(o.Retryer, (*iamtypes.NoSuchEntityException)(nil).ErrorCode())
}

func (a *Account) detach(ctx context.Context, policyARN string, e entity) (err error) {
	switch e.kind {
	case "role":
		_, err = a.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &e.name, PolicyArn: &policyARN})
	case "user":
		_, err = a.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: &e.name, PolicyArn: &policyARN})
	case "group":
		_, err = a.iam.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: &e.name, PolicyArn: &policyARN})
	}
	return err
}

// createKeyGrant names the grant, so that the same request twice makes one (API reference,
// CreateGrant).
func (a *Account) createKeyGrant(ctx context.Context, g keyGrant) error {
	in := &kms.CreateGrantInput{
		KeyId: &g.key, Name: &g.name, GranteePrincipal: &g.grantee, RetiringPrincipal: &g.retiring,
		Constraints: &kmstypes.GrantConstraints{EncryptionContextSubset: g.subset},
	}
	for _, o := range g.operations {
		in.Operations = append(in.Operations, kmstypes.GrantOperation(o))
	}
	_, err := a.kms.CreateGrant(ctx, in)
	return err
}

func (a *Account) revokeKeyGrant(ctx context.Context, key, id string) error {
	_, err := a.kms.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &key, GrantId: &id})
	return err
}

// isGone reports whether an error says that what was to be ended is not there.
func isGone(err error) bool {
	var policy *iamtypes.NoSuchEntityException
	var entity *types.EntityNotFoundException
	var grant *kmstypes.NotFoundException
	return errors.As(err, &policy) || errors.As(err, &entity) || errors.As(err, &grant)
}

// isConflict reports whether an error says that somebody else made or changed the object.
func isConflict(err error) bool {
	var version *types.ConcurrentModificationException
	var exists *types.AlreadyExistsException
	var policy *iamtypes.EntityAlreadyExistsException
	var changed *iamtypes.ConcurrentModificationException
	return errors.Is(err, ErrMoved) || errors.As(err, &version) || errors.As(err, &exists) ||
		errors.As(err, &policy) || errors.As(err, &changed) || isGone(err)
}

// pause is how long an apply that lost sight of the service's answer may take to look again.
const pause = 30 * time.Second
