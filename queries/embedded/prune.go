package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/bloom/xxhash"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries"
)

// Files without rows that a statement can use are not read, as far as the catalog, a file's
// metadata and its bloom filters tell. Conditions are about a column's own
// values, so only those count that are on columns which the scope gives in clear: what is read
// must not tell of a value that the reader is not shown.

// conditions are those of a scope: of all of one element every row that can be used is true.
// Nil means that any row can be used.
func (s *source) conditions(scope int) [][]queries.Filter {
	access := s.Decision.Scopes[scope].Columns
	out := make([][]queries.Filter, len(s.Filters))
	for i, all := range s.Filters {
		out[i] = slices.DeleteFunc(slices.Clone(all), func(f queries.Filter) bool { return access[f.Column] != grants.Clear })
		if len(out[i]) == 0 {
			return nil
		}
	}
	return out
}

// mayHold reports whether rows of something can be used, if may says whether the values of one
// condition can be in it.
func mayHold(conditions [][]queries.Filter, may func(queries.Filter) bool) bool {
	return len(conditions) == 0 || slices.ContainsFunc(conditions, func(all []queries.Filter) bool {
		return !slices.ContainsFunc(all, func(f queries.Filter) bool { return !may(f) })
	})
}

// mayHoldFile judges a file by its partition and its bounds in the catalog, as far as that has
// them.
func mayHoldFile(t *cardlake.Table, f cardlake.DataFile, conditions [][]queries.Filter) bool {
	return mayHold(conditions, func(q queries.Filter) bool {
		switch t.Columns[q.Column].Name {
		case t.Time:
			return f.MinTime == 0 && f.MaxTime == 0 || overlaps(q, f.MinTime, f.MaxTime)
		case tenantColumn:
			return !t.ByTenant || f.Tenant == "" || overlaps(q, string(f.Tenant), string(f.Tenant))
		}
		return true
	})
}

// overlaps reports whether a value from least to greatest can meet the condition.
func overlaps[V int64 | string](q queries.Filter, least, greatest V) bool {
	if from, ok := q.Min.(V); ok && greatest < from {
		return false
	}
	if to, ok := q.Max.(V); ok && least > to {
		return false
	}
	return q.In == nil || slices.ContainsFunc(q.In, func(v any) bool {
		is, ok := v.(V)
		return !ok || least <= is && is <= greatest
	})
}

// prune says whether any row group of the part has rows that can be used. The others of such a
// file are read too: DuckDB passes over their rows by the same bounds and filters, and may not be
// given a file of which it could read what is not there.
func (p *part) prune(ctx context.Context, t *cardlake.Table) error {
	groups := p.footer.groups
	p.isUsed = len(groups) > 0
	if len(p.conditions) == 0 || p.footer.fields == nil {
		return nil
	}
	var left []int
	var blooms []span
	for g := range groups {
		if mayHold(p.conditions, func(q queries.Filter) bool {
			of := p.footer.fieldOf(&t.Columns[q.Column])
			return of < 0 || groups[g].chunks[of].mayHold(q, p.footer.fields[of])
		}) {
			left = append(left, g)
			blooms = append(blooms, p.blooms(t, g)...)
		}
	}
	p.isUsed = len(left) > 0
	if len(blooms) == 0 {
		return nil
	}
	if err := p.file.load(ctx, p.opener, blooms, 1); err != nil {
		return err
	}
	p.isUsed = slices.ContainsFunc(left, func(g int) bool {
		return mayHold(p.conditions, func(q queries.Filter) bool {
			lies, ok := p.bloomOf(t, g, q)
			return !ok || mayHoldText(p.file.memory.bytes[lies.from:lies.to], q.In)
		})
	})
	return nil
}

// mayHold judges a column of a row group by its bounds. A column that a file does not have in
// its own type is not judged.
func (k *chunk) mayHold(q queries.Filter, of field) bool {
	switch {
	case !of.isKnown || !k.hasBounds:
		return true
	case of.typ == cardlake.String:
		return overlaps(q, string(k.min), string(k.max))
	}
	least, greatest := k.bounds(of.typ)
	return overlaps(q, least, greatest)
}

// blooms are the filters of a row group that conditions ask.
func (p *part) blooms(t *cardlake.Table, g int) []span {
	var out []span
	for _, all := range p.conditions {
		for _, q := range all {
			if lies, ok := p.bloomOf(t, g, q); ok {
				out = append(out, lies)
			}
		}
	}
	return out
}

// bloomOf returns where the filter lies that a condition asks of a row group.
func (p *part) bloomOf(t *cardlake.Table, g int, q queries.Filter) (span, bool) {
	of := p.footer.fieldOf(&t.Columns[q.Column])
	if of < 0 || len(q.In) == 0 || !p.footer.fields[of].isKnown || p.footer.fields[of].typ != cardlake.String || t.Columns[q.Column].Type != cardlake.String {
		return span{}, false
	}
	lies := p.footer.groups[g].chunks[of].bloom
	return lies, lies.from > 0 && lies.to > lies.from
}

// mayHoldText reports whether a filter, with its header, has any of the texts. What is no filter
// as BloomFilter.md of the Parquet format has it may have any.
func mayHoldText(filter []byte, texts []any) bool {
	header, size, ok := bloomHeader(filter)
	if !ok || len(filter)-header < size {
		return true
	}
	bits := bytes.NewReader(filter[header : header+size])
	return slices.ContainsFunc(texts, func(v any) bool {
		word, isText := v.(string)
		may, err := bloom.CheckSplitBlock(bits, int64(size), xxhash.Sum64([]byte(word)))
		return !isText || err != nil || may
	})
}

// bloomHeader reads the header of a filter of split blocks, xxHash and no compression: its
// length and that of the bits. It is a structure in Thrift's compact protocol: the size, and
// three unions, each of which has its first member, an empty structure.
func bloomHeader(b []byte) (length, size int, ok bool) {
	const i32, union = 0x15, "\x1c\x1c\x00\x00"
	if len(b) == 0 || b[0] != i32 {
		return 0, 0, false
	}
	n, read := binary.Uvarint(b[1:])
	rest := b[1+max(read, 0):]
	if read <= 0 || n%2 != 0 || n/2 < 32 || n/2%32 != 0 || n/2 > uint64(len(b)) || !bytes.HasPrefix(rest, []byte(union+union+union+"\x00")) {
		return 0, 0, false
	}
	return 1 + read + 3*len(union) + 1, int(n / 2), true
}
