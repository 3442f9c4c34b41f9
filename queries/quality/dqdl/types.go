package dqdl

import "slices"

// Type says how a rule type is used (guide, "DQDL rule type reference").
type Type struct {
	Name string
	// MinParams and MaxParams bound the number of parameters; MaxParams -1 means any.
	MinParams, MaxParams int
	// Kinds are those of its conditions, 0 if its answer is Boolean. Without any condition a
	// type that has HasBareForm is allowed too.
	Kinds       Kind
	HasBareForm bool

	TakesWhere     bool
	TakesThreshold bool
	// IsRule and IsAnalyzer say in which lists it may stand.
	IsRule, IsAnalyzer bool
	// IsRatio says that its answer rests on a share of the rows, so that it cannot be part of a
	// composite rule that is evaluated row by row (guide, "How Composite rules work").
	IsRatio bool
	// IsDynamic says that operands may ask for earlier runs.
	IsDynamic bool
	// Tags are the names that may follow with, besides threshold.
	Tags []string
	// usage is shown when it is misused.
	usage string
}

var (
	fileTags = []string{"recentFiles", "uriRegex", "filterOrder", "matchFileName", "failFast", "dataFrame"}

	types = []Type{
		{Name: "AggregateMatch", MinParams: 2, MaxParams: 2, Kinds: Number, IsRule: true, usage: `AggregateMatch "sum(COLUMN)" "sum(REFERENCE.COLUMN)" = 1.0`},
		{Name: "AllStatistics", MinParams: 1, MaxParams: 1, IsAnalyzer: true, usage: `AllStatistics "COLUMN"`},
		{Name: "ColumnCorrelation", MinParams: 2, MaxParams: 2, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `ColumnCorrelation "COLUMN" "COLUMN" > 0.8`},
		{Name: "ColumnCount", Kinds: Number, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `ColumnCount = 10`},
		{Name: "ColumnDataType", MinParams: 1, MaxParams: 1, Kinds: String, TakesWhere: true, TakesThreshold: true, IsRule: true, Tags: []string{"format"}, usage: `ColumnDataType "COLUMN" = "INTEGER"`},
		{Name: "ColumnExists", MinParams: 1, MaxParams: 1, IsRule: true, usage: `ColumnExists "COLUMN"`},
		{Name: "ColumnLength", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, TakesThreshold: true, IsRule: true, IsAnalyzer: true, usage: `ColumnLength "COLUMN" = 5`},
		{Name: "ColumnNamesMatchPattern", MinParams: 1, MaxParams: 1, TakesWhere: true, IsRule: true, usage: `ColumnNamesMatchPattern "PATTERN"`},
		{Name: "ColumnValues", MinParams: 1, MaxParams: 1, Kinds: Number | String | Date | Null, TakesWhere: true, TakesThreshold: true, IsRule: true, IsAnalyzer: true, Tags: []string{"ignoreCase"}, usage: `ColumnValues "COLUMN" in ["A", "B"]`},
		{Name: "Completeness", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsRatio: true, IsDynamic: true, usage: `Completeness "COLUMN" > 0.95`},
		{Name: "CustomSql", MinParams: 1, MaxParams: 1, Kinds: Number, HasBareForm: true, TakesThreshold: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `CustomSql "select count(*) from primary" between 10 and 20`},
		{Name: "DataFreshness", MinParams: 1, MaxParams: 1, Kinds: Duration, TakesWhere: true, IsRule: true, usage: `DataFreshness "COLUMN" <= 24 hours`},
		{Name: "DatasetMatch", MinParams: 2, MaxParams: 3, Kinds: Number, IsRule: true, IsRatio: true, IsDynamic: true, usage: `DatasetMatch "REFERENCE" "KEY" >= 0.9`},
		{Name: "DetectAnomalies", MinParams: 1, MaxParams: -1, IsRule: true, usage: `DetectAnomalies "RowCount"`},
		{Name: "DistinctValuesCount", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `DistinctValuesCount "COLUMN" > 3`},
		{Name: "Distribution", MinParams: 1, MaxParams: 1, IsAnalyzer: true, Tags: []string{"bins", "rebin"}, usage: `Distribution "COLUMN" with bins = 10`},
		{Name: "Entropy", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `Entropy "COLUMN" > 1`},
		{Name: "FileFreshness", MaxParams: 1, Kinds: Date, TakesThreshold: true, IsRule: true, Tags: append([]string{"timeZone"}, fileTags...), usage: `FileFreshness "PATH" > (now() - 24 hours)`},
		{Name: "FileMatch", MaxParams: 2, Kinds: String, HasBareForm: true, IsRule: true, Tags: append([]string{"hashAlgorithm"}, fileTags...), usage: `FileMatch "PATH" in ["CHECKSUM"] with hashAlgorithm = "SHA-256"`},
		{Name: "FileSize", MaxParams: 1, Kinds: Size | Number, TakesThreshold: true, IsRule: true, Tags: fileTags, usage: `FileSize "PATH" > 2 MB`},
		{Name: "FileUniqueness", MaxParams: 1, Kinds: Number, IsRule: true, Tags: fileTags, usage: `FileUniqueness "PATH" > 0.5`},
		{Name: "IsComplete", MinParams: 1, MaxParams: 1, TakesWhere: true, IsRule: true, usage: `IsComplete "COLUMN"`},
		{Name: "IsPrimaryKey", MinParams: 1, MaxParams: -1, TakesWhere: true, IsRule: true, usage: `IsPrimaryKey "COLUMN" "COLUMN"`},
		{Name: "IsUnique", MinParams: 1, MaxParams: -1, TakesWhere: true, IsRule: true, usage: `IsUnique "COLUMN"`},
		{Name: "Mean", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `Mean "COLUMN" > 3`},
		{Name: "ReferentialIntegrity", MinParams: 2, MaxParams: 2, Kinds: Number, IsRule: true, IsRatio: true, IsDynamic: true, usage: `ReferentialIntegrity "COLUMN" "REFERENCE.COLUMN" >= 0.9`},
		{Name: "RowCount", MaxParams: 1, Kinds: Number, TakesWhere: true, TakesThreshold: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `RowCount between 10 and 100`},
		{Name: "RowCountMatch", MinParams: 1, MaxParams: 1, Kinds: Number, IsRule: true, IsDynamic: true, usage: `RowCountMatch "REFERENCE" >= 0.9`},
		{Name: "SchemaMatch", MinParams: 1, MaxParams: 1, Kinds: Number, IsRule: true, IsDynamic: true, usage: `SchemaMatch "REFERENCE" = 1.0`},
		{Name: "StandardDeviation", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `StandardDeviation "COLUMN" < 1.5`},
		{Name: "Sum", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `Sum "COLUMN" > 500000`},
		{Name: "UniqueValueRatio", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `UniqueValueRatio "COLUMN" between 0 and 0.5`},
		{Name: "Uniqueness", MinParams: 1, MaxParams: -1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsRatio: true, IsDynamic: true, usage: `Uniqueness "COLUMN" = 1.0`},
		{Name: "Variance", MinParams: 1, MaxParams: 1, Kinds: Number, TakesWhere: true, IsRule: true, IsAnalyzer: true, IsDynamic: true, usage: `Variance "COLUMN" < 2`},
	}
)

// aliases are other names that the guide uses.
var aliases = map[string]string{"CustomSQL": "CustomSql"}

// Lookup returns the rule type with the name, which is case sensitive.
func Lookup(name string) (Type, bool) {
	if alias, ok := aliases[name]; ok {
		name = alias
	}
	i := slices.IndexFunc(types, func(t Type) bool { return t.Name == name })
	if i < 0 {
		return Type{}, false
	}
	return types[i], true
}

// Types returns all rule types, in order of their names.
func Types() []Type { return slices.Clone(types) }

// typeNames are the names of the types that may stand in a list of rules, or of analyzers.
func typeNames(analyzers bool) []string {
	var names []string
	for _, t := range types {
		if analyzers && t.IsAnalyzer || !analyzers && t.IsRule {
			names = append(names, t.Name)
		}
	}
	return names
}
