package grants

import "slices"

// Without is the set without one policy, built-in ones included.
func (s *Set) Without(id string) *Set {
	return &Set{
		version: s.version, principals: s.principals, subjects: s.subjects, personas: s.personas, byID: s.byID,
		tenants: s.tenants, entities: s.entities, actions: s.actions,
		policies: slices.DeleteFunc(slices.Clone(s.policies), func(p *Policy) bool { return p.ID == id }),
	}
}

// BuiltIn lists the ids of the policies that every set has.
func (s *Set) BuiltIn() (ids []string) {
	for _, p := range s.policies {
		if p.File == builtinFile {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// Remembered is how many decisions are in memory.
func (s *Set) Remembered() int {
	s.memo.mu.RLock()
	defer s.memo.mu.RUnlock()
	return len(s.memo.younger) + len(s.memo.elder)
}

// MemoSize is the bound of one generation.
const MemoSize = memoSize

// FromText is Load of a folder with these files.
func FromText(schema, principals, policies string, t Tenants) (*Set, error) {
	s := source{{policiesDir + "/test.cedar", []byte(policies)}, {principalsFile, []byte(principals)}}
	if schema != "" {
		s = append(source{{schemaFile, []byte(schema)}}, s...)
	}
	return build(s, registered(t))
}

// EmbeddedSchema is the schema that is compiled in.
var EmbeddedSchema = embeddedSchema
