package dqdl_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cardlake/cardlake/queries/quality/dqdl"
)

// valid are rules in every form that the guide shows, most of them not its own.
var valid = []string{
	`AggregateMatch "sum(amount)" "sum(total_amount)" = 1.0`,
	`AggregateMatch "avg(ratings)" "avg(reference.ratings)" >= 0.9`,
	`ColumnCorrelation "height" "weight" > 0.8`,
	`ColumnCorrelation of height and "weight in kg" between -0.5 and 0.8`,
	`ColumnCorrelation "weightinkgs" "Salary" > 0.8 where "weightinkgs > 40"`,
	`ColumnCorrelation "colA" "colB" < avg(last(5)) + std(last(5))`,
	`ColumnCount between min(last(10))-1 and max(last(10))+1`,
	`ColumnDataType "colA" = "INTEGER" with threshold > 0.9`,
	`ColumnDataType "colA" = "DATE" with format = "dd/MM/yyyy"`,
	`ColumnExists Middle_Name`,
	`ColumnLength "Postal_Code" = 5`,
	`ColumnNamesMatchPattern "aws_.*"`,
	`ColumnNamesMatchPattern "aws_.*" where "weightinkgs > 10"`,
	`ColumnValues "colA" < -1.5e-3`,
	`ColumnValues "colA" = 1 with threshold > .5 where "colB = 10"`,
	`RowCount > 0 with threshold > 0.8 labels=["foo"="bar"]`,
	`ColumnValues "Country" in [ "US", "CA", "UK", NULL, EMPTY, WHITESPACES_ONLY ]`,
	`ColumnValues "Country" not in [ "US", null, empty, whitespaces_only ] where "a = 'b'" with threshold >= 0.5`,
	`ColumnValues "First_Name" not matches "[a-zA-Z\"\\d]*" with threshold between 0.2 and 0.9`,
	`ColumnValues "Load_Date" > (now() - 3 days)`,
	`ColumnValues "Load_Date" <= now()`,
	`ColumnValues "Load_Date" between "2022-05-31" and (now() + 15 minutes)`,
	`ColumnValues "Load_Date" in [NULL, "2023-01-01"]`,
	`ColumnValues "Load_Date" in ["2023-01-01", "never"]`,
	`ColumnValues "at" > "9:30 AM"`,
	`ColumnValues "Age" = NULL`,
	`ColumnValues "Age" not in [21, 22.5, -23, NULL]`,
	`ColumnValues "Age" not between 1 and 2`,
	`Completeness "colA" = "1.0"`,
	`Completeness of "colA" != 1`,
	`CustomSql "select count(*) from primary" between 10 and 20`,
	`CustomSql "select Name from primary where Age > 18" with threshold > 0.5`,
	`CustomSQL "select ID, CustomerID from primary where age > 10"`,
	`DataFreshness "Order_Date" between 2 days and 5 days`,
	`DataFreshness "Order_Date" <= 24 hours where "id > 3"`,
	`DatasetMatch "reference" "ID_1->ID_ref1,ID_2->ID_ref2" "Amount1->Amount2" >= 0.9`,
	`DetectAnomalies "RowCount"`,
	`DetectAnomalies of ColumnLength of "id"`,
	`DistinctValuesCount "colA" <= index(last(10),2) + std(last(5))`,
	`Entropy "Star_Rating" > percentile(last(10), 90)`,
	`FileFreshness "s3://bucket/" >= (now() -1 days)`,
	`FileFreshness "s3://bucket/" between "9:30 AM" and "22:15" with timeZone = "America/New_York" with threshold > 0.1`,
	`FileFreshness > "2020-01-01" with recentFiles = 1 with uriRegex = "\.csv$" with filterOrder = ["uriRegex","recentFiles"]`,
	`FileMatch "s3://bucket/file.json" in ["3ee0d8617ac041793154713e5ef8f319"] with hashAlgorithm = "MD5"`,
	`FileMatch "s3://original_bucket/" "s3://archive_bucket/"`,
	`FileMatch in ["3ee0d8617ac041793154713e5ef8f319"]`,
	`FileSize "s3://bucket/" between 2 GB and 1 TB with threshold > 0.7`,
	`FileSize > 5 B with failFast = "true"`,
	`FileUniqueness "s3://bucket/folder/" = 1 with matchFileName = "true"`,
	`FileUniqueness > 0.5`,
	`IsComplete "passenger_count" where "payment_type<>0"`,
	`IsPrimaryKey colA "colB" "colC"`,
	`IsUnique "vendorid" "tpep_pickup_datetime"`,
	`Mean "colA" between min(last(5)) - 1 and max(last(5)) + 1`,
	`Mean "colA" > (1 + 2) * avg(last(10)) / 3 - abs(last())`,
	`ReferentialIntegrity "city,state" "reference.{ref_city,ref_state}" = 1.0`,
	`RowCount > avg(last(10)) *0.8`,
	`RowCount "id" > 100`,
	`RowCount > 0 labels=["team"="finance", "criticality"="high", "none"=""]`,
	`RowCountMatch "reference" >= 0.9`,
	`SchemaMatch "reference" = 1.0`,
	`StandardDeviation "Star_Rating" < 1.5`,
	`Sum "transaction_total" > 500000`,
	`UniqueValueRatio "test_score" between 0 and 0.5`,
	`Uniqueness "email" in [0.5, 1]`,
	`Variance "x" > 1`,
	`(IsComplete "id") and (IsUnique "id")`,
	`(Mean "Star_Rating" > 3) and ((Mean "Order_Total" > 500) or (IsComplete "Order_Id"))`,
	`(RowCount > 0) OR (IsComplete "a") AND (IsUnique "a")`,
	`(IsComplete "col" AND RowCount > 0) labels=["foo"="bar"]`,
	`(IsComplete "col") labels=["foo"="bar"]`,
}

// documents are whole rule sets.
var documents = []string{
	"Metadata = { \"Version\": \"1.0\" }\nDataSources = { \"Primary\": \"orders\", \"AdditionalDataSources\": [\"a\", \"b\"] }\nRules = [ RowCount > 0 ]",
	"mySql = \"select count(*) from primary\"\ncodes = [\"A\", NULL]\nRules = [ CustomSql $mySql between 0 and 100, ColumnValues \"c\" not in $codes, ColumnValues \"c\" = $mySql ]",
	"DefaultLabels=[\"frequency\"=\"monthly\"]\n\nRules = [\n  # a comment with \" and ]\n  RowCount > 0 # another\n]",
	"Rules = [ RowCount > avg(last(3)) ] Analyzers = [ DistinctValuesCount \"Name\", ColumnLength \"Name\" ]",
	"Analyzers = [ Distribution \"Salary\" with bins = 15, rebin = false, Distribution \"Department\", AllStatistics of AllColumns ]",
	"Rules = [] Analyzers = [ RowCount ]",
	"Rules = [\n  // with a \" and a [\n  RowCount > 0, // and here\n  FileSize \"s3://bucket/\" > 1 B // to the end\n] // and the end",
	"\ufeffRules = [\r\n\tIsComplete \"a\"\r\n]\r\n",
}

var anyPosition = cmp.Comparer(func(a, b dqdl.Position) bool { return true })

// TestRoundTrip: what is printed parses to what was parsed.
func TestRoundTrip(t *testing.T) {
	texts := documents
	for _, r := range valid {
		texts = append(texts, "Rules = [ "+r+" ]")
	}
	for _, text := range texts {
		set, err := dqdl.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		again, err := dqdl.Parse(set.String())
		if err != nil {
			t.Errorf("%s was printed as\n%s: %v", text, set, err)
			continue
		}
		if diff := cmp.Diff(set, again, anyPosition); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

// TestMeaning looks at what some rules are parsed to.
func TestMeaning(t *testing.T) {
	set, err := dqdl.Parse(`DefaultLabels=["a"="1","b"="2"] Rules = [
		(RowCount > 0) or (IsComplete "x") and (IsUnique "x"),
		ColumnValues "d" > "2024-02-29" labels=["b"="3"],
		ColumnValues "d" in ["2024-02-29", "x"],
		ColumnValues "d" = "2024-02-30",
		ColumnValues "d" = NULL,
		RowCount > 10 - 2 - 1,
		Mean "x" in [1e3, -1.5E-3, 2e+2, .5, -.25, 7.] ]`)
	if err != nil {
		t.Fatal(err)
	}
	if r := set.Rules[0]; r.Operator != dqdl.Or || len(r.Rules) != 2 || r.Rules[1].Operator != dqdl.And {
		t.Errorf("and does not bind closer than or: %s", r)
	}
	for i, want := range map[int]dqdl.Kind{1: dqdl.Date, 2: dqdl.String, 3: dqdl.String, 4: dqdl.Null, 5: dqdl.Number} {
		if got := set.Rules[i].Condition.Kind; got != want {
			t.Errorf("%s is of kind %d, want %d", set.Rules[i], got, want)
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "3"}, set.AllLabels(set.Rules[1])); diff != "" {
		t.Error(diff)
	}
	if got := set.Rules[5].Condition.String(); got != "> 10 - 2 - 1" {
		t.Error(got)
	}
	if got := set.Rules[6].Condition.String(); got != "in [1000, -0.0015, 200, 0.5, -0.25, 7]" {
		t.Error(got)
	}
	if got := set.Rules[1].Pos; got != (dqdl.Position{Line: 3, Column: 3, Offset: 101}) {
		t.Errorf("the rule is at %+v", got)
	}
}

// TestFaults: each is told at its place, with what to write instead.
func TestFaults(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{``, `line 1, column 1: there are no rules and no analyzers`},
		{`Rules = [ ]`, `there are no rules and no analyzers`},
		{`rules = [ RowCount > 0 ]`, `line 1, column 11: expected a string as the value of rules, found RowCount; did you mean Rules?`},
		{"Rules = [\n  IsComplete \"a\",\n  IsComplet \"b\"\n]", `line 3, column 3: there is no rule type IsComplet; did you mean IsComplete?`},
		{`Rules = [ isComplete "a" ]`, `there is no rule type isComplete; did you mean IsComplete?`},
		{`Rules = [ Nonsense "a" ]`, `there is no rule type Nonsense`},
		{`Rules = [ IsComplete "a" IsUnique "b" ]`, `line 1, column 26: expected , or ] after the rule IsComplete, found IsUnique`},
		{`Rules = [ IsComplete "a"`, `line 1, column 25: expected , or ] after the rule IsComplete, found the end`},
		{`Rules = [ IsComplete "a ]`, `line 1, column 22: this string has no closing "`},
		{`Rules = [ IsComplete 'a' ]`, `line 1, column 22: '\'' means nothing here; strings and column names are written in double quotes`},
		{`Rules = [ IsComplete naïve ]`, `names with other characters`},
		{`Rules = [ RowCount ]`, `expected a condition for RowCount, found ]; as in RowCount between 10 and 100`},
		{`Rules = [ RowCount > ]`, `line 1, column 22: expected a value, found ]`},
		{`Rules = [ RowCount BETWEEN 1 and 2 ]`, `keywords are in lower case, found BETWEEN; write between`},
		{`Rules = [ RowCount between 1, 2 ]`, `expected and between the bounds`},
		{`Rules = [ RowCount > "many" ]`, `RowCount is not compared with a string`},
		{`Rules = [ RowCount > last(0) ]`, `last takes a whole number, at least 1`},
		{`Rules = [ RowCount > average(last(3)) ]`, `there is no function average`},
		{`Rules = [ RowCount > avg() ]`, `avg takes 1 arguments, got 0`},
		{`Rules = [ RowCount > 3 days ]`, `RowCount is not compared with a duration`},
		{`Rules = [ ColumnLength "a" > avg(last(3)) ]`, `ColumnLength cannot be compared with values of earlier runs`},
		{`Rules = [ ColumnValues "a" > "text" ]`, `strings are compared with =`},
		{`Rules = [ ColumnValues "a" > NULL ]`, `NULL is compared with =`},
		{`Rules = [ ColumnValues "a" matches 5 ]`, `matches takes a pattern in quotes`},
		{`Rules = [ ColumnValues "a" matches NULL ]`, `matches takes a pattern in quotes`},
		{`Rules = [ ColumnValues "a" in [1, "a"] ]`, `the operands of in are of different kinds`},
		{`Rules = [ ColumnValues "a" in [] ]`, `expected a value, found ]`},
		{`Rules = [ ColumnValues "a" > now() - 3 days ]`, `what is added to now() needs parentheses; as in (now() - 3 days)`},
		{`Rules = [ ColumnValues "a" > (now() - 3 weeks) ]`, `expected a unit`},
		{`Rules = [ ColumnValues "a" = 1 where "" ]`, `the predicate after where is empty`},
		{`Rules = [ ColumnValues "a" = 1 where "b" with threshold > 0.5 where "c" ]`, `line 1, column 63: the rule ColumnValues has where already; join the predicates`},
		{`Rules = [ ColumnValues "a" = 1 WHERE "b" ]`, `line 1, column 32: expected , or ] after the rule ColumnValues, found WHERE; keywords are in lower case: write where`},
		{`Rules = [ ColumnValues "a" > 1.5 WITH threshold > 0.5 ]`, `write with`},
		{`Rules = [ ColumnValues "a" > 1 threshold > 0.5 ]`, `found threshold; as in with threshold > 0.9`},
		{`Rules = [ RowCount > 1 IsComplete "a" ]`, `found IsComplete; rules are separated by commas`},
		{`Rules = [ RowCount > 1; IsComplete "a" ]`, `rules are separated by commas`},
		{`Rules = [ RowCount > 1, ]`, `line 1, column 25: expected another of the Rules, found ]; leave out the comma`},
		{`Rules = [ RowCount == 1 ]`, `line 1, column 21: expected a value, found =; operators are =, !=`},
		{`Rules = [ RowCount <> 1 ]`, `operators are =, !=`},
		{`Rules = [ RowCount > 1 -- one` + "\n]", `comments begin with #`},
		{`Rules = [ RowCount > 1e ]`, `1e is no number`},
		{`Rules = [ RowCount > 1e999 ]`, `out of range`},
		{`Rules = [ ColumnValues "a" in (1, 2) ]`, `line 1, column 31: expected [ after in, found (; as in in ["A", "B"]`},
		{`Rules = [ ColumnValues "a" is NULL ]`, `line 1, column 28: is means nothing here; write = NULL or != NULL`},
		{`Rules = [ ColumnValues "a" like "b%" ]`, `like means nothing here; write matches`},
		{`Rules = [ CustomSql "select "a" from primary" ]`, `a means nothing here; a " inside a string is written \"`},
		{`Rules = [ ColumnValues "a" > "31/01/2026" ]`, `a day is written "2026-01-31"`},
		{`Rules = [ DataFreshness "a" > 24 hour ]`, `expected a unit (days, hours, minutes, B, KB, MB, GB, TB), found hour; did you mean hours?`},
		{`Rules = [ ColumnCount > 1 where "b" ]`, `ColumnCount takes no where`},
		{`Rules = [ Mean "a" > 1 with threshold > 0.5 ]`, `Mean takes no threshold`},
		{`Rules = [ ColumnValues "a" = 1 with treshold > 0.5 ]`, `did you mean threshold?`},
		{`Rules = [ IsComplete "a" > 5 ]`, `IsComplete takes no condition`},
		{`Rules = [ IsComplete "a" "b" ]`, `IsComplete takes 1 parameter, got 2`},
		{`Rules = [ IsComplete "" ]`, `a parameter of IsComplete is empty`},
		{`Rules = [ AllStatistics "a" ]`, `AllStatistics is an analyzer, not a rule`},
		{`Analyzers = [ IsUnique "a" ]`, `IsUnique cannot stand among the analyzers`},
		{`Analyzers = [ Mean "a" > 1 ]`, `an analyzer has no condition`},
		{`Analyzers = [ RowCount ] Rules = [ RowCount > 1 ]`, `Rules cannot stand here; the order is`},
		{`Rules = [ RowCount > 1 ] Rules = [ RowCount > 1 ]`, `Rules cannot stand here`},
		{`Metadata = { "Versoin": "1" } Rules = [ RowCount > 1 ]`, `Metadata has no key "Versoin"; did you mean Version?`},
		{`a = "x" a = "y" Rules = [ CustomSql $a ]`, `the constant a is declared twice`},
		{`a = "x $b" Rules = [ CustomSql $a ]`, `refers to another one`},
		{`abc = "x" Rules = [ CustomSql $abd ]`, `there is no constant abd; did you mean abc?`},
		{`a = ["x"] Rules = [ CustomSql $a > 1 ]`, `the constant a is not one string`},
		{`_a = "x" Rules = [ RowCount > 1 ]`, `cannot begin with`},
		{`Rules = [ (IsComplete "a") and (IsUnique "b") labels=["a"="b"] ]`, `labels belong to the whole`},
		{`Rules = [ RowCount > 1 labels=[""="b"] ]`, `a label's key is empty`},
		{`Rules = [ RowCount > 1 labels=["a"="b", "a"="c"] ]`, `the label "a" is given twice`},
		{`Rules = [ RowCount > 1 labels=["` + strings.Repeat("k", 129) + `"="b"] ]`, `at most 128 are allowed`},
		{`Rules = [ RowCount > 1 labels=["k"="` + strings.Repeat("v", 257) + `"] ]`, `at most 256 are allowed`},
		{`DefaultLabels=["1"="","2"="","3"="","4"="","5"="","6"="","7"="","8"="","9"=""] Rules = [ RowCount > 1 labels=["a"="","b"=""] ]`, `at most 10 are allowed`},
		{`Rules = [ DetectAnomalies "IsUnique" "a" ]`, `DetectAnomalies cannot follow "IsUnique"; it follows ColumnCorrelation`},
		{`Rules = [ DetectAnomalies "Mean" ]`, `Mean takes 1 parameter, got 0`},
		{`Rules = [ FileMatch "a" "b" in ["c"] ]`, `FileMatch compares with another path or with checksums`},
		{`Rules = [ FileFreshness > (now() - 1 days) with timeZone = "Mars/Olympus" ]`, `timeZone of FileFreshness cannot be "Mars/Olympus"`},
		{`Rules = [ FileFreshness > (now() - 1 days) with filterOrder = ["recentFiles"] ]`, `names of recentFiles and uriRegex`},
		{`Analyzers = [ Distribution "a" with bins = 21 ]`, `a number from 1 to 20`},
		{`Rules = [ /* no */ RowCount > 1 ]`, `line 1, column 11: /* means nothing here; comments begin with #`},
		{"Rules = [ RowCount > \xff ]", `not valid UTF-8`},
		{`Rules = [ ` + strings.Repeat("(", 200) + `RowCount > 1` + strings.Repeat(")", 200) + ` ]`, `nest deeper than 100`},
		{`Rules = [ RowCount > ` + strings.Repeat("(", 200) + `1` + strings.Repeat(")", 200) + ` ]`, `nest deeper than 100`},
		{`Rules = [ RowCount > 1` + strings.Repeat("+1", 200) + ` ]`, `computed from more than 100 others`},
		{strings.Repeat(" ", 2<<20), `at most 1048576 are allowed`},
	} {
		_, err := dqdl.Parse(tc.text)
		var fault *dqdl.Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.80s: got %v, want %s", tc.text, err, tc.want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for text, want := range map[string]string{
		"Rules = [\n\tColumnValues \"ñ\" in ]": "\tColumnValues \"ñ\" in ]\n\t                    ^",
		"\ufeffRules = [ Row ]":                "Rules = [ Row ]\n          ^",
		"Rules = [ RowCount > 1," + strings.Repeat(" ", 1000) + "Rows" + strings.Repeat("x", 1000): "…" + strings.Repeat(" ", 70) + "Rows" + strings.Repeat("x", 66) + "…\n" + strings.Repeat(" ", 71) + "^",
		"Rules = [ RowCount > 1 " + strings.Repeat("x", 1000) + " ]":                               "Rules = [ RowCount > 1 " + strings.Repeat("x", 70) + "…\n                       ^",
	} {
		_, err := dqdl.Parse(text)
		var fault *dqdl.Error
		if !errors.As(err, &fault) {
			t.Fatal(err)
		}
		if got := fault.Excerpt(text); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if len(err.Error()) > 300 {
			t.Errorf("a message of %d bytes", len(err.Error()))
		}
	}
}

// FuzzParse: no text panics, and what parses survives its printing.
func FuzzParse(f *testing.F) {
	for _, d := range documents {
		f.Add(d)
	}
	for _, r := range valid {
		f.Add("Rules = [ " + r + " ]")
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := dqdl.Parse(text)
		if err != nil {
			var fault *dqdl.Error
			if !errors.As(err, &fault) {
				t.Fatalf("an error is no *Error: %v", err)
			}
			_ = fault.Excerpt(text)
			return
		}
		printed := set.String()
		again, err := dqdl.Parse(printed)
		if err != nil {
			t.Fatalf("printed as %q: %v", printed, err)
		}
		if diff := cmp.Diff(set, again, anyPosition); diff != "" {
			t.Fatal(diff)
		}
	})
}
