package archtest

// Rules is the table of the module: where each package stands and which arrows leave it.
var Rules = []Rule{
	// What both zones share. Nothing here can hold a clear card number.
	{".", Lake, nil, []string{"github.com/apache/arrow-go/"},
		"the nouns everyone imports must cost nothing to import"},
	{"keys/...", Lake, []string{"."}, nil,
		"key wrapping knows owners and purposes, not what is encrypted; a zone-B process opens it without the purposes of zone A"},
	{"catalog/...", Lake, []string{".", "keys", "writers/objects"}, nil,
		"commits files and positions; keeps its own metadata in sealed objects"},
	{"catalog/audit", Lake, []string{".", "keys"}, nil,
		"the record of who did what: any door of either zone writes it"},
	{"writers/...", Lake, []string{".", "keys", "catalog"}, nil,
		"takes columns in which card numbers are tokens already"},
	{"internal/home", Lake, nil, nil,
		"names files; imports nothing, so that any binary may use it"},
	{"internal/archtest", Lake, nil, []string{},
		"these rules"},
	{"internal/bench/...", Lake, nil, []string{},
		"runs the benchmarks of all packages as go test does; meter takes their figures"},
	{"internal/keyflags", Lake, []string{".", "keys/...", "internal/home"}, nil,
		"opens a keyring as the command line says, the same for every binary"},
	{"internal/lakeflags", Lake, sharedPackages, nil,
		"opens a lake as the command line says, the same for those who write and who read"},
	{"internal/postgrestest", Lake, nil, []string{"github.com/jackc/pgx/v5"},
		"starts a real PostgreSQL for tests"},
	{"internal/reference", Lake, nil, []string{},
		"compares the documented flags with those of the binaries"},

	// Proofs run all of it on one machine, as the demo does, and nobody runs them on real data.
	{"internal/kafkareal", OneMachine, nil, []string{},
		"starts a real broker for tests"},
	{"internal/canary", OneMachine, nil, []string{},
		"pushes card numbers through everything and looks for them everywhere"},
	{"internal/readers", OneMachine, nil, []string{},
		"reads with others what real workers wrote"},
	{"internal/killtest/...", OneMachine, append([]string{"card/...", "tokenize/...", "ingest/...", "internal/kafkareal"}, lakePackages...), nil,
		"kills real workers and reads the lake"},
	{"internal/soak", OneMachine, append([]string{"card/...", "tokenize/...", "ingest/..."}, lakePackages...), nil,
		"replays a record day"},
	{"internal/freshness", OneMachine, append([]string{"card/...", "tokenize/...", "ingest/..."}, lakePackages...), nil,
		"measures how soon a decision can be queried"},

	// Zone A: may see clear card numbers.
	{"card", CardData, []string{"."}, nil,
		"the clear side of the shared nouns"},
	{"card/wire", CardData, []string{".", "card", "keys"}, nil,
		"the sealed event that processor and ingest share"},
	{"processor/...", CardData, []string{".", "card", "card/wire", "keys", "catalog"}, nil,
		"authorises and emits sealed events; of catalog it needs the tenants' records"},
	{"sim/...", CardData, []string{".", "card", "processor/iso8583"}, nil,
		"card networks and cardholders: speaks to the processor over the network only"},
	{"tokenize/...", CardData, []string{".", "card", "keys"}, nil,
		"card number to token"},
	{"tokenize/detokenize", CardData, []string{".", "card", "keys", "tokenize", "tokenize/vault", "catalog/audit"}, nil,
		"token to card number, for two named people at a time, on the record"},
	{"ingest/...", CardData, []string{".", "card", "card/wire", "tokenize", "keys", "writers/...", "catalog"}, nil,
		"where card numbers end: opens, tokenises, hands columns on"},

	// Zone B: the lake. Must not reach zone A however far.
	{"queries/...", Lake, []string{".", "keys", "catalog", "writers/objects"}, nil,
		"reads objects that the catalog plans"},
	{"queries/embedded", Lake, []string{".", "keys", "queries", "catalog", "writers/objects", "writers/parquet"}, nil,
		"reads objects that the catalog plans; a tail becomes one more file in memory"},
	{"api/...", Lake, []string{".", "keys", "catalog", "queries"}, nil,
		"one more door to queries"},
	{"dashboard/...", Lake, []string{".", "catalog", "queries", "api"}, nil,
		"one more door to queries"},

	// Binaries wire the packages of their zone.
	{"cmd/cardlake/...", Lake, lakePackages, nil,
		"zone B's binary"},
	{"cmd/cardlake-processor/...", CardData, append([]string{"card/...", "processor/..."}, sharedPackages...), nil,
		"zone A: authorises"},
	{"cmd/cardlake-worker/...", CardData, append([]string{"card/...", "tokenize/...", "ingest/..."}, sharedPackages...), nil,
		"zone A: tokenises and writes"},
	{"cmd/cardlake-vault/...", CardData, append([]string{"card/...", "tokenize/..."}, sharedPackages...), nil,
		"zone A: reverses tokens"},
	{"cmd/cardlake-scan/...", CardData, append([]string{"card/...", "tokenize/..."}, sharedPackages...), nil,
		"zone A: searches for card numbers"},
	{"cmd/cardlake-sim/...", OneMachine, []string{".", "card", "processor/iso8583", "sim/...", "internal/home"}, nil,
		"card networks and cardholders, outside both zones"},
	{"cmd/cardlake-demo/...", OneMachine, append([]string{"card/...", "processor/...", "tokenize/...", "ingest/...", "sim/..."}, lakePackages...), nil,
		"all of it in one process, for trying out"},
}

// sharedPackages are those that binaries of both zones wire.
var sharedPackages = []string{".", "keys/...", "catalog/...", "writers/...", "internal/home", "internal/keyflags", "internal/lakeflags"}

// lakePackages are those that a binary of zone B wires.
var lakePackages = append([]string{"queries/...", "api/...", "dashboard/..."}, sharedPackages...)
