package queries

import "time"

// Stats say what an answer cost a server that computed it.
type Stats struct {
	// Engine is the engine's name.
	Engine string
	// Executions are the engine's own names of what it ran, by which its console finds them.
	Executions []string
	// ScannedBytes were read of the tables.
	ScannedBytes int64
	// Queued and Ran are how long the statement waited for the engine and was computed.
	Queued, Ran time.Duration
	// IsReused says that the answer is that of an earlier statement.
	IsReused bool
	// NanoUSD is the price of it in thousand millionths of a dollar; 0 if it has none.
	NanoUSD int64
}

// Stats returns what the answer cost so far, and false if it was computed in this process.
func (r *Result) Stats() (Stats, bool) {
	s, ok := r.rows.(interface{ Stats() Stats })
	if !ok {
		return Stats{}, false
	}
	return s.Stats(), true
}
