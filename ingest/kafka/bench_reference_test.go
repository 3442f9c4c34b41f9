package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	pqgo "github.com/parquet-go/parquet-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/cardlake/cardlake/card/wire"
	"github.com/cardlake/cardlake/internal/bench/meter"
)

// bentoEnv names the program that internal/bench/bento builds.
const bentoEnv = "CARDLAKE_BENTO"

// event is the event as one would declare it for a decoder and a writer of structs: all of
// its clear fields.
type event struct {
	EventID         [16]byte `avro:"event_id" json:"-" parquet:"event_id"`
	TransactionID   [16]byte `avro:"transaction_id" json:"-" parquet:"transaction_id"`
	EventIDText     string   `json:"event_id" parquet:"-"`
	TransactionText string   `json:"transaction_id" parquet:"-"`
	EventType       string   `avro:"event_type" json:"event_type" parquet:"event_type,dict"`
	Tenant          string   `avro:"tenant" json:"tenant" parquet:"tenant,dict"`
	Program         string   `avro:"program" json:"program" parquet:"program,dict"`
	Region          string   `avro:"region" json:"region" parquet:"region,dict"`
	EventTime       int64    `avro:"event_time" json:"event_time" parquet:"event_time,timestamp(microsecond)"`
	LocalTime       *int64   `avro:"local_time" json:"local_time" parquet:"local_time,optional"`
	CustomerID      *string  `avro:"customer_id" json:"customer_id" parquet:"customer_id,optional"`
	AccountID       *string  `avro:"account_id" json:"account_id" parquet:"account_id,optional"`
	Network         string   `avro:"network" json:"network" parquet:"network,dict"`
	Product         *string  `avro:"product" json:"product" parquet:"product,optional,dict"`
	Amount          int64    `avro:"amount" json:"amount" parquet:"amount"`
	Currency        string   `avro:"currency" json:"currency" parquet:"currency,dict"`
	BillingAmount   *int64   `avro:"billing_amount" json:"billing_amount" parquet:"billing_amount,optional"`
	BillingCurrency *string  `avro:"billing_currency" json:"billing_currency" parquet:"billing_currency,optional,dict"`
	MerchantID      *string  `avro:"merchant_id" json:"merchant_id" parquet:"merchant_id,optional,dict"`
	MerchantName    *string  `avro:"merchant_name" json:"merchant_name" parquet:"merchant_name,optional,dict"`
	MCC             *string  `avro:"mcc" json:"mcc" parquet:"mcc,optional,dict"`
	MerchantCity    *string  `avro:"merchant_city" json:"merchant_city" parquet:"merchant_city,optional,dict"`
	MerchantCountry *string  `avro:"merchant_country" json:"merchant_country" parquet:"merchant_country,optional,dict"`
	TerminalID      *string  `avro:"terminal_id" json:"terminal_id" parquet:"terminal_id,optional,dict"`
	AcquirerID      *string  `avro:"acquirer_id" json:"acquirer_id" parquet:"acquirer_id,optional,dict"`
	Channel         string   `avro:"channel" json:"channel" parquet:"channel,dict"`
	EntryMode       string   `avro:"entry_mode" json:"entry_mode" parquet:"entry_mode,dict"`
	CardPresent     bool     `avro:"card_present" json:"card_present" parquet:"card_present"`
	Wallet          *string  `avro:"wallet" json:"wallet" parquet:"wallet,optional,dict"`
	ECI             *string  `avro:"eci" json:"eci" parquet:"eci,optional,dict"`
	ResponseCode    string   `avro:"response_code" json:"response_code" parquet:"response_code,dict"`
	Approved        bool     `avro:"approved" json:"approved" parquet:"approved"`
	DeclineReason   *string  `avro:"decline_reason" json:"decline_reason" parquet:"decline_reason,optional,dict"`
	ApprovalCode    *string  `avro:"approval_code" json:"approval_code" parquet:"approval_code,optional"`
	CVVResult       *string  `avro:"cvv_result" json:"cvv_result" parquet:"cvv_result,optional,dict"`
	AVSResult       *string  `avro:"avs_result" json:"avs_result" parquet:"avs_result,optional,dict"`
	PINVerified     *bool    `avro:"pin_verified" json:"pin_verified" parquet:"pin_verified,optional"`
	LatencyMicros   int32    `avro:"latency_us" json:"latency_us" parquet:"latency_us"`
	MTI             string   `avro:"mti" json:"mti" parquet:"mti,dict"`
	ProcessingCode  *string  `avro:"processing_code" json:"processing_code" parquet:"processing_code,optional,dict"`
	STAN            *string  `avro:"stan" json:"stan" parquet:"stan,optional"`
	RRN             *string  `avro:"rrn" json:"rrn" parquet:"rrn,optional"`
}

// framing is the length of Confluent's prefix: a zero and the schema's id.
const framing = 5

// eventSchema is the schema without its logical types, so that times decode into integers.
func eventSchema(b *testing.B) avro.Schema {
	text := wire.Schema()
	for _, logical := range []string{"local-timestamp-micros", "timestamp-micros"} {
		text = strings.ReplaceAll(text, `{"type": "long", "logicalType": "`+logical+`"}`, `"long"`)
	}
	schema, err := avro.ParseWithCache(text, "", new(avro.SchemaCache))
	if err != nil {
		b.Fatal(err)
	}
	return schema
}

// poll gives each event's value to do.
func (s *site) poll(b *testing.B, do func(value []byte)) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for n := 0; n < benchEvents(); {
		fetches := client.PollFetches(b.Context())
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { do(r.Value) })
		n += fetches.NumRecords()
	}
}

// benchClient polls the events with a bare client.
func (s *site) benchClient(b *testing.B) {
	var m meter.Meter
	for b.Loop() {
		m.Start()
		s.poll(b, func([]byte) {})
		m.Stop(int64(benchEvents()))
	}
	m.Report(b)
}

// loopFile is how many rows the loop and Bento put into one file.
const loopFile = 50_000

// benchLoop is the least one would write: poll, decode into a struct, parquet-go's writer
// with zstd, a file. Nothing is opened, tokenised, encrypted, synced or committed.
func (s *site) benchLoop(b *testing.B) {
	schema := eventSchema(b)
	var m meter.Meter
	for b.Loop() {
		dir := b.TempDir()
		m.Start()
		writer := pqgo.NewGenericWriter[event](nil, pqgo.Compression(&pqgo.Zstd))
		var file *os.File
		var err error
		rows, inFile, files := make([]event, 0, 1000), 0, 0
		write := func() {
			if file == nil {
				if file, err = os.Create(filepath.Join(dir, fmt.Sprint(files, ".parquet"))); err != nil {
					b.Fatal(err)
				}
				files++
				writer.Reset(file)
			}
			if _, err := writer.Write(rows); err != nil {
				b.Fatal(err)
			}
			inFile += len(rows)
			clear(rows)
			rows = rows[:0]
		}
		end := func() {
			if err := writer.Close(); err != nil {
				b.Fatal(err)
			}
			if err := file.Close(); err != nil {
				b.Fatal(err)
			}
			file, inFile = nil, 0
		}
		s.poll(b, func(value []byte) {
			rows = rows[:len(rows)+1]
			if err := avro.Unmarshal(schema, value[framing:], &rows[len(rows)-1]); err != nil {
				b.Fatal(err)
			}
			if len(rows) == cap(rows) {
				if write(); inFile >= loopFile {
					end()
				}
			}
		})
		if len(rows) > 0 {
			write()
		}
		if file != nil {
			end()
		}
		m.Stop(int64(benchEvents()))
		written := newFolder(dir)
		if err := written.read(); err != nil || written.rows != int64(benchEvents()) {
			b.Fatalf("%d rows in the files, want %d: %v", written.rows, benchEvents(), err)
		}
		m.Bytes += written.bytes
	}
	m.Report(b)
}

// folder counts the rows of a folder's Parquet files.
type folder struct {
	dir         string
	seen        map[string]bool
	rows, bytes int64
}

func newFolder(dir string) *folder { return &folder{dir: dir, seen: map[string]bool{}} }

// read counts the files that are complete by now.
func (f *folder) read() error {
	paths, err := filepath.Glob(filepath.Join(f.dir, "*.parquet"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if f.seen[path] {
			continue
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := pqgo.OpenFile(bytes.NewReader(body), int64(len(body)))
		if err != nil {
			continue // somebody still writes it
		}
		f.seen[path] = true
		f.rows += file.NumRows()
		f.bytes += int64(len(body))
	}
	return nil
}

// benchBentoAvro runs Bento on the same events, decoded by way of a schema registry.
func (s *site) benchBentoAvro(b *testing.B) {
	s.benchBento(b, topic, func(dir string) []any {
		registry := srfake.New()
		b.Cleanup(registry.Close)
		client, err := sr.NewClient(sr.URLs(registry.URL()))
		if err != nil {
			b.Fatal(err)
		}
		created, err := client.CreateSchema(b.Context(), topic+"-value", sr.Schema{Schema: wire.Schema()})
		if err != nil {
			b.Fatal(err)
		}
		if created.ID != wire.DefaultSchemaID {
			b.Fatalf("the registry gave id %d, the events carry %d", created.ID, wire.DefaultSchemaID)
		}
		return []any{map[string]any{"schema_registry_decode": map[string]any{"url": registry.URL(), "avro_raw_json": true}}}
	})
}

// benchBentoJSON runs Bento on the same events written as JSON, which it decodes faster.
func (s *site) benchBentoJSON(b *testing.B) {
	const topic = topic + "-json"
	s.benchBento(b, topic, func(string) []any {
		admin := kadm.NewClient(s.client)
		if _, err := admin.CreateTopic(b.Context(), partitions, 1, nil, topic); err != nil {
			b.Fatal(err)
		}
		schema := eventSchema(b)
		var records []*kgo.Record
		produce := func() {
			if err := s.client.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
				b.Fatal(err)
			}
			records = records[:0]
		}
		s.poll(b, func(value []byte) {
			var e event
			if err := avro.Unmarshal(schema, value[framing:], &e); err != nil {
				b.Fatal(err)
			}
			e.EventIDText, e.TransactionText = fmt.Sprintf("%x", e.EventID), fmt.Sprintf("%x", e.TransactionID)
			text, err := json.Marshal(e)
			if err != nil {
				b.Fatal(err)
			}
			if records = append(records, &kgo.Record{Topic: topic, Value: text}); len(records) == 10_000 {
				produce()
			}
		})
		produce()
		return nil
	})
}

// benchBento runs Bento from a topic to files of loopFile rows, in a process of its own, until
// the files hold all events. prepare returns the processors that decode.
func (s *site) benchBento(b *testing.B, topic string, prepare func(dir string) []any) {
	program := os.Getenv(bentoEnv)
	if program == "" {
		b.Skipf("%s does not name a Bento", bentoEnv)
	}
	var total meter.Figures
	var decode []any
	for i := 0; b.Loop(); i++ {
		dir := b.TempDir()
		if i == 0 {
			decode = prepare(dir)
		}
		config := filepath.Join(dir, "pipeline.yaml") // JSON is YAML
		text, err := json.Marshal(bentoPipeline(b, s.brokers, topic, fmt.Sprint("bento-", topic, i), decode, dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(config, text, 0o600); err != nil {
			b.Fatal(err)
		}
		took := runBento(b, program, config, newFolder(dir))
		total.Rows += took.Rows
		total.Bytes += took.Bytes
		total.CPU += took.CPU
		total.Wall += took.Wall
		total.Allocs += took.Allocs
		total.Peak = max(total.Peak, took.Peak)
	}
	total.Report(b)
}

func runBento(b *testing.B, program, config string, out *folder) (took meter.Figures) {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	var said, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, program, config)
	cmd.Stdout, cmd.Stderr = &said, &complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for out.rows < int64(benchEvents()) {
		select {
		case err := <-ended:
			b.Fatalf("Bento ended with %d of %d rows written: %v\n%s%s", out.rows, benchEvents(), err, said.Bytes(), complaints.Bytes())
		case <-tick.C:
		}
		if err := out.read(); err != nil {
			b.Fatal(err)
		}
	}
	if err := stdin.Close(); err != nil {
		b.Fatal(err)
	}
	if err := <-ended; err != nil {
		b.Fatalf("Bento: %v\n%s", err, complaints.Bytes())
	}
	if err := json.Unmarshal(said.Bytes(), &took); err != nil {
		b.Fatalf("Bento's figures: %v in %q", err, said.Bytes())
	}
	took.Rows, took.Bytes = out.rows, out.bytes
	return took
}

// bentoPipeline is Kafka, decode, parquet_encode with zstd, files.
func bentoPipeline(b *testing.B, brokers []string, topic, group string, decode []any, dir string) any {
	var columns []any
	for _, f := range eventSchema(b).(*avro.RecordSchema).Fields() {
		typ, optional := f.Type(), false
		if u, ok := typ.(*avro.UnionSchema); ok {
			typ, optional = u.Types()[1], true
		}
		column := map[string]any{"name": f.Name(), "optional": optional}
		switch typ.Type() {
		case avro.Bytes:
			continue // the sealed card number: no reference keeps it
		case avro.Long:
			column["type"] = "INT64"
		case avro.Int:
			column["type"] = "INT32"
		case avro.Boolean:
			column["type"] = "BOOLEAN"
		default:
			column["type"] = "UTF8"
		}
		columns = append(columns, column)
	}
	return map[string]any{
		"input": map[string]any{"kafka_franz": map[string]any{
			"seed_brokers": brokers, "topics": []string{topic}, "consumer_group": group,
			"checkpoint_limit": 4 * loopFile,
			"batching":         map[string]any{"count": loopFile, "period": "1s"},
		}},
		"pipeline": map[string]any{"processors": append(append([]any(nil), decode...), map[string]any{
			"parquet_encode": map[string]any{"default_compression": "zstd", "schema": columns},
		})},
		"output": map[string]any{"file": map[string]any{"path": dir + "/${! uuid_v4() }.parquet", "codec": "all-bytes"}},
	}
}
