package flightsql

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	pb "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cardlake/cardlake/api"
	"github.com/cardlake/cardlake/catalog/grants"
	"github.com/cardlake/cardlake/queries/render"
)

// batchRows bounds the rows of a record batch.
const batchRows = 8 << 10

// trailerRows is the trailer with how many rows were sent.
const trailerRows = "cardlake-rows"

// columns are those of a statement's answer, without running it.
func (s *Server) columns(ctx context.Context, sql string, transaction []byte) (*arrow.Schema, error) {
	c := callOf(ctx)
	if len(transaction) > 0 {
		return nil, errTransactions
	}
	if err := s.entrance.Count(c.caller.Principal); err != nil {
		return nil, err
	}
	columns, err := s.gateway.Columns(ctx, c.caller, sql)
	if err != nil {
		return nil, &statementError{err, sql}
	}
	return render.Schema(columns), nil
}

// info is where the answer to a statement is: at this server, with a ticket.
func (s *Server) info(ctx context.Context, sql string, schema []byte, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	handle, one, err := s.tickets.seal(forTicket, callOf(ctx).caller.Principal, sql, nil, s.cfg.TicketTime)
	if err != nil {
		return nil, err
	}
	text, err := flightsql.CreateStatementQueryTicket(handle)
	if err != nil {
		return nil, err
	}
	return &flight.FlightInfo{
		Schema: schema, FlightDescriptor: d, TotalRecords: -1, TotalBytes: -1,
		Endpoint: []*flight.FlightEndpoint{{Ticket: &flight.Ticket{Ticket: text}, ExpirationTime: timestamppb.New(one.Until)}},
	}, nil
}

// GetFlightInfoStatement implements flightsql.Server.
func (s *Server) GetFlightInfoStatement(ctx context.Context, q flightsql.StatementQuery, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	schema, err := s.columns(ctx, q.GetQuery(), q.GetTransactionId())
	if err != nil {
		return nil, err
	}
	return s.info(ctx, q.GetQuery(), flight.SerializeSchema(schema, s.Alloc), d)
}

// GetSchemaStatement implements flightsql.Server.
func (s *Server) GetSchemaStatement(ctx context.Context, q flightsql.StatementQuery, _ *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	schema, err := s.columns(ctx, q.GetQuery(), q.GetTransactionId())
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: flight.SerializeSchema(schema, s.Alloc)}, nil
}

// DoGetStatement implements flightsql.Server.
func (s *Server) DoGetStatement(ctx context.Context, t flightsql.StatementQueryTicket) (_ *arrow.Schema, _ <-chan flight.StreamChunk, err error) {
	c := callOf(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	one, end, err := s.tickets.redeem(c.caller.Principal, t.GetStatementHandle(), cancel)
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	free, err := s.entrance.Begin(c.caller.Principal)
	if err != nil {
		end()
		cancel(nil)
		return nil, nil, err
	}
	release := func() {
		free()
		end()
		cancel(nil)
	}
	isStreaming := false
	defer func() {
		if !isStreaming { // for a panic, too
			release()
		}
	}()
	sql := string(one.SQL)
	result, err := s.gateway.Query(ctx, c.caller, sql)
	if err != nil {
		return nil, nil, &statementError{gone(ctx, err), sql}
	}
	facts := metadata.MD{}
	for name, values := range api.Facts(result) {
		facts.Append(name, values...)
	}
	_ = grpc.SetHeader(ctx, facts)
	schema, chunks := render.Schema(result.Columns()), make(chan flight.StreamChunk)
	isStreaming = true
	go func() { // until the stream has taken what there is: it reads on to the end
		defer close(chunks)
		defer release()
		err := func() (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = panicked(v)
				}
				err = errors.Join(err, result.Close())
			}()
			return render.Records(ctx, schema, result, render.Bound{Rows: batchRows, Bytes: s.cfg.BatchBytes}, func(batch arrow.RecordBatch) error {
				batch.Retain()
				select {
				case chunks <- flight.StreamChunk{Data: batch}:
					return nil
				case <-ctx.Done():
					batch.Release()
					return ctx.Err()
				}
			})
		}()
		c.rows = result.Count()
		if err != nil {
			chunks <- flight.StreamChunk{Err: &statementError{gone(ctx, err), sql}}
			return
		}
		_ = grpc.SetTrailer(ctx, metadata.Pairs(trailerRows, strconv.FormatInt(result.Count(), 10)))
	}()
	return schema, chunks, nil
}

// gone names why the context ended, if that is why there is an error.
func gone(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return context.Cause(ctx)
	}
	return err
}

// CreatePreparedStatement implements flightsql.Server.
func (s *Server) CreatePreparedStatement(ctx context.Context, q flightsql.ActionCreatePreparedStatementRequest) (out flightsql.ActionCreatePreparedStatementResult, err error) {
	schema, err := s.columns(ctx, q.GetQuery(), q.GetTransactionId())
	if err != nil {
		return out, err
	}
	handle, _, err := s.tickets.seal(forPrepared, callOf(ctx).caller.Principal, q.GetQuery(), flight.SerializeSchema(schema, s.Alloc), s.cfg.PreparedTime)
	isUpdate := false
	return flightsql.ActionCreatePreparedStatementResult{Handle: handle, DatasetSchema: schema, ParameterSchema: arrow.NewSchema(nil, nil), IsUpdate: &isUpdate}, err
}

// GetFlightInfoPreparedStatement implements flightsql.Server.
func (s *Server) GetFlightInfoPreparedStatement(ctx context.Context, q flightsql.PreparedStatementQuery, d *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	c := callOf(ctx)
	one, err := s.tickets.open(forPrepared, c.caller.Principal, q.GetPreparedStatementHandle())
	if err != nil {
		return nil, err
	}
	if err := s.entrance.Count(c.caller.Principal); err != nil {
		return nil, err
	}
	return s.info(ctx, string(one.SQL), one.Schema, d)
}

// GetSchemaPreparedStatement implements flightsql.Server.
func (s *Server) GetSchemaPreparedStatement(ctx context.Context, q flightsql.PreparedStatementQuery, _ *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	one, err := s.tickets.open(forPrepared, callOf(ctx).caller.Principal, q.GetPreparedStatementHandle())
	if err != nil {
		return nil, err
	}
	return &flight.SchemaResult{Schema: one.Schema}, nil
}

// ClosePreparedStatement implements flightsql.Server. The server holds nothing for one.
func (s *Server) ClosePreparedStatement(context.Context, flightsql.ActionClosePreparedStatementRequest) error {
	return nil
}

// DoPutPreparedStatementQuery implements flightsql.Server: it would bind parameters. Some drivers
// send an empty row of them.
func (s *Server) DoPutPreparedStatementQuery(ctx context.Context, q flightsql.PreparedStatementQuery, parameters flight.MessageReader, _ flight.MetadataWriter) ([]byte, error) {
	if _, err := s.tickets.open(forPrepared, callOf(ctx).caller.Principal, q.GetPreparedStatementHandle()); err != nil {
		return nil, err
	}
	if parameters.Schema().NumFields() > 0 {
		return nil, errParameters
	}
	return q.GetPreparedStatementHandle(), nil
}

// CancelFlightInfo implements flightsql.Server.
func (s *Server) CancelFlightInfo(ctx context.Context, r *flight.CancelFlightInfoRequest) (flight.CancelFlightInfoResult, error) {
	c := callOf(ctx)
	how, err := s.cancel(c.caller.Principal, r.GetInfo().GetEndpoint())
	return flight.CancelFlightInfoResult{Status: how}, s.entrance.Record(ctx, c.caller, "query.cancel", "a statement", err)
}

func (s *Server) cancel(p grants.Principal, endpoints []*flight.FlightEndpoint) (flight.CancelStatus, error) {
	how := flight.CancelStatusNotCancellable
	for _, e := range endpoints {
		var packed anypb.Any
		var t pb.TicketStatementQuery
		if proto.Unmarshal(e.GetTicket().GetTicket(), &packed) != nil || packed.UnmarshalTo(&t) != nil {
			return how, errTicket
		}
		isCancelled, err := s.tickets.cancel(p, t.GetStatementHandle())
		if err != nil {
			return how, err
		}
		if isCancelled {
			how = flight.CancelStatusCancelled
		}
	}
	return how, nil
}

// BeginTransaction implements flightsql.Server.
func (s *Server) BeginTransaction(context.Context, flightsql.ActionBeginTransactionRequest) ([]byte, error) {
	return nil, errTransactions
}

// EndTransaction implements flightsql.Server.
func (s *Server) EndTransaction(context.Context, flightsql.ActionEndTransactionRequest) error {
	return errTransactions
}

// DoPutCommandStatementUpdate implements flightsql.Server.
func (s *Server) DoPutCommandStatementUpdate(context.Context, flightsql.StatementUpdate) (int64, error) {
	return 0, errReadOnly
}

// DoPutPreparedStatementUpdate implements flightsql.Server.
func (s *Server) DoPutPreparedStatementUpdate(context.Context, flightsql.PreparedStatementUpdate, flight.MessageReader) (int64, error) {
	return 0, errReadOnly
}

// DoPutCommandStatementIngest implements flightsql.Server.
func (s *Server) DoPutCommandStatementIngest(context.Context, flightsql.StatementIngest, flight.MessageReader) (int64, error) {
	return 0, errReadOnly
}

// CloseSession implements flightsql.Server. There is nothing to close: each call signs in.
func (s *Server) CloseSession(context.Context, *flight.CloseSessionRequest) (*flight.CloseSessionResult, error) {
	return &flight.CloseSessionResult{Status: flight.CloseSessionResultClosed}, nil
}

// GetSessionOptions implements flightsql.Server: there are none.
func (s *Server) GetSessionOptions(context.Context, *flight.GetSessionOptionsRequest) (*flight.GetSessionOptionsResult, error) {
	return &flight.GetSessionOptionsResult{}, nil
}

// SetSessionOptions implements flightsql.Server. Drivers set the catalog that they were given;
// there is one.
func (s *Server) SetSessionOptions(_ context.Context, r *flight.SetSessionOptionsRequest) (*flight.SetSessionOptionsResult, error) {
	out := &flight.SetSessionOptionsResult{Errors: map[string]*flight.SetSessionOptionsResultError{}}
	for name, v := range r.GetSessionOptions() {
		switch {
		case name != "catalog":
			out.Errors[name] = &flight.SetSessionOptionsResultError{Value: flight.SetSessionOptionsResultErrorInvalidName}
		case v.GetStringValue() != catalogName:
			out.Errors[name] = &flight.SetSessionOptionsResultError{Value: flight.SetSessionOptionsResultErrorInvalidValue}
		}
	}
	return out, nil
}

// RenewFlightEndpoint implements flightsql.Server.
func (s *Server) RenewFlightEndpoint(context.Context, *flight.RenewFlightEndpointRequest) (*flight.FlightEndpoint, error) {
	return nil, status.Error(codes.Unimplemented, "tickets are not renewed: ask again; one is good for "+s.cfg.TicketTime.Round(time.Second).String())
}
