package retention

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// What jobs made of a person's transactions (namespace insights) is of no use without the
// person: it is not anonymised, its rows go. What jobs keep to go on from goes whole, since they
// can make it anew.

// isDerived reports whether rows of the table name persons and follow from cards.transactions.
func isDerived(def *cardlake.Table) bool {
	return def.ByRun && (def.Column("customer_id") != nil || def.Column("card_token") != nil)
}

// eraseDerived removes the rows of whom is wanted from what jobs made, in files of commits after
// those that were gone through; all of them if isNew says that somebody is wanted who was not
// before.
func (k *Keeper) eraseDerived(ctx context.Context, r catalog.TenantRecord, w *wanted, isNew bool, done map[string]int64, e *Erased) error {
	hasMoved := isNew
	for _, def := range k.lake.Tables {
		if !isDerived(def) {
			continue
		}
		t, err := k.lake.Open(ctx, def)
		if errors.Is(err, iceberg.ErrNoTable) {
			continue
		}
		if err != nil {
			return err
		}
		before, ok := done[def.Name]
		if !ok {
			before = -1
		}
		after := before
		if isNew {
			after = -1
		}
		sequence, err := k.removeRows(ctx, r, def, t, w, after, e)
		if err == nil {
			err = k.disposeDerived(ctx, r, def, t, isNew, e)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", def.FullName(), err)
		}
		hasMoved = hasMoved || sequence > before
		if sequence > before {
			if err := k.mark(ctx, r, "derived/"+def.Name+"/"+strconv.FormatInt(sequence, 10), []byte("{}")); err != nil {
				return err
			}
			if before >= 0 {
				if err := k.unmark(ctx, r, "derived/"+def.Name+"/"+strconv.FormatInt(before, 10)); err != nil {
					return err
				}
			}
		}
	}
	if err := k.disposeNotes(ctx, r, isNew, e); err != nil {
		return err
	}
	if !hasMoved {
		return nil
	}
	_, err := k.removeAll(ctx, cardlake.CheckpointPrefix(r.StorageID), &e.Disposal)
	return err
}

// leftOf marks that files of a table were replaced which may still be there.
func leftOf(def *cardlake.Table) string { return "derived/" + def.Name + "/left" }

// disposeDerived removes for good the files of the table that are not live, if some were replaced,
// by this run or by one that was killed, or if isNew says that somebody is wanted who was not
// before: files of runs that were superseded have rows of whom no live file has any.
func (k *Keeper) disposeDerived(ctx context.Context, r catalog.TenantRecord, def *cardlake.Table, t Table, isNew bool, e *Erased) error {
	_, err := objects.ReadAll(ctx, k.lake.Store, erasuresPrefix(r.StorageID)+leftOf(def))
	isLeft := !errors.Is(err, objects.ErrNotFound)
	if isLeft && err != nil {
		return err
	}
	if !isNew && !isLeft {
		return nil
	}
	d, err := k.dispose(ctx, t, dataPrefix(def, r.StorageID), func(string) bool { return true })
	e.Disposal.add(d)
	if err != nil {
		return err
	}
	return k.unmark(ctx, r, leftOf(def))
}

// removeAll removes every object under the prefix, older versions included.
func (k *Keeper) removeAll(ctx context.Context, prefix string, d *Disposal) (int, error) {
	n := 0
	for info, err := range k.lake.Store.List(ctx, prefix) {
		if err == nil {
			err = k.lake.Store.Delete(ctx, info.Name)
		}
		if err != nil && !errors.Is(err, objects.ErrNotFound) {
			return n, err
		}
		n++
	}
	d.Objects += n
	versions, err := k.purge(ctx, prefix, func(string) bool { return true })
	d.Versions += versions
	return n, err
}

// removeRows removes rows until no file of a commit after the sequence number has one, and
// returns up to which commit that is so.
func (k *Keeper) removeRows(ctx context.Context, r catalog.TenantRecord, def *cardlake.Table, t Table, w *wanted, after int64, e *Erased) (sequence int64, err error) {
	encoder := parquet.NewEncoder(def, k.cfg.Parquet)
	for range maxRounds {
		snapshot, live, err := t.Live(ctx)
		if err != nil {
			return 0, err
		}
		change, rows := catalog.Replace{Operation: catalog.OpOverwrite}, int64(0)
		drop := func() {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
			defer cancel()
			for _, f := range change.Add {
				k.lake.Store.Delete(late, f.Name) // what stays behind, maintenance finds
			}
		}
		for _, f := range live {
			if f.Tenant != r.Name || f.Sequence <= after {
				continue
			}
			rest, gone, err := k.without(ctx, r, def, encoder, f, w)
			if err != nil {
				drop()
				return 0, fmt.Errorf("rewrite %s: %w", f.Name, err)
			}
			if gone > 0 {
				change.Remove = append(change.Remove, f.Name)
				change.Add = append(change.Add, rest...)
				rows += gone
			}
		}
		if len(change.Remove) == 0 {
			return snapshot.Sequence, nil
		}
		if len(change.Add) == 0 {
			change.Operation = catalog.OpDelete
		}
		if err := k.mark(ctx, r, leftOf(def), []byte("{}")); err != nil {
			drop()
			return 0, err
		}
		switch _, err := t.Replace(ctx, change); {
		case err == nil:
			e.Derived += rows
		case isMoved(err):
			if !errors.Is(err, catalog.ErrUnknown) {
				drop()
			}
		default:
			drop()
			return 0, err
		}
	}
	return 0, ErrMoving
}

// without writes a file's rows without those of whom is wanted, unless there are none of them,
// and returns how many went.
func (k *Keeper) without(ctx context.Context, r catalog.TenantRecord, def *cardlake.Table, encoder *parquet.Encoder, f cardlake.DataFile, w *wanted) (rest []cardlake.DataFile, gone int64, err error) {
	defer recovered(&err)
	p, err := k.open(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	defer p.close()
	var names []string
	var kept [][]arrow.Array // of each row group, each column
	place := map[string]int{}
	for i, c := range def.Columns {
		names = append(names, c.Name)
		place[c.Name] = i
	}
	columns, err := p.columnsNamed(names...)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		for _, data := range kept {
			release(data)
		}
	}()
	left := int64(0)
	for g := range p.reader.NumRowGroups() {
		data, err := p.group(ctx, g, columns)
		if err != nil {
			return nil, 0, err
		}
		customers, cards := data[0], data[0]
		hasCustomer, hasCard := place["customer_id"] > 0, place["card_token"] > 0
		if hasCustomer {
			customers = data[place["customer_id"]]
		}
		if hasCard {
			cards = data[place["card_token"]]
		}
		isCustomer, isCard := matches(customers, w.isCustomer), matches(cards, w.isCard)
		isKept := make([]bool, data[0].Len())
		for row := range isKept {
			// As in cards.transactions, a card counts where nobody is named.
			isOne := hasCustomer && isCustomer(row) || hasCard && (!hasCustomer || customers.IsNull(row)) && isCard(row)
			if isKept[row] = !isOne; isOne {
				gone++
			} else {
				left++
			}
		}
		rest := make([]arrow.Array, len(data))
		for i, column := range data {
			if rest[i], err = keptOf(column, isKept); err != nil {
				release(data)
				return nil, 0, err
			}
		}
		release(data)
		kept = append(kept, rest)
	}
	if gone == 0 || left == 0 {
		return nil, gone, nil
	}
	for _, data := range kept {
		if data[0].Len() == 0 {
			continue
		}
		out, err := k.putRows(ctx, r, def, encoder, f, data)
		if err != nil {
			for _, f := range rest {
				k.lake.Store.Delete(ctx, f.Name)
			}
			return nil, 0, err
		}
		rest = append(rest, out)
	}
	return rest, gone, nil
}

func release(data []arrow.Array) {
	for _, column := range data {
		column.Release()
	}
}

// keptOf are the rows of a column that are kept. Text becomes plain: words of rows that went do
// not stay in a dictionary.
func keptOf(column arrow.Array, isKept []bool) (arrow.Array, error) {
	dt := column.DataType()
	_, isWords := column.(*array.Dictionary)
	if isWords || dt.ID() == arrow.STRING {
		b := array.NewStringBuilder(memory.DefaultAllocator)
		defer b.Release()
		for row, is := range isKept {
			switch {
			case !is:
			case column.IsNull(row):
				b.AppendNull()
			default:
				b.BinaryBuilder.Append(valueOf(column, row))
			}
		}
		return b.NewArray(), nil
	}
	var parts []arrow.Array
	defer func() { release(parts) }()
	for from := 0; from < len(isKept); {
		n := slices.Index(isKept[from:], !isKept[from])
		if n < 0 {
			n = len(isKept) - from
		}
		if isKept[from] {
			parts = append(parts, array.NewSlice(column, int64(from), int64(from+n)))
		}
		from += n
	}
	if len(parts) == 0 {
		parts = append(parts, array.NewSlice(column, 0, 0))
	}
	return array.Concatenate(parts, memory.DefaultAllocator)
}

// putRows puts rows that were read from a file as an object beside it.
func (k *Keeper) putRows(ctx context.Context, r catalog.TenantRecord, def *cardlake.Table, encoder *parquet.Encoder, f cardlake.DataFile, data []arrow.Array) (out cardlake.DataFile, err error) {
	schema := cardlake.ArrowSchema(def)
	rec := array.NewRecordBatch(schema, data, int64(data[0].Len()))
	defer rec.Release()
	body, splits, err := encoder.Encode(rec)
	if err != nil {
		return out, err
	}
	out = cardlake.DataFile{Tenant: f.Tenant, Day: f.Day, Rows: rec.NumRows(), Bytes: int64(len(body)), SplitOffsets: splits}
	times, ok := data[schema.FieldIndices(def.Time)[0]].(*array.Timestamp)
	if !ok {
		return out, errors.New("the table's time has another type")
	}
	values := times.TimestampValues()
	out.MinTime, out.MaxTime = int64(slices.Min(values)), int64(slices.Max(values))
	var id [8]byte
	rand.Read(id[:])
	out.Name = fmt.Sprintf("%s%s/%s-0.parquet", dataPrefix(def, r.StorageID), f.Day, cardlake.AppendLetters(nil, id[:]))
	return out, k.lake.Store.Put(ctx, out.Name, owner(r), body)
}
