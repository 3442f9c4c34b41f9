package api

import (
	"encoding"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/catalog"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/catalog/products"
	"github.com/cardlake/cardlake/queries/export"
)

// schemas makes JSON Schemas of Go types, as encoding/json writes them. What a field is is said
// by its tag "doc", and of types of other packages by fieldDocs; a field that nothing is said of
// is a fault.
type schemas struct {
	all    map[string]schema
	types  map[string]reflect.Type
	faults []string
}

// either are zero values of types of which a body has one.
type either []any

// bytesOf is the schema of a body that is no JSON.
var bytesOf = schema{"type": "string", "format": "binary"}

// known are types that have a schema of their own.
var known = map[reflect.Type]schema{
	reflect.TypeFor[time.Time]():            {"type": "string", "format": "date-time"},
	reflect.TypeFor[json.RawMessage]():      {},
	reflect.TypeFor[cardlake.Tenant]():      {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,39}$"},
	reflect.TypeFor[cardlake.Currency]():    {"type": "string", "pattern": "^[A-Z]{3}$"},
	reflect.TypeFor[catalog.TenantStatus](): choiceOf(names(catalog.TenantStatuses...)...),
	reflect.TypeFor[export.State]():         choiceOf(names(export.Queued, export.Running, export.Done, export.Failed, export.Cancelled, export.Expired)...),
	reflect.TypeFor[export.Format]():        choiceOf(names(export.Formats...)...),
	reflect.TypeFor[products.Status]():      choiceOf(names(products.Draft, products.Published, products.Deprecated, products.Withdrawn)...),
	reflect.TypeFor[products.State]():       choiceOf(names(products.Requested, products.Approved, products.Rejected, products.Revoked, products.Expired)...),
	reflect.TypeFor[grants.Kind]():          textOf(40),
	reflect.TypeFor[grants.Action]():        textOf(40),
	reflect.TypeFor[cardlake.Tag]():         textOf(40),
	reflect.TypeFor[catalog.Operation]():    textOf(40),
}

// names are the values as strings.
func names[T ~string](values ...T) []string {
	var out []string
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

// of returns the schema of the type of a zero value.
func (s *schemas) of(zero any) schema {
	if some, ok := zero.(either); ok {
		var out []schema
		for _, one := range some {
			out = append(out, s.of(one))
		}
		return schema{"anyOf": out}
	}
	return s.typed(reflect.TypeOf(zero))
}

func (s *schemas) typed(t reflect.Type) schema {
	if one, ok := known[t]; ok {
		return one
	}
	switch own := reflect.TypeFor[json.Marshaler](); {
	case t.Kind() == reflect.Pointer:
		return s.typed(t.Elem())
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return schema{"type": "string"}
	case t.Implements(own) || reflect.PointerTo(t).Implements(own):
		s.faults = append(s.faults, t.String()+" writes its own JSON, and has no schema")
	}
	switch t.Kind() {
	case reflect.Interface:
		return schema{}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer", "format": "int64"}
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return schema{"type": "integer", "format": "int32"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number", "format": "double"}
	case reflect.Slice, reflect.Array:
		return schema{"type": "array", "items": s.typed(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": s.typed(t.Elem())}
	case reflect.Struct:
		return s.object(t)
	}
	s.faults = append(s.faults, t.String()+" has no schema")
	return schema{}
}

// object is the reference to a struct's schema. It is added before its fields are, for a type may
// have itself in it.
func (s *schemas) object(t reflect.Type) schema {
	name := schemaName(t)
	if name == "" {
		return s.fields(t)
	}
	if had, ok := s.types[name]; !ok {
		s.types[name] = t
		s.all[name] = s.fields(t)
	} else if had != t {
		s.faults = append(s.faults, fmt.Sprintf("%v and %v are both named %s", had, t, name))
	}
	return schema{"$ref": "#/components/schemas/" + name}
}

// schemaName is the type's name: of this package without "Answer", of others after the package's;
// empty for a type that has none.
func schemaName(t reflect.Type) string {
	name := t.Name()
	if name == "" {
		return ""
	}
	if p := path.Base(t.PkgPath()); p != "api" {
		return upper(p) + upper(name)
	}
	return upper(strings.TrimSuffix(name, "Answer"))
}

// sentence is the text with a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.TrimSuffix(upper(s), ".") + "."
}

func upper(s string) string { return string(unicode.ToUpper(rune(s[0]))) + s[1:] }

// fields is the schema of a struct's fields, those of embedded structs among them.
func (s *schemas) fields(t reflect.Type) schema {
	properties, required := map[string]schema{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && name == "" || !f.IsExported() || tag == "-" || s.isHidden(t, f):
			continue
		case name == "":
			s.faults = append(s.faults, t.String()+"."+f.Name+" has no name in JSON")
			continue
		}
		one := s.field(t, f, name)
		if strings.Contains(options, "string") {
			one = schema{"type": "string", "pattern": "^-?[0-9]+$", "description": one["description"]}
		}
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
			if f.Type.Kind() == reflect.Pointer || nullable[fieldName(t, f, name)] {
				one = schema{"anyOf": []schema{one, {"type": "null"}}}
			}
		}
		properties[name] = one
	}
	out := schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// isHidden reports whether encoding/json passes the field over: an embedded struct that it is in
// has a name, or is not written.
func (s *schemas) isHidden(t reflect.Type, f reflect.StructField) bool {
	for i := 1; i < len(f.Index); i++ {
		if t.FieldByIndex(f.Index[:i]).Tag.Get("json") != "" {
			return true
		}
	}
	return false
}

// fieldName is a field by its package, its type, which may be embedded in t, and its name in JSON.
func fieldName(t reflect.Type, f reflect.StructField, name string) string {
	if n := len(f.Index); n > 1 {
		if t = t.FieldByIndex(f.Index[:n-1]).Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return path.Base(t.PkgPath()) + "." + t.Name() + "." + name
}

// nullable are fields that are no pointers and can be null.
var nullable = map[string]bool{"changes.Removal.partitions": true}

// field is the schema of a field, with what is said of it.
func (s *schemas) field(t reflect.Type, f reflect.StructField, name string) schema {
	doc := f.Tag.Get("doc")
	if doc == "" {
		doc = fieldDocs[fieldName(t, f, name)]
	}
	if doc == "" {
		s.faults = append(s.faults, "nothing is said of the field "+fieldName(t, f, name))
	}
	out := schema{"description": sentence(doc)}
	for key, value := range s.typed(f.Type) {
		out[key] = value
	}
	for key, tag := range map[string]string{"enum": "enum", "minimum": "min", "maximum": "max", "maxLength": "long", "examples": "example"} {
		text, ok := f.Tag.Lookup(tag)
		switch {
		case !ok:
		case key == "enum":
			out[key] = strings.Split(text, ",")
		case key == "examples":
			out[key] = []string{text}
		default:
			out[key] = json.Number(text)
		}
	}
	return out
}
