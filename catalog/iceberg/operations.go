package iceberg

import (
	"context"
	"fmt"

	"github.com/cardlake/cardlake/catalog"
)

// Operations returns what each snapshot that is kept did to the table's rows, by its id: the
// operation of its summary (Iceberg specification, "Snapshots"), which is "append" for an
// Append, and may be one that another engine wrote.
func (t *Table) Operations(ctx context.Context) (map[int64]catalog.Operation, error) {
	v, err := t.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("operations of %s: %w", t.def.FullName(), err)
	}
	out := map[int64]catalog.Operation{}
	for _, s := range v.doc.ancestry(v.doc.current) {
		out[s.ID] = catalog.Operation(s.Summary["operation"])
	}
	return out, nil
}
