package athenatest

import (
	"fmt"
	"strconv"
	"strings"
)

// Inputs have the members that a client of this repository may send.
type (
	startInput struct {
		QueryString           string
		ClientRequestToken    string
		WorkGroup             string
		QueryExecutionContext struct{ Catalog string }

		ResultReuseConfiguration struct {
			ResultReuseByAgeConfiguration struct {
				Enabled         bool
				MaxAgeInMinutes int
			}
		}
	}
	idInput      struct{ QueryExecutionId string }
	groupInput   struct{ WorkGroup string }
	resultsInput struct {
		QueryExecutionId string
		MaxResults       int
		NextToken        string
	}
)

// Bounds of members (StartQueryExecution, GetQueryResults).
const (
	minToken, maxToken = 32, 128
	maxQuery           = 262_144
	maxResults         = 1000
	maxReuseMinutes    = 10_080
)

func (s *Server) start(role string, in startInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reuse := in.ResultReuseConfiguration.ResultReuseByAgeConfiguration
	group, ok := s.groups[in.WorkGroup]
	switch {
	case !ok:
		return nil, refuse("InvalidRequestException")
	case group.Role != role:
		return nil, refuse("AccessDeniedException")
	case len(in.ClientRequestToken) < minToken || len(in.ClientRequestToken) > maxToken,
		in.QueryString == "" || len(in.QueryString) > maxQuery,
		reuse.MaxAgeInMinutes < 0 || reuse.MaxAgeInMinutes > maxReuseMinutes:
		return nil, refuse("InvalidRequestException")
	}
	q := Query{SQL: in.QueryString, Workgroup: in.WorkGroup, Token: in.ClientRequestToken, Role: role}
	if reuse.Enabled {
		q.ReuseMinutes = reuse.MaxAgeInMinutes
	}
	for _, x := range s.executions {
		if x.Token == q.Token {
			if x.Query != q {
				return nil, refuse("InvalidRequestException")
			}
			return map[string]string{"QueryExecutionId": x.ID}, nil
		}
	}
	x := &Execution{Query: q, ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", len(s.executions)+1), State: "QUEUED", answer: s.answer(q)}
	s.executions = append(s.executions, x)
	return map[string]string{"QueryExecutionId": x.ID}, nil
}

func (s *Server) look(role string, in idInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.find(role, in.QueryExecutionId)
	if err != nil {
		return nil, err
	}
	if x.State == "QUEUED" || x.State == "RUNNING" {
		x.looks++
		if x.looks > 1 {
			x.State = "RUNNING"
		}
		if x.answer.Looks >= 0 && x.looks > x.answer.Looks {
			if err := s.end(x); err != nil {
				return nil, err
			}
		}
	}
	status := map[string]any{"State": x.State}
	if f := x.answer.Failure; f != nil && x.State == orFailed(f) {
		status["StateChangeReason"] = f.Reason
		status["AthenaError"] = map[string]any{"ErrorCategory": f.Category, "ErrorType": f.Type, "Retryable": f.IsRetryable, "ErrorMessage": f.Reason}
	}
	statistics := map[string]any{
		"DataScannedInBytes": x.answer.Scanned, "EngineExecutionTimeInMillis": 1200, "QueryQueueTimeInMillis": 30,
		"ResultReuseInformation": map[string]any{"ReusedPreviousResult": x.answer.IsReused},
	}
	location := s.location(x)
	if isUnload(x.SQL) {
		statistics["DataManifestLocation"] = location + "-manifest.csv"
	} else {
		location += ".csv"
	}
	return map[string]any{"QueryExecution": map[string]any{
		"QueryExecutionId": x.ID, "Query": x.SQL, "WorkGroup": x.Workgroup, "Status": status, "Statistics": statistics,
		"ResultConfiguration": map[string]any{"OutputLocation": location},
	}}, nil
}

func orFailed(f *Failure) string {
	if f.State == "" {
		return "FAILED"
	}
	return f.State
}

func isUnload(sql string) bool { return strings.HasPrefix(sql, "UNLOAD ") }

// location is where an execution's results are, without a suffix.
func (s *Server) location(x *Execution) string { return s.groups[x.Workgroup].Location + x.ID }

// end ends an execution and writes its results; one that fails has written its first file.
func (s *Server) end(x *Execution) error {
	x.State = "SUCCEEDED"
	files := x.answer.Files
	if x.answer.Failure != nil {
		x.State = orFailed(x.answer.Failure)
		files = files[:min(len(files), 1)]
	}
	if !isUnload(x.SQL) {
		if x.State != "SUCCEEDED" {
			return nil
		}
		return s.write(map[string][]byte{s.location(x) + ".csv": []byte("rows"), s.location(x) + ".csv.metadata": []byte("types")})
	}
	_, place, ok := strings.Cut(x.SQL, "\nTO '")
	place, _, ok2 := strings.Cut(place, "'")
	if !ok || !ok2 || !strings.HasPrefix(place, s.groups[x.Workgroup].Location) || !strings.HasSuffix(place, "/") {
		return refuse("InvalidRequestException")
	}
	out := map[string][]byte{s.location(x) + "-manifest.csv": []byte("files")}
	for i, f := range files {
		out[place+fmt.Sprintf("20260301_%05d_part", i)] = f
	}
	return s.write(out)
}

func (s *Server) write(files map[string][]byte) error {
	for uri, body := range files {
		bucket, key, _ := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
		if err := s.put(bucket, key, body); err != nil {
			return fmt.Errorf("put: %w", err)
		}
	}
	return nil
}

// results gives the rows of a SELECT, the names of the columns first.
func (s *Server) results(role string, in resultsInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.find(role, in.QueryExecutionId)
	if err != nil {
		return nil, err
	}
	from, err := strconv.Atoi("0" + in.NextToken)
	if err != nil || x.State != "SUCCEEDED" || isUnload(x.SQL) || in.MaxResults < 1 || in.MaxResults > maxResults {
		return nil, refuse("InvalidRequestException")
	}
	names := make([]*string, len(x.answer.Names))
	info := make([]map[string]any, len(names))
	for i, n := range x.answer.Names {
		names[i] = &n
		info[i] = map[string]any{"Name": n, "Label": n, "Type": "varchar", "CatalogName": "hive", "Precision": 0, "Scale": 0, "CaseSensitive": true}
	}
	all := append([][]*string{names}, x.answer.Rows...)
	to := min(from+in.MaxResults, len(all))
	var rows []map[string]any
	for _, r := range all[from:to] {
		data := make([]map[string]string, len(r))
		for i, v := range r {
			data[i] = map[string]string{}
			if v != nil {
				data[i]["VarCharValue"] = *v
			}
		}
		rows = append(rows, map[string]any{"Data": data})
	}
	out := map[string]any{"ResultSet": map[string]any{"Rows": rows, "ResultSetMetadata": map[string]any{"ColumnInfo": info}}, "UpdateCount": 0}
	if to < len(all) {
		out["NextToken"] = strconv.Itoa(to)
	}
	return out, nil
}

func (s *Server) stop(role string, in idInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, err := s.find(role, in.QueryExecutionId)
	if err != nil {
		return nil, err
	}
	if x.State == "QUEUED" || x.State == "RUNNING" {
		x.State = "CANCELLED"
	}
	return struct{}{}, nil
}

func (s *Server) group(role string, in groupInput) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.groups[in.WorkGroup]
	switch {
	case !ok:
		return nil, refuse("InvalidRequestException")
	case g.Role != role:
		return nil, refuse("AccessDeniedException")
	}
	return map[string]any{"WorkGroup": g.JSON}, nil
}

// Fit returns the settings of a workgroup that nothing is wrong with, to be changed or not.
func Fit(name, location, key, owner, role string) Settings {
	return Settings{Location: location, Role: role, JSON: map[string]any{
		"Name": name, "State": "ENABLED",
		"Configuration": map[string]any{
			"EnforceWorkGroupConfiguration": true, "BytesScannedCutoffPerQuery": int64(1) << 40,
			"EngineVersion": map[string]any{"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
			"ResultConfiguration": map[string]any{
				"OutputLocation": location, "ExpectedBucketOwner": owner,
				"EncryptionConfiguration": map[string]any{"EncryptionOption": "SSE_KMS", "KmsKey": key},
			},
		},
	}}
}
