package gluetest

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

type database struct {
	input  databaseInput
	tables map[string]*table
}

type databaseInput struct {
	Name        string
	Description string            `json:",omitempty"`
	LocationURI string            `json:"LocationUri,omitempty"`
	Parameters  map[string]string `json:",omitempty"`
}

// tableInput are the members of TableInput that Iceberg tables have.
type tableInput struct {
	Name              string
	Description       string             `json:",omitempty"`
	Owner             string             `json:",omitempty"`
	LastAccessTime    json.Number        `json:",omitempty"`
	LastAnalyzedTime  json.Number        `json:",omitempty"`
	Retention         int                `json:",omitempty"`
	StorageDescriptor *storageDescriptor `json:",omitempty"`
	PartitionKeys     []column           `json:",omitempty"`
	TableType         string             `json:",omitempty"`
	Parameters        map[string]string  `json:",omitempty"`
}

type storageDescriptor struct {
	Columns                []column          `json:",omitempty"`
	Location               string            `json:",omitempty"`
	AdditionalLocations    []string          `json:",omitempty"`
	InputFormat            string            `json:",omitempty"`
	OutputFormat           string            `json:",omitempty"`
	Compressed             bool              `json:",omitempty"`
	NumberOfBuckets        int               `json:",omitempty"`
	SerdeInfo              json.RawMessage   `json:",omitempty"`
	Parameters             map[string]string `json:",omitempty"`
	StoredAsSubDirectories bool              `json:",omitempty"`
}

type column struct {
	Name       string
	Type       string            `json:",omitempty"`
	Comment    string            `json:",omitempty"`
	Parameters map[string]string `json:",omitempty"`
}

// table is a table as GetTable answers it.
type table struct {
	tableInput
	DatabaseName string
	CreateTime   float64
	UpdateTime   float64
	VersionID    string `json:"VersionId"`

	archived []table
}

// tableName is the way to a table. Glue folds names to lower case.
type tableName struct {
	CatalogID    string `json:"CatalogId"`
	DatabaseName string
	Name         string
}

func (s *Server) database(name string) (*database, error) {
	if d, ok := s.databases[strings.ToLower(name)]; ok {
		return d, nil
	}
	return nil, refuse("EntityNotFoundException", "Database %s not found.", name)
}

func (s *Server) table(n tableName) (*database, *table, error) {
	d, err := s.database(n.DatabaseName)
	if err != nil {
		return nil, nil, err
	}
	if t, ok := d.tables[strings.ToLower(n.Name)]; ok {
		return d, t, nil
	}
	return nil, nil, refuse("EntityNotFoundException", "Entity Not Found")
}

type empty struct{}

func (s *Server) createDatabase(in struct {
	CatalogID     string `json:"CatalogId"`
	DatabaseInput databaseInput
}) (empty, error) {
	if err := checkName("database", in.DatabaseInput.Name); err != nil {
		return empty{}, err
	}
	in.DatabaseInput.Name = strings.ToLower(in.DatabaseInput.Name)
	if _, ok := s.databases[in.DatabaseInput.Name]; ok {
		return empty{}, refuse("AlreadyExistsException", "Database already exists.")
	}
	s.databases[in.DatabaseInput.Name] = &database{in.DatabaseInput, map[string]*table{}}
	return empty{}, nil
}

type databaseOutput struct{ Database databaseInput }

func (s *Server) getDatabase(in struct {
	CatalogID string `json:"CatalogId"`
	Name      string
}) (out databaseOutput, err error) {
	d, err := s.database(in.Name)
	if err == nil {
		out.Database = d.input
	}
	return out, err
}

func (s *Server) createTable(in struct {
	CatalogID    string `json:"CatalogId"`
	DatabaseName string
	TableInput   tableInput
}) (empty, error) {
	d, err := s.database(in.DatabaseName)
	if err == nil {
		err = in.TableInput.check()
	}
	if err != nil {
		return empty{}, err
	}
	in.TableInput.Name = strings.ToLower(in.TableInput.Name)
	if _, ok := d.tables[in.TableInput.Name]; ok {
		return empty{}, refuse("AlreadyExistsException", "Table already exists.")
	}
	now := seconds()
	d.tables[in.TableInput.Name] = &table{
		tableInput: in.TableInput.clone(), DatabaseName: d.input.Name, CreateTime: now, UpdateTime: now, VersionID: "0",
	}
	return empty{}, nil
}

type tableOutput struct{ Table table }

func (s *Server) getTable(in tableName) (out tableOutput, err error) {
	_, t, err := s.table(in)
	if err == nil {
		out.Table = t.clone()
	}
	return out, err
}

// updateTable replaces the table's definition. VersionId is the version at which to do
// that; another one was written by somebody else meanwhile.
func (s *Server) updateTable(in struct {
	CatalogID    string `json:"CatalogId"`
	DatabaseName string
	TableInput   tableInput
	SkipArchive  bool
	VersionID    string `json:"VersionId"`
}) (empty, error) {
	_, t, err := s.table(tableName{DatabaseName: in.DatabaseName, Name: in.TableInput.Name})
	if err == nil {
		err = in.TableInput.check()
	}
	if err != nil {
		return empty{}, err
	}
	if in.VersionID != "" && in.VersionID != t.VersionID {
		return empty{}, refuse("ConcurrentModificationException", "Update table failed due to concurrent modifications.")
	}
	if !in.SkipArchive {
		if len(t.archived) >= s.cfg.MaxVersions {
			return empty{}, refuse("ResourceNumberLimitExceededException", "Table version limit exceeded.")
		}
		t.archived = append(t.archived, t.clone())
	}
	n, _ := strconv.Atoi(t.VersionID)
	in.TableInput.Name = t.Name
	t.tableInput, t.VersionID, t.UpdateTime = in.TableInput.clone(), strconv.Itoa(n+1), seconds()
	return empty{}, nil
}

func (s *Server) deleteTable(in tableName) (empty, error) {
	d, t, err := s.table(in)
	if err == nil {
		delete(d.tables, t.Name)
	}
	return empty{}, err
}

type versionOutput struct {
	Table     table
	VersionID string `json:"VersionId"`
}

type versionsOutput struct {
	TableVersions []versionOutput
	NextToken     string `json:",omitempty"`
}

// getTableVersions lists the current version and the archived ones, newest first.
func (s *Server) getTableVersions(in struct {
	CatalogID    string `json:"CatalogId"`
	DatabaseName string
	TableName    string
	NextToken    string
	MaxResults   int
}) (out versionsOutput, err error) {
	_, t, err := s.table(tableName{DatabaseName: in.DatabaseName, Name: in.TableName})
	if err != nil {
		return out, err
	}
	const most = 100
	if in.MaxResults < 0 || in.MaxResults > most {
		return out, refuse("InvalidInputException", "MaxResults must be from 1 to %d", most)
	}
	if in.MaxResults == 0 {
		in.MaxResults = most
	}
	all := []table{t.clone()}
	for _, a := range slices.Backward(t.archived) {
		all = append(all, a)
	}
	from := 0
	if in.NextToken != "" {
		if from, err = strconv.Atoi(in.NextToken); err != nil || from < 0 || from > len(all) {
			return out, refuse("InvalidInputException", "Invalid token")
		}
	}
	to := min(len(all), from+in.MaxResults)
	for _, v := range all[from:to] {
		out.TableVersions = append(out.TableVersions, versionOutput{v, v.VersionID})
	}
	if to < len(all) {
		out.NextToken = strconv.Itoa(to)
	}
	return out, nil
}

func seconds() float64 { return float64(time.Now().UnixMilli()) / 1000 }

func (t *table) clone() table {
	out := *t
	out.tableInput, out.archived = t.tableInput.clone(), nil
	return out
}

func (in tableInput) clone() tableInput {
	in.Parameters = maps.Clone(in.Parameters)
	if in.StorageDescriptor != nil {
		sd := *in.StorageDescriptor
		sd.Columns = slices.Clone(sd.Columns)
		in.StorageDescriptor = &sd
	}
	return in
}

// check applies the constraints of the API reference.
func (in *tableInput) check() error {
	if err := checkName("table", in.Name); err != nil {
		return err
	}
	if len(in.Description) > 2048 {
		return invalid("description")
	}
	for key, value := range in.Parameters {
		if key == "" || len(key) > 255 || len(value) > 512_000 {
			return invalid("parameters")
		}
	}
	if in.StorageDescriptor == nil {
		return nil
	}
	if len(in.StorageDescriptor.Location) > 2056 {
		return invalid("storageDescriptor.location")
	}
	seen := map[string]bool{}
	for _, c := range in.StorageDescriptor.Columns {
		if err := checkName("column", c.Name); err != nil {
			return err
		}
		if len(c.Comment) > 255 || !utf8.ValidString(c.Comment) || len(c.Type) > 131_072 || seen[c.Name] {
			return invalid("storageDescriptor.columns")
		}
		seen[c.Name] = true
	}
	return nil
}

func checkName(what, name string) error {
	if name == "" || len(name) > 255 || strings.ContainsAny(name, "\r\n\t") || !utf8.ValidString(name) {
		return invalid(what + " name")
	}
	return nil
}

func invalid(member string) error {
	return refuse("InvalidInputException", "1 validation error detected: Value at '%s' failed to satisfy constraint", member)
}
