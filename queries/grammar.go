package queries

// The grammar: the fields of every node of DuckDB's parse tree that a statement may hold.
// A field added by a later DuckDB is refused until it is listed here.
var (
	queryNodes  map[string]shape
	tableRefs   map[string]shape
	expressions map[string]shape
	commonTable shape
	typeShape   shape
)

// with returns the shape with the fields that every node of its family has.
func with(common, sh shape) shape {
	for key, r := range common {
		sh[key] = r
	}
	return sh
}

func init() {
	expressionList := list(expression)
	orders := list(object("ORDER BY", shape{"type": data, "null_order": data, "expression": expression}))
	modifier := object("a clause", shape{
		"type": data, "orders": orders, "limit": expression, "offset": expression, "distinct_on_targets": expressionList,
	})
	sample := func(w *walker, s *scope, v any) error {
		w.isVolatile = w.isVolatile || v != nil
		return object("a sample", shape{"sample_size": constant, "is_percentage": data, "method": data, "seed": data})(w, s, v)
	}
	qualifiedName := object("a column name", shape{"catalog": data, "schema": data, "table": data, "column": data})

	commonTable = shape{
		"key": data,
		"value": object("WITH", shape{
			"aliases": data, "query": statement, "materialized": data, "key_targets": expressionList,
		}),
	}

	node := shape{"type": data, "modifiers": list(modifier)}
	queryNodes = map[string]shape{
		"SELECT_NODE": with(node, shape{
			"select_list": expressionList, "from_table": tableRef, "where_clause": expression,
			"group_expressions": expressionList, "group_sets": data, "aggregate_handling": data,
			"having": expression, "sample": sample, "qualify": expression,
		}),
		"SET_OPERATION_NODE": with(node, shape{"setop_type": data, "setop_all": data, "left": query, "right": query}),
		"RECURSIVE_CTE_NODE": with(node, shape{
			"cte_name": data, "union_all": data, "left": query, "aliases": data, "key_targets": expressionList,
		}),
	}

	ref := shape{"type": data, "alias": data, "sample": sample, "query_location": data}
	tableRefs = map[string]shape{
		"BASE_TABLE": with(ref, shape{
			"schema_name": data, "table_name": data, "catalog_name": data, "column_name_alias": data,
			"at_clause": empty("AT (time travel)"),
		}),
		"EMPTY":    with(ref, shape{}),
		"SUBQUERY": with(ref, shape{"subquery": statement, "column_name_alias": data}),
		"JOIN": with(ref, shape{
			"left": tableRef, "right": tableRef, "condition": expression, "join_type": data, "ref_type": data,
			"using_columns": data, "delim_flipped": data, "duplicate_eliminated_columns": expressionList,
		}),
		"EXPRESSION_LIST": with(ref, shape{
			"expected_names": data, "expected_types": list(dataType), "values": list(expressionList),
		}),
		"TABLE_FUNCTION": with(ref, shape{
			"function": tableFunction, "column_name_alias": data, "with_ordinality": data,
		}),
		"PIVOT": with(ref, shape{
			"source": tableRef, "aggregates": expressionList, "unpivot_names": data, "groups": data,
			"column_name_alias": data, "include_nulls": data,
			"pivots": list(object("PIVOT", shape{
				"pivot_expressions": expressionList, "unpivot_names": data, "pivot_enum": empty("PIVOT on an enum"),
				"entries": list(object("PIVOT", shape{"values": list(constant), "star_expr": expression, "alias": data})),
			})),
		}),
	}

	expr := shape{"class": data, "type": data, "alias": data, "query_location": data}
	function := shape{
		"function_name": data, "schema": data, "catalog": data, "children": expressionList, "filter": expression,
		"order_bys": modifier, "distinct": data, "is_operator": data, "export_state": data,
	}
	expressions = map[string]shape{
		"COLUMN_REF":           with(expr, shape{"column_names": data}),
		"CONSTANT":             with(expr, shape{"value": constant}),
		"FUNCTION":             with(expr, function),
		"OPERATOR":             with(expr, shape{"children": expressionList}),
		"COMPARISON":           with(expr, shape{"left": expression, "right": expression}),
		"CONJUNCTION":          with(expr, shape{"children": expressionList}),
		"BETWEEN":              with(expr, shape{"input": expression, "lower": expression, "upper": expression}),
		"COLLATE":              with(expr, shape{"child": expression, "collation": data}),
		"CAST":                 with(expr, shape{"child": expression, "cast_type": dataType, "try_cast": data}),
		"LAMBDA":               with(expr, shape{"lhs": expression, "expr": expression}),
		"POSITIONAL_REFERENCE": with(expr, shape{"index": data}),
		"CASE": with(expr, shape{
			"case_checks": list(object("CASE", shape{"when_expr": expression, "then_expr": expression})),
			"else_expr":   expression,
		}),
		"STAR": with(expr, shape{
			"relation_name": data, "exclude_list": data, "columns": data, "expr": expression,
			"replace_list":           list(object("REPLACE", shape{"key": data, "value": expression})),
			"qualified_exclude_list": list(qualifiedName),
			"rename_list":            list(object("RENAME", shape{"key": qualifiedName, "value": data})),
		}),
		"SUBQUERY": with(expr, shape{
			"subquery_type": data, "subquery": statement, "child": expression, "comparison_type": data,
		}),
		"WINDOW": with(expr, shape{
			"function_name": data, "schema": data, "catalog": data, "children": expressionList,
			"partitions": expressionList, "orders": orders, "arg_orders": orders,
			"start": data, "end": data, "start_expr": expression, "end_expr": expression,
			"offset_expr": expression, "default_expr": expression, "filter_expr": expression,
			"ignore_nulls": data, "exclude_clause": data, "distinct": data,
		}),
	}

	typeShape = shape{
		"id": data,
		"type_info": object("a type", shape{
			"type": data, "alias": data, "extension_info": empty("a type of an extension"),
			"width": data, "scale": data, "size": data, "child_type": dataType, "collation": data,
			"child_types": list(object("a type", shape{"first": data, "second": dataType})),
		}),
	}
}

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// operators are the kinds of OPERATOR expressions that may be used.
var operators = set(
	"OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE", "OPERATOR_NULLIF",
	"OPERATOR_TRY", "OPERATOR_UNPACK", "COMPARE_IN", "COMPARE_NOT_IN", "ARRAY_EXTRACT", "ARRAY_SLICE",
	"ARRAY_CONSTRUCTOR", "STRUCT_EXTRACT", "GROUPING_FUNCTION",
)

// types are those that a value may be cast to.
var types = set(
	"NULL", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
	"UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP",
	"TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "INTERVAL", "UUID",
	"LIST", "ARRAY", "STRUCT", "MAP",
)

// sessionNames are column names that the engine would take for its session's state.
var sessionNames = set(
	"current_user", "current_role", "session_user", "current_schema", "current_catalog", "current_database",
)
