package iso8583

// Message types (ISO 8583:1987).
const (
	AuthorizationRequest       = "0100"
	AuthorizationRequestRepeat = "0101"
	AuthorizationResponse      = "0110"
	ReversalRequest            = "0400"
	ReversalRequestRepeat      = "0401"
	ReversalRequestResponse    = "0410"
	ReversalAdvice             = "0420"
	ReversalAdviceRepeat       = "0421"
	ReversalAdviceResponse     = "0430"
	NetworkManagementRequest   = "0800"
	NetworkManagementRepeat    = "0801"
	NetworkManagementResponse  = "0810"
)

// Response codes of DE 39 (ISO 8583:1987).
const (
	Approved              = "00"
	InvalidTransaction    = "12"
	InvalidCardNumber     = "14" // no such number
	NoSuchIssuer          = "15"
	UnableToLocateRecord  = "25"
	FormatError           = "30"
	StolenCardPickUp      = "43"
	NotSufficientFunds    = "51"
	ExpiredCard           = "54"
	RestrictedCard        = "62"
	ExceedsFrequencyLimit = "65" // exceeds withdrawal frequency limit
	DuplicateTransmission = "94"
	SystemMalfunction     = "96"
)

// Network management information codes of DE 70 (ISO 8583:1987).
const (
	SignOn   = "001"
	SignOff  = "002"
	EchoTest = "301"
)

// ResponseTo returns the message type that answers a request (xx0x) or an advice (xx2x) of
// the 1987 edition, and false for any other: a response is not answered.
func ResponseTo(mti string) (string, bool) {
	if len(mti) != 4 || mti[0] != '0' || mti[2] != '0' && mti[2] != '2' {
		return "", false
	}
	return mti[:2] + string(mti[2]+1) + "0", true
}

// FirstForm returns the message type without its repeat digit: 0101 is 0100.
func FirstForm(mti string) string {
	if len(mti) == 4 && mti[3] == '1' {
		return mti[:3] + "0"
	}
	return mti
}
