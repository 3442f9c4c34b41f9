package tailserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	gen "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/ingest"
)

// recordRows is how many rows a message has at most: a few megabytes, whatever the window's
// size, so that neither side needs much memory beside the rows.
const recordRows = 8192

// service is the Flight service. Whatever is not defined here is Unimplemented.
type service struct {
	gen.UnimplementedFlightServiceServer
	*Server
}

// DoGet streams the tail that the ticket asks for.
func (s service) DoGet(t *flight.Ticket, stream flight.FlightService_DoGetServer) error {
	if len(t.GetTicket()) > s.cfg.MaxTicket {
		return status.Errorf(codes.InvalidArgument, "ticket has %d bytes, at most %d are read", len(t.GetTicket()), s.cfg.MaxTicket)
	}
	var ticket cardlake.TailTicket
	if ticket.UnmarshalText(t.GetTicket()) != nil {
		return status.Error(codes.InvalidArgument, "ticket is none of this version")
	}
	if ticket.Table != cardlake.Transactions.FullName() {
		return status.Error(codes.NotFound, "table has no tail")
	}
	ctx, cancel := context.WithTimeoutCause(stream.Context(), s.cfg.Timeout, errTooSlow)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return s.statusOf(context.Cause(ctx))
	}
	// A message to a client that does not read waits for it, with no regard to ctx. Returning
	// from here ends the stream, and so that wait.
	sent := make(chan error, 1)
	s.sending.Add(1)
	go func() {
		defer s.sending.Done()
		defer func() { <-s.slots }()
		sent <- s.send(ctx, ticket.From, stream)
	}()
	select {
	case err := <-sent:
		return s.statusOf(err)
	case <-ctx.Done():
		return s.statusOf(context.Cause(ctx))
	}
}

var (
	errTooSlow = errors.New("the answer took too long")
	errTooBig  = errors.New("the tail is too big")
)

// statusOf is what a client is told of an error. Only the log says more.
func (s *Server) statusOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooSlow):
		s.cfg.Log.Warn("tail: answer ended", "error", err)
		return status.Error(codes.DeadlineExceeded, errTooSlow.Error())
	case errors.Is(err, errTooBig):
		s.cfg.Log.Warn("tail: answer ended", "error", err)
		return status.Error(codes.ResourceExhausted, errTooBig.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	s.cfg.Log.Error("tail: answer failed", "error", err)
	return status.Error(codes.Internal, "the worker could not make its tail")
}

// send sends the tail beyond from and lets it go.
func (s *Server) send(ctx context.Context, from cardlake.Positions, stream flight.FlightService_DoGetServer) error {
	tail, err := s.worker.Tail(from)
	if err != nil {
		return err
	}
	defer tail.Release()
	header, err := headerOf(tail).MarshalText()
	if err != nil {
		return err
	}
	schema := cardlake.ArrowSchema(cardlake.Transactions)
	if len(tail.Rows) > 0 {
		schema = tail.Rows[0].Schema()
	}
	out := &payloads{ctx: ctx, stream: stream, left: s.cfg.MaxBytes}
	out.data.AppMetadata = header
	w := ipc.NewWriterWithPayloadWriter(out, ipc.WithSchema(schema))
	for _, record := range tail.Rows {
		if err := write(w, record); err != nil {
			_ = w.Close() // says the same again
			return fmt.Errorf("write tail: %w", err)
		}
	}
	return w.Close() // writes the schema if there was no record
}

func headerOf(t *ingest.Tail) cardlake.TailHeader {
	h := cardlake.TailHeader{To: t.To}
	for _, record := range t.Rows {
		h.Rows += record.NumRows()
	}
	return h
}

// write writes a record, a big one in parts. Dictionaries are written once for all parts.
func write(w *ipc.Writer, record arrow.RecordBatch) error {
	rows := record.NumRows()
	if 0 < rows && rows <= recordRows {
		return w.Write(record)
	}
	for from := int64(0); from < rows; from += recordRows {
		part := record.NewSlice(from, min(from+recordRows, rows))
		err := w.Write(part)
		part.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// payloads sends Arrow messages as Flight data, the first with metadata.
type payloads struct {
	ctx    context.Context
	stream flight.FlightService_DoGetServer
	left   int64 // bytes that may still be sent
	data   flight.FlightData
	body   bytes.Buffer
}

// Start implements ipc.PayloadWriter.
func (p *payloads) Start() error { return nil }

// WritePayload implements ipc.PayloadWriter.
func (p *payloads) WritePayload(payload ipc.Payload) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	meta := payload.Meta()
	defer meta.Release()
	p.body.Reset()
	if err := payload.SerializeBody(&p.body); err != nil {
		return err
	}
	p.data.DataHeader, p.data.DataBody = meta.Bytes(), p.body.Bytes()
	if p.left -= int64(len(p.data.DataHeader) + len(p.data.DataBody) + len(p.data.AppMetadata)); p.left < 0 {
		return errTooBig
	}
	err := p.stream.Send(&p.data) // copies it
	p.data.AppMetadata = nil
	if err != nil && p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return err
}

// Close implements ipc.PayloadWriter.
func (p *payloads) Close() error { return nil }

var _ ipc.PayloadWriter = (*payloads)(nil)
