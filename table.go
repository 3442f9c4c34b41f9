package cardlake

// Type is a column's type; each has one Arrow, one Iceberg and one Parquet spelling.
type Type int

const (
	String Type = iota
	Binary
	Bool
	Int32
	Int64
	Timestamp   // microseconds on a wall clock without zone
	TimestampTZ // microseconds, UTC
	Decimal18x4 // decimal(18,4), unscaled value in an int64
)

var typeNames = [...]string{"string", "binary", "boolean", "int", "long", "timestamp", "timestamptz", "decimal(18,4)"}

// String is Iceberg's name of the type.
func (t Type) String() string { return typeNames[t] }

// Tag says how sensitive a column is; grants are given by tag.
type Tag string

const (
	Public       Tag = "public"
	Identifier   Tag = "identifier" // names a card, person or account by a pseudonym
	TruncatedPAN Tag = "truncated_pan"
	MoneyTag     Tag = "money"
	Lineage      Tag = "lineage" // where a row was in the stream, which tells how much all tenants send
	Sealed       Tag = "sealed"  // readable inside zone A only
)

// Column is one column of a table. IDs are Iceberg field ids: given once, never reused.
type Column struct {
	ID       int
	Name     string
	Type     Type
	Nullable bool
	Tag      Tag
	Doc      string
}

// Table is the definition of one table: the source of its Iceberg schema, its Parquet
// schema, its data dictionary and its partitioning.
type Table struct {
	Namespace, Name string
	Doc             string
	Columns         []Column

	// Time is the timestamptz column by whose UTC day the table is partitioned and by which
	// files are sorted. ByTenant says that the column tenant is a partition field before it.
	Time     string
	ByTenant bool
	// ByRun says that each file holds rows of one run of a job, and is superseded as a whole:
	// files of different runs are never merged.
	ByRun bool
}

// FullName is "namespace.name".
func (t *Table) FullName() string { return t.Namespace + "." + t.Name }

// Column returns the named column, nil if there is none.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Transactions is cards.transactions: one row for each event of a purchase.
var Transactions = &Table{
	Namespace: "cards", Name: "transactions",
	Doc:  "One row for each event of a purchase: its authorisation, reversals, clearings, refunds and chargebacks, each exactly once.",
	Time: "event_time", ByTenant: true,
	Columns: []Column{
		{1, "event_id", String, false, Public, "UUIDv8 of the event, the same for repeats and replays"},
		{2, "transaction_id", String, false, Public, "event_id of the purchase's first event; shared by all events of the purchase"},
		{3, "event_type", String, false, Public, "authorization, reversal, clearing, refund or chargeback"},
		{4, "tenant", String, false, Public, "company whose card it is"},
		{5, "program", String, false, Public, "card programme of the tenant; empty for a number that was never issued and could belong to several"},
		{6, "region", String, false, Public, "region of the processor that decided"},
		{7, "event_time", TimestampTZ, false, Public, "instant of the decision"},
		{8, "local_time", Timestamp, true, Public, "date and time on the terminal's clock (DE 12, 13)"},
		{9, "ingested_at", TimestampTZ, false, Public, "instant at which the worker read the event"},
		{10, "card_token", String, false, Identifier, "token of the card number: equal for equal cards of one tenant, unlinkable across tenants"},
		{11, "bin", String, true, TruncatedPAN, "first 6 or 8 digits of the card number, as the brand's truncation rule allows"},
		{12, "last4", String, true, TruncatedPAN, "last 4 digits of the card number"},
		{13, "customer_id", String, true, Identifier, "cardholder, as the tenant names them"},
		{14, "account_id", String, true, Identifier, "account the card draws on"},
		{15, "network", String, false, Public, "card scheme: visa, mastercard"},
		{16, "product", String, true, Public, "prepaid, debit or credit"},
		{17, "amount", Decimal18x4, false, MoneyTag, "amount in the merchant's currency"},
		{18, "currency", String, false, Public, "ISO 4217 code of amount"},
		{19, "billing_amount", Decimal18x4, true, MoneyTag, "amount in the cardholder's currency"},
		{20, "billing_currency", String, true, Public, "ISO 4217 code of billing_amount"},
		{21, "merchant_id", String, true, Public, "card acceptor id (DE 42)"},
		{22, "merchant_name", String, true, Public, "card acceptor name (DE 43), cleaned of anything that looks like a card number"},
		{23, "mcc", String, true, Public, "merchant category code, ISO 18245 (DE 18)"},
		{24, "merchant_city", String, true, Public, "city of the card acceptor (DE 43)"},
		{25, "merchant_country", String, true, Public, "ISO 3166-1 alpha-2 country of the card acceptor (DE 43)"},
		{26, "terminal_id", String, true, Public, "card acceptor terminal (DE 41)"},
		{27, "acquirer_id", String, true, Public, "acquiring institution (DE 32)"},
		{28, "channel", String, false, Public, "pos, ecommerce, atm or phone"},
		{29, "entry_mode", String, false, Public, "how the card number was read (DE 22): chip, contactless, magstripe, manual, ecommerce, fallback, unknown"},
		{30, "card_present", Bool, false, Public, "whether the card was at the terminal"},
		{31, "wallet", String, true, Public, "device wallet, when one was used"},
		{32, "eci", String, true, Public, "electronic commerce indicator"},
		{33, "response_code", String, false, Public, "ISO 8583 response code (DE 39); 00 is approved"},
		{34, "approved", Bool, false, Public, "whether the processor said yes"},
		{35, "decline_reason", String, true, Public, "why it said no"},
		{36, "approval_code", String, true, Public, "authorisation identification response (DE 38)"},
		{37, "cvv_result", String, true, Public, "result of the card verification value check"},
		{38, "avs_result", String, true, Public, "result of the address check"},
		{39, "pin_verified", Bool, true, Public, "whether the PIN was right; null when none was checked"},
		{40, "latency_us", Int32, false, Public, "microseconds from the request's last byte to the decision"},
		{41, "mti", String, false, Public, "ISO 8583 message type"},
		{42, "processing_code", String, true, Public, "DE 3"},
		{43, "stan", String, true, Public, "systems trace audit number (DE 11)"},
		{44, "rrn", String, true, Public, "retrieval reference number (DE 37)"},
		{45, "stream", String, false, Lineage, "stream the event was read from"},
		{46, "stream_partition", Int32, false, Lineage, "partition of the stream"},
		{47, "stream_offset", Int64, false, Lineage, "offset in the partition"},
	},
}

// Rejected is cards.transactions_rejected: stream records that could not be decoded or
// opened, sealed and replayable.
var Rejected = &Table{
	Namespace: "cards", Name: "transactions_rejected",
	Doc:  "Stream records that could not be decoded or opened, with the reason; the payload is sealed under a zone-A key.",
	Time: "rejected_at",
	Columns: []Column{
		{1, "rejected_at", TimestampTZ, false, Public, "instant at which the worker gave the record up"},
		{2, "reason", String, false, Public, "undecodable, unknown_schema, unknown_tenant, unopenable or invalid_field"},
		{3, "detail", String, true, Public, "the rule that was broken, naming the field and never its content"},
		{4, "stream", String, false, Lineage, "stream the record was read from"},
		{5, "stream_partition", Int32, false, Lineage, "partition of the stream"},
		{6, "stream_offset", Int64, false, Lineage, "offset in the partition"},
		{7, "record_time", TimestampTZ, false, Public, "the record's time stamp on the stream"},
		{8, "payload", Binary, false, Sealed, "key and value of the record, sealed"},
	},
}

// Tables lists every table of the lake.
var Tables = []*Table{
	Transactions, Rejected, ControlTotals, AuditEvents,
	Runs, Alerts, Labels, Segments, CustomerSegments, Predictions, Recommendations,
}

// TableNamed returns the table with the full name, nil if there is none.
func TableNamed(fullName string) *Table {
	for _, t := range Tables {
		if t.FullName() == fullName {
			return t
		}
	}
	return nil
}
