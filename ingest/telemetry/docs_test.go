package telemetry

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cardlake/cardlake/ingest"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// alert is a suggested rule.
type alert struct {
	name, expr, wait, severity, means, act string
}

// alerts are for the default window of 30 s. Page wakes somebody, ticket can wait for the day.
var alerts = []alert{
	{"CardlakeWorkerAbsent", `absent(cardlake_worker_ready)`, "5m", "page",
		"No worker is scraped at all.",
		"Start one, or mend the scraping; what is on the stream waits there."},
	{"CardlakeWorkerNotReady", `cardlake_worker_ready == 0`, "3m", "page",
		"A worker does not do its work.",
		"Read /readyz of the instance: it gives the reasons."},
	{"CardlakeNoCommit", `cardlake_worker_oldest_uncommitted_seconds > 120`, "1m", "page",
		"Records were taken and nothing was committed since: object store, catalog, key service or vault. Set the limit to four times -window.",
		"See cardlake_worker_errors_total by kind, then the worker's log."},
	{"CardlakeNoPoll", `time() - cardlake_worker_last_poll_timestamp_seconds > 120`, "1m", "page",
		"Polls fail, or commits hold polling back (cardlake_worker_pending_windows at its limit), or the vault does not pin cards (cardlake_worker_errors_total of kind pin).",
		"If windows are pending treat it as CardlakeNoCommit, if cards are not pinned look at the vault, else at the stream."},
	{"CardlakeStreamSilent", `time() - cardlake_worker_last_answer_timestamp_seconds > 60`, "1m", "page",
		"No broker answers this worker.",
		"See whether other clients reach the brokers; if so, look at the worker's network, certificates and login."},
	{"CardlakeLag", `max by (stream, partition) (cardlake_worker_partition_lag_seconds) > 300`, "5m", "page",
		"The lake is five minutes behind the stream.",
		"If every partition lags and rows still flow, add workers up to the number of partitions; if one does, look at its worker."},
	{"CardlakePartitionFaulty", `max by (stream, partition) (cardlake_worker_partition_faulty) == 1`, "2m", "page",
		"A partition cannot be read while others go on: retention has passed it, or its leader is away.",
		"Read /status of the instance; a position that the stream no longer has needs a decision, never a reset."},
	{"CardlakePartitionStuck", `cardlake_worker_partition_lag_records > 0 and delta(cardlake_worker_partition_taken_offset[10m]) == 0`, "5m", "page",
		"A partition has records and none is taken.",
		"Look at the worker's log; kill the worker if it says nothing, which is safe at any time."},
	{"CardlakePartitionUnowned", `count by (stream) (group by (stream, partition) (cardlake_worker_partition_taken_offset)) < count by (stream) (group by (stream, partition) (cardlake_worker_partition_taken_offset offset 30m))`, "10m", "ticket",
		"Fewer partitions are read than half an hour ago. After shards were merged it is right.",
		"See whether a worker is missing from the group."},
	{"CardlakeRejected", `sum by (reason) (increase(cardlake_worker_rejected_records_total[15m])) > 0`, "0m", "ticket",
		"Records went to the rejected table. unknown_schema after a deployment of the processor, or any reason at more than a few a minute, is urgent.",
		"Query cards.transactions_rejected by reason; mend the cause; replay them."},
	{"CardlakeOffboardedTenant", `sum(increase(cardlake_worker_offboarded_records_total[1h])) > 0`, "0m", "ticket",
		"The processor still sends events of a tenant that is off-boarded. They are dropped.",
		"Have the processor stop. If the tenant has not left, stop the workers at once: what they drop is lost when the stream forgets it."},
	{"CardlakeCardNumbersRemoved", `sum by (field) (increase(cardlake_worker_removed_card_numbers_total[15m])) > 0`, "0m", "ticket",
		"A producer sends card numbers in a free text. They were masked before they were stored.",
		"The worker's log names tenant, field and the first record: docs/runbooks/card-number-is-found.md."},
	{"CardlakeConflicts", `sum(increase(cardlake_worker_conflicts_total[15m])) > 5`, "0m", "ticket",
		"Workers take partitions from each other again and again, each reading the other's records once more. Nothing is lost or doubled.",
		"Look for rebalances in the log, for two workers with the same -instance, for two groups on one lake."},
	{"CardlakeUnknownOutcomes", `sum(increase(cardlake_worker_unknown_outcomes_total[15m])) > 3`, "0m", "ticket",
		"The catalog often does not say whether a commit happened. Nothing is lost or doubled.",
		"Look at the catalog's database or service, and at the network to it."},
	{"CardlakeErrors", `sum by (kind) (rate(cardlake_worker_errors_total[5m])) > 0.1`, "10m", "ticket",
		"A service that the worker needs keeps failing: poll (the stream), put (the object store), append (the catalog), key (the key service), pin (the vault).",
		"Look at that service; the worker goes on by itself."},
	{"CardlakeSlowCommits", `histogram_quantile(0.99, sum by (le) (rate(cardlake_worker_stage_duration_seconds_bucket{stage="commit"}[15m]))) > 15`, "15m", "ticket",
		"A commit takes half a window: soon polling will wait for it.",
		"Compare the stages write and append to see which one it is."},
}

// document is docs/metrics.md.
func document() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	perWorker, perPartition := series()
	p(`# Metrics of a worker

Written by %[1]sgo test ./ingest/telemetry -update%[1]s from the metrics' own definitions; a test keeps it true.

%[1]scardlake-worker run%[1]s serves them at %[1]s/metrics%[1]s of its %[1]s-admin%[1]s address, in the Prometheus and OpenMetrics text formats, beside those of the Go runtime (%[1]sgo_*%[1]s) and the process (%[1]sprocess_*%[1]s). Units are seconds and bytes. No metric names a tenant or holds card data. Series per worker: %[2]d, and %[3]d for each partition that it owns.

`, "`", perWorker, perPartition)
	p("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range metrics {
		labels := make([]string, len(m.labels))
		for i, l := range m.labels {
			labels[i] = "`" + l + "`"
		}
		p("| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(labels, ", "), m.help)
	}
	p("\nValues of `reason`: %s. Values of `kind`: %s. Values of `stage`: %s.\n",
		quoted(ingest.Reasons()), quoted([]string{"poll", "put", "append", "key", "pin"}), quoted([]string{"poll", "take", "write", "append", "commit"}))
	p(`
## On a dashboard

| panel | query |
|---|---|
| freshness of the lake, worst partition | %[1]smax(time() - cardlake_worker_partition_watermark_timestamp_seconds)%[1]s |
| lag of each partition | %[1]smax by (stream, partition) (cardlake_worker_partition_lag_seconds)%[1]s |
| rows per second | %[1]ssum(rate(cardlake_worker_rows_total[1m]))%[1]s |
| records waiting for their commit | %[1]ssum(cardlake_worker_partition_taken_offset - cardlake_worker_partition_committed_offset)%[1]s |
| first record to commit, 99th percentile | %[1]shistogram_quantile(0.99, sum by (le) (rate(cardlake_worker_window_duration_seconds_bucket[15m])))%[1]s |
| time of each stage, 99th percentile | %[1]shistogram_quantile(0.99, sum by (stage, le) (rate(cardlake_worker_stage_duration_seconds_bucket[5m])))%[1]s |
| share of a core spent taking records | %[1]ssum(rate(cardlake_worker_stage_duration_seconds_sum{stage="take"}[1m]))%[1]s |
| average rows per file | %[1]ssum(rate(cardlake_worker_file_rows_sum[1h])) / sum(rate(cardlake_worker_file_rows_count[1h]))%[1]s |
| rejected records by reason | %[1]ssum by (reason) (increase(cardlake_worker_rejected_records_total[$__range]))%[1]s |

`, "`")
	p("## Alert rules\n\nFor the default window of 30 s. `page` wakes somebody, `ticket` can wait for the day.\n\n```yaml\ngroups:\n  - name: cardlake-worker\n    rules:\n")
	for _, a := range alerts {
		p("      - alert: %s\n        expr: '%s'\n        for: %s\n        labels: {severity: %s}\n        annotations:\n          summary: '%s'\n          action: '%s'\n",
			a.name, yaml(a.expr), a.wait, a.severity, yaml(a.means), yaml(a.act))
	}
	p("```\n")
	return b.Bytes()
}

// series counts the series of a worker and of each of its partitions.
func series() (perWorker, perPartition int) {
	values := map[string]int{"reason": len(ingest.Reasons()), "kind": 5, "stage": 5}
	for _, m := range metrics {
		n := 1
		if m.kind == histogram {
			n = len(m.buckets) + 3 // the last bucket, the sum and the count
		}
		if slices.Equal(m.labels, partition) {
			perPartition += n
			continue
		}
		for _, l := range m.labels {
			n *= values[l]
		}
		perWorker += n
	}
	return perWorker, perPartition
}

// yaml is text for between single quotes.
func yaml(s string) string { return strings.ReplaceAll(s, "'", "''") }

func quoted(words []string) string { return "`" + strings.Join(words, "`, `") + "`" }

func TestDocumentIsWhatTheMetricsSay(t *testing.T) {
	const path = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, document(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, document()) {
		t.Errorf("docs/metrics.md is not what the metrics say: run go test ./ingest/telemetry -update")
	}
}

// TestQueriesNameMetricsThatExist reads the names out of every query of the document.
func TestQueriesNameMetricsThatExist(t *testing.T) {
	for _, name := range regexp.MustCompile(`cardlake_worker_[a-z_]+`).FindAllString(string(document()), -1) {
		isOne := slices.ContainsFunc(metrics, func(m metric) bool {
			rest, ok := strings.CutPrefix(name, m.name)
			return ok && (rest == "" || m.kind == histogram && slices.Contains([]string{"_bucket", "_sum", "_count"}, rest))
		})
		if !isOne {
			t.Errorf("no metric is named %s", name)
		}
	}
}
