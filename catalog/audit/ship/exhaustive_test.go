package ship

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog/audit"
)

// TestEveryChangeOfTheArchiveIsFound changes each byte of the archive's segments, and takes
// away, cuts and swaps the segments.
func TestEveryChangeOfTheArchiveIsFound(t *testing.T) {
	s := newSite(t)
	for range 3 {
		l := s.open()
		if err := l.Append(t.Context(), audit.Record{Actor: "a", Action: "query", Resource: "r", Outcome: audit.Allowed}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log := s.ship().Log
	names := s.segmentsInArchive()
	for i := range names {
		names[i] = path.Join(folder(log), names[i])
	}
	if len(names) != 2 {
		t.Fatalf("archive has %q", names)
	}
	// What the third segment says of the ones before it is the head that they must have.
	verify := s.verify
	whole, err := audit.VerifySegments(t.Context(), Copy(s.archive, log), verify)
	if err != nil || whole.Break != nil {
		t.Fatalf("%+v, error %v", whole, err)
	}
	verify.Known = []audit.Head{whole.Head}
	intact := maps.Clone(s.archive.objects)
	check := func(what string, change func(m map[string][]byte)) {
		t.Helper()
		s.archive.objects = maps.Clone(intact)
		change(s.archive.objects)
		r, err := audit.VerifySegments(t.Context(), Copy(s.archive, log), verify)
		if err != nil || r.Break == nil {
			t.Errorf("%s: %+v, error %v", what, r, err)
		}
	}
	for _, name := range names {
		body := intact[name]
		for i := range body {
			check(fmt.Sprintf("%s, byte %d", name, i), func(m map[string][]byte) {
				m[name] = bytes.Clone(body)
				m[name][i] ^= 1 << (i % 8)
			})
			if i%5 == 0 {
				check(fmt.Sprintf("%s cut at %d", name, i), func(m map[string][]byte) { m[name] = body[:i] })
			}
		}
		check(name+" gone", func(m map[string][]byte) { delete(m, name) })
	}
	check("swapped", func(m map[string][]byte) { m[names[0]], m[names[1]] = m[names[1]], m[names[0]] })
	check("all gone", func(m map[string][]byte) { clear(m) })
}

// TestEveryChangeOfTheTableIsFound changes each field of each row of the table, and takes away,
// doubles and adds rows; each is found, and where it is.
func TestEveryChangeOfTheTableIsFound(t *testing.T) {
	s := newSite(t)
	s.write(3)
	s.write(3)
	log := s.ship().Log
	var events []cardlake.AuditEvent
	for _, f := range s.table.files {
		if err := eachRow(t.Context(), s.store.objects[f.Name], func(e *cardlake.AuditEvent) error {
			events = append(events, clone(e))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(events) != 12 {
		t.Fatalf("%d rows", len(events))
	}
	files := s.table.files
	check := func(what string, seq int64, rows []cardlake.AuditEvent) {
		t.Helper()
		s.table.files = []cardlake.DataFile{s.file(rows)}
		if c := s.compare(); c.Break == nil || seq > 0 && c.Break.Seq != uint64(seq) {
			t.Errorf("%s: %+v, %v", what, c, c.Break)
		}
	}
	for i, e := range events {
		without := slices.Delete(slices.Clone(events), i, i+1)
		check(fmt.Sprintf("row %d gone", i), e.Seq, without)
		check(fmt.Sprintf("row %d doubled", i), e.Seq, append(slices.Clone(events), e))
		check(fmt.Sprintf("row %d of another's place", i), min(e.Seq, events[(i+1)%len(events)].Seq), append(without, events[(i+1)%len(events)]))
		for field := range reflect.TypeFor[cardlake.AuditEvent]().NumField() {
			name := reflect.TypeFor[cardlake.AuditEvent]().Field(field).Name
			changed := e
			switch v := reflect.ValueOf(&changed).Elem().Field(field); v.Kind() {
			case reflect.String:
				v.SetString(v.String() + "x")
				if len(v.String()) > 64 && (name == "Hash" || name == "Prev") {
					v.SetString(strings.Repeat("x", 64))
				}
			case reflect.Int64:
				v.SetInt(v.Int() + 1)
			}
			seq := e.Seq
			if name == "Seq" || name == "Segment" || name == "Log" {
				seq = 0 // it is then missing in one place and one too many in another
			}
			check(fmt.Sprintf("%s of row %d", name, i), seq, append(slices.Clone(without), changed))
		}
	}
	s.table.files = nil
	if c := s.compare(); c.Break == nil || c.Break.Seq != 1 {
		t.Errorf("no rows: %+v", c)
	}

	// The log is shorter than what was shipped: written anew, or cut.
	s.table.files = files
	s.table.positions = cardlake.Positions{{Stream: Stream(log)}: {Next: 20, Mark: "x"}}
	if c := s.compare(); c.Break == nil {
		t.Errorf("%+v", c)
	}
}

func clone(e *cardlake.AuditEvent) cardlake.AuditEvent {
	out := *e
	v := reflect.ValueOf(&out).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString(strings.Clone(v.Field(i).String()))
		}
	}
	return out
}

// file writes rows as a data file.
func (s *site) file(rows []cardlake.AuditEvent) cardlake.DataFile {
	s.Helper()
	b := cardlake.NewAuditBatch()
	for i := range rows {
		if err := b.Append(&rows[i]); err != nil {
			s.Fatal(err)
		}
	}
	record, err := b.Record()
	if err != nil {
		s.Fatal(err)
	}
	body, _, err := newRows().encoder.Encode(record)
	if err != nil {
		s.Fatal(err)
	}
	s.store.objects["changed"] = bytes.Clone(body)
	return cardlake.DataFile{Name: "changed"}
}

func FuzzEachRow(f *testing.F) {
	b := cardlake.NewAuditBatch()
	if err := b.Append(&cardlake.AuditEvent{Log: "l", Seq: 1, Time: 1, Actor: "a", Action: "b", Outcome: "allowed", Resource: "r", Segment: 1, Hash: "h"}); err != nil {
		f.Fatal(err)
	}
	record, err := b.Record()
	if err != nil {
		f.Fatal(err)
	}
	body, _, err := newRows().encoder.Encode(record)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(body))
	f.Add([]byte("PAR1"))
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = eachRow(t.Context(), body, func(*cardlake.AuditEvent) error { return nil })
	})
}
