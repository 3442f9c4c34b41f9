package quality

import _ "embed"

// TransactionRules is the rule set for partitions of cards.transactions that comes with the lake.
//
//go:embed rulesets/transactions.dqdl
var TransactionRules string
