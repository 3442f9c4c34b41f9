package cardlake

// Text names one of the texts that a Row carries in its Data.
type Text int

// The texts, each named as its column, in the order of the event on the stream (card/wire): a
// [Batch] looks up together what stands together there.
const (
	TextEventType Text = iota
	TextTenant
	TextProgram
	TextRegion
	TextCustomerID
	TextAccountID
	TextNetwork
	TextProduct
	TextCurrency
	TextBillingCurrency
	TextMerchantID
	TextMerchantName
	TextMCC
	TextMerchantCity
	TextMerchantCountry
	TextTerminalID
	TextAcquirerID
	TextChannel
	TextEntryMode
	TextWallet
	TextECI
	TextResponseCode
	TextDeclineReason
	TextApprovalCode
	TextCVVResult
	TextAVSResult
	TextMTI
	TextProcessingCode
	TextSTAN
	TextRRN
	TextCount // is how many there are
)

// String is the name of the text's column.
func (t Text) String() string { return textColumns[t].name }

// Span is where in a Row's Data a text lies: from in the low half, to in the high one.
type Span uint32

// SpanOf returns the span of Data[from:to]; neither may exceed 65,535.
func SpanOf(from, to int) Span { return Span(from) | Span(to)<<16 }

// From is where the text begins.
func (s Span) From() int { return int(s & 0xffff) }

// To is where it ends.
func (s Span) To() int { return int(s >> 16) }

// Row is a transaction on its way from the stream into a [Batch]: a [Transaction] whose texts
// have stayed where they were decoded. Fields of the same name mean the same. Like a
// Transaction it has no field for a card number; what is sealed in a stream record is no part
// of Data.
//
// It owns nothing: it is valid as long as the memory of Data and of its strings is left alone.
type Row struct {
	EventID       EventID
	TransactionID EventID

	EventTime  int64
	LocalTime  int64
	IngestedAt int64

	// Amount is in minor units of TextCurrency, BillingAmount in those of TextBillingCurrency.
	Amount        int64
	BillingAmount int64

	CardPresent   bool
	Approved      bool
	PINVerified   Truth
	LatencyMicros int32

	CardToken string
	BIN       string
	Last4     string
	Position  Position

	Data  []byte          // in clear, at most 65,535 bytes
	Spans [TextCount]Span // of the texts in Data, each UTF-8 or refused by AppendRow

	own []byte // Data of a row that was made of a Transaction
}

// Text returns a text of the row; it shares the memory of Data.
func (r *Row) Text(t Text) string {
	s := r.Spans[t]
	return view(r.Data[s.From():s.To()])
}

// Transaction sets t to what the row says; the strings share the row's memory.
func (r *Row) Transaction(t *Transaction) {
	*t = Transaction{
		EventID: r.EventID, TransactionID: r.TransactionID, EventType: EventType(r.Text(TextEventType)),
		Tenant: Tenant(r.Text(TextTenant)), Program: r.Text(TextProgram), Region: r.Text(TextRegion),
		EventTime: r.EventTime, LocalTime: r.LocalTime, IngestedAt: r.IngestedAt,
		CardToken: r.CardToken, BIN: r.BIN, Last4: r.Last4, CustomerID: r.Text(TextCustomerID), AccountID: r.Text(TextAccountID),
		Network: Network(r.Text(TextNetwork)), Product: Product(r.Text(TextProduct)),
		Amount:        Money{r.Amount, Currency(r.Text(TextCurrency))},
		BillingAmount: Money{r.BillingAmount, Currency(r.Text(TextBillingCurrency))},
		MerchantID:    r.Text(TextMerchantID), MerchantName: r.Text(TextMerchantName), MCC: r.Text(TextMCC),
		MerchantCity: r.Text(TextMerchantCity), MerchantCountry: r.Text(TextMerchantCountry),
		TerminalID: r.Text(TextTerminalID), AcquirerID: r.Text(TextAcquirerID),
		Channel: Channel(r.Text(TextChannel)), EntryMode: r.Text(TextEntryMode), CardPresent: r.CardPresent,
		Wallet: r.Text(TextWallet), ECI: r.Text(TextECI),
		ResponseCode: r.Text(TextResponseCode), Approved: r.Approved, DeclineReason: r.Text(TextDeclineReason),
		ApprovalCode: r.Text(TextApprovalCode), CVVResult: r.Text(TextCVVResult), AVSResult: r.Text(TextAVSResult),
		PINVerified: r.PINVerified, LatencyMicros: r.LatencyMicros,
		MTI: r.Text(TextMTI), ProcessingCode: r.Text(TextProcessingCode), STAN: r.Text(TextSTAN), RRN: r.Text(TextRRN),
		Position: r.Position,
	}
}

// set makes the row say what t says. It copies the texts into memory of its own; one that is
// too long for its column gives an error that wraps [ErrField], so that spans suffice.
func (r *Row) set(t *Transaction) error {
	r.EventID, r.TransactionID = t.EventID, t.TransactionID
	r.EventTime, r.LocalTime, r.IngestedAt = t.EventTime, t.LocalTime, t.IngestedAt
	r.Amount, r.BillingAmount = t.Amount.Minor, t.BillingAmount.Minor
	r.CardPresent, r.Approved, r.PINVerified, r.LatencyMicros = t.CardPresent, t.Approved, t.PINVerified, t.LatencyMicros
	r.CardToken, r.BIN, r.Last4, r.Position = t.CardToken, t.BIN, t.Last4, t.Position
	data := r.own[:0]
	for i, s := range [TextCount]string{
		string(t.EventType), string(t.Tenant), t.Program, t.Region, t.CustomerID, t.AccountID,
		string(t.Network), string(t.Product), string(t.Amount.Currency), string(t.BillingAmount.Currency),
		t.MerchantID, t.MerchantName, t.MCC, t.MerchantCity, t.MerchantCountry, t.TerminalID, t.AcquirerID,
		string(t.Channel), t.EntryMode, t.Wallet, t.ECI, t.ResponseCode, t.DeclineReason,
		t.ApprovalCode, t.CVVResult, t.AVSResult, t.MTI, t.ProcessingCode, t.STAN, t.RRN,
	} {
		if len(s) > textColumns[i].max {
			return fieldError(textColumns[i].name, isTooLong)
		}
		from := len(data)
		data = append(data, s...)
		r.Spans[i] = SpanOf(from, len(data))
	}
	r.own, r.Data = data, data
	return nil
}
