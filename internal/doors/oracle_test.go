package doors_test

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
)

// policies are who may see what, in Cedar. given is the same in Go.
const policies = `
@id("ds.public") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource in Lake::Table::"cards.transactions")
when { resource.tag == "public" };
@id("ds.brazil") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource in Lake::Table::"cards.transactions")
when { resource.tenant.country == "BR" && resource.tag == "money" };
@id("ds.brazil-tokens") permit (principal in Lake::Persona::"data_scientist", action == Lake::Action::"query", resource in Lake::Table::"cards.transactions")
when { resource.tenant.country == "BR" && resource.tag == "identifier" && resource.access == "masked" };

@id("etl.all") permit (principal in Lake::Persona::"etl_job", action in Lake::Action::"read", resource is Lake::Slice)
when { ["public", "money", "identifier", "truncated_pan"].contains(resource.tag) };
@id("etl.not-rejected") forbid (principal in Lake::Persona::"etl_job", action, resource in Lake::Table::"cards.transactions_rejected");
@id("etl.truncated-masked") forbid (principal in Lake::Persona::"etl_job", action, resource is Lake::Slice)
when { resource.tag == "truncated_pan" && resource.access == "clear" };
@id("etl.not-bolivar") forbid (principal in Lake::Persona::"etl_job", action, resource is Lake::Slice)
when { resource.tenant == Lake::Tenant::"bolivar" };

@id("tenant.own") permit (principal in Lake::Persona::"tenant_analyst", action, resource is Lake::Slice)
when { principal has tenant && resource.tenant == principal.tenant && ["public", "money", "identifier", "truncated_pan"].contains(resource.tag) };
@id("service.own") permit (principal in Lake::Persona::"tenant_service", action, resource is Lake::Slice)
when { principal has tenant && resource.tenant == principal.tenant && (resource.tag == "public" || (resource.tag == "money" && resource.access == "masked")) };

@id("operator.health") permit (principal == Lake::Principal::"operator/ana", action == Lake::Action::"query", resource is Lake::Slice)
when { ["public", "lineage"].contains(resource.tag) };

@id("auditor.log") permit (principal in Lake::Persona::"auditor", action == Lake::Action::"read_audit", resource);
`

// principals are those that ask.
func principals() []grants.Principal {
	var out []grants.Principal
	for _, kind := range grants.Kinds {
		switch kind {
		case grants.TenantAnalyst:
			for _, t := range tenants {
				out = append(out, grants.Principal{Kind: kind, Name: "analyst@" + string(t)})
			}
		case grants.TenantService:
			for _, t := range tenants {
				out = append(out, grants.Principal{Kind: kind, Name: "service@" + string(t)})
			}
		default:
			out = append(out, grants.Principal{Kind: kind, Name: "ana"})
		}
	}
	return append(out, grants.Principal{Kind: grants.DataScientist, Name: nobody})
}

// nobody is no principal of the grants.
const nobody = "nobody"

// given says how much of a column the principal is given in the rows of a tenant, of the empty
// one in a table that is not one of tenants.
func given(p grants.Principal, table *cardlake.Table, c cardlake.Column, t cardlake.Tenant) grants.Access {
	_, own, _ := strings.Cut(p.Name, "@")
	if c.Tag == cardlake.Sealed || t == duero || p.Name == nobody {
		return grants.Dropped
	}
	only := func(a grants.Access, tags ...cardlake.Tag) grants.Access {
		if slices.Contains(tags, c.Tag) {
			return a
		}
		return grants.Dropped
	}
	isAudit := table == cardlake.AuditEvents
	switch {
	case p.Kind == grants.Auditor && isAudit:
		return grants.Clear
	case isAudit:
		return grants.Dropped
	case p.Kind == grants.DataScientist && table == cardlake.Transactions:
		if t != aurora && t != cobre {
			return only(grants.Clear, cardlake.Public)
		}
		return max(only(grants.Clear, cardlake.Public, cardlake.MoneyTag), only(grants.Masked, cardlake.Identifier))
	case p.Kind == grants.ETLJob && table != cardlake.Rejected && t != bolivar:
		return max(only(grants.Clear, cardlake.Public, cardlake.MoneyTag, cardlake.Identifier), only(grants.Masked, cardlake.TruncatedPAN))
	case p.Kind == grants.TenantAnalyst && own == string(t):
		return only(grants.Clear, cardlake.Public, cardlake.MoneyTag, cardlake.Identifier, cardlake.TruncatedPAN)
	case p.Kind == grants.TenantService && own == string(t):
		return max(only(grants.Clear, cardlake.Public), only(grants.Masked, cardlake.MoneyTag))
	case p.Kind == grants.Operator:
		return only(grants.Clear, cardlake.Public, cardlake.Lineage)
	}
	return grants.Dropped
}

// shown is the value as the access gives it. The masks are written here once more.
func shown(c cardlake.Column, a grants.Access, v any) any {
	switch {
	case a == grants.Clear:
		return v
	case a == grants.Dropped:
		return nil
	case c.Tag == cardlake.Identifier && c.Type == cardlake.String:
		text := []rune(v.(string))
		return "…" + string(text[len(text)-4:])
	case c.Tag == cardlake.MoneyTag && c.Type == cardlake.Decimal18x4:
		unscaled, power := int64(v.(decimal128.Num).LowBits()), int64(1)
		for unscaled/power > 9 {
			power *= 10
		}
		return decimal128.FromI64(unscaled / power * power)
	case c.Nullable || c.Tag == cardlake.TruncatedPAN:
		return nil
	}
	return map[cardlake.Type]any{
		cardlake.String: "", cardlake.Int64: int64(0), cardlake.Decimal18x4: decimal128.Num{},
	}[c.Type]
}

// expected is what a principal should see of a table.
type expected struct {
	columns []cardlake.Column
	tenants []cardlake.Tenant // whose rows are there
	rows    [][]any           // in order of the tenants, then of the rows
}

// expect is what the principal should see of the table, with so many rows of each tenant.
func expect(p grants.Principal, table *cardlake.Table, rows int) expected {
	var e expected
	for _, c := range table.Columns {
		if slices.ContainsFunc(owners(table), func(t cardlake.Tenant) bool { return given(p, table, c, t) != grants.Dropped }) {
			e.columns = append(e.columns, c)
		}
	}
	for _, t := range owners(table) {
		if !slices.ContainsFunc(table.Columns, func(c cardlake.Column) bool { return given(p, table, c, t) != grants.Dropped }) {
			continue
		}
		e.tenants = append(e.tenants, t)
		for row := range rows {
			var cells []any
			for _, c := range e.columns {
				cells = append(cells, shown(c, given(p, table, c, t), value(table, c, t, row)))
			}
			e.rows = append(e.rows, cells)
		}
	}
	return e
}
