package formats

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"github.com/cardlake/cardlake/tokenize/discover"
)

// parquet searches a Parquet file: the values of each column, the entries of the dictionaries
// whether a value uses them or not, the statistics, and footer and page indexes as bytes. Of an
// encrypted file without its key the bytes are searched.
func (s *Scanner) parquet(ctx context.Context, path string, src Source, _ int) {
	whole := func() { s.bytes(path, s.count(ctx, io.NewSectionReader(src, 0, src.Size()))) }
	keys := &parquetKeys{keys: s.cfg.Parquet}
	props := parquet.NewReaderProperties(memory.DefaultAllocator)
	props.BufferedStreamEnabled = true
	props.FileDecryptProps = parquet.NewFileDecryptionProperties(parquet.WithKeyRetriever(keys), parquet.WithPlaintextAllowed())
	tail := make([]byte, 4)
	_, _ = src.ReadAt(tail, max(0, src.Size()-4))
	if string(tail) == "PARE" && s.cfg.Parquet == nil {
		s.encrypted(path)
		whole()
		return
	}
	rd, err := s.openParquet(src, props)
	if err != nil {
		if keys.err != nil {
			err = keys.err
		}
		s.fault(path, formError(err))
		whole()
		return
	}
	defer rd.Close()
	end := int64(4) // of the pages
	for g := range rd.NumRowGroups() {
		meta := rd.MetaData().RowGroup(g)
		for i := range meta.NumColumns() {
			if s.stopped || ctx.Err() != nil {
				return
			}
			chunk, err := meta.ColumnChunk(i)
			if err != nil {
				s.fault(path, formError(fmt.Errorf("row group %d, column %d: %w", g+1, i+1, err)))
				continue
			}
			if chunk.CryptoMetadata() != nil && s.cfg.Parquet == nil {
				s.encrypted(path)
				continue
			}
			end = max(end, chunk.DataPageOffset()+chunk.TotalCompressedSize())
			c := parquetChunk{s: s, ctx: ctx, path: path, group: int64(g + 1), at: i, meta: chunk, field: chunk.PathInSchema().String()}
			if err := c.search(rd); err != nil && ctx.Err() == nil {
				s.fault(path, formError(fmt.Errorf("row group %d, column %s: %w", g+1, s.shown(c.field), err)))
			}
		}
	}
	if from := min(end, src.Size()); from >= 4 {
		_ = s.detector.Scan(s.count(ctx, io.NewSectionReader(src, from, src.Size()-from)),
			discover.Place{Path: s.shown(path), Part: "footer", Offset: from}, s.tell)
	}
}

// openParquet opens a file; the library panics on some that are damaged.
func (s *Scanner) openParquet(src Source, props *parquet.ReaderProperties) (rd *file.Reader, err error) {
	defer func() {
		if recover() != nil {
			rd, err = nil, errors.New("footer")
		}
	}()
	return file.NewParquetReader(io.NewSectionReader(src, 0, src.Size()), file.WithReadProps(props))
}

func (s *Scanner) encrypted(path string) {
	if n := len(s.stats.Encrypted); n > 0 && s.stats.Encrypted[n-1].Path == s.shown(path) {
		return
	}
	s.stats.Encrypted = append(s.stats.Encrypted, Fault{s.shown(path), errors.New("encrypted Parquet, no key given")})
}

// parquetKeys asks for keys on behalf of the library, whose interface has no error.
type parquetKeys struct {
	keys ParquetKeys
	err  error
}

// GetKey implements parquet.DecryptionKeyRetriever; an empty key makes the library give up.
func (k *parquetKeys) GetKey(metadata []byte) string {
	if k.keys == nil {
		return ""
	}
	key, err := k.keys.Key(metadata)
	if err != nil {
		k.err = fmt.Errorf("%w: key of the Parquet file: %w", ErrClosed, err)
		return ""
	}
	return string(key)
}

// parquetChunk is one column of one row group.
type parquetChunk struct {
	s     *Scanner
	ctx   context.Context // of the search
	path  string
	group int64
	at    int
	meta  *metadata.ColumnChunkMetaData
	field string
	row   int64
	buf   []byte
}

func (c *parquetChunk) column(part string) *discover.Column {
	return c.s.detector.Column(discover.Place{Path: c.s.shown(c.path), Part: part, Field: c.field}, c.s.tell)
}

func (c *parquetChunk) search(rd *file.Reader) (err error) {
	defer func() {
		if recover() != nil {
			err = ErrForm
		}
	}()
	if err := c.statistics(); err != nil {
		return err
	}
	if err := c.pages(rd); err != nil {
		return err
	}
	return c.values(rd)
}

// statistics searches the smallest and the largest value as the footer has them.
func (c *parquetChunk) statistics() error {
	if set, err := c.meta.StatsSet(); err != nil || !set {
		return err
	}
	stats, err := c.meta.Statistics()
	if err != nil || stats == nil || !stats.HasMinMax() {
		return err
	}
	c.edges(stats.EncodeMin(), stats.EncodeMax())
	return nil
}

func (c *parquetChunk) edges(edges ...[]byte) {
	col := c.column("statistics")
	defer col.Flush()
	for _, edge := range edges {
		c.plain(col, 0, edge)
	}
}

// plain adds one value in its plain encoding.
func (c *parquetChunk) plain(col *discover.Column, row int64, v []byte) {
	switch {
	case c.meta.Type() == parquet.Types.Int64 && len(v) == 8:
		c.integer(col, row, int64(binary.LittleEndian.Uint64(v)))
	case c.meta.Type() == parquet.Types.Double && len(v) == 8:
		c.float(col, row, math.Float64frombits(binary.LittleEndian.Uint64(v)))
	case c.meta.Type() == parquet.Types.ByteArray, c.meta.Type() == parquet.Types.FixedLenByteArray:
		c.s.progress(len(v))
		col.Add(c.group, row, v)
	}
}

func (c *parquetChunk) integer(col *discover.Column, row, v int64) {
	c.s.progress(8)
	if v >= 1e12 {
		c.buf = strconv.AppendInt(c.buf[:0], v, 10)
		col.AddInteger(c.group, row, c.buf)
	}
}

func (c *parquetChunk) float(col *discover.Column, row int64, v float64) {
	c.s.progress(8)
	if v == math.Trunc(v) && v >= 1e12 && v < 1e19 {
		c.buf = strconv.AppendFloat(c.buf[:0], v, 'f', 0, 64)
		col.AddInteger(c.group, row, c.buf)
	}
}

// pages searches the dictionary, which may have entries that no value uses, and the pages'
// own statistics.
func (c *parquetChunk) pages(rd *file.Reader) error {
	pages, err := rd.RowGroup(int(c.group - 1)).GetColumnPageReader(c.at)
	if err != nil {
		return err
	}
	for pages.Next() {
		switch p := pages.Page().(type) {
		case *file.DictionaryPage:
			c.dictionary(p.Data(), int(p.NumValues()))
		case file.DataPage:
			if stats := p.Statistics(); stats.HasMin || stats.HasMax {
				c.edges(stats.Min, stats.Max)
			}
		}
	}
	return pages.Err()
}

func (c *parquetChunk) dictionary(data []byte, n int) {
	col := c.column("dictionary")
	defer col.Flush()
	width := 8
	switch c.meta.Type() {
	case parquet.Types.FixedLenByteArray:
		if n > 0 {
			width = len(data) / n
		}
	case parquet.Types.ByteArray:
		width = 0
	}
	for row := int64(1); len(data) > 0; row++ {
		size := width
		if width == 0 {
			if len(data) < 4 {
				return
			}
			size = int(binary.LittleEndian.Uint32(data))
			data = data[4:]
		}
		if size <= 0 && width > 0 || size > len(data) {
			return
		}
		c.plain(col, row, data[:size])
		data = data[size:]
	}
}

// values searches the values of the chunk.
func (c *parquetChunk) values(rd *file.Reader) error {
	reader, err := rd.RowGroup(int(c.group - 1)).Column(c.at)
	if err != nil {
		return err
	}
	col := c.column("")
	defer col.Flush()
	switch r := reader.(type) {
	case *file.ByteArrayColumnChunkReader:
		return batches(c, r.ReadBatch, r.Descriptor().MaxDefinitionLevel(), func(row int64, v parquet.ByteArray) { c.plain(col, row, v) })
	case *file.FixedLenByteArrayColumnChunkReader:
		return batches(c, r.ReadBatch, r.Descriptor().MaxDefinitionLevel(), func(row int64, v parquet.FixedLenByteArray) { c.plain(col, row, v) })
	case *file.Int64ColumnChunkReader:
		return batches(c, r.ReadBatch, r.Descriptor().MaxDefinitionLevel(), func(row, v int64) { c.integer(col, row, v) })
	case *file.Float64ColumnChunkReader:
		return batches(c, r.ReadBatch, r.Descriptor().MaxDefinitionLevel(), func(row int64, v float64) { c.float(col, row, v) })
	}
	return nil // other types hold no number of 13 digits
}

// batches reads all values of a column and tells their rows.
func batches[T any](c *parquetChunk, read func(int64, []T, []int16, []int16) (int64, int, error), defined int16, value func(row int64, v T)) error {
	const size = 1024
	values, def, rep := make([]T, size), make([]int16, size), make([]int16, size)
	for {
		clear(rep)
		n, got, err := read(size, values, def, rep)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		at := 0
		for i := range int(n) {
			if rep[i] == 0 {
				c.row++
			}
			if defined > 0 && def[i] != defined {
				continue
			}
			if at >= got || at >= len(values) {
				break
			}
			value(c.row, values[at])
			at++
		}
		if c.s.stopped || c.ctx.Err() != nil {
			return nil
		}
	}
}
