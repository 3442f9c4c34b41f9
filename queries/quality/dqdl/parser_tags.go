package dqdl

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkTags checks the values of tags (guide, "Optional File-based Rule Tags" and
// "Distribution").
func checkTags(name token, r *Rule) error {
	for _, tag := range r.Tags {
		value := tag.Values[0].Value()
		var want string
		switch tag.Name {
		case "recentFiles":
			if n, err := strconv.Atoi(value); err != nil || n < 1 {
				want = "a number of files, at least 1"
			}
		case "bins":
			if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 20 {
				want = "a number from 1 to 20"
			}
		case "rebin", "failFast", "matchFileName", "ignoreCase", "dataFrame":
			if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
				want = "true or false"
			}
		case "hashAlgorithm":
			if !slices.Contains([]string{"MD5", "SHA-1", "SHA-256"}, value) {
				want = "MD5, SHA-1 or SHA-256"
			}
		case "timeZone":
			if _, err := time.LoadLocation(value); err != nil || value == "" || value == "Local" {
				want = `the name of a time zone, as "America/Sao_Paulo"`
			}
		case "filterOrder":
			for _, v := range tag.Values {
				if _, ok := r.Tag(v.Value()); !ok || v != "recentFiles" && v != "uriRegex" {
					want = "names of recentFiles and uriRegex, which must be there too"
				}
			}
		case "format":
			if !slices.Contains(dateFormats, value) {
				want = "one of " + strings.Join(dateFormats, ", ")
			}
		}
		if want != "" {
			return fault(name, "it must be "+want, "%s of %s cannot be %q", tag.Name, r.Type, value)
		}
	}
	return nil
}

// dateFormats are what ColumnDataType takes as format of dates (awslabs/deequ,
// ColumnDataTypeRule).
var dateFormats = []string{
	"dd-MM-yyyy", "MM-dd-yyyy", "yyyy-MM-dd", "dd/MM/yyyy", "MM/dd/yyyy", "yyyy/MM/dd",
	"MM-yyyy", "dd-MM", "MM-dd", "yyyy-MM", "MM/yyyy", "dd/MM", "MM/dd", "yyyy/MM",
}
