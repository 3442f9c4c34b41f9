package flightsql

import (
	"context"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"

	"github.com/cardlake/cardlake"
)

// registerInfo tells what the server can do. Drivers of JDBC and ODBC ask for all of it, and some
// fail on what is not there.
func (s *Server) registerInfo() error {
	for id, value := range map[flightsql.SqlInfo]any{
		flightsql.SqlInfoFlightSqlServerName:                                 "cardlake",
		flightsql.SqlInfoFlightSqlServerVersion:                              cardlake.Version,
		flightsql.SqlInfoFlightSqlServerArrowVersion:                         arrow.PkgVersion,
		flightsql.SqlInfoFlightSqlServerReadOnly:                             true,
		flightsql.SqlInfoFlightSqlServerSql:                                  true,
		flightsql.SqlInfoFlightSqlServerSubstrait:                            false,
		flightsql.SqlInfoFlightSqlServerTransaction:                          int32(flightsql.SqlTransactionNone),
		flightsql.SqlInfoFlightSqlServerCancel:                               true,
		flightsql.SqlInfoFlightSqlServerBulkIngestion:                        false,
		flightsql.SqlInfoFlightSqlServerIngestTransactionsSupported:          false,
		flightsql.SqlInfoFlightSqlServerStatementTimeout:                     int32(0),
		flightsql.SqlInfoFlightSqlServerTransactionTimeout:                   int32(0),
		flightsql.SqlInfoDDLCatalog:                                          false,
		flightsql.SqlInfoDDLSchema:                                           false,
		flightsql.SqlInfoDDLTable:                                            false,
		flightsql.SqlInfoIdentifierCase:                                      int64(flightsql.SqlCaseSensitivityCaseInsensitive),
		flightsql.SqlInfoIdentifierQuoteChar:                                 `"`,
		flightsql.SqlInfoQuotedIdentifierCase:                                int64(flightsql.SqlCaseSensitivityCaseInsensitive),
		flightsql.SqlInfoAllTablesAreASelectable:                             true,
		flightsql.SqlInfoNullOrdering:                                        int64(flightsql.SqlNullOrderingSortAtEnd),
		flightsql.SqlInfoKeywords:                                            []string{},
		flightsql.SqlInfoNumericFunctions:                                    []string{"ABS", "CEIL", "FLOOR", "MOD", "POWER", "ROUND", "SIGN", "SQRT"},
		flightsql.SqlInfoStringFunctions:                                     []string{"CONCAT", "LENGTH", "LOWER", "LTRIM", "REPLACE", "RTRIM", "SUBSTRING", "UPPER"},
		flightsql.SqlInfoSystemFunctions:                                     []string{},
		flightsql.SqlInfoDateTimeFunctions:                                   []string{"EXTRACT"},
		flightsql.SqlInfoSearchStringEscape:                                  `\`,
		flightsql.SqlInfoExtraNameChars:                                      "",
		flightsql.SqlInfoSupportsColumnAliasing:                              true,
		flightsql.SqlInfoNullPlusNullIsNull:                                  true,
		flightsql.SqlInfoSupportsConvert:                                     map[int32][]int32{},
		flightsql.SqlInfoSupportsTableCorrelationNames:                       true,
		flightsql.SqlInfoSupportsDifferentTableCorrelationNames:              false,
		flightsql.SqlInfoSupportsExpressionsInOrderBy:                        true,
		flightsql.SqlInfoSupportsOrderByUnrelated:                            true,
		flightsql.SqlInfoSupportedGroupBy:                                    int32(3), // unrelated, and beyond what is selected
		flightsql.SqlInfoSupportsLikeEscapeClause:                            true,
		flightsql.SqlInfoSupportsNonNullableColumns:                          true,
		flightsql.SqlInfoSupportedGrammar:                                    int32(7), // minimum, core and extended
		flightsql.SqlInfoANSI92SupportedLevel:                                int32(1), // entry
		flightsql.SqlInfoSupportsIntegrityEnhancementFacility:                false,
		flightsql.SqlInfoOuterJoinsSupportLevel:                              int32(2), // full
		flightsql.SqlInfoSchemaTerm:                                          "schema",
		flightsql.SqlInfoProcedureTerm:                                       "procedure",
		flightsql.SqlInfoCatalogTerm:                                         "catalog",
		flightsql.SqlInfoCatalogAtStart:                                      true,
		flightsql.SqlInfoSchemasSupportedActions:                             int32(1), // in statements' names only
		flightsql.SqlInfoCatalogsSupportedActions:                            int32(0), // statements do not name the catalog
		flightsql.SqlInfoSupportedPositionedCommands:                         int32(0),
		flightsql.SqlInfoSelectForUpdateSupported:                            false,
		flightsql.SqlInfoStoredProceduresSupported:                           false,
		flightsql.SqlInfoSupportedSubqueries:                                 int32(15), // all
		flightsql.SqlInfoCorrelatedSubqueriesSupported:                       true,
		flightsql.SqlInfoSupportedUnions:                                     int32(3), // UNION and UNION ALL
		flightsql.SqlInfoDefaultTransactionIsolation:                         int64(0), // none
		flightsql.SqlInfoTransactionsSupported:                               false,
		flightsql.SqlInfoSupportedTransactionsIsolationlevels:                int32(1), // none
		flightsql.SqlInfoDataDefinitionCausesTransactionCommit:               false,
		flightsql.SqlInfoDataDefinitionsInTransactionsIgnored:                false,
		flightsql.SqlInfoSupportedResultSetTypes:                             int32(2), // forward only
		flightsql.SqlInfoBatchUpdatesSupported:                               false,
		flightsql.SqlInfoSavePointsSupported:                                 false,
		flightsql.SqlInfoNamedParametersSupported:                            false,
		flightsql.SqlInfoLocatorsUpdateCopy:                                  false,
		flightsql.SqlInfoStoredFunctionsUsingCallSyntaxSupported:             false,
		flightsql.SqlInfoMaxRowSizeIncludesBlobs:                             false,
		flightsql.SqlInfoMaxStatementLen:                                     int64(maxMessage),
		flightsql.SqlInfoMaxTablesInSelect:                                   int64(0), // no bound, as all of 0
		flightsql.SqlInfoMaxBinaryLiteralLen:                                 int64(0),
		flightsql.SqlInfoMaxCharLiteralLen:                                   int64(0),
		flightsql.SqlInfoMaxColumnNameLen:                                    int64(0),
		flightsql.SqlInfoMaxColumnsInGroupBy:                                 int64(0),
		flightsql.SqlInfoMaxColumnsInIndex:                                   int64(0),
		flightsql.SqlInfoMaxColumnsInOrderBy:                                 int64(0),
		flightsql.SqlInfoMaxColumnsInSelect:                                  int64(0),
		flightsql.SqlInfoMaxColumnsInTable:                                   int64(0),
		flightsql.SqlInfoMaxConnections:                                      int64(0),
		flightsql.SqlInfoMaxCursorNameLen:                                    int64(0),
		flightsql.SqlInfoMaxIndexLen:                                         int64(0),
		flightsql.SqlInfoDBSchemaNameLen:                                     int64(0),
		flightsql.SqlInfoMaxProcedureNameLen:                                 int64(0),
		flightsql.SqlInfoMaxCatalogNameLen:                                   int64(0),
		flightsql.SqlInfoMaxRowSize:                                          int64(math.MaxInt32),
		flightsql.SqlInfoMaxStatements:                                       int64(0),
		flightsql.SqlInfoMaxTableNameLen:                                     int64(0),
		flightsql.SqlInfoMaxUsernameLen:                                      int64(0),
		flightsql.SqlInfoSupportedConcurrenciesForResultSetForwardOnly:       int32(2), // read only
		flightsql.SqlInfoSupportedConcurrenciesForResultSetUnspecified:       int32(0),
		flightsql.SqlInfoSupportedConcurrenciesForResultSetScrollSensitive:   int32(0),
		flightsql.SqlInfoSupportedConcurrenciesForResultSetScrollInsensitive: int32(0),
	} {
		if err := s.RegisterSqlInfo(id, value); err != nil {
			return err
		}
	}
	return nil
}

// GetFlightInfoXdbcTypeInfo implements flightsql.Server.
func (s *Server) GetFlightInfoXdbcTypeInfo(_ context.Context, _ flightsql.GetXdbcTypeInfo, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.XdbcTypeInfo)
}

// DoGetXdbcTypeInfo implements flightsql.Server. The list is for making columns, of which there is no way.
func (s *Server) DoGetXdbcTypeInfo(context.Context, flightsql.GetXdbcTypeInfo) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.XdbcTypeInfo, nil)
}

// GetFlightInfoPrimaryKeys implements flightsql.Server: no table declares keys.
func (s *Server) GetFlightInfoPrimaryKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.PrimaryKeys)
}

// DoGetPrimaryKeys implements flightsql.Server.
func (s *Server) DoGetPrimaryKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.PrimaryKeys, nil)
}

// GetFlightInfoExportedKeys implements flightsql.Server.
func (s *Server) GetFlightInfoExportedKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.ExportedKeys)
}

// DoGetExportedKeys implements flightsql.Server.
func (s *Server) DoGetExportedKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.ExportedKeys, nil)
}

// GetFlightInfoImportedKeys implements flightsql.Server.
func (s *Server) GetFlightInfoImportedKeys(_ context.Context, _ flightsql.TableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.ImportedKeys)
}

// DoGetImportedKeys implements flightsql.Server.
func (s *Server) DoGetImportedKeys(context.Context, flightsql.TableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.ImportedKeys, nil)
}

// GetFlightInfoCrossReference implements flightsql.Server.
func (s *Server) GetFlightInfoCrossReference(_ context.Context, _ flightsql.CrossTableRef, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return s.metadataInfo(d, schema_ref.CrossReference)
}

// DoGetCrossReference implements flightsql.Server.
func (s *Server) DoGetCrossReference(context.Context, flightsql.CrossTableRef) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	return s.answer(schema_ref.CrossReference, nil)
}
