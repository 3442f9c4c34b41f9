GO ?= go
DIR ?= cardlake-data

.PHONY: demo build test test-short test-race test-kill lint bench clean

demo: build ## the main job, on embedded defaults; ends by itself
	./bin/cardlake-demo -dir $(DIR)

build: ## every binary, in bin/
	@mkdir -p bin
	$(GO) build -trimpath -o bin/ ./cmd/...

test: ## everything that needs only Go and a C/C++ compiler
	$(GO) vet ./...
	$(GO) test -timeout 25m ./...

test-race: ## the concurrent packages under the race detector
	$(GO) test -race -timeout 25m ./ingest/... ./processor/... ./writers/... ./catalog/... ./keys/... ./sim/... ./tokenize/...

test-kill: ## the long form of the kill test: 100,000 transactions, ten SIGKILLs
	CARDLAKE_KILL_TRANSACTIONS=100000 $(GO) test -count=1 -v -timeout 30m -run TestSurvivesSIGKILL ./cmd/cardlake-demo

lint: ## formatting, vet, static analysis, known vulnerabilities
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

bench: ## all benchmarks, as a table
	@$(GO) run ./internal/bench

clean:
	rm -rf bin $(DIR)
