package processor

import "sync/atomic"

// Stats counts since New.
type Stats struct {
	Accepted int64 // connections
	Refused  int64 // connections over the limit
	Closed   int64 // connections that ended, for whatever reason

	Received int64 // whole messages read
	Decoded  int64 // of them, well-formed ones of a type the host takes
	Network  int64 // sign-on, sign-off and echo messages answered

	Approved int64 // decisions with response code 00; each left one event
	Declined int64 // decisions with another code; each left one event
	Repeats  int64 // messages answered from memory, without an event

	UnknownIssuer int64 // answered 15, without an event: nobody's card
	FormatErrors  int64 // answered 30, without an event
	Unsupported   int64 // of a message type the host does not take, answered 12, without an event
	Failed        int64 // answered 96, without an event: ledger, keys or tenants out of reach
	Undecodable   int64 // could not be answered; the connection was closed
	BadFrames     int64 // length header out of bounds, or stream ended inside a message
	Idle          int64 // connections closed because they were silent
	WriteErrors   int64 // connections closed because they took no answer
	Panics        int64 // faults of this program, caught; the connection was closed
}

type counters struct {
	accepted, refused, closed                         atomic.Int64
	received, decoded, network                        atomic.Int64
	approved, declined, repeats                       atomic.Int64
	unknownIssuer, formatErrors, unsupported, failed  atomic.Int64
	undecodable, badFrames, idle, writeErrors, panics atomic.Int64
}

// Stats returns the counters now.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), Closed: c.closed.Load(),
		Received: c.received.Load(), Decoded: c.decoded.Load(), Network: c.network.Load(),
		Approved: c.approved.Load(), Declined: c.declined.Load(), Repeats: c.repeats.Load(),
		UnknownIssuer: c.unknownIssuer.Load(), FormatErrors: c.formatErrors.Load(), Unsupported: c.unsupported.Load(),
		Failed: c.failed.Load(), Undecodable: c.undecodable.Load(), BadFrames: c.badFrames.Load(), Idle: c.idle.Load(),
		WriteErrors: c.writeErrors.Load(), Panics: c.panics.Load(),
	}
}
