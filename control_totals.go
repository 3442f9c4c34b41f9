package cardlake

// ControlTotal is what one processor counted of one tenant's decisions in one minute and
// one currency: a row of cards.control_totals, against which the tenant's rows of
// cards.transactions are reconciled. Times are microseconds since the epoch.
//
// A minute may have several totals of one processor: those of decisions that came after the
// first was made, or of a minute in which the processor was restarted. They add up.
type ControlTotal struct {
	Region    string // region of the processor
	Processor string // the processor's own id: 16 letters a to p, drawn when its ledger was made
	Tenant    Tenant
	Minute    int64 // begin of the UTC minute of event_time

	// Events counts the decisions, and Approved those that said yes. Amount and
	// ApprovedAmount are the sums of their amount in the merchant's currency; a reversal's
	// counts as it stands in its row, not as a deduction. Both have the same currency.
	Events, Approved       int64
	Amount, ApprovedAmount Money

	// FirstSequence and LastSequence number the decisions that the total counts among all
	// that the processor counted of the tenant, from 1 in the order of its totals. They span
	// Events numbers, and the next total begins with LastSequence+1: a total that is missing
	// leaves a gap. Processor, Tenant and FirstSequence identify a total; a second row with the
	// same is a repeat.
	FirstSequence, LastSequence int64

	EmittedAt  int64
	IngestedAt int64
	Position   Position
}

// ControlTotals is cards.control_totals: what the processors say they have decided. A
// tenant's totals lie under its own key, as its transactions do: how much it sells is its
// own affair, and destroying its key destroys them too.
var ControlTotals = &Table{
	Namespace: "cards", Name: "control_totals",
	Doc:  "What each processor counted of a tenant's decisions, by minute and currency; the rows of cards.transactions are reconciled against them.",
	Time: "minute", ByTenant: true,
	Columns: []Column{
		{1, "tenant", String, false, Public, "company whose cards they are"},
		{2, "minute", TimestampTZ, false, Public, "begin of the UTC minute of event_time"},
		{3, "region", String, false, Public, "region of the processor that decided"},
		{4, "processor", String, false, Public, "id of the processor that decided"},
		{5, "currency", String, false, Public, "ISO 4217 code of the amounts"},
		{6, "events", Int64, false, Public, "decisions"},
		{7, "approved_events", Int64, false, Public, "decisions that said yes"},
		{8, "amount", Decimal18x4, false, MoneyTag, "sum of the amounts of all decisions"},
		{9, "approved_amount", Decimal18x4, false, MoneyTag, "sum of the amounts of those that said yes"},
		{10, "first_sequence", Int64, false, Public, "number of the first decision among all that the processor counted of the tenant; with tenant and processor it identifies the total"},
		{11, "last_sequence", Int64, false, Public, "number of the last one; the next total goes on from here"},
		{12, "emitted_at", TimestampTZ, false, Public, "instant at which the processor made the total"},
		{13, "ingested_at", TimestampTZ, false, Public, "instant at which the worker read the total"},
		{14, "stream", String, false, Lineage, "stream the total was read from"},
		{15, "stream_partition", Int32, false, Lineage, "partition of the stream"},
		{16, "stream_offset", Int64, false, Lineage, "offset in the partition"},
	},
}
