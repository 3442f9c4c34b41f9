package processor

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/cardlake/cardlake"
	"github.com/cardlake/cardlake/card"
	"github.com/cardlake/cardlake/keys"
	"github.com/cardlake/cardlake/processor/iso8583"
	"github.com/cardlake/cardlake/processor/ledger"
)

// job is the memory for one message in work, used again and again.
type job struct {
	s        *Server
	buf      []byte    // the message
	received time.Time // when its last byte had come
	view     iso8583.View
	request  request
	event    []byte // the encoded event
}

// wipe overwrites everything of the message.
func (j *job) wipe() {
	clear(j.buf[:cap(j.buf)])
	j.buf = j.buf[:0]
	j.view = iso8583.View{}
	pan := j.request.pan
	pan.Clear()
	j.request = request{pan: pan} // its memory holds the next message's number
}

// handle answers the message: a framed response, or none; false says that the sender is
// beyond understanding.
func (j *job) handle(ctx context.Context, log *slog.Logger) (answer []byte, ok bool) {
	stats := &j.s.stats
	err := j.view.Parse(j.buf)
	mti, isRequest := iso8583.ResponseTo(j.view.MTI())
	if !isRequest || !j.view.Has(11) {
		stats.undecodable.Add(1)
		log.Warn("message cannot be answered; closing", "error", err)
		return nil, false
	}
	var d ledger.Decision
	if err == nil {
		d, err = j.decide(ctx)
	}
	switch {
	case err == nil:
	case errors.Is(err, iso8583.ErrFormat):
		stats.formatErrors.Add(1)
		log.Warn("message refused", "error", err)
		d = ledger.Decision{Code: iso8583.FormatError}
	default:
		stats.failed.Add(1)
		log.Error("no decision", "error", err)
		d = ledger.Decision{Code: iso8583.SystemMalfunction}
	}
	if answer, err = j.answer(mti, d); err != nil {
		// Nothing of a well-formed element can fail to be packed; a fault of this program.
		stats.panics.Add(1)
		log.Error("answer cannot be packed; closing", "error", err)
		return nil, false
	}
	return answer, true
}

func (j *job) decide(ctx context.Context) (ledger.Decision, error) {
	stats := &j.s.stats
	switch iso8583.FirstForm(j.view.MTI()) {
	case iso8583.NetworkManagementRequest:
		return j.manage()
	case iso8583.AuthorizationRequest, iso8583.ReversalRequest, iso8583.ReversalAdvice:
	default:
		stats.unsupported.Add(1)
		return ledger.Decision{Code: iso8583.InvalidTransaction}, nil
	}
	r := &j.request
	if err := decodeRequest(&j.view, r); err != nil {
		return ledger.Decision{}, err
	}
	stats.decoded.Add(1)
	c, err := j.s.ledger.Find(r.pan)
	if errors.Is(err, ledger.ErrNoIssuer) {
		stats.unknownIssuer.Add(1)
		return ledger.Decision{Code: iso8583.NoSuchIssuer}, nil
	}
	if err != nil {
		return ledger.Decision{}, err
	}
	d, err := j.decideOn(ctx, c)
	switch {
	case err != nil:
	case d.Repeat:
		stats.repeats.Add(1)
	case d.Approved():
		stats.approved.Add(1)
	default:
		stats.declined.Add(1)
	}
	return d, err
}

func (j *job) manage() (ledger.Decision, error) {
	j.s.stats.decoded.Add(1)
	switch j.view.Text(70) {
	case iso8583.SignOn, iso8583.SignOff, iso8583.EchoTest:
		j.s.stats.network.Add(1)
		return ledger.Decision{Code: iso8583.Approved}, nil
	case "":
		return ledger.Decision{}, formatError(70, "is missing")
	}
	j.s.stats.unsupported.Add(1)
	return ledger.Decision{Code: iso8583.InvalidTransaction}, nil
}

// decideOn has the ledger decide, with the event that announces the decision.
func (j *job) decideOn(ctx context.Context, c ledger.Card) (ledger.Decision, error) {
	r := &j.request
	tenant, err := j.s.tenants.Lookup(c.Tenant)
	if err != nil {
		return ledger.Decision{}, err
	}
	at := j.s.cfg.Now()
	m := card.Message{PAN: r.pan, Transaction: j.transaction(c, at)}
	emit := func(d ledger.Decision) ([]byte, error) {
		m.ResponseCode, m.Approved, m.DeclineReason, m.ApprovalCode = d.Code, d.Approved(), d.Reason, d.Approval
		m.BillingAmount = d.Billing
		m.LatencyMicros = int32(min(max(0, time.Since(j.received).Microseconds()), math.MaxInt32))
		event, err := j.s.encoder.Append(ctx, j.event[:0], keys.OwnerOf(tenant.StorageID), &m)
		j.event = event[:0]
		return event, err
	}
	if m.EventType == cardlake.Reversal {
		return j.s.ledger.Reverse(ctx, ledger.Reversal{
			Event: m.EventID, Original: m.TransactionID, Card: c, Keep: r.keep, Advice: r.mti == iso8583.ReversalAdvice,
			Amount: m.Amount, At: at,
		}, emit)
	}
	return j.s.ledger.Authorize(ctx, ledger.Authorization{
		Event: m.EventID, Card: c, Expiry: r.expiry, Amount: r.amount, Billing: r.billing, At: at,
	}, emit)
}

// transaction is the event as far as it is known before the decision.
func (j *job) transaction(c ledger.Card, at time.Time) cardlake.Transaction {
	r := &j.request
	key := card.EventKey{
		Tenant: c.Tenant, Network: c.Network, Acquirer: r.acquirer, RRN: r.rrn, STAN: r.stan, MTI: r.mti, Transmission: r.transmission,
	}
	t := cardlake.Transaction{
		EventID: key.ID(), EventType: cardlake.Authorization, Tenant: c.Tenant, Program: c.Program, Region: j.s.cfg.Region,
		EventTime: at.UnixMicro(), LocalTime: r.local.micros(at),
		CustomerID: c.CustomerID, AccountID: c.AccountID, Network: c.Network, Product: c.Product,
		Amount:     r.amount,
		MerchantID: r.merchant, MerchantName: r.acceptor.Name, MCC: r.mcc, MerchantCity: r.acceptor.City,
		MerchantCountry: r.acceptor.Country, TerminalID: r.terminal, AcquirerID: r.acquirer,
		Wallet: r.wallet, ECI: r.eci,
		MTI: r.mti, ProcessingCode: r.processing, STAN: r.stan, RRN: r.rrn,
	}
	t.Channel, t.EntryMode, t.CardPresent = pointOfService(r)
	t.TransactionID = t.EventID
	if r.mti != iso8583.AuthorizationRequest {
		// The original has the reversal's own acquirer and RRN; the rest is in DE 90.
		key.STAN, key.MTI, key.Transmission = r.original.STAN, iso8583.AuthorizationRequest, r.original.Transmission
		t.TransactionID, t.EventType = key.ID(), cardlake.Reversal
		t.Amount.Minor -= r.keep
	}
	return t
}

// echoed are the elements that an answer repeats from the message. The card number is not
// one of them: the sender matches on 7, 11, 32, 37 and 41, and what is not sent need not be
// protected.
var echoed = [...]int{3, 4, 7, 11, 12, 13, 32, 33, 37, 41, 42, 49, 70, 90}

// answer packs the framed response; it shares no memory with the job.
func (j *job) answer(mti string, d ledger.Decision) ([]byte, error) {
	var b iso8583.Builder
	b.SetText(0, mti)
	for _, de := range echoed {
		if d.Code == iso8583.FormatError && de != 7 && de != 11 && de != 37 {
			continue
		}
		if v := j.view.Bytes(de); v != nil {
			b.Set(de, v)
		}
	}
	if d.Approval != "" {
		b.SetText(38, d.Approval)
	}
	b.SetText(39, d.Code)
	msg, err := b.Append(make([]byte, 0, 320))
	if err != nil {
		return nil, err
	}
	return iso8583.AppendFrame(make([]byte, 0, len(msg)+2), msg)
}
