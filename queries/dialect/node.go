package dialect

import (
	"encoding/json"
	"strconv"
	"strings"
)

// node is one object of the parse tree.
type node = map[string]any

func text(v any) string {
	s, _ := v.(string)
	return s
}

func flag(v any) bool {
	b, _ := v.(bool)
	return b
}

func object(v any) node {
	n, _ := v.(node)
	return n
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func lower(v any) string { return strings.ToLower(text(v)) }

// at returns the place of the node in the statement, -1 if the parser kept none.
func at(n node) int {
	number, ok := n["query_location"].(json.Number)
	if !ok {
		return -1
	}
	i, err := strconv.ParseInt(number.String(), 10, 32)
	if err != nil {
		return -1
	}
	return int(i)
}

func integer(v any) (int64, bool) {
	number, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(number.String(), 10, 64)
	return i, err == nil
}

// quote returns the text as a literal. Trino has no escapes in it but the doubled quote.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
