package corpus

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/hamba/avro/v2/ocf"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	_ "modernc.org/sqlite" // the driver
)

// row is one of the typed files.
type row struct {
	ID     int64  `parquet:"id" avro:"id"`
	Number string `parquet:"card_number,dict,zstd" avro:"card_number"`
	Other  int64  `parquet:"other" avro:"other"` // a card number as an integer
	Note   string `parquet:"note,optional" avro:"note"`
	Order  int64  `parquet:"order_id" avro:"order_id"`
}

const avroSchema = `{"type":"record","name":"row","fields":[{"name":"id","type":"long"},{"name":"card_number","type":"string"},
	{"name":"other","type":"long"},{"name":"note","type":"string"},{"name":"order_id","type":"long"}]}`

// containers has numbers in compressed, nested and typed files.
func (g *Generator) containers(n int) (out []Sample, err error) {
	add := func(category, name string, planted []string, make func() ([]byte, error)) {
		data, makeErr := make()
		if makeErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", category, makeErr))
		}
		out = append(out, Sample{Category: category, Name: name, Data: data, Planted: planted})
	}
	text := func() ([]string, []byte) {
		planted := g.numbers(n)
		return planted, lines(n, func(i int) string { return g.when() + " card=" + planted[i] + " " + g.words(4) })
	}
	planted, plain := text()
	add("gzip", "app.log.gz", planted, func() ([]byte, error) { return gzipped(plain) })
	planted, plain2 := text()
	add("zstd", "app.log.zst", planted, func() ([]byte, error) { return zstandard(plain2) })
	planted, plain3 := text()
	add("zip of gzip", "logs.zip", planted, func() ([]byte, error) { return zipped("app.log.gz", plain3, gzipped) })
	planted, plain4 := text()
	add("tar of zip of zstd", "backup.tar.gz", planted, func() ([]byte, error) {
		inner, err := zipped("app.log.zst", plain4, zstandard)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		t := tar.NewWriter(&b)
		err = errors.Join(t.WriteHeader(&tar.Header{Name: "logs/inner.zip", Size: int64(len(inner)), Mode: 0o600}), write(t, inner), t.Close())
		if err != nil {
			return nil, err
		}
		return gzipped(b.Bytes())
	})

	rows := make([]row, n)
	planted = nil
	for i := range rows {
		rows[i] = row{ID: int64(i), Number: g.Number(), Other: integer(g.OfLength(16)), Note: g.words(3), Order: integer("4" + g.digits(15))}
		planted = append(planted, rows[i].Number, fmt.Sprint(rows[i].Other))
		if i%4 == 0 {
			d := g.Number()
			rows[i].Note += " " + d
			planted = append(planted, d)
		}
	}
	add("Parquet", "rows.parquet", planted, func() ([]byte, error) {
		var b bytes.Buffer
		w := parquet.NewGenericWriter[row](&b)
		_, err := w.Write(rows)
		err = errors.Join(err, w.Close())
		return b.Bytes(), err
	})
	add("Avro", "rows.avro", planted, func() ([]byte, error) {
		var b bytes.Buffer
		w, err := ocf.NewEncoder(avroSchema, &b, ocf.WithCodec(ocf.Deflate))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			err = errors.Join(err, w.Encode(r))
		}
		err = errors.Join(err, w.Close())
		return b.Bytes(), err
	})
	add("SQLite", "rows.db", planted, func() ([]byte, error) { return database(rows) })
	return out, err
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

func gzipped(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := errors.Join(write(z, plain), z.Close())
	return b.Bytes(), err
}

func zstandard(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	err = errors.Join(write(z, plain), z.Close())
	return b.Bytes(), err
}

func zipped(name string, plain []byte, pack func([]byte) ([]byte, error)) ([]byte, error) {
	inner, err := pack(plain)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err != nil {
		return nil, err
	}
	err = errors.Join(write(w, inner), z.Close())
	return b.Bytes(), err
}

// database makes a SQLite database in memory.
func database(rows []row) (out []byte, err error) {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.ExecContext(ctx, `CREATE TABLE "payments" (id INTEGER PRIMARY KEY, card_number TEXT, other INTEGER, note TEXT, order_id INTEGER); BEGIN`); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if _, err := conn.ExecContext(ctx, `INSERT INTO payments VALUES (?, ?, ?, ?, ?)`, r.ID, r.Number, r.Other, r.Note, r.Order); err != nil {
			return nil, err
		}
	}
	if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
		return nil, err
	}
	err = conn.Raw(func(c any) error {
		s, ok := c.(interface{ Serialize() ([]byte, error) })
		if !ok {
			return errors.New("the driver cannot serialise a database")
		}
		out, err = s.Serialize()
		return err
	})
	return out, err
}
