package dialect

import (
	"fmt"
	"regexp"
	"strings"
)

// display is how DuckDB names a column that has no alias.
func (p *printer) display(s *scope, n node) string {
	if parts := list(n["column_names"]); text(n["class"]) == "COLUMN_REF" && len(parts) > 0 {
		var names []string
		for _, v := range parts {
			names = append(names, text(v))
		}
		if c := p.lookupHere(s, n, names); c != nil {
			return c.name // as the table has it
		}
		return names[len(names)-1]
	}
	return display(n)
}

var bareName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// quoted are functions whose names DuckDB quotes, being keywords.
var quotedFunctions = map[string]bool{"left": true, "right": true, "nullif": true, "position": true, "substring": true, "trim": true, "overlay": true}

// display writes an expression as DuckDB does.
func display(n node) string {
	switch text(n["class"]) {
	case "COLUMN_REF":
		var parts []string
		for _, v := range list(n["column_names"]) {
			if name := text(v); bareName.MatchString(strings.ToLower(name)) {
				parts = append(parts, name)
			} else {
				parts = append(parts, quoteName(name))
			}
		}
		return strings.Join(parts, ".")
	case "CONSTANT":
		return displayConstant(object(n["value"]))
	case "FUNCTION":
		return displayFunction(n)
	case "WINDOW":
		return displayWindow(n)
	case "CAST":
		name := "CAST("
		if flag(n["try_cast"]) {
			name = "TRY_CAST("
		}
		return name + display(object(n["child"])) + " AS " + displayType(object(n["cast_type"])) + ")"
	case "COMPARISON":
		return "(" + display(object(n["left"])) + " " + comparisons[text(n["type"])] + " " + display(object(n["right"])) + ")"
	case "CONJUNCTION":
		word := " AND "
		if text(n["type"]) == "CONJUNCTION_OR" {
			word = " OR "
		}
		return "(" + strings.Join(displays(n["children"]), word) + ")"
	case "BETWEEN":
		return "(" + display(object(n["input"])) + " BETWEEN " + display(object(n["lower"])) + " AND " + display(object(n["upper"])) + ")"
	case "CASE":
		var b strings.Builder
		b.WriteString("CASE ")
		for _, v := range list(n["case_checks"]) {
			fmt.Fprintf(&b, " WHEN (%s) THEN (%s)", display(object(object(v)["when_expr"])), display(object(object(v)["then_expr"])))
		}
		return b.String() + " ELSE " + display(object(n["else_expr"])) + " END"
	case "OPERATOR":
		children := displays(n["children"])
		switch kind := text(n["type"]); kind {
		case "OPERATOR_NOT":
			return "(NOT " + children[0] + ")"
		case "OPERATOR_IS_NULL":
			return "(" + children[0] + " IS NULL)"
		case "OPERATOR_IS_NOT_NULL":
			return "(" + children[0] + " IS NOT NULL)"
		case "OPERATOR_COALESCE":
			return "COALESCE(" + strings.Join(children, ", ") + ")"
		case "OPERATOR_NULLIF":
			return "NULLIF(" + strings.Join(children, ", ") + ")"
		case "COMPARE_IN":
			return "(" + children[0] + " IN (" + strings.Join(children[1:], ", ") + "))"
		case "COMPARE_NOT_IN":
			return "(" + children[0] + " NOT IN (" + strings.Join(children[1:], ", ") + "))"
		}
	}
	return "expression"
}

func displays(v any) []string {
	var out []string
	for _, e := range list(v) {
		out = append(out, display(object(e)))
	}
	return out
}

func displayConstant(v node) string {
	if flag(v["is_null"]) {
		return "NULL"
	}
	switch value := v["value"].(type) {
	case string:
		return quote(value)
	case bool:
		return fmt.Sprint(value)
	default:
		i := wholeNumber(value)
		scale, _ := integer(object(object(v["type"])["type_info"])["scale"])
		if i == nil {
			return fmt.Sprint(value)
		}
		return pointed(i, int(scale))
	}
}

func displayType(n node) string {
	switch id := text(n["id"]); id {
	case "DATE", "TIMESTAMP", "INTERVAL", "TIME":
		return quoteName(id)
	case "DECIMAL":
		t := typeNamed(n, n)
		return fmt.Sprintf("DECIMAL(%d, %d)", t.width, t.scale)
	default:
		return id
	}
}

func displayFunction(n node) string {
	name, children := text(n["function_name"]), displays(n["children"])
	if flag(n["is_operator"]) {
		if len(children) == 1 {
			return name + "(" + children[0] + ")"
		}
		return "(" + strings.Join(children, " "+name+" ") + ")"
	}
	if quotedFunctions[name] {
		name = quoteName(name)
	}
	if schema := text(n["schema"]); schema != "" {
		name = schema + "." + name
	}
	distinct := ""
	if flag(n["distinct"]) {
		distinct = "DISTINCT "
	}
	out := name + "(" + distinct + strings.Join(children, ", ") + displayOrders(list(object(n["order_bys"])["orders"])) + ")"
	if n["filter"] != nil {
		out += " FILTER (WHERE " + display(object(n["filter"])) + ")"
	}
	return out
}

func displayOrders(orders []any) string {
	if len(orders) == 0 {
		return ""
	}
	var keys []string
	for _, v := range orders {
		o := object(v)
		key := display(object(o["expression"]))
		switch text(o["type"]) {
		case "ASCENDING":
			key += " ASC"
		case "DESCENDING":
			key += " DESC"
		}
		if nulls := text(o["null_order"]); strings.HasPrefix(nulls, "NULLS") {
			key += " " + nulls
		}
		keys = append(keys, key)
	}
	return " ORDER BY " + strings.Join(keys, ", ")
}

func displayWindow(n node) string {
	args := displays(n["children"])
	for _, key := range []string{"offset_expr", "default_expr"} {
		if n[key] != nil {
			args = append(args, display(object(n[key])))
		}
	}
	var over []string
	if partitions := displays(n["partitions"]); len(partitions) > 0 {
		over = append(over, "PARTITION BY "+strings.Join(partitions, ", "))
	}
	if orders := displayOrders(list(n["orders"])); orders != "" {
		over = append(over, strings.TrimSpace(orders))
	}
	return text(n["function_name"]) + "(" + strings.Join(args, ", ") + ") OVER (" + strings.Join(over, " ") + ")"
}
