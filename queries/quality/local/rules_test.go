package local_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cardlake/cardlake/queries/quality"
	"github.com/cardlake/cardlake/queries/quality/dqdl"
	"github.com/cardlake/cardlake/queries/quality/local"
)

// now is the time of the tests, in the middle of a day.
var now = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

// evaluate runs rules over CSV texts by alias.
func evaluate(t *testing.T, files map[string]string, rules string, cfg quality.Config, open local.Config) *quality.Report {
	t.Helper()
	set, err := dqdl.Parse(rules)
	if err != nil {
		t.Fatalf("%s: %v", rules, err)
	}
	dir := t.TempDir()
	paths := map[string]string{}
	for alias, text := range files {
		paths[alias] = filepath.Join(dir, strings.ReplaceAll(alias, ".", "_")+".csv")
		if err := os.WriteFile(paths[alias], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open.Threads, open.Memory = 1, 256<<20
	f, err := local.Open(t.Context(), paths, open)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg.References, cfg.Now = f.References(), now
	if cfg.Files == nil {
		cfg.Files = local.Disk{}
	}
	report, err := quality.Run(t.Context(), f, set, f.Dataset(local.Primary), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

const (
	people = `Customer_ID,First_Name,Middle_Name,Email,Age,Star_Rating,Postal_Code,Country,gender,weightinkgs,height,Salary,Load_Date,Order_Date,active
1,Ana,M,a@x.org,31,5,02134,US,F,60,160,3000.10,2026-03-15,2026-03-15 11:00:00,true
2,Bruno,,b@x.org,22,4,10001,CA,M,80,180,4000.20,2026-03-14,2026-03-15 10:00:00,true
3,Carla,K,c@x.org,45,3,94105,UK,F,70,170,5000.30,2026-03-13,2026-03-14 13:00:00,false
4,Dora,,d@x.org,28,5,60601,US,F,9,90,6000.40,2026-03-13,2026-03-14 12:30:00,true
`
	units = "id,units,units2\n100,0,0\n101,,0\n102,20,20\n103,,0\n104,40,40\n"
	// sparse has what goes wrong: NULL, empty and blank text, repeated and odd values.
	sparse = "id,text,n,when,ints\n1,abc,1,2026-03-15,1\n2,,2,2026-03-14,x\n2,\"\",,2020-01-01,3\n4,\"  \",40,,\n5,ABC,5,2026-03-01,12.5\n"
)

// TestRules evaluates rules as the guide's pages about each rule type have them: each passes and
// fails, and reports the metric of the guide's name.
func TestRules(t *testing.T) {
	pass, fail, broken := quality.Passed, quality.Failed, quality.Errored
	reference := map[string]string{
		"same": people,
		"ref":  "ref_id,ref_country,Salary,rating\n1,US,3000.10,5\n2,CA,4000.20,5\n3,UK,1,5\n9,US,1,5\n",
		"half": "Customer_ID,x\n1,1\n2,2\n",
	}
	tests := []struct {
		csv, rule string
		want      quality.Result
		metrics   string // NAME=VALUE, space separated
		reason    string // a part of it
	}{
		{people, `RowCount between 1 and 10`, pass, "Dataset.*.RowCount=4", ""},
		{people, `RowCount between 4 and 10`, fail, "Dataset.*.RowCount=4", "Value: 4.0 does not meet the constraint requirement!"},
		{people, `RowCount not between 4 and 10`, pass, "", ""},
		{people, `RowCount = 4`, pass, "", ""},
		{people, `RowCount != 4`, fail, "", ""},
		{people, `RowCount in [1, 4]`, pass, "", ""},
		{people, `RowCount not in [1, 4]`, fail, "", ""},
		{people, `RowCount between 1 and 50 where "Customer_ID < 3"`, pass, "Dataset.*.RowCount=2", ""},
		{people, `RowCount > 2 where "Customer_ID < 3"`, fail, "", ""},
		{people, `RowCount > 2 with threshold > 0.8`, pass, "Dataset.*.RowCount=4 Dataset.*.RowCount.Compliance=1", ""},
		{people, `RowCount > 9 with threshold > 0.8`, fail, "Dataset.*.RowCount=4 Dataset.*.RowCount.Compliance=0", "Value: 4.0 does not"},
		{people, `RowCount > 9 with threshold >= 0`, pass, "", ""},
		{people, `RowCount = 2 where "Email rlike '^[ab]'"`, pass, "", ""},
		{people, `RowCount = 3 where "Email not rlike 'c@'"`, pass, "", ""},
		{people, `RowCount = 4 where "isnotnull(Email) and nvl2(Email, 1, 0) = 1"`, pass, "", ""},
		{people, `RowCount > 0 where "no_such = 1"`, broken, "", "invalid where clause"},
		{people, `RowCount > 0 where "1 = 1) OR (1 = 1"`, broken, "", "parenthesis"},
		{people, `ColumnCount = 15`, pass, "Dataset.*.ColumnCount=15", ""},
		{people, `ColumnCount between 10 and 15`, fail, "", ""},
		{people, `ColumnExists "Middle_Name"`, pass, "", ""},
		{people, `ColumnExists "Maiden_Name"`, fail, "", "Input data does not include column Maiden_Name!"},
		{people, `Completeness "First_Name" > 0.95`, pass, "Column.First_Name.Completeness=1", ""},
		{people, `Completeness "Middle_Name" > 0.95`, fail, "Column.Middle_Name.Completeness=0.5", "Value: 0.5 does"},
		{people, `Completeness "Middle_Name" = "0.5"`, pass, "", ""},
		{people, `Completeness "Middle_Name" > 0.95 where "Customer_ID in (1, 3)"`, pass, "Column.Middle_Name.Completeness=1", ""},
		{people, `Completeness "Nobody" > 0.95`, fail, "", "Input data does not include column Nobody!"},
		{people, `IsComplete "Email"`, pass, "Column.Email.Completeness=1", ""},
		{people, `IsComplete Email`, pass, "", ""},
		{people, `IsComplete "Middle_Name"`, fail, "Column.Middle_Name.Completeness=0.5", ""},
		{people, `IsComplete "Middle_Name" where "Customer_ID = 1"`, pass, "", ""},
		{people, `IsComplete "Middle_Name" where "Customer_ID = 99"`, pass, "", "No rows matched the filter"},
		{people, `IsUnique "Email"`, pass, "Column.Email.Uniqueness=1", ""},
		{people, `IsUnique "Country"`, fail, "Column.Country.Uniqueness=0.5", ""},
		{people, `IsUnique "Country" where "Customer_ID < 4"`, pass, "", ""},
		{people, `IsUnique "Country" "Star_Rating"`, fail, "Multicolumn.Country,Star_Rating.Uniqueness=0.5", ""},
		{people, `IsUnique "Country" "Age"`, pass, "", ""},
		{people, `IsPrimaryKey "Customer_ID"`, pass, "Column.Customer_ID.Uniqueness=1", ""},
		{people, `IsPrimaryKey "Country"`, fail, "", ""},
		{people, `IsPrimaryKey "Middle_Name"`, fail, "", "Value: NULL does not meet"},
		{people, `IsPrimaryKey Customer_ID "Email"`, pass, "Multicolumn.Customer_ID,Email.Uniqueness=1", ""},
		{people, `Uniqueness "Email" = 1.0`, pass, "Column.Email.Uniqueness=1", ""},
		{people, `Uniqueness "Country" = 1.0`, fail, "Column.Country.Uniqueness=0.5", ""},
		{people, `Uniqueness "Country" "Age" = 1`, pass, "Multicolumn.Country,Age.Uniqueness=1", ""},
		{people, `UniqueValueRatio "Star_Rating" between 0.5 and 0.7`, pass, "Column.Star_Rating.UniqueValueRatio=0.6666666667", ""},
		{"x\na\na\nb\n", `UniqueValueRatio "x" = 0.5`, pass, "Column.x.UniqueValueRatio=0.5", ""},
		{"x\na\na\nb\n", `UniqueValueRatio "x" between 0 and 0.5`, fail, "", ""},
		{people, `DistinctValuesCount "Country" = 3`, pass, "Column.Country.DistinctValuesCount=3", ""},
		{people, `DistinctValuesCount "Country" > 3`, fail, "", ""},
		{people, `DistinctValuesCount "Country" < 3 where "Customer_ID < 3"`, pass, "", ""},
		{people, `Entropy "Star_Rating" > 1`, pass, "Column.Star_Rating.Entropy=1.0397207708", ""},
		{people, `Entropy "Star_Rating" > 2`, fail, "", ""},
		{"x\na\na\n", `Entropy "x" = 0`, pass, "Column.x.Entropy=0", ""},
		{people, `Mean "Star_Rating" > 3`, pass, "Column.Star_Rating.Mean=4.25", ""},
		{people, `Mean "Star_Rating" > 5`, fail, "", ""},
		{units, `Mean "units" = 20`, pass, "Column.units.Mean=20", ""},
		{units, `Sum "units" = 60`, pass, "Column.units.Sum=60", ""},
		{units, `StandardDeviation "units" between 16.32 and 16.34`, pass, "Column.units.StandardDeviation=16.3299316186", ""},
		{units, `StandardDeviation "units2" = 16`, pass, "Column.units2.StandardDeviation=16", ""},
		{units, `StandardDeviation "units" < 1.5`, fail, "", ""},
		{units, `Variance "units2" = 256`, pass, "Column.units2.Variance=256", ""},
		{units, `ColumnCorrelation "id" "units" = 1`, pass, "Multicolumn.id,units.ColumnCorrelation=1", ""},
		{people, `ColumnCorrelation "height" "weightinkgs" > 0.8`, pass, "", ""},
		{people, `ColumnCorrelation of height and weightinkgs < 0.8`, fail, "", ""},
		{people, `Sum "Salary" > 500000`, fail, "Column.Salary.Sum=18001", ""},
		{people, `Sum "Salary" = 18001`, pass, "", ""},
		{people, `Sum "Salary" < 7001 where "Customer_ID < 3"`, pass, "Column.Salary.Sum=7000.3", ""},
		{people, `Mean "First_Name" > 1`, fail, "", "no values but NULL"},
		{"n\n\"1\"\n\"2\"\nx\n", `Mean "n" = 1.5`, pass, "Column.n.Mean=1.5", ""},

		{people, `ColumnLength "Postal_Code" = 5`, pass, "Column.Postal_Code.MinimumLength=5 Column.Postal_Code.MaximumLength=5", ""},
		{people, `ColumnLength "First_Name" = 5`, fail, "Column.First_Name.MinimumLength=3", ""},
		{people, `ColumnLength "weightinkgs" = 2 where "weightinkgs > 10"`, pass, "", ""},
		{people, `ColumnLength "Middle_Name" > 0`, fail, "Column.Middle_Name.MinimumLength=0", ""},
		{people, `ColumnLength "Middle_Name" < 6`, pass, "", ""},
		{people, `ColumnLength "Middle_Name" in [0, 1]`, pass, "", ""},
		{people, `(ColumnLength "Middle_Name" < 4) AND (ColumnValues "Middle_Name" != NULL)`, fail, "", ""},
		{people, `ColumnLength "First_Name" > 3 with threshold > 0.7`, pass, "Column.First_Name.ColumnValues.Compliance=0.75", ""},

		{people, `ColumnValues "Country" in [ "US", "CA", "UK", NULL, EMPTY, WHITESPACES_ONLY ]`, pass, "Column.Country.ColumnValues.Compliance=1", ""},
		{people, `ColumnValues "Country" in ["US", "CA"]`, fail, "Column.Country.ColumnValues.Compliance=0.75", ""},
		{people, `ColumnValues "gender" in ["F", "M"] where "weightinkgs < 10"`, pass, "", ""},
		{people, `ColumnValues "Country" in ["US", "CA"] with threshold > 0.7`, pass, "", ""},
		{people, `ColumnValues "Country" in ["US", "CA"] with threshold > 0.8`, fail, "", "Value: 0.75"},
		{people, `ColumnValues "Country" matches "[A-Z]{2}" with threshold between 0.2 and 0.9`, fail, "", ""},
		{people, `ColumnValues "First_Name" matches "[a-zA-Z]*"`, pass, "", ""},
		{people, `ColumnValues "First_Name" matches "[A-Z]"`, fail, "", ""},
		{people, `ColumnValues "First_Name" not matches "[0-9]+"`, pass, "", ""},
		{people, `ColumnValues "Postal_Code" matches "\d{5}"`, pass, "", ""},
		{people, `ColumnValues "Email" matches "^(?!.*@y\.org$).+@.+"`, pass, "", ""},
		{people, `ColumnValues "Email" matches "(?=.*x\.org)[a-b].*"`, fail, "", ""},
		{people, `ColumnValues "Email" matches "(a)\1"`, broken, "", "regular expression"},
		{people, `ColumnValues "Customer_ID" between 0 and 2000`, pass, "Column.Customer_ID.Minimum=1 Column.Customer_ID.Maximum=4", ""},
		{people, `ColumnValues "Customer_ID" between 1 and 2000`, fail, "", ""},
		{people, `ColumnValues "Customer_ID" not between 1 and 4`, fail, "", ""},
		{people, `ColumnValues "Age" > 21`, pass, "Column.Age.Minimum=22", ""},
		{people, `ColumnValues "Age" > 22`, fail, "", "Value: 22.0 does not meet"},
		{people, `ColumnValues "Age" <= 44`, fail, "", "Value: 45.0 does not meet"},
		{people, `ColumnValues "Age" != 22`, fail, "", ""},
		{people, `ColumnValues "Age" = 22 with threshold = 0.25`, pass, "", ""},
		{people, `ColumnValues "Customer_ID" in [1, 2, 3, 4]`, pass, "", ""},
		{people, `ColumnValues "Customer_ID" in ["1", "2", "3", "4"]`, pass, "", ""},
		{people, `ColumnValues "Postal_Code" in ["02134"] with threshold = 0.25`, pass, "", ""},
		{people, `ColumnValues "Load_Date" > (now() - 3 days)`, pass, "", ""},
		{people, `ColumnValues "Load_Date" > (now() - 2 days)`, fail, "", ""},
		{people, `ColumnValues "Load_Date" between "2026-03-12" and "2026-03-16"`, pass, "", ""},
		{people, `ColumnValues "Load_Date" between "2026-03-13" and "2026-03-16"`, fail, "", ""},
		{people, `ColumnValues "Load_Date" not between "2026-01-01" and "2026-02-01"`, pass, "", ""},
		{people, `ColumnValues "Load_Date" <= "2026-03-15"`, pass, "", ""},
		{people, `ColumnValues "Load_Date" in ["2026-03-15", "2026-03-14", "2026-03-13"]`, pass, "", ""},
		{people, `ColumnValues "Order_Date" > (now() - 24 hours)`, pass, "", ""},
		{people, `ColumnValues "Order_Date" > (now() - 3 hours)`, fail, "", ""},
		{people, `ColumnValues "active" in ["true", "false"]`, pass, "", ""},
		{people, `ColumnValues "Country" in ["us", "ca", "uk"] with ignoreCase = "true"`, pass, "", ""},
		{people, `ColumnValues "country" in ["US", "CA", "UK"]`, pass, "", ""},

		{sparse, `ColumnValues "n" > 0`, fail, "", "Value: NULL does not meet the constraint requirement!"},
		{sparse, `ColumnValues "n" != 21`, pass, "", ""},
		{sparse, `ColumnValues "n" not in [21, 22, 23]`, pass, "", ""},
		{sparse, `ColumnValues "n" not in [21, 22, 23, NULL]`, fail, "", ""},
		{sparse, `(ColumnValues "n" != 21) AND (ColumnValues "n" != NULL)`, fail, "", ""},
		{sparse, `ColumnValues "n" = NULL with threshold = 0.2`, pass, "", ""},
		{sparse, `ColumnValues "n" != NULL with threshold > 0.5`, pass, "Column.n.ColumnValues.Compliance=0.8", ""},
		{sparse, `ColumnValues "n" in [NULL, 1, 2, 40, 5]`, pass, "", ""},
		{sparse, `ColumnValues "when" in [NULL, "2026-03-15"] with threshold = 0.4`, pass, "", ""},
		{sparse, `ColumnValues "text" = EMPTY with threshold = 0.2`, pass, "", ""},
		{sparse, `ColumnValues "text" = WHITESPACES_ONLY with threshold = 0.2`, pass, "", ""},
		{sparse, `ColumnValues "text" not in ["abc", WHITESPACES_ONLY]`, fail, "", ""},
		{sparse, `ColumnValues "text" not in ["abc", "ABC"] with threshold = 0.6`, pass, "", ""},
		{sparse, `ColumnValues "text" matches "[a-z]*"`, fail, "", ""},
		{sparse, `IsComplete "text"`, fail, "Column.text.Completeness=0.8", ""},
		{sparse, `Uniqueness "id" > 0.5`, pass, "Column.id.Uniqueness=0.6", ""},

		{sparse, `ColumnDataType "ints" = "INTEGER"`, fail, "Column.ints.ColumnDataType.Compliance=0.6", "60.00 % of rows passed the threshold"},
		{sparse, `ColumnDataType "ints" = "Integer" with threshold > 0.5`, pass, "", ""},
		{sparse, `ColumnDataType "id" = "INTEGER"`, pass, "Column.id.ColumnDataType.Compliance=1", ""},
		{sparse, `ColumnDataType "text" != "INTEGER"`, pass, "", ""},
		{people, `ColumnDataType "Load_Date" = "DATE"`, pass, "", ""},
		{people, `ColumnDataType "Email" = "DATE"`, fail, "", ""},
		{people, `ColumnDataType "Order_Date" = "Timestamp"`, pass, "", ""},
		{people, `ColumnDataType "active" = "BOOLEAN"`, pass, "", ""},
		{people, `ColumnDataType "Salary" = "DOUBLE"`, pass, "", ""},
		{people, `ColumnDataType "Salary" = "DECIMAL(10,2)"`, pass, "", ""},
		{people, `ColumnDataType "Country" = "DOUBLE"`, fail, "", ""},
		{people, `ColumnDataType "Age" = "LONG"`, pass, "", ""},
		{people, `ColumnDataType "Age" = "COMPLEX"`, broken, "", "Unrecognized data type: COMPLEX"},
		{"d\n2026-02-30\n", `ColumnDataType "d" = "DATE"`, fail, "", ""},
		{"d\n31/12/2025\n", `ColumnDataType "d" = "DATE"`, fail, "", ""},
		{"d\n31/12/2025\n", `ColumnDataType "d" = "DATE" with format = "dd/MM/yyyy"`, pass, "", ""},
		{"d\n13/2025\n", `ColumnDataType "d" = "DATE" with format = "MM/yyyy"`, fail, "", ""},
		{"d\n12/2025\n", `ColumnDataType "d" = "DATE" with format = "MM/yyyy"`, pass, "", ""},
		{"d\n31/12/2025\n", `ColumnValues "d" > "2025-12-30"`, pass, "", ""},
		{"n\n99999999999\n", `ColumnDataType "n" = "INTEGER"`, fail, "", ""},
		{"n\n99999999999\n", `ColumnDataType "n" = "LONG"`, pass, "", ""},

		{people, `DataFreshness "Order_Date" <= 24 hours`, pass, "Column.Order_Date.DataFreshness.Compliance=1", ""},
		{people, `DataFreshness "Order_Date" <= 2 hours`, fail, "Column.Order_Date.DataFreshness.Compliance=0.5", "50.00 % of rows passed the threshold"},
		{people, `DataFreshness "Load_Date" between 0 days and 3 days`, pass, "", ""},
		{sparse, `DataFreshness "when" <= 3000 days`, fail, "", "80.00 % of rows passed the threshold"},
		{sparse, `(DataFreshness "when" <= 24 hours) OR (ColumnValues "when" = NULL)`, fail, "", ""},

		{people, `ColumnNamesMatchPattern "[A-Za-z_]+"`, pass, "Dataset.*.ColumnNamesPatternMatchRatio=1", ""},
		{people, `ColumnNamesMatchPattern "aws_.*"`, fail, "Dataset.*.ColumnNamesPatternMatchRatio=0", "Customer_ID"},
		{"aws_a,aws_b\n1,2\n", `ColumnNamesMatchPattern "aws_.*"`, pass, "", ""},
		{"aws_a,aws_b\n1,2\n", `ColumnNamesMatchPattern "^aws_"`, pass, "", ""},
		{"aws_a,aws_b\n1,2\n", `ColumnNamesMatchPattern "aws_.*" where "weightinkgs > 10"`, pass, "", ""},
		{"x\na_b\nc\n", `ColumnValues "x" matches "[\p{Alpha}_]+"`, pass, "", ""},
		{"x\na_b\nc\n", `ColumnValues "x" matches "\P{Digit}+"`, pass, "", ""},
		{"x\na_b\nc\n", `ColumnValues "x" matches "\p{IsLatin}[\p{IsAlphabetic}_\h]*"`, pass, "", ""},
		{"x\na.b\n", `ColumnValues "x" matches "\Qa.b\E"`, pass, "", ""},
		{"x\naxb\n", `ColumnValues "x" matches "\Qa.b\E"`, fail, "", ""},
		{"x\n]\n", `ColumnValues "x" matches "[]a]"`, pass, "", ""},
		{"x\na\n", `ColumnValues "x" matches "[a-z&&[^b]]"`, broken, "", "a class within a class"},
		{"x\na\n", `ColumnValues "x" matches "[a-c[x-z]]"`, broken, "", "a class within a class"},

		{people, `CustomSql "select count(*) from primary" between 3 and 20`, pass, "Dataset.*.CustomSQL=4", ""},
		{people, `CustomSql "select count(*) from primary" between 10 and 20`, fail, "Dataset.*.CustomSQL=4", ""},
		{people, `CustomSql "select avg(Age) from primary where Country = 'US'" > 29`, pass, "Dataset.*.CustomSQL=29.5", ""},
		{people, "CustomSql \"select count(*) from PRIMARY p join ref r on p.Customer_ID = r.ref_id\" = 3", pass, "", ""},
		{people, "CustomSql \"with q as (select `Age` from primary) select max(Age) from q\" = 45", pass, "", ""},
		{people, `CustomSql "select Customer_ID from primary where Age > 18"`, pass, "Dataset.*.CustomSQL.Compliance=1", ""},
		{people, `CustomSql "select Customer_ID from primary where Age > 30"`, fail, "Dataset.*.CustomSQL.Compliance=0.5", ""},
		{people, `CustomSQL "select Customer_ID, Email from primary where Age > 30" with threshold >= 0.5`, pass, "", ""},
		{people, `CustomSql "select count(*) from primary"`, broken, "", "must contain at least one column that matches the input dataset"},
		{people, `CustomSql "select Age from primary" > 1`, broken, "", "several rows"},
		{people, `CustomSql "select nothing from primary" > 1`, broken, "", "nothing"},
		{people, `CustomSql "delete from primary" > 1`, broken, "", "one SELECT statement is needed"},
		{people, `CustomSql "select count(*) from primary where Country = \"US\" and \"Age\" > 0" = 2`, pass, "", ""},
		{people, `CustomSql "select max(\"n o\") from (select Age as \"n o\" from primary) q" = 45`, pass, "", ""},
		{people, `CustomSql "select count(*) from primary where Email RLIKE '@x'" = 4`, pass, "", ""},
		{people, `CustomSql "select max(datediff(date_add(Load_Date, 3), date_sub(Load_Date, 2))) from primary" = 5`, pass, "", ""},
		{people, `CustomSql "select count(*) from primary where to_timestamp(Order_Date) < current_timestamp() and unix_timestamp(Order_Date) > 0 and add_months(current_date(), 1) > Load_Date" = 4`, pass, "", ""},
		{people, `CustomSql "select count(*) from read_csv('/etc/passwd')" > 1`, broken, "", ""},
		{people, `CustomSql "select count(*) from '/etc/hostname'" > 1`, broken, "", ""},

		{people, `AggregateMatch "sum(Salary)" "sum(Salary)" = 1.0`, pass, "Column.Salary.AggregateMatch=1", ""},
		{people, `AggregateMatch "avg(Star_Rating)" "avg(ref.rating)" >= 0.9`, fail, "Column.Star_Rating,rating.AggregateMatch=0.85", ""},
		{people, `AggregateMatch "Avg(Star_Rating)" "AVG( ref.rating )" >= 0.8`, pass, "", ""},
		{people, `AggregateMatch "sum(Salary)" "sum(nowhere.Salary)" = 1.0`, fail, "", "nowhere"},
		{people, `RowCountMatch "ref" >= 0.9`, pass, "Dataset.ref.RowCountMatch=1", ""},
		{people, `RowCountMatch "half" = 1.0`, fail, "Dataset.half.RowCountMatch=2", ""},
		{people, `RowCountMatch "absent" = 1.0`, broken, "", "absent"},
		{people, `SchemaMatch "same" = 1.0`, pass, "Dataset.same.SchemaMatch=1", ""},
		{people, `SchemaMatch "ref" = 1.0`, fail, "", "Column counts do not match"},
		{"Customer_ID,x\na,1\n", `SchemaMatch "half" > 0.4`, pass, "Dataset.half.SchemaMatch=0.5", ""},
		{people, `ReferentialIntegrity "Country" "ref.ref_country" = 1.0`, pass, "Column.ref.ReferentialIntegrity=1", ""},
		{people, `ReferentialIntegrity "Customer_ID" "ref.ref_id" >= 0.9`, fail, "Column.ref.ReferentialIntegrity=0.75", ""},
		{people, `ReferentialIntegrity "Customer_ID,Country" "ref.{ref_id,ref_country}" = 0.75`, pass, "", ""},
		{people, `DatasetMatch "same" "Customer_ID" >= 0.9`, pass, "Dataset.same.DatasetMatch=1", ""},
		{people, `DatasetMatch "ref" "Customer_ID->ref_id" "Salary->Salary" >= 0.9`, fail, "Dataset.ref.DatasetMatch=0.5", ""},
		{people, `DatasetMatch "ref" "Customer_ID->ref_id" "Country->ref_country" >= 0.7`, pass, "Dataset.ref.DatasetMatch=0.75", ""},
		{people, `DatasetMatch "ref" "Country->ref_country" "Salary->Salary" >= 0.9`, fail, "", "Provided key map not suitable for given data frames"},
		{people, `DatasetMatch "half" "Customer_ID" >= 0.9`, fail, "", "Non key columns in the given data frames do not match."},

		{people, `(IsComplete "Customer_ID") and (IsUnique "Customer_ID")`, pass, "Column.Customer_ID.Completeness=1 Column.Customer_ID.Uniqueness=1", ""},
		{people, `(RowCount "id" > 100) or (IsPrimaryKey "Customer_ID")`, pass, "", ""},
		{people, `(Mean "Star_Rating" > 3) and ((Mean "Salary" > 50000) or (IsComplete "Middle_Name"))`, fail, "", ""},
		{people, `(IsComplete "Email" AND RowCount > 0)`, pass, "", ""},
		{"myCol1,myCol2\n2,1\n0,3\n", `(ColumnValues "myCol1" > 1) OR (ColumnValues "myCol2" > 2)`, fail, "", ""},
		{people, `DetectAnomalies "RowCount"`, pass, "Dataset.*.RowCount=4", ""},
		{people, `DetectAnomalies "ColumnLength" "Postal_Code"`, pass, "Column.Postal_Code.MaximumLength=5", ""},
		{"order id,Mixed Case\n1,2\n", `ColumnValues "order id" = 1`, pass, "", ""},
		{"order id,Mixed Case\n1,2\n", `IsComplete "mixed case"`, pass, "Column.Mixed Case.Completeness=1", ""},
		{"id\n", `RowCount = 0`, pass, "", ""},
		{"id\n", `IsComplete "id"`, fail, "", "no rows"},
	}
	byFile := map[string][]int{}
	for i, tc := range tests {
		byFile[tc.csv] = append(byFile[tc.csv], i)
	}
	for csv, list := range byFile {
		files := maps.Clone(reference)
		files["primary"] = csv
		var rules []string
		for _, i := range list {
			rules = append(rules, tests[i].rule)
		}
		report := evaluate(t, files, "Rules = [ "+strings.Join(rules, ",\n")+" ]", quality.Config{}, local.Config{})
		for n, i := range list {
			tc, o := tests[i], report.Rules[n]
			if o.Outcome != tc.want || !strings.Contains(o.FailureReason, tc.reason) {
				t.Errorf("%s: outcome %s, reason %q, want %s, %q", tc.rule, o.Outcome, o.FailureReason, tc.want, tc.reason)
			}
			for _, metric := range strings.Fields(strings.ReplaceAll(tc.metrics, "Mixed Case", "Mixed\x00Case")) {
				name, value, _ := strings.Cut(strings.ReplaceAll(metric, "\x00", " "), "=")
				var want float64
				if _, err := fmt.Sscan(value, &want); err != nil {
					t.Fatal(err)
				}
				if got, ok := o.EvaluatedMetrics[name]; !ok || math.Abs(got-want) > 1e-9*math.Max(1, math.Abs(want)) {
					t.Errorf("%s: %s = %v, %v, want %v of %v", tc.rule, name, got, ok, want, o.EvaluatedMetrics)
				}
			}
		}
	}
}
