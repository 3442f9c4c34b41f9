package queries

import "strings"

// maxPattern bounds the bytes of a pattern.
const maxPattern = 256

// patterns are the functions behind LIKE, ILIKE and GLOB, and the wildcard of each that stands
// for any text. The engine tries every place for each such wildcard, so that k of them take time
// to the power of k, in one step that cannot be interrupted; but not where LIKE, by itself, has a
// literal without any other wildcard.
var patterns = map[string]string{
	"~~": "%", "!~~": "%", "~~*": "%", "!~~*": "%", "~~~": "*",
	"like_escape": "%", "not_like_escape": "%", "ilike_escape": "%", "not_ilike_escape": "%",
}

// patternArgument requires that the pattern is a literal of which the engine is done soon.
func patternArgument(n node, name string) error {
	value, ok := literal(n, 1)
	pattern := text(value)
	any := patterns[name]
	isPlain := (name == "~~" || name == "!~~") && !strings.Contains(pattern, "_")
	var e *Error
	switch {
	case !ok:
		e = refuse(n, "the pattern of LIKE, ILIKE and GLOB must be a literal")
	case len(pattern) > maxPattern:
		e = refuse(n, "a pattern of more than %d bytes is not allowed", maxPattern)
	case !isPlain && strings.Count(strings.TrimRight(pattern, any), any) > 1:
		e = refuse(n, "a pattern with several %s is not allowed", any)
		e.Hint = "in LIKE it is, without _ and ESCAPE; lower(…) LIKE ignores case, regexp_matches does all else"
	default:
		return nil
	}
	if e.Hint == "" {
		e.Hint = "use contains, starts_with, ends_with or regexp_matches"
	}
	return e
}
