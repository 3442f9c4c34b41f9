package cardlake

// The tables of namespace insights hold what the jobs make of cards.transactions, for each
// tenant from that tenant's rows alone. A job's rows belong to a run, which counts once it has
// a row in insights.runs: a view over both shows published runs only (package queries/views).
//
// Scores and probabilities are decimals of four places, which cannot be NaN. A column that
// tells how a cardholder behaves is an identifier, whatever its type: it is worth as much as
// the name that stands beside it.

// CheckpointPrefix begins the names of the objects in which jobs keep what they have learnt of a
// tenant's cardholders, to go on from. They lie under the tenant's key; an erasure and the end
// of the tenant remove them.
func CheckpointPrefix(tenant StorageID) string { return "insights/" + string(tenant) + "/" }

// Runs is insights.runs: one row for each published run of a job for a tenant.
var Runs = &Table{
	Namespace: "insights", Name: "runs",
	Doc:  "One row for each published run of a job for a tenant, with its model card. Rows of the other tables of insights count if their run is here.",
	Time: "as_of", ByTenant: true,
	Columns: []Column{
		{1, "run_id", String, false, Public, "id of the run, computed from the job, its version, the tenant, the snapshots read and the parameters: 32 letters a to p"},
		{2, "job", String, false, Public, "anomaly, segment, predict or recommend"},
		{3, "tenant", String, false, Public, "tenant whose rows were read"},
		{4, "sequence", Int64, false, Public, "number of the publication among the tenant's of this job; of two runs the greater is the newer"},
		{5, "as_of", TimestampTZ, false, Public, "end of the data that the run rests on, exclusive"},
		{6, "covers_from", TimestampTZ, false, Public, "begin of the first UTC day whose rows the run gives anew"},
		{7, "covers_to", TimestampTZ, false, Public, "end of the last one, exclusive"},
		{8, "snapshot", Int64, false, Public, "snapshot of cards.transactions that was read"},
		{9, "labels_snapshot", Int64, true, Public, "snapshot of insights.labels that was read; null if it is not read"},
		{10, "version", String, false, Public, "version of the job's method"},
		{11, "parameters", String, false, Public, "parameters of the run, a JSON object"},
		{12, "rows_read", Int64, false, Public, "rows that were read"},
		{13, "rows_written", Int64, false, Public, "rows of all tables of the run"},
		{14, "digest", String, false, Public, "hash of the rows written: 32 letters a to p, equal for equal rows"},
		{15, "started_at", TimestampTZ, false, Public, "instant at which the run began"},
		{16, "published_at", TimestampTZ, false, Public, "instant at which the run was published"},
		{17, "principal", String, false, Public, "principal that ran the job"},
		{18, "card", String, false, MoneyTag, "model card: data window, metrics with their baselines, drift and figures, a JSON object"},
	},
}

// Alerts is insights.alerts: the events that job anomaly would have somebody look at.
var Alerts = &Table{
	Namespace: "insights", Name: "alerts",
	Doc:  "Events of a tenant that stand out, with the reasons in words. Confirming or dismissing one is a row of insights.labels.",
	Time: "event_time", ByTenant: true, ByRun: true,
	Columns: []Column{
		{1, "alert_id", String, false, Public, "id of the alert, the same whenever the event is scored: 32 letters a to p"},
		{2, "run_id", String, false, Public, "run that gave it"},
		{3, "tenant", String, false, Public, "tenant whose card it is"},
		{4, "event_time", TimestampTZ, false, Public, "instant of the event"},
		{5, "event_id", String, false, Public, "event_id of cards.transactions"},
		{6, "transaction_id", String, false, Public, "transaction_id of cards.transactions"},
		{7, "card_token", String, false, Identifier, "card_token of the event"},
		{8, "customer_id", String, true, Identifier, "customer_id of the event"},
		{9, "merchant_id", String, true, Public, "merchant_id of the event"},
		{10, "terminal_id", String, true, Public, "terminal_id of the event"},
		{11, "mcc", String, true, Public, "mcc of the event"},
		{12, "merchant_country", String, true, Public, "merchant_country of the event"},
		{13, "channel", String, false, Public, "channel of the event"},
		{14, "approved", Bool, false, Public, "whether the event was approved"},
		{15, "amount", Decimal18x4, false, MoneyTag, "amount of the event"},
		{16, "currency", String, false, Public, "ISO 4217 code of amount"},
		{17, "score", Decimal18x4, false, Public, "how unusual the event is, from 0 to 1: the share of the reference events that stand out less"},
		{18, "probability", Decimal18x4, true, Public, "probability of fraud, from 0 to 1; null where the tenant has reported too few labels to learn one"},
		{19, "severity", String, false, Public, "low, medium, high or critical"},
		{20, "pattern", String, false, Public, "stolen_card, impossible_travel, card_testing, compromised_terminal or unusual"},
		{21, "position", Int32, false, Public, "place among the tenant's alerts of the UTC day, from 1"},
		{22, "reasons", String, false, Identifier, "why, in sentences, the strongest reason first; one a line"},
		{23, "features", String, false, Identifier, "contributing features with their values and weights, a JSON array"},
	},
}

// Labels is insights.labels: what tenants say of events.
var Labels = &Table{
	Namespace: "insights", Name: "labels",
	Doc:  "What a tenant says of an event: fraud or genuine. The newest row of an event and a source counts.",
	Time: "reported_at", ByTenant: true,
	Columns: []Column{
		{1, "label_id", String, false, Public, "id of the report, the same for a repeat of it: 32 letters a to p"},
		{2, "tenant", String, false, Public, "tenant that reports"},
		{3, "reported_at", TimestampTZ, false, Public, "instant at which the tenant knew"},
		{4, "event_id", String, false, Public, "event_id of cards.transactions"},
		{5, "label", String, false, Public, "fraud or genuine"},
		{6, "source", String, false, Public, "chargeback, file or review"},
		{7, "pattern", String, true, Public, "kind of fraud, as the tenant names it"},
		{8, "alert_id", String, true, Public, "alert that was reviewed"},
		{9, "reporter", String, false, Public, "principal that reported"},
		{10, "note", String, true, Identifier, "what the reporter wrote beside it"},
		{11, "recorded_at", TimestampTZ, false, Public, "instant at which the lake took it"},
	},
}

// Segments is insights.segments: the groups that job segment found among a tenant's customers.
var Segments = &Table{
	Namespace: "insights", Name: "segments",
	Doc:  "Groups of a tenant's customers who behave alike, one row for each group and run.",
	Time: "as_of", ByTenant: true, ByRun: true,
	Columns: []Column{
		{1, "run_id", String, false, Public, "run that gave it"},
		{2, "tenant", String, false, Public, "tenant whose customers they are"},
		{3, "as_of", TimestampTZ, false, Public, "as_of of the run"},
		{4, "segment_id", String, false, Public, "id of the segment, kept from run to run"},
		{5, "name", String, false, Public, "what distinguishes it, in words"},
		{6, "description", String, false, Public, "the same at length"},
		{7, "state", String, false, Public, "new, kept or retired; a retired segment has no customers"},
		{8, "customers", Int64, false, Public, "customers in it"},
		{9, "share", Decimal18x4, false, Public, "their share of all customers, from 0 to 1"},
		{10, "value", Decimal18x4, false, MoneyTag, "sum of what they spent in the window"},
		{11, "currency", String, false, Public, "ISO 4217 code of value"},
		{12, "previous_customers", Int64, true, Public, "customers in it in the run before; null if there was none"},
		{13, "shift", Decimal18x4, true, Public, "distance of its centre from that of the run before, in standard deviations; null if there was none"},
		{14, "map_x", Decimal18x4, false, Public, "place on the map of segments: first principal component"},
		{15, "map_y", Decimal18x4, false, Public, "second principal component"},
		{16, "centre", String, false, MoneyTag, "means of the features, a JSON object"},
	},
}

// CustomerSegments is insights.customer_segments: who is in which segment.
var CustomerSegments = &Table{
	Namespace: "insights", Name: "customer_segments",
	Doc:  "The segment of each customer, one row for each customer and run.",
	Time: "as_of", ByTenant: true, ByRun: true,
	Columns: []Column{
		{1, "run_id", String, false, Public, "run that gave it"},
		{2, "tenant", String, false, Public, "tenant whose customer it is"},
		{3, "as_of", TimestampTZ, false, Public, "as_of of the run"},
		{4, "customer_id", String, false, Identifier, "customer"},
		{5, "segment_id", String, false, Identifier, "segment of the customer"},
		{6, "probability", Decimal18x4, false, Identifier, "how surely, from 0 to 1"},
		{7, "previous_segment_id", String, true, Identifier, "segment in the run before; null if the customer was not there"},
		{8, "distance", Decimal18x4, false, Identifier, "distance from the segment's centre, in standard deviations"},
		{9, "recency_days", Decimal18x4, false, Identifier, "days from the last purchase to as_of"},
		{10, "frequency", Int64, false, Identifier, "purchases in the window"},
		{11, "monetary", Decimal18x4, false, MoneyTag, "what was spent in the window"},
		{12, "currency", String, false, Public, "ISO 4217 code of monetary"},
	},
}

// Predictions is insights.predictions: what each customer is expected to do.
var Predictions = &Table{
	Namespace: "insights", Name: "predictions",
	Doc:  "What each customer is expected to do in the next days, one row for each customer and run.",
	Time: "as_of", ByTenant: true, ByRun: true,
	Columns: []Column{
		{1, "run_id", String, false, Public, "run that gave it"},
		{2, "tenant", String, false, Public, "tenant whose customer it is"},
		{3, "as_of", TimestampTZ, false, Public, "as_of of the run"},
		{4, "customer_id", String, false, Identifier, "customer"},
		{5, "frequency", Int64, false, Identifier, "purchases after the first: x of the model; of one UTC day the first few count"},
		{6, "recency_days", Decimal18x4, false, Identifier, "days from the first purchase to the last, by UTC day: t_x of the model; a third if all were on one day"},
		{7, "age_days", Decimal18x4, false, Identifier, "days from noon of the first purchase's UTC day to as_of: T of the model"},
		{8, "alive", Decimal18x4, false, Identifier, "probability that the customer still buys, from 0 to 1"},
		{9, "purchases_30", Decimal18x4, false, Identifier, "purchases expected in 30 days"},
		{10, "purchases_60", Decimal18x4, false, Identifier, "purchases expected in 60 days"},
		{11, "purchases_90", Decimal18x4, false, Identifier, "purchases expected in 90 days"},
		{12, "value_30", Decimal18x4, true, MoneyTag, "value expected in 30 days; null where no value can be told"},
		{13, "value_60", Decimal18x4, true, MoneyTag, "value expected in 60 days"},
		{14, "value_90", Decimal18x4, true, MoneyTag, "value expected in 90 days"},
		{15, "currency", String, true, Public, "ISO 4217 code of the values"},
		{16, "next_mcc", String, true, Identifier, "likeliest category of the next purchase"},
		{17, "next_mcc_probability", Decimal18x4, true, Identifier, "how likely, from 0 to 1; null where the likeliest is not told apart"},
		{18, "next_purchase_at", TimestampTZ, true, Identifier, "instant before which the next purchase comes with a chance of one half; null if the customer is more likely gone"},
	},
}

// Recommendations is insights.recommendations: what each customer may like.
var Recommendations = &Table{
	Namespace: "insights", Name: "recommendations",
	Doc:  "Merchants and offers for each customer, the best first.",
	Time: "as_of", ByTenant: true, ByRun: true,
	Columns: []Column{
		{1, "run_id", String, false, Public, "run that gave it"},
		{2, "tenant", String, false, Public, "tenant whose customer it is"},
		{3, "as_of", TimestampTZ, false, Public, "as_of of the run"},
		{4, "customer_id", String, false, Identifier, "customer"},
		{5, "mode", String, false, Public, "all, or new: merchants where the customer has not bought; or offer"},
		{6, "position", Int32, false, Public, "place in the customer's list of the mode, from 1"},
		{7, "merchant_id", String, true, Identifier, "merchant; null for an offer of a category"},
		{8, "merchant_name", String, true, Identifier, "its name"},
		{9, "mcc", String, true, Identifier, "its category"},
		{10, "offer_id", String, true, Identifier, "offer of the tenant"},
		{11, "score", Decimal18x4, false, Identifier, "from 0 to 1, of this customer's list only"},
		{12, "reason", String, false, Identifier, "why, in a sentence"},
	},
}
