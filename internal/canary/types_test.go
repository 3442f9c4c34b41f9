package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/catalog/audit"
	"github.com/cardlake/cardlake/ingest"
	"github.com/cardlake/cardlake/ingest/kafka"
	"github.com/cardlake/cardlake/ingest/replay"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/ledger"
	"github.com/cardlake/cardlake/processor/outbox"
	"github.com/cardlake/cardlake/sim"
	"github.com/cardlake/cardlake/tokenize"
	"github.com/cardlake/cardlake/tokenize/detokenize"
	"github.com/cardlake/cardlake/tokenize/discover"
	"github.com/cardlake/cardlake/tokenize/discover/formats"
	"github.com/cardlake/cardlake/tokenize/ff1"
	"github.com/cardlake/cardlake/tokenize/vault"
	"github.com/cardlake/cardlake/tokenize/vault/pebblestore"
	"github.com/cardlake/cardlake/tokenize/vault/pgstore"
)

// types are all exported struct types of the packages that card numbers go through.
var types = []reflect.Type{
	reflect.TypeFor[cardlake.AuditBatch](), reflect.TypeFor[cardlake.AuditEvent](), reflect.TypeFor[cardlake.Batch](), reflect.TypeFor[cardlake.Column](), reflect.TypeFor[cardlake.Columns](), reflect.TypeFor[cardlake.ControlTotal](), reflect.TypeFor[cardlake.DataFile](), reflect.TypeFor[cardlake.Money](), reflect.TypeFor[cardlake.Offset](), reflect.TypeFor[cardlake.Position](), reflect.TypeFor[cardlake.RejectedBatch](), reflect.TypeFor[cardlake.RejectedRecord](), reflect.TypeFor[cardlake.Row](), reflect.TypeFor[cardlake.StreamPartition](), reflect.TypeFor[cardlake.Table](), reflect.TypeFor[cardlake.TailHeader](), reflect.TypeFor[cardlake.TailTicket](), reflect.TypeFor[cardlake.TotalsBatch](), reflect.TypeFor[cardlake.Transaction](),
	reflect.TypeFor[card.EventKey](), reflect.TypeFor[card.IIN](), reflect.TypeFor[card.IINs](), reflect.TypeFor[card.Issued](), reflect.TypeFor[card.Message](), reflect.TypeFor[card.PAN](),
	reflect.TypeFor[wire.Decoder](), reflect.TypeFor[wire.DecoderConfig](), reflect.TypeFor[wire.Encoder](), reflect.TypeFor[wire.EncoderConfig](), reflect.TypeFor[wire.TotalDecoder](), reflect.TypeFor[wire.TotalDecoderConfig](),
	reflect.TypeFor[ingest.Config](), reflect.TypeFor[ingest.Deps](), reflect.TypeFor[ingest.PartitionStatus](), reflect.TypeFor[ingest.Record](), reflect.TypeFor[ingest.Removal](), reflect.TypeFor[ingest.Stage](), reflect.TypeFor[ingest.Stats](), reflect.TypeFor[ingest.Status](), reflect.TypeFor[ingest.Tail](), reflect.TypeFor[ingest.Worker](),
	reflect.TypeFor[kafka.Auth](), reflect.TypeFor[kafka.Config](), reflect.TypeFor[kafka.Registry](), reflect.TypeFor[kafka.RegistryConfig](), reflect.TypeFor[kafka.Source](), reflect.TypeFor[kafka.TLSFiles](),
	reflect.TypeFor[replay.Config](), reflect.TypeFor[replay.Deps](), reflect.TypeFor[replay.Source](),
	reflect.TypeFor[processor.Config](), reflect.TypeFor[processor.Server](), reflect.TypeFor[processor.Stats](), reflect.TypeFor[processor.Totals](), reflect.TypeFor[processor.TotalsConfig](),
	reflect.TypeFor[iso8583.Acceptor](), reflect.TypeFor[iso8583.Builder](), reflect.TypeFor[iso8583.Field](), reflect.TypeFor[iso8583.Original](), reflect.TypeFor[iso8583.View](),
	reflect.TypeFor[ledger.Account](), reflect.TypeFor[ledger.Authorization](), reflect.TypeFor[ledger.Card](), reflect.TypeFor[ledger.Config](), reflect.TypeFor[ledger.Decision](), reflect.TypeFor[ledger.Imported](), reflect.TypeFor[ledger.Ledger](), reflect.TypeFor[ledger.Reversal](),
	reflect.TypeFor[outbox.Config](), reflect.TypeFor[outbox.Kafka](), reflect.TypeFor[outbox.Outbox](), reflect.TypeFor[outbox.Record](), reflect.TypeFor[outbox.Stats](),
	reflect.TypeFor[sim.ClientConfig](), reflect.TypeFor[sim.Config](), reflect.TypeFor[sim.Event](), reflect.TypeFor[sim.Histogram](), reflect.TypeFor[sim.Message](), reflect.TypeFor[sim.Packer](), reflect.TypeFor[sim.Population](), reflect.TypeFor[sim.Program](), reflect.TypeFor[sim.Progress](), reflect.TypeFor[sim.Run](), reflect.TypeFor[sim.RunConfig](), reflect.TypeFor[sim.Segment](), reflect.TypeFor[sim.Summary](), reflect.TypeFor[sim.Traffic](),
	reflect.TypeFor[tokenize.Card](), reflect.TypeFor[tokenize.Config](), reflect.TypeFor[tokenize.Formatter](), reflect.TypeFor[tokenize.Minter](), reflect.TypeFor[tokenize.Rule](), reflect.TypeFor[tokenize.Token](), reflect.TypeFor[tokenize.Tokenizer](),
	reflect.TypeFor[detokenize.Client](), reflect.TypeFor[detokenize.ClientConfig](), reflect.TypeFor[detokenize.Config](), reflect.TypeFor[detokenize.Deps](), reflect.TypeFor[detokenize.Files](), reflect.TypeFor[detokenize.NoPeople](), reflect.TypeFor[detokenize.Policy](), reflect.TypeFor[detokenize.PolicyFile](), reflect.TypeFor[detokenize.Refusal](), reflect.TypeFor[detokenize.Request](), reflect.TypeFor[detokenize.Revealed](), reflect.TypeFor[detokenize.Rights](), reflect.TypeFor[detokenize.Server](),
	reflect.TypeFor[discover.Column](), reflect.TypeFor[discover.Detection](), reflect.TypeFor[discover.Detector](), reflect.TypeFor[discover.DetectorConfig](), reflect.TypeFor[discover.Finding](), reflect.TypeFor[discover.Incident](), reflect.TypeFor[discover.Incidents](), reflect.TypeFor[discover.Known](), reflect.TypeFor[discover.Origin](), reflect.TypeFor[discover.Place](), reflect.TypeFor[discover.Stats](),
	reflect.TypeFor[formats.Config](), reflect.TypeFor[formats.Fault](), reflect.TypeFor[formats.Scanner](), reflect.TypeFor[formats.Stats](),
	reflect.TypeFor[ff1.Cipher](), reflect.TypeFor[ff1.Config](), reflect.TypeFor[ff1.Decimal](), reflect.TypeFor[ff1.Text](),
	reflect.TypeFor[vault.Change](), reflect.TypeFor[vault.Config](), reflect.TypeFor[vault.Counts](), reflect.TypeFor[vault.Crossing](), reflect.TypeFor[vault.Pass](), reflect.TypeFor[vault.Progress](), reflect.TypeFor[vault.RetiredError](), reflect.TypeFor[vault.Row](), reflect.TypeFor[vault.Vault](),
	reflect.TypeFor[pebblestore.Config](), reflect.TypeFor[pebblestore.Store](),
	reflect.TypeFor[pgstore.Config](), reflect.TypeFor[pgstore.Store](),
	reflect.TypeFor[audit.Break](), reflect.TypeFor[audit.Checkpoint](), reflect.TypeFor[audit.Closed](), reflect.TypeFor[audit.Config](), reflect.TypeFor[audit.Entry](), reflect.TypeFor[audit.Filter](), reflect.TypeFor[audit.Head](), reflect.TypeFor[audit.Line](), reflect.TypeFor[audit.Log](), reflect.TypeFor[audit.Record](), reflect.TypeFor[audit.Report](), reflect.TypeFor[audit.Segment](), reflect.TypeFor[audit.SignedHead](), reflect.TypeFor[audit.Signer](), reflect.TypeFor[audit.Tail](), reflect.TypeFor[audit.VerifyConfig](),
	reflect.TypeFor[keys.Entry](), reflect.TypeFor[keys.EnvelopeConfig](), reflect.TypeFor[keys.Envelopes](), reflect.TypeFor[keys.Key](), reflect.TypeFor[keys.Scope](), reflect.TypeFor[keys.Secret](),
}

// clearBytes are the packages whose bytes may be a card number in clear. Those of the others are
// tokenised, sealed or nobody's.
var clearBytes = []string{"card", "card/wire", "ingest", "ingest/kafka", "processor", "processor/iso8583", "processor/ledger", "sim", "tokenize/detokenize"}

// never are bytes in those packages that are no card number in clear when anybody can print
// them, and why.
var never = map[string]string{
	"wire.Decoder.aad":    "tenant and event id",
	"wire.Decoder.pan":    "overwritten before Open returns",
	"ingest.Worker":       "its memory belongs to Run, which never prints it",
	"kafka.Source":        "its memory belongs to Poll, which never prints it",
	"wire.Decoder.row":    "the clear part of an event",
	"processor.Server":    "its memory belongs to Run, which never prints it",
	"ledger.Ledger":       "keyed hashes",
	"ingest.Deps":         "what a worker works with",
	"outbox.Record.Key":   "a keyed hash",
	"outbox.Record.Value": "a sealed event",
}

// TestNoTypeIsForgotten reads the packages' source for exported struct types that types lacks.
func TestNoTypeIsForgotten(t *testing.T) {
	listed, packages := map[string]bool{}, map[string]bool{}
	for _, typ := range types {
		listed[typ.PkgPath()+"."+typ.Name()], packages[typ.PkgPath()] = true, true
	}
	const module = "github.com/cardlake/cardlake"
	for pkg := range packages {
		files, err := filepath.Glob(filepath.Join("..", "..", strings.TrimPrefix(pkg, module), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("source of %s: %d files, %v", pkg, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, s := range g.Specs {
					ts, ok := s.(*ast.TypeSpec)
					if !ok || !ts.Name.IsExported() || ts.TypeParams != nil {
						continue
					}
					if _, ok := ts.Type.(*ast.StructType); ok && !listed[pkg+"."+ts.Name.Name] {
						t.Errorf("%s.%s is not in types", pkg, ts.Name.Name)
					}
				}
			}
		}
	}
	// A package that came later is noticed too.
	for _, root := range []string{"card", "processor", "tokenize", "ingest", "sim"} {
		err := filepath.WalkDir(filepath.Join("..", "..", root), func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if strings.HasSuffix(d.Name(), "test") || d.Name() == "testdata" || d.Name() == "corpus" {
				return fs.SkipDir
			}
			rel, err := filepath.Rel(filepath.Join("..", ".."), p)
			if err == nil && !packages[path.Join(module, filepath.ToSlash(rel))] && !without[filepath.ToSlash(rel)] {
				t.Errorf("package %s has no type in types", rel)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// without are packages of zone A that hand around no card number: they speak to stores, or count.
var without = map[string]bool{
	"ingest/kinesis": true, "ingest/telemetry": true, "ingest/tailserver": true,
}

// TestNoTypePrintsACard fills every type with card numbers, wherever it has room for one that
// is not text, and prints it in every way there is.
func TestNoTypePrintsACard(t *testing.T) {
	var c canaries
	filled := map[reflect.Type]reflect.Value{}
	held := map[reflect.Type]bool{}
	for _, typ := range types {
		v := reflect.New(typ)
		held[typ] = fill(v.Elem(), &c, typ.String(), 0, slices.Contains(clearBytes, strings.TrimPrefix(typ.PkgPath(), "github.com/cardlake/cardlake/")))
		filled[typ] = v
	}
	d := c.detector()
	cards := 0
	for _, typ := range types {
		if held[typ] {
			cards++
		}
		text := printed(filled[typ])
		for _, leak := range d.leaks(text) {
			t.Errorf("%v, printed, %s", typ, leak)
		}
	}
	if cards < 10 {
		t.Errorf("%d types were given card numbers: fill reaches nothing", cards)
	}
	planted := struct{ Number []byte }{[]byte(c.pan("a struct"))}
	if c.detector().leaks(printed(reflect.ValueOf(&planted))) == nil {
		t.Error("a struct that prints a card number was not noticed")
	}
}

var panType = reflect.TypeFor[card.PAN]()

// fill puts canaries into card numbers and bytes of the value, its unexported fields included,
// and reports whether there were any.
func fill(v reflect.Value, c *canaries, place string, depth int, mayBeClear bool) (any bool) {
	if depth > 6 || never[place] != "" {
		return false
	}
	if !v.CanSet() && v.CanAddr() {
		v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	}
	switch t := v.Type(); {
	case t == panType:
		p, err := card.ParsePAN(c.pan(place))
		if err != nil {
			panic(err)
		}
		v.Set(reflect.ValueOf(p))
		return true
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		if !mayBeClear {
			return false
		}
		v.Set(reflect.ValueOf([]byte(c.pan(place))).Convert(t))
		return true
	case t.Kind() == reflect.Struct && (depth == 0 || strings.HasPrefix(t.PkgPath(), "github.com/cardlake/")):
		for i := range t.NumField() {
			any = fill(v.Field(i), c, place+"."+t.Field(i).Name, depth+1, mayBeClear) || any
		}
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && strings.HasPrefix(t.Elem().PkgPath(), "github.com/cardlake/"):
		v.Set(reflect.New(t.Elem()))
		return fill(v.Elem(), c, place, depth+1, mayBeClear)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		v.Set(reflect.MakeSlice(t, 1, 1))
		return fill(v.Index(0), c, place, depth+1, mayBeClear)
	case t.Kind() == reflect.Array && (t.Elem().Kind() == reflect.Struct || t.Elem().Kind() == reflect.Slice):
		return fill(v.Index(0), c, place, depth+1, mayBeClear)
	}
	return any
}

// printed is a value, to which v points, in all ways in which Go prints one.
func printed(v reflect.Value) []byte {
	var out bytes.Buffer
	handler := slog.NewJSONHandler(&out, nil)
	for _, x := range []any{v.Interface(), v.Elem().Interface(), []any{v.Elem().Interface()}, struct{ X any }{v.Elem().Interface()}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "% x"} {
			func() {
				defer func() { _ = recover() }() // of a half-made value
				fmt.Fprintf(&out, verb+"\n", x)
			}()
		}
		func() {
			defer func() { _ = recover() }()
			text, err := json.Marshal(x)
			fmt.Fprintf(&out, "%s %v\n", text, err)
			log := slog.New(handler)
			log.LogAttrs(context.Background(), slog.LevelError, "value", slog.Any("x", x))
			slog.New(slog.NewTextHandler(&out, nil)).Error("value", "x", x)
		}()
	}
	return out.Bytes()
}
