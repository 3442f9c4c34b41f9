package telemetry

import "github.com/prometheus/client_golang/prometheus"

// metric defines one metric family.
type metric struct {
	name    string
	kind    string // counter, gauge or histogram
	labels  []string
	help    string
	buckets []float64 // of a histogram
}

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// partition are the labels of what is told of each partition.
var partition = []string{"stream", "partition"}

// The stages, and what passes them.
var (
	stageDuration = metric{"cardlake_worker_stage_duration_seconds", histogram, []string{"stage"},
		"Time taken by one run of a stage: poll (waiting for records and receiving them; polls that brought none are not counted), take (decode, open, tokenise, add to columns), write (encode, encrypt and put a window's files), append (commit files and positions to one table), commit (a whole window: its writes and appends).",
		[]float64{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}}
	windowDuration = metric{"cardlake_worker_window_duration_seconds", histogram, nil,
		"Time from a window's first record to its commit: what the worker adds to the age of its oldest row.",
		[]float64{0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 35, 40, 60, 120, 300, 900}}
	pollRecords = metric{"cardlake_worker_poll_records", histogram, nil,
		"Records brought by one poll.", prometheus.ExponentialBuckets(1, 4, 8)}
	commitRows = metric{"cardlake_worker_commit_rows", histogram, nil,
		"Rows of one committed window.", prometheus.ExponentialBuckets(1, 10, 8)}
	fileRows = metric{"cardlake_worker_file_rows", histogram, nil,
		"Rows of one file written.", prometheus.ExponentialBuckets(1, 10, 8)}
	fileBytes = metric{"cardlake_worker_file_bytes", histogram, nil,
		"Size of one file written, before sealing.", prometheus.ExponentialBuckets(1<<10, 4, 11)}
)

// What the worker did since its start.
var (
	records = metric{"cardlake_worker_records_total", counter, nil,
		"Records taken from the stream.", nil}
	rows = metric{"cardlake_worker_rows_total", counter, nil,
		"Rows added to a window. Rows of a window that was dropped are read and counted again.", nil}
	totals = metric{"cardlake_worker_control_totals_added_total", counter, nil,
		"Control totals added to a window: the processor's counts that the lake is reconciled against.", nil}
	duplicates = metric{"cardlake_worker_duplicate_records_total", counter, nil,
		"Records dropped because their event was in the lake or in the window already.", nil}
	offboarded = metric{"cardlake_worker_offboarded_records_total", counter, nil,
		"Records dropped because their tenant is off-boarded. They are kept nowhere.", nil}
	removed = metric{"cardlake_worker_removed_card_numbers_total", counter, []string{"field"},
		"What looked like card numbers in fields that people and terminals fill in, masked before the row was added, by field. The log names the tenant.", nil}
	rejects = metric{"cardlake_worker_rejected_records_total", counter, []string{"reason"},
		"Records that can never become a row and went to the rejected table, by reason.", nil}
	late = metric{"cardlake_worker_late_rows_total", counter, nil,
		"Rows further behind the newest event than the limit for late ones, an hour by default. They are in the lake, in their own day.", nil}
	outOfOrder = metric{"cardlake_worker_out_of_order_rows_total", counter, nil,
		"Rows behind the newest event, late ones included.", nil}
	commits = metric{"cardlake_worker_commits_total", counter, nil,
		"Windows committed.", nil}
	conflicts = metric{"cardlake_worker_conflicts_total", counter, nil,
		"Windows dropped because the table had moved: another worker owns the partition now, or the table was rolled back. Nothing is lost, the records are read again.", nil}
	unknown = metric{"cardlake_worker_unknown_outcomes_total", counter, nil,
		"Commits whose outcome was not known and was read from the table.", nil}
	errorsOf = metric{"cardlake_worker_errors_total", counter, []string{"kind"},
		"Failures that are tried again: poll (the stream), put (the object store), append (the catalog), key (the key service), pin (the vault).", nil}
)

// How the worker stands.
var (
	ready = metric{"cardlake_worker_ready", gauge, nil,
		"1 if the worker does its work, 0 if not; /readyz says why not.", nil}
	lastPoll = metric{"cardlake_worker_last_poll_timestamp_seconds", gauge, nil,
		"When a poll last ended without an error, with or without records, in seconds since the epoch. Absent before the first.", nil}
	lastAnswer = metric{"cardlake_worker_last_answer_timestamp_seconds", gauge, nil,
		"When a broker last answered anything, in seconds since the epoch. Absent before the first answer, and on Kinesis.", nil}
	lastCommit = metric{"cardlake_worker_last_commit_timestamp_seconds", gauge, nil,
		"When a window was last committed, in seconds since the epoch. Absent before the first. A worker whose stream is idle has nothing to commit: alert on the oldest uncommitted window instead.", nil}
	watermark = metric{"cardlake_worker_committed_watermark_timestamp_seconds", gauge, nil,
		"Newest event time that this worker committed, in seconds since the epoch. Absent before the first commit.", nil}
	oldest = metric{"cardlake_worker_oldest_uncommitted_seconds", gauge, nil,
		"Age of the oldest window that is not committed, 0 if there is none.", nil}
	pending = metric{"cardlake_worker_pending_windows", gauge, nil,
		"Closed windows that wait for their commit, the one being committed included. At the limit (-pending) polling stops.", nil}
	openRows = metric{"cardlake_worker_open_rows", gauge, nil,
		"Rows of the open window.", nil}
	openBytes = metric{"cardlake_worker_open_bytes", gauge, nil,
		"About the memory that the rows of the open window take.", nil}
	taken = metric{"cardlake_worker_partition_taken_offset", gauge, partition,
		"Offset after the last record taken. Only of partitions that this worker owns, as all that follow.", nil}
	committed = metric{"cardlake_worker_partition_committed_offset", gauge, partition,
		"Offset after the last record that is in the lake.", nil}
	partWatermark = metric{"cardlake_worker_partition_watermark_timestamp_seconds", gauge, partition,
		"Newest event time taken, in seconds since the epoch; before the first record, that of the lake when the partition was assigned. Absent if there is none.", nil}
	lagRecords = metric{"cardlake_worker_partition_lag_records", gauge, partition,
		"Records that the stream has beyond those polled, as of the newest fetch. Absent on Kinesis, which does not count them.", nil}
	lagSeconds = metric{"cardlake_worker_partition_lag_seconds", gauge, partition,
		"How far the worker is behind the stream: on Kinesis what the service says; on Kafka the age of the last record taken while there are more or the partition cannot be read, 0 when there are none.", nil}
	faulty = metric{"cardlake_worker_partition_faulty", gauge, partition,
		"1 if the newest fetch of the partition failed, else 0. It stands still while others may go on.", nil}
)

// metrics lists all, in the order of the documentation.
var metrics = []metric{
	ready, oldest, lastCommit, lastPoll, lastAnswer, pending, openRows, openBytes, watermark,
	lagSeconds, lagRecords, taken, committed, partWatermark, faulty,
	records, rows, totals, duplicates, offboarded, removed, rejects, late, outOfOrder, commits, conflicts, unknown, errorsOf,
	stageDuration, windowDuration, pollRecords, commitRows, fileRows, fileBytes,
}
