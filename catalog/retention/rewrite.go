package retention

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/writers/objects"
	"github.com/cardlake/cardlake/writers/parquet"
)

// isNaming reports whether a column names a person or shows of a card number.
func isNaming(c cardlake.Column) bool {
	return c.Tag == cardlake.Identifier || c.Tag == cardlake.TruncatedPAN
}

// rewriter writes files anew without whom was looked for.
type rewriter struct {
	k       *Keeper
	tenant  catalog.TenantRecord
	wanted  *wanted
	encoder *parquet.Encoder
	// tokens are drawn for each token that goes, so that a card's rows stay those of one card.
	// They are forgotten with the rewriter.
	tokens map[string]string
}

func (k *Keeper) newRewriter(r catalog.TenantRecord, w *wanted) *rewriter {
	return &rewriter{k, r, w, parquet.NewEncoder(cardlake.Transactions, k.cfg.Parquet), map[string]string{}}
}

// rewrite writes what replaces a file: a file for each of its row groups, so that no more
// than one row group is in memory.
func (w *rewriter) rewrite(ctx context.Context, f cardlake.DataFile) (files []cardlake.DataFile, rows int64, err error) {
	defer func() {
		if err != nil {
			w.drop(ctx, files)
			files, err = nil, fmt.Errorf("rewrite %s: %w", f.Name, err)
		}
	}()
	defer recovered(&err)
	p, err := w.k.open(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	defer p.close()
	var names []string
	for _, c := range cardlake.Transactions.Columns {
		names = append(names, c.Name)
	}
	columns, err := p.columnsNamed(names...)
	if err != nil {
		return nil, 0, err
	}
	total := int64(0)
	for g := range p.reader.NumRowGroups() {
		data, err := p.group(ctx, g, columns)
		if err != nil {
			return files, 0, err
		}
		changed, err := w.anonymise(data)
		if err != nil {
			return files, 0, err
		}
		file, err := w.put(ctx, f, data)
		for _, column := range data {
			column.Release()
		}
		if err != nil {
			return files, 0, err
		}
		files, rows, total = append(files, file), rows+changed, total+file.Rows
	}
	if total != f.Rows {
		return files, 0, fmt.Errorf("the file has %d rows, the catalog says %d", total, f.Rows)
	}
	return files, rows, nil
}

// anonymise replaces the columns that name somebody in the rows that are looked for, and
// returns how many those are.
func (w *rewriter) anonymise(data []arrow.Array) (changed int64, err error) {
	place := map[string]int{}
	for i, c := range cardlake.Transactions.Columns {
		place[c.Name] = i
	}
	rows := w.wanted.rows(data[place["customer_id"]], data[place["card_token"]], nil)
	for _, isOne := range rows {
		if isOne {
			changed++
		}
	}
	if changed == 0 {
		return 0, nil
	}
	for i, c := range cardlake.Transactions.Columns {
		if !isNaming(c) {
			continue
		}
		if !c.Nullable && c.Name != "card_token" {
			return 0, fmt.Errorf("column %s names somebody and cannot be NULL: there is no rule for it", c.Name)
		}
		// The words of a dictionary that are in use no more would stay in the file, so the
		// column becomes plain: the encoder finds its words anew.
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for row, isOne := range rows {
			switch {
			case data[i].IsNull(row), isOne && c.Nullable:
				b.AppendNull()
			case isOne:
				b.Append(w.token(string(valueOf(data[i], row))))
			default:
				b.BinaryBuilder.Append(valueOf(data[i], row))
			}
		}
		data[i].Release()
		data[i] = b.NewArray()
		b.Release()
	}
	return changed, nil
}

// token is the random token that stands for one that goes, of the same form: the mint's
// version and 128 bits in letters.
func (w *rewriter) token(old string) string {
	if t, ok := w.tokens[old]; ok {
		return t
	}
	version, _, isToken := strings.Cut(old, "_")
	if !isToken {
		version = "tk1"
	}
	var bits [16]byte
	rand.Read(bits[:])
	t := string(cardlake.AppendLetters([]byte(version+"_"), bits[:]))
	w.tokens[old] = t
	return t
}

// put encodes rows that were read from a file and puts them as an object beside it.
func (w *rewriter) put(ctx context.Context, f cardlake.DataFile, data []arrow.Array) (cardlake.DataFile, error) {
	fields := cardlake.ArrowSchema(cardlake.Transactions).Fields()
	for i, column := range data {
		fields[i].Type = column.DataType() // text may be a dictionary
	}
	rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), data, int64(data[0].Len()))
	defer rec.Release()
	body, splits, err := w.encoder.Encode(rec)
	if err != nil {
		return cardlake.DataFile{}, err
	}
	out := cardlake.DataFile{Tenant: f.Tenant, Day: f.Day, Rows: rec.NumRows(), Bytes: int64(len(body)), SplitOffsets: splits}
	for i, c := range cardlake.Transactions.Columns {
		if c.Name != cardlake.Transactions.Time {
			continue
		}
		times, ok := data[i].(*array.Timestamp)
		if !ok {
			return out, errors.New("the table's time has another type")
		}
		out.MinTime, out.MaxTime = int64(times.Value(0)), int64(times.Value(0))
		for row := range times.Len() {
			out.MinTime, out.MaxTime = min(out.MinTime, int64(times.Value(row))), max(out.MaxTime, int64(times.Value(row)))
		}
	}
	var id [8]byte
	rand.Read(id[:])
	out.Name = fmt.Sprintf("%s%s/%s-0.parquet", dataPrefix(cardlake.Transactions, w.tenant.StorageID), f.Day, cardlake.AppendLetters(nil, id[:]))
	return out, w.k.lake.Store.Put(ctx, out.Name, owner(w.tenant), body)
}

// drop removes files that were written and certainly not committed.
func (w *rewriter) drop(ctx context.Context, files []cardlake.DataFile) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	for _, f := range files {
		if err := w.k.lake.Store.Delete(ctx, f.Name); err != nil && !errors.Is(err, objects.ErrNotFound) {
			w.k.lake.Log.WarnContext(ctx, "a file that was not committed stays behind until maintenance finds it", "object", f.Name, "error", err)
		}
	}
}
