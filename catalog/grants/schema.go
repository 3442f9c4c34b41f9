package grants

import (
	_ "embed"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

//go:embed cardlake.cedarschema
var embeddedSchema string

//go:embed builtin.cedar
var builtinPolicies string

// Types of entities in policies.
const (
	principalType types.EntityType = "Lake::Principal"
	personaType   types.EntityType = "Lake::Persona"
	teamType      types.EntityType = "Lake::Team"
	tenantType    types.EntityType = "Lake::Tenant"
	tableType     types.EntityType = "Lake::Table"
	sliceType     types.EntityType = "Lake::Slice"
	actionType    types.EntityType = "Lake::Action"
)

var schemaPlace = regexp.MustCompile(`^[^"]*?:(\d+):(\d+): `)

// parseSchema parses and resolves a schema, or adds its fault and returns nil.
func parseSchema(name string, text []byte, faults *Faults) *resolved.Schema {
	if line := nested(text); line > 0 {
		faults.add(name, line, "brackets are nested more than %d deep", maxNesting)
		return nil
	}
	var s schema.Schema
	s.SetFilename(name)
	var r *resolved.Schema
	err := s.UnmarshalCedar(text)
	if err == nil {
		r, err = s.Resolve()
	}
	if err != nil {
		message, line := err.Error(), 0
		if at := schemaPlace.FindStringSubmatch(message); at != nil {
			line, _ = strconv.Atoi(at[1])
			message = "column " + at[2] + ": " + message[len(at[0]):]
		}
		faults.add(name, line, "is not a Cedar schema: %s", message)
		return nil
	}
	return r
}

// conforms adds what own, the schema of a folder, lacks or changes of what the program needs.
// Only principals may have more attributes and more parents.
func conforms(own, needed *resolved.Schema, faults *Faults) {
	differs := func(what string) {
		faults.add(schemaFile, 0, "%s is not as this version of cardlake has it: take its text from \"cardlake grants init\" in an empty folder, and put your attributes of Lake::Principal into it", what)
	}
	for name, want := range needed.Entities {
		got, ok := own.Entities[name]
		if name == principalType && ok {
			for _, parent := range want.ParentTypes {
				ok = ok && slices.Contains(got.ParentTypes, parent)
			}
			for attribute, a := range want.Shape {
				ok = ok && sameAttribute(got.Shape[attribute], a)
			}
			for attribute := range got.Shape {
				if _, known := want.Shape[attribute]; !known && words[attribute] != nil {
					ok = false // its values would be checked as words
				}
			}
		} else {
			ok = ok && sameShape(got.Shape, want.Shape) && slices.Equal(got.ParentTypes, want.ParentTypes) && got.Tags == nil
		}
		if !ok {
			differs(string(name))
		}
	}
	for uid, want := range needed.Actions {
		got, ok := own.Actions[uid]
		if !ok || !got.Entity.Parents.Equal(want.Entity.Parents) || !sameUse(got.AppliesTo, want.AppliesTo) {
			differs(uid.String())
		}
	}
	for uid := range own.Actions {
		if _, ok := needed.Actions[uid]; !ok {
			faults.add(schemaFile, 0, "there is no action %s: no door would ask for it", uid)
		}
	}
}

func sameUse(a, b *resolved.AppliesTo) bool {
	if a == nil || b == nil {
		return a == b
	}
	sorted := func(list []types.EntityType) []types.EntityType { return slices.Sorted(slices.Values(list)) }
	return slices.Equal(sorted(a.Principals), sorted(b.Principals)) && slices.Equal(sorted(a.Resources), sorted(b.Resources)) && sameShape(a.Context, b.Context)
}

func sameShape(a, b resolved.RecordType) bool {
	if len(a) != len(b) {
		return false
	}
	for name, x := range a {
		if y, ok := b[name]; !ok || !sameAttribute(x, y) {
			return false
		}
	}
	return true
}

// sameAttribute compares what an attribute holds, whatever its annotations.
func sameAttribute(a, b resolved.Attribute) bool {
	if a.Optional != b.Optional {
		return false
	}
	if x, ok := a.Type.(resolved.RecordType); ok {
		y, ok := b.Type.(resolved.RecordType)
		return ok && sameShape(x, y)
	}
	return reflect.DeepEqual(a.Type, b.Type)
}
