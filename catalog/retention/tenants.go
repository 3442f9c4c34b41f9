package retention

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/catalog/iceberg"
)

// Removed is what was removed of a tenant.
type Removed struct {
	Tenant cardlake.Tenant `json:"tenant"`
	Files  int             `json:"files"` // live ones
	Rows   int64           `json:"rows"`
	Disposal
}

// Held returns the hold that keeps anything of a tenant, and false if none does.
func (k *Keeper) Held(tenant cardlake.Tenant) (Hold, bool) {
	whole, persons := k.policy.holding(tenant)
	for _, h := range whole {
		return h, true
	}
	for _, h := range persons {
		return h, true
	}
	return Hold{}, false
}

// RemoveTenant removes all files of a tenant from every table, every snapshot that names one,
// and every object of it, however young: its keys are destroyed before, so that no writer
// commits one any more. It may be repeated. It returns ErrHeld if a hold keeps anything of
// the tenant. Rejected records stay for their days; they are not by tenant.
func (k *Keeper) RemoveTenant(ctx context.Context, name cardlake.Tenant) (out Removed, err error) {
	out.Tenant = name
	r, err := k.tenant(name)
	if err != nil {
		return out, fmt.Errorf("remove a tenant: %w", err)
	}
	line := audit.Record{Action: "tenant.remove", Resource: "tenant " + string(name)}
	if h, ok := k.Held(name); ok {
		line.Outcome, line.Reason = audit.Refused, "hold "+h.ID
		return out, errors.Join(fmt.Errorf("%w: hold %s; ask who ordered it, and release it first", ErrHeld, h.ID), k.write(ctx, line))
	}
	now := *k
	now.cfg.Age = -recordWithin // an object that was just put is left behind too
	err = k.around(ctx, line, func() (map[string]int64, error) {
		for _, def := range k.lake.Tables {
			if !def.ByTenant {
				continue
			}
			if err := now.removeFrom(ctx, r, def, &out); err != nil {
				return out.numbers(), fmt.Errorf("%s: %w", def.FullName(), err)
			}
		}
		for _, prefix := range []string{cardlake.CheckpointPrefix(r.StorageID), erasuresPrefix(r.StorageID)} {
			if _, err := k.removeAll(ctx, prefix, &out.Disposal); err != nil {
				return out.numbers(), err
			}
		}
		return out.numbers(), nil
	})
	if err != nil {
		return out, fmt.Errorf("remove tenant %s: %w", name, err)
	}
	return out, nil
}

func (r *Removed) numbers() map[string]int64 {
	n := r.Disposal.numbers()
	n["files"], n["rows"] = int64(r.Files), r.Rows
	return n
}

// removeFrom removes a tenant from one table.
func (k *Keeper) removeFrom(ctx context.Context, r catalog.TenantRecord, def *cardlake.Table, out *Removed) error {
	t, err := k.lake.Open(ctx, def)
	if errors.Is(err, iceberg.ErrNoTable) {
		return nil
	}
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		_, files, err := t.Live(ctx)
		if err != nil {
			return err
		}
		change := catalog.Replace{Operation: catalog.OpDelete}
		rows := int64(0)
		for _, f := range files {
			if f.Tenant == r.Name {
				change.Remove = append(change.Remove, f.Name)
				rows += f.Rows
			}
		}
		if len(change.Remove) == 0 {
			break
		}
		if _, err = t.Replace(ctx, change); err == nil {
			out.Files += len(change.Remove)
			out.Rows += rows
		} else if !isMoved(err) || attempt == maxAttempts {
			return err
		}
	}
	d, err := k.dispose(ctx, t, dataPrefix(def, r.StorageID), func(string) bool { return true })
	out.add(d)
	return err
}

// Left lists what is still there of a tenant: files that a snapshot of a table names, and
// objects. After RemoveTenant there is nothing.
func (k *Keeper) Left(ctx context.Context, name cardlake.Tenant) (left []string, err error) {
	r, err := k.tenant(name)
	if err != nil {
		return nil, err
	}
	for _, def := range k.lake.Tables {
		t, err := k.lake.Open(ctx, def)
		if errors.Is(err, iceberg.ErrNoTable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		named, err := t.Named(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range named {
			if strings.Contains(n, string(r.StorageID)) {
				left = append(left, "named: "+n)
			}
		}
	}
	for info, err := range k.lake.Store.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		if strings.Contains(info.Name, string(r.StorageID)) {
			left = append(left, "object: "+info.Name)
		}
	}
	return left, nil
}
