package api

// documentAbout is what the OpenAPI document says of the whole.
const documentAbout = "Figures, SQL, tables, changes and exports of a lake of card transactions, within what the caller is granted. " +
	"Every answer, refusal and export is on the audit record. Errors are problem details (RFC 9457) that tell no content of a field. " +
	"Instants are RFC 3339 in UTC; decimals are strings, so that no digit is lost. There are no card numbers: cards are named by tokens. " +
	"Whatever is not offered by a server answers 404."

// commonKinds are problems that every call of a caller who is to sign in can have.
var commonKinds = []kind{kindRequest, kindSignedOut, kindRoute, kindHost, kindLimit, kindInternal, kindSignIn, kindAudit}

// commonParams are headers that every call of a caller can have.
var commonParams = []param{
	inHeader(headerReason, "why the caller asks: one line of printable UTF-8 without anything like a card number, for the audit record", textOf(maxReason)),
	inHeader(headerBreakGlass, "yes asks for emergency access, which needs a Cardlake-Reason", choiceOf("yes", "no", "")),
}

// securitySchemes are the ways to sign in.
var securitySchemes = map[string]map[string]any{
	schemeBearer: {"type": "http", "scheme": "bearer",
		"description": "An access token of the identity provider (OpenID Connect), or an API key (clk_…)."},
	schemeSession: {"type": "apiKey", "in": "cookie", "name": "__Host-cardlake",
		"description": "The session of the web dashboard. Methods other than GET and HEAD also need the header X-CSRF-Token, whose value GET /auth/session gives."},
	schemeCertificate: {"type": "mutualTLS", "description": "A client certificate of an authority that the server trusts, with a SPIFFE id."},
}

// tagDocs say what the groups of routes are.
var tagDocs = map[string]string{
	"probes":      "For who watches the server.",
	"description": "What the server offers.",
	"queries":     "SQL over tables and views, within one's grants.",
	"tables":      "The data dictionary, as the caller has it.",
	"caller":      "Who is asking, and what is permitted.",
	"changes":     "Rows that were added since.",
	"exports":     "Files to take away, links to them, and schedules.",
	"products":    "Data products, and subscriptions to them.",
	"figures":     "The figures of the dashboard, each with the SQL behind it.",
	"saved-views": "Views of the dashboard that the caller has saved.",
	"live":        "What happens as it happens.",
	"alerts":      "Anomalies, and what people say of them.",
	"operations":  "How the lake is.",
	"access":      "Who may read what.",
	"keys":        "API keys of the caller.",
}

// fieldDocs say what fields of types of other packages are: package, type and name in JSON.
var fieldDocs = map[string]string{
	"export.Request.tenant":          "Whose rows; not needed by who may read one tenant only.",
	"export.Request.table":           "A table's full name; either this or sql.",
	"export.Request.sql":             "A SELECT; either this or table.",
	"export.Request.from":            "The first instant of the table's time that is taken.",
	"export.Request.to":              "The first instant that is not taken any more.",
	"export.Request.columns":         "Columns of the table, in this order; all that the caller may have if it is not there.",
	"export.Request.format":          "The format of the files.",
	"export.Request.compression":     "Of csv and jsonl: zstd, gzip or none.",
	"export.Request.encryption":      "age, kms or none.",
	"export.Request.max_file_bytes":  "About how large a file becomes before the next begins, from 1 MiB to 512 MiB; 64 MiB if it is not there.",
	"export.Request.raw_text":        "Leaves texts in CSV as they are, also those that a spreadsheet takes for formulas.",
	"export.Request.idempotency_key": "Makes a repeat of the request the same export, as the header Idempotency-Key does.",
	"export.Progress.rows":           "Rows written.",
	"export.Progress.bytes":          "Bytes of the files that are finished.",
	"export.Progress.files":          "Files that are finished, without the manifest.",
	"export.Progress.planned_rows":   "Rows of the files that are read; not there if that is unknown.",
	"export.Progress.percent":        "How much of planned_rows is done; 100 at the end.",
	"export.File.number":             "Counts from 1; 0 is the manifest.",
	"export.File.name":               "The file's name.",
	"export.File.rows":               "Rows in it.",
	"export.File.bytes":              "Bytes as it is downloaded.",
	"export.File.sha256":             "SHA-256 as it is downloaded, in hexadecimal.",
	"export.File.object":             "Never there.",
	"export.Link.url":                "Where the file can be had without signing in: a path of this server, or a whole address.",
	"export.Link.expires":            "When the link ends.",

	"changes.Mark.snapshot":      "The snapshot's id, as a string of digits; 0 if it is none that is kept.",
	"changes.Mark.committed_at":  "When it was committed.",
	"changes.Removal.operation":  "delete for rows that were taken, overwrite for rows that were changed: what a reader has of them it must delete, or read anew.",
	"changes.Removal.partitions": "Where the rows were; null if that is not known any more.",
	"changes.Partition.tenant":   "The tenant.",
	"changes.Partition.day":      "The day, as 2026-03-02.",
	"changes.Partition.rows":     "Rows in the files that went.",

	"products.Product.name":              "The product's name.",
	"products.Product.title":             "Its title.",
	"products.Product.description":       "What it is.",
	"products.Product.version":           "MAJOR.MINOR.PATCH.",
	"products.Product.status":            "Where it is in its life.",
	"products.Product.owner":             "Who answers for it, KIND/NAME.",
	"products.Product.stewards":          "Who may also approve subscriptions, KIND/NAME.",
	"products.Product.relations":         "The full names of its tables and views.",
	"products.Product.terms":             "The most that a subscription gives.",
	"products.Product.promise":           "What the owner answers for.",
	"products.Product.glossary":          "The terms of the glossary that its words are.",
	"products.Product.labels":            "Words to find it by.",
	"products.Product.instead":           "The product to use in place of one that is deprecated.",
	"products.Terms.tables":              "The full names of the tables that it gives columns of.",
	"products.Terms.clear":               "Tags of the columns that are given as they are.",
	"products.Terms.masked":              "Tags of the columns that are given masked.",
	"products.Terms.actions":             "What may be done; query if it is not there.",
	"products.Terms.tenants":             "Whose rows are given; all if it is not there.",
	"products.Terms.kinds":               "Kinds of principal that may subscribe.",
	"products.Terms.days":                "How long a subscription lasts at most.",
	"products.Promise.fresh":             "How old the newest state may be, such as 15m.",
	"products.Promise.quality":           "The least share of the rules of quality that hold, in percent.",
	"products.Card.product":              "The product.",
	"products.Card.words":                "The terms of the glossary that its words are.",
	"products.Card.schema":               "The columns of its tables and views.",
	"products.Card.health":               "How it is, beside what was promised.",
	"products.Term.name":                 "The term.",
	"products.Term.short":                "What it means, in short.",
	"products.Term.long":                 "What it means.",
	"products.Relation.name":             "The full name of the table or view.",
	"products.Relation.doc":              "What it is.",
	"products.Relation.columns":          "Its columns.",
	"products.Relation.tables":           "The tables under a view, or the table itself.",
	"products.Column.name":               "The column's name.",
	"products.Column.type":               "Its Arrow type.",
	"products.Column.tag":                "What kind of data it is, which grants are given by.",
	"products.Column.doc":                "What it is.",
	"products.Column.nullable":           "Whether it can be null.",
	"products.Health.as_of":              "The time of the state of the table that is the farthest behind.",
	"products.Health.is_fresh":           "Whether that is as promised.",
	"products.Health.quality":            "The share of rules that hold in the worst of its tables, in percent.",
	"products.Health.quality_at":         "When that was found out.",
	"products.Health.is_good":            "Whether that is as promised.",
	"products.Subscription.id":           "The subscription's id.",
	"products.Subscription.product":      "The product's name.",
	"products.Subscription.version":      "The product's version when it was asked for.",
	"products.Subscription.tenants":      "The tenants asked for; all if it is not there.",
	"products.Subscription.reason":       "Why it was asked for.",
	"products.Subscription.days":         "For how long.",
	"products.Subscription.state":        "Where it is.",
	"products.Subscription.requested_at": "When it was asked for.",
	"products.Subscription.decided_at":   "When the newest step after the request was.",
	"products.Subscription.note":         "What was said of it.",
	"products.Subscription.until":        "The first instant at which it gives nothing any more.",
	"products.Subscription.given":        "The product's terms as they were approved.",
}
