package retention

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/iceberg"
	"github.com/cardlake/cardlake/writers/parquet"
)

// A label says of an event whether it was fraud, and stays, as the event does. The note beside it
// is free text about a person, and goes.

// eraseNotes removes the notes of labels of the events of whom is wanted in the files. It comes
// before these are anonymised, and so is repeated in full if it is interrupted. Notes that are
// written later are of events that nobody can tell the person of.
func (k *Keeper) eraseNotes(ctx context.Context, r catalog.TenantRecord, files []cardlake.DataFile, w *wanted, e *Erased) error {
	t, err := k.lake.Open(ctx, cardlake.Labels)
	if errors.Is(err, iceberg.ErrNoTable) {
		return nil
	}
	if err != nil {
		return err
	}
	events := map[string]bool{}
	for _, f := range files {
		if err := k.eventsOf(ctx, f, w, events); err != nil {
			return fmt.Errorf("look into %s: %w", f.Name, err)
		}
	}
	encoder := parquet.NewEncoder(cardlake.Labels, k.cfg.Parquet)
	for range maxRounds {
		_, live, err := t.Live(ctx)
		if err != nil {
			return err
		}
		change, notes := catalog.Replace{Operation: catalog.OpOverwrite}, int64(0)
		drop := func() {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
			defer cancel()
			for _, f := range change.Add {
				k.lake.Store.Delete(late, f.Name) // what stays behind, maintenance finds
			}
		}
		for _, f := range live {
			if f.Tenant != r.Name {
				continue
			}
			rest, gone, err := k.withoutNotes(ctx, r, encoder, f, events)
			change.Add = append(change.Add, rest...)
			if err != nil {
				drop()
				return fmt.Errorf("rewrite %s: %w", f.Name, err)
			}
			if gone > 0 {
				change.Remove = append(change.Remove, f.Name)
				notes += gone
			}
		}
		if len(change.Remove) == 0 {
			return nil
		}
		if err := k.mark(ctx, r, leftOf(cardlake.Labels), []byte("{}")); err != nil {
			drop()
			return err
		}
		switch _, err := t.Replace(ctx, change); {
		case err == nil:
			e.Notes += notes
		case isMoved(err):
			if !errors.Is(err, catalog.ErrUnknown) {
				drop()
			}
		default:
			drop()
			return err
		}
	}
	return ErrMoving
}

// disposeNotes removes for good the files that had them.
func (k *Keeper) disposeNotes(ctx context.Context, r catalog.TenantRecord, isNew bool, e *Erased) error {
	t, err := k.lake.Open(ctx, cardlake.Labels)
	if errors.Is(err, iceberg.ErrNoTable) {
		return nil
	}
	if err == nil {
		err = k.disposeDerived(ctx, r, cardlake.Labels, t, isNew, e)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", cardlake.Labels.FullName(), err)
	}
	return nil
}

// eventsOf adds the ids of the events of whom is wanted in a file of cards.transactions.
func (k *Keeper) eventsOf(ctx context.Context, f cardlake.DataFile, w *wanted, into map[string]bool) (err error) {
	defer recovered(&err)
	p, err := k.open(ctx, f)
	if err != nil {
		return err
	}
	defer p.close()
	columns, err := p.columnsNamed("customer_id", "card_token", "event_id")
	if err != nil {
		return err
	}
	for g := range p.reader.NumRowGroups() {
		data, err := p.group(ctx, g, columns)
		if err != nil {
			return err
		}
		for row, isOne := range w.rows(data[0], data[1], nil) {
			if isOne {
				into[string(valueOf(data[2], row))] = true
			}
		}
		release(data)
	}
	return nil
}

// withoutNotes writes a file of labels without the notes of the events, unless it has none, and
// returns how many went. What was written is returned with an error too.
func (k *Keeper) withoutNotes(ctx context.Context, r catalog.TenantRecord, encoder *parquet.Encoder, f cardlake.DataFile, events map[string]bool) (out []cardlake.DataFile, gone int64, err error) {
	defer recovered(&err)
	def := cardlake.Labels
	p, err := k.open(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	defer p.close()
	var names []string
	event, note := 0, 0
	for i, c := range def.Columns {
		switch names = append(names, c.Name); c.Name {
		case "event_id":
			event = i
		case "note":
			note = i
		}
	}
	columns, err := p.columnsNamed(names...)
	if err != nil {
		return nil, 0, err
	}
	var groups [][]arrow.Array
	defer func() {
		for _, data := range groups {
			release(data)
		}
	}()
	for g := range p.reader.NumRowGroups() {
		data, err := p.group(ctx, g, columns)
		if err != nil {
			return nil, 0, err
		}
		all := make([]bool, data[0].Len())
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for row := range all {
			all[row] = true
			switch {
			case data[note].IsNull(row):
				b.AppendNull()
			case events[string(valueOf(data[event], row))]:
				b.AppendNull()
				gone++
			default:
				b.BinaryBuilder.Append(valueOf(data[note], row))
			}
		}
		plain := make([]arrow.Array, len(data))
		for i, column := range data {
			if i == note {
				plain[i] = b.NewArray()
			} else if plain[i], err = keptOf(column, all); err != nil {
				break
			}
		}
		b.Release()
		release(data)
		if err != nil {
			return nil, 0, err
		}
		groups = append(groups, plain)
	}
	if gone == 0 {
		return nil, 0, nil
	}
	for _, data := range groups {
		file, err := k.putRows(ctx, r, def, encoder, f, data)
		if err != nil {
			return out, 0, err
		}
		out = append(out, file)
	}
	return out, gone, nil
}
