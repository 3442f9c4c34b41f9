GO ?= go
DIR ?= cardlake-data

.PHONY: demo dashboard e2e api-fuzz build test test-race test-kill test-real kms-real kill-real kill-kinesis commits maintain-chaos changes-chaos trino export-real doors-mutants insights-real job-kill soak freshness consistency scan-eval lint bench bench-short bench-insights clean

demo: build ## the main job, on embedded defaults; ends by itself
	./bin/cardlake-demo -dir $(DIR)

dashboard: build ## ninety days of past, what the jobs make of it, and the dashboard on live traffic
	@test -e past/demo.json || ./bin/cardlake-demo -dir past -days 90 -transactions 200000 -tenants 4
	@for job in segment anomaly predict recommend; do ./bin/cardlake job run -dir past $$job || exit 1; done
	./bin/cardlake-demo -dir past -tenants 4 -transactions 2000 -tps 40 -serve 127.0.0.1:8080

build: ## every binary, in bin/
	@mkdir -p bin
	$(GO) build -trimpath -o bin/ ./cmd/...

test: ## everything that needs only Go and a C/C++ compiler
	$(GO) vet ./...
	$(GO) test -timeout 25m ./...

test-race: ## the concurrent packages under the race detector
	$(GO) test -race -timeout 25m ./ingest/... ./processor/... ./writers/... ./catalog/... ./keys/... ./sim/... ./tokenize/... ./cmd/cardlake-scan

test-kill: ## the long form of the kill test: 100,000 transactions, ten SIGKILLs
	CARDLAKE_KILL_TRANSACTIONS=100000 $(GO) test -count=1 -v -timeout 30m -run TestSurvivesSIGKILL ./cmd/cardlake-demo

test-real: ## the same suites on a real Kafka (Java 17 and Maven), a real PostgreSQL, PyIceberg and PyArrow
	CARDLAKE_REAL=1 $(GO) test -count=1 -timeout 30m ./internal/kafkareal ./ingest/kafka ./internal/killtest
	@test -x .cache/python/bin/python || { python3 -m venv .cache/python && .cache/python/bin/pip -q install pyarrow==26.0.0 'pyiceberg[sql-sqlite,sql-postgres]==0.12.0'; }
	CARDLAKE_REAL=1 CARDLAKE_PYTHON=$(CURDIR)/.cache/python/bin/python $(GO) test -count=1 -timeout 20m ./catalog/iceberg/... ./writers/parquet ./internal/readers
	CARDLAKE_REAL=1 $(GO) test -count=1 -timeout 20m ./tokenize/ff1 ./tokenize/vault/...
	@$(MAKE) .cache/drivers
	@test -e .cache/jdbc/flight-sql-jdbc-driver-18.3.0.jar || mvn -q dependency:copy -Dartifact=org.apache.arrow:flight-sql-jdbc-driver:18.3.0 -DoutputDirectory=$(CURDIR)/.cache/jdbc
	CARDLAKE_REAL=1 CARDLAKE_PYTHON=$(CURDIR)/.cache/drivers/bin/python CARDLAKE_JDBC_DRIVER=$(CURDIR)/.cache/jdbc/flight-sql-jdbc-driver-18.3.0.jar $(GO) test -count=1 -timeout 20m ./internal/drivers
	@$(MAKE) trino

kms-real: ## the keyring's suite on AWS KMS itself; makes billed keys and deletes them after 7 days
	$(GO) test -run TestSuiteOnAWS -count=1 -v -timeout 30m ./keys/kms

kill-real: ## 200 SIGKILLs over two workers on a real Kafka, for each group protocol
	CARDLAKE_REAL=1 CARDLAKE_KILLS=200 $(GO) test -count=1 -v -timeout 60m -run LoseAndDoubleNothing ./internal/killtest

kill-kinesis: ## 200 SIGKILLs over two workers on Kinesis, with splits and merges
	CARDLAKE_KILLS=200 $(GO) test -count=1 -v -timeout 120m -run Kinesis ./internal/killtest

commits: ## 10,000 commits: the cost of the last ones over that of the first
	CARDLAKE_COMMITS=10000 $(GO) test -run xxx -bench 'BenchmarkAppend$$' -benchtime 1x -timeout 10m ./catalog/iceberg

maintain-chaos: ## ten minutes of maintenance beside a worker, all of it killed at random
	CARDLAKE_MAINTAIN_MINUTES=10 $(GO) test -count=1 -v -timeout 30m ./internal/maintaintest

job-kill: ## 200 SIGKILLs of processes that run a job
	CARDLAKE_KILLS=200 $(GO) test -count=1 -v -timeout 60m -run TestJobKilled ./cmd/cardlake

insights-real: ## hidden fraud at large, and published figures on the data sets in CARDLAKE_DATASETS, which the packages' testdata/README.md name
	CARDLAKE_REAL=1 $(GO) test -count=1 -v -timeout 20m -run TestHiddenFraud ./queries/insights/anomalies
	CARDLAKE_REAL=1 $(GO) test -count=1 -v -timeout 20m -run Odd ./queries/insights
	$(GO) test -count=1 -v -timeout 40m -run 'Datasets|CardTransactions|PublicSets|Published|Benchmark' ./queries/anomaly/... ./queries/segment ./queries/recommend

changes-chaos: ## a consumer of changes, killed for ten minutes beside a writer, compaction and expiry
	CARDLAKE_CHANGES_MINUTES=$${MINUTES:-10} $(GO) test -count=1 -v -timeout 60m -run TestKilledConsumer ./cmd/cardlake

trino: ## portable statements, views and questions on DuckDB and a real Trino (Java 24+, Maven, PostgreSQL; 0.8 GB once)
	CARDLAKE_REAL=1 $(GO) test -count=1 -v -timeout 40m -run TestAnswersAreDuckDBs ./queries/trino

export-real: .cache/drivers ## a tenant of five million rows, exported, cut, resumed and opened by pandas, openpyxl and parquet-go
	CARDLAKE_REAL=1 CARDLAKE_PYTHON=$(CURDIR)/.cache/drivers/bin/python CARDLAKE_ROWS=$${ROWS:-5000000} $(GO) test -count=1 -v -timeout 60m -run TestExportReal ./cmd/cardlake

.cache/drivers:
	rm -rf $@.new && python3 -m venv $@.new
	$@.new/bin/pip -q install pyarrow==26.0.0 pandas==3.1.1 openpyxl==3.1.5 requests==2.34.2 adbc-driver-flightsql==1.13.0 duckdb==2.0.0
	mv $@.new $@

doors-mutants: ## take out each check of the doors in turn: the matrix must notice
	CARDLAKE_MUTANTS=1 $(GO) test -count=1 -v -timeout 60m -run TestMutants ./internal/doors

e2e: .cache/axe.min.js ## every page in headless Chromium, as everybody, in both themes; pictures go to .cache/screenshots
	@command -v chromium >/dev/null || { apt-get -q update && apt-get -qy install chromium; }
	CARDLAKE_REAL=1 CARDLAKE_AXE=$(CURDIR)/.cache/axe.min.js CARDLAKE_SCREENSHOTS=$(CURDIR)/.cache/screenshots $(GO) test -count=1 -v -timeout 30m ./dashboard/e2e

.cache/axe.min.js:
	@mkdir -p .cache && cd .cache && npm pack --silent axe-core@4.14.1 && tar -xzf axe-core-4.14.1.tgz package/axe.min.js && mv package/axe.min.js . && rm -r package axe-core-4.14.1.tgz

api-fuzz: .cache/schemathesis ## every route of the API, with what its description allows and what it does not
	CARDLAKE_REAL=1 CARDLAKE_SCHEMATHESIS=$(CURDIR)/.cache/schemathesis/bin/schemathesis $(GO) test -count=1 -v -timeout 30m -run Schemathesis ./api

.cache/schemathesis:
	python3 -m venv $@ && $@/bin/pip -q install schemathesis==4.32.5 || { rm -rf $@; false; }

soak: ## the record day, 13.5 million transactions, from a broker to committed tables
	$(GO) run ./internal/soak

freshness: ## how soon a decision can be queried, at 600 a second
	$(GO) run ./internal/freshness measure

consistency: ## ten thousand queries while workers are killed and commits land
	$(GO) run ./internal/freshness consistency

scan-eval: ## precision and recall of cardlake-scan on its corpus
	$(GO) test -count=1 -v ./tokenize/discover/corpus

lint: ## formatting, vet, static analysis, known vulnerabilities
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

bench: ## all benchmarks, as a table
	@$(GO) run ./internal/bench

bench-short: ## each benchmark once: that they work, not how fast
	@$(GO) run ./internal/bench -short

bench-insights: ## the jobs over 13.5 million transactions of a million customers (1.5 GB in TMPDIR), and their methods beside Python's
	@CARDLAKE_BENCH_ROWS=$${ROWS:-13500000} GOMEMLIMIT=1400MiB $(GO) run ./internal/bench -only INSIGHTS

clean:
	rm -rf bin $(DIR)
